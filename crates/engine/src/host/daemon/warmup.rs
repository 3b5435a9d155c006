//! `warmup=/path`: one request of our own in a new process, before it is ready.
//!
//! The application is called as for a client, by the same adapter: what it does at its first request (templates,
//! connections, lazy imports) is done before the first client comes. Its output is dropped, its log lines go to the
//! log of the process. Whatever it answers, the process then takes requests: the old ones may already be ending.

use std::os::fd::OwnedFd;
use std::time::Instant;

use wsgi_sys::clock;
use wsgi_wire::config::{GroupConfig, Warmup, WarmupTarget};
use wsgi_wire::frame::InputFailure;
use wsgi_wire::messages::Message;
use wsgi_wire::request::{self, Encoder, Head};
use wsgi_wire::response::{self, FilePart};

use crate::log::{self, process_log};
use crate::python::interp::Interp;
use crate::python::interpreters::inside;
use crate::python::py::Gil;
use crate::request::adapter::{self, Request};
use crate::request::exchange::Exchange;
use crate::request::host::{Body, Gone, Outcome, Sink};

/// Calls the application, if the configuration asks for it.
pub fn run(gil: Gil, main: &'static Interp, config: &GroupConfig) {
    let Some(warmup) = &config.warmup else { return };
    let (name, path) = (&config.name, &warmup.path);
    let Some(target) = &warmup.target else {
        let text = format!(
            "process group \"{name}\": warmup={path} needs to know its application: there must be one alias to a script \
             of this group, or one with both process-group= and application-group=; the process makes no such request"
        );
        return gil.detach(|| log::report(Message::WarmupUnknown, &text));
    };
    let begin = Instant::now();
    let group = if target.is_main { "" } else { &target.application_group };
    let called = inside(gil, main, group, |gil, interp| call(gil, interp, config, warmup, target));
    let Some((outcome, status)) = called else { return };
    let seconds = begin.elapsed().as_secs_f64();
    let (message, text) = verdict(outcome, status);
    let text = format!("process group \"{name}\": warmup={path} {text} after {seconds:.3} s");
    gil.detach(|| match message {
        Some(message) => log::report(message, &text),
        None => log::info(&text),
    });
}

/// How to log it: for information, if there is no message.
fn verdict(outcome: Outcome, status: Option<u16>) -> (Option<Message>, String) {
    let failed = Some(Message::WarmupFailed);
    const ANYWAY: &str = "(the process takes requests all the same)";
    match (outcome, status) {
        (Outcome::Complete, Some(status @ ..500)) => (None, format!("was answered with {status}")),
        (Outcome::Complete, Some(status)) => (failed, format!("was answered with {status} {ANYWAY}")),
        _ => (failed, format!("failed {ANYWAY}")),
    }
}

fn call(
    gil: Gil,
    interp: &'static Interp,
    config: &GroupConfig,
    warmup: &Warmup,
    target: &WarmupTarget,
) -> (Outcome, Option<u16>) {
    let payload = request(config, warmup, target);
    let Ok((head, variables)) = request::decode(&payload) else { return (Outcome::Stale, None) };
    let (mut body, mut sink) = (Nothing, Swallow { status: None });
    let exchange = Box::pin(Exchange::new(&mut body, &mut sink, 0, config.log_level));
    let outcome = adapter::run(gil, interp, exchange.as_ref(), Request { head, variables, taken_us: clock::wall_us() });
    gil.detach(move || {
        // Nothing waits for this end, and `Swallow` has no client that could be gone.
        let _ = exchange.end(outcome);
        drop(exchange);
    });
    (outcome, sink.status)
}

/// The request as an httpd child would send it.
fn request(config: &GroupConfig, warmup: &Warmup, target: &WarmupTarget) -> Vec<u8> {
    let now = clock::wall_us();
    let head = Head {
        flags: 0,
        log_level: config.log_level,
        mtime_us: 0,
        request_start_us: now,
        queue_start_us: now,
        script: target.script.as_bytes(),
        callable: target.callable.as_bytes(),
        application_group: target.application_group.as_bytes(),
    };
    let (path, query) = warmup.path.split_once('?').unwrap_or((&warmup.path, ""));
    let (script_name, path_info) = mounted(path, target.prefix.as_deref().unwrap_or("/"));
    let path_info = decoded(path_info);
    let uri = match path.strip_prefix(script_name) {
        Some(_) => warmup.path.clone(),
        None => format!("{script_name}{}", warmup.path),
    };
    let (major, minor, patch) = config.apache_version;
    let software = format!("Apache/{major}.{minor}.{patch}");
    let pid = std::process::id().to_string();
    let mut payload = Vec::new();
    let mut encoder = Encoder::new(&mut payload, &head);
    let variables: [(&str, &[u8]); 24] = [
        ("REQUEST_METHOD", b"GET"),
        ("REQUEST_SCHEME", b"http"),
        ("REQUEST_URI", uri.as_bytes()),
        ("SCRIPT_NAME", script_name.as_bytes()),
        ("PATH_INFO", &path_info),
        ("QUERY_STRING", query.as_bytes()),
        ("SCRIPT_FILENAME", target.script.as_bytes()),
        ("SERVER_NAME", warmup.host.as_bytes()),
        ("SERVER_PORT", b"80"),
        ("SERVER_ADDR", b"127.0.0.1"),
        ("SERVER_PROTOCOL", b"HTTP/1.1"),
        ("SERVER_SOFTWARE", software.as_bytes()),
        ("REMOTE_ADDR", b"127.0.0.1"),
        ("REMOTE_PORT", b"0"),
        ("HTTP_HOST", warmup.host.as_bytes()),
        ("HTTP_USER_AGENT", b"mod_wsgi (warmup)"),
        ("wsgi.url_scheme", b"http"),
        ("mod_wsgi.request_handler", b"wsgi-script"),
        ("mod_wsgi.script_name", script_name.as_bytes()),
        ("mod_wsgi.path_info", &path_info),
        ("mod_wsgi.listener_host", b""),
        ("mod_wsgi.listener_port", b"80"),
        ("mod_wsgi.server_pid", pid.as_bytes()),
        ("mod_wsgi.request_id", b"warmup"),
    ];
    variables.iter().for_each(|(name, value)| encoder.put(name.as_bytes(), value));
    encoder.finish();
    payload
}

/// SCRIPT_NAME and PATH_INFO. A path outside of the alias is taken as one inside of the application.
fn mounted<'p>(path: &'p str, prefix: &'p str) -> (&'p str, &'p str) {
    let prefix = prefix.trim_end_matches('/');
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (prefix, rest),
        _ => (prefix, path),
    }
}

/// The path without its `%XX`. What is no number stays.
fn decoded(path: &str) -> Vec<u8> {
    let hex = |at: usize| path.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let (mut out, mut at) = (Vec::with_capacity(path.len()), 0);
    while let Some(byte) = path.as_bytes().get(at) {
        match hex(at).filter(|_| *byte == b'%') {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// No body.
struct Nothing;

impl Body for Nothing {
    fn read(&mut self, _buf: &mut [u8]) -> Result<usize, InputFailure> {
        Ok(0)
    }
}

/// Drops everything but the status.
struct Swallow {
    status: Option<u16>,
}

impl Sink for Swallow {
    fn head(&mut self, payload: &[u8]) {
        self.status = response::Head::decode(payload).ok().map(|head| head.status);
    }

    fn keep(&mut self, _bytes: &[u8]) {}

    fn send(&mut self, _bytes: &[u8]) -> Result<(), Gone> {
        Ok(())
    }

    fn try_send(&mut self, _bytes: &[u8]) -> Option<Result<bool, Gone>> {
        Some(Ok(true))
    }

    fn file(&mut self, _file: OwnedFd, _part: FilePart) -> Result<(), Gone> {
        Ok(())
    }

    fn answer(&mut self, _payload: &[u8]) {}

    fn confirm(&mut self) {}

    fn log(&mut self, level: u8, text: &[u8], _now: bool) {
        process_log(level, text);
    }

    fn end(&mut self, _outcome: Outcome) -> Result<(), Gone> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_of_the_site_or_of_the_application() {
        assert_eq!(mounted("/health", "/"), ("", "/health"));
        assert_eq!(mounted("/app/health", "/app"), ("/app", "/health"));
        assert_eq!(mounted("/app", "/app/"), ("/app", ""));
        assert_eq!(mounted("/health", "/app"), ("/app", "/health"));
        assert_eq!(mounted("/application", "/app"), ("/app", "/application"));
    }

    #[test]
    fn escapes_are_decoded() {
        let cases = [("/caf%C3%A9", "/caf\u{e9}"), ("/100%", "/100%"), ("/%zz%2", "/%zz%2"), ("/%20", "/ ")];
        for (path, expected) in cases {
            assert_eq!(decoded(path), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn only_failures_are_errors() {
        use wsgi_wire::response::Failure;
        let cases = [
            (Outcome::Complete, Some(200), false),
            (Outcome::Complete, Some(404), false),
            (Outcome::Complete, Some(500), true),
            (Outcome::Failed(Failure::Application), Some(200), true),
            (Outcome::Failed(Failure::Load), None, true),
        ];
        for (outcome, status, is_error) in cases {
            assert_eq!(verdict(outcome, status).0.is_some(), is_error, "{outcome:?} {status:?}");
        }
    }
}
