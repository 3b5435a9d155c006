//! The payload of a question: the script, the environ, the question with its arguments.

use wsgi_sys::clock;
use wsgi_wire::decision::{self, Question, put_question};
use wsgi_wire::request::{self, Encoder, Head};

use crate::daemon::Group;
use crate::directive::{DirConfig, Script, ServerConfig};
use crate::environ::{self, TlsNames};
use crate::facts;
use crate::httpd::request::Request;
use crate::route::{self, Facts};

/// Gives each variable that the application would see to a function.
pub(crate) type Variables<'v> = dyn Fn(&mut dyn FnMut(&[u8], &[u8])) + 'v;

/// Packs the question for a process of `group`, or for this child. Without `variables` the script sees a cut-down environ.
///
/// # Errors
/// A sentence's end: it is too long.
pub(super) fn of(
    request: Request<'_>,
    script: &Script,
    (question, arguments): (Question, &[&[u8]]),
    variables: Option<&Variables<'_>>,
    group: Option<&Group>,
) -> Result<Vec<u8>, String> {
    let layers = [
        request.dir_config::<DirConfig>().map(|dir| &dir.request),
        request.server().config::<ServerConfig>().map(|server| &server.request),
    ];
    let reloads = layers.iter().flatten().find_map(|layer| layer.script_reloading).unwrap_or(true);
    let passes_record = layers.iter().flatten().find_map(|layer| layer.pass_apache_request).unwrap_or(false);
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let root = group.and_then(|group| group.root.as_deref());
    let application_group = route::expand_auth_group(&script.application_group, &group_facts(request));
    let head = Head {
        flags: request::DECIDE
            | flag(reloads, request::RELOAD)
            | flag(passes_record && group.is_none(), request::PASS_RECORD),
        log_level: request.log_level(),
        mtime_us: if reloads { facts::mtime_us(&script.path) } else { 0 },
        request_start_us: request.start_us(),
        queue_start_us: if group.is_some() { clock::wall_us() } else { 0 },
        script: environ::below_root(root, &script.path).unwrap_or(&script.path),
        callable: b"",
        application_group: &application_group,
    };
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, &head);
    put_environ(request, variables, root, |name, value| encoder.put(name, value));
    encoder.finish();
    put_question(&mut out, question, arguments);
    match out.len() {
        0..=wsgi_wire::MAX_PAYLOAD => Ok(out),
        length => {
            Err(format!("the request's variables take {length} bytes, and it gets at most {}", wsgi_wire::MAX_PAYLOAD))
        }
    }
}

/// Puts the cut-down environ, or all that the application would see. `root`: the root directory of the script's process.
fn put_environ(
    request: Request<'_>,
    variables: Option<&Variables<'_>>,
    root: Option<&[u8]>,
    mut put: impl FnMut(&[u8], &[u8]),
) {
    let mut put = |name: &[u8], value: &[u8]| {
        if let Some(value) = environ::with_root(root, name, value) {
            put(name, value);
        }
    };
    match variables {
        Some(variables) => variables(&mut |name, value| {
            if !name.starts_with(b"wsgi.") {
                put(name, value);
            }
        }),
        None => {
            let cgi = facts::cgi(request, request.listener().0);
            let resource = (request.method(), request.uri(), request.path_info());
            let names = (request.resolved_client_name(), request.signature());
            environ::put_deciding(&cgi, request.headers_in().iter(), resource, names, &mut put);
        }
    }
    if request.tls_variable("SSL_PROTOCOL").is_some() {
        // mod_ssl is loaded. It gives an empty text for a variable that the connection does not have.
        put(decision::TLS, b"");
    }
    if request.is_tls() {
        TlsNames::new(|name| request.tls_variable(name)).put_all(&mut put);
    }
}

/// What the application group of the script is expanded by.
fn group_facts<'r>(request: Request<'r>) -> Facts<'r> {
    Facts {
        server_name: request.server().name(),
        port: request.server_port(),
        request_host: request.hostname(),
        script_name: b"",
        case_sensitive: true,
        env: &|_| None,
    }
}
