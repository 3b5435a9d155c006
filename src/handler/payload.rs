//! The payload of a request: which application, and its environ, for either mode.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use wsgi_sys::clock;
use wsgi_wire::messages::Message;
use wsgi_wire::request::{self, Encoder, Head};

use super::facts::{Names, mtime_us, script_of};
use crate::daemon::Group;
use crate::directive::{Subnet, Text};
use crate::environ::{self, RequestFacts, TrustedHeaders};
use crate::facts;
use crate::httpd::request::Request;
use crate::live::Live;
use crate::route::{Rejection, Settings};

/// Status for what an entry cannot do.
const FAILED: i32 = 500;

thread_local! {
    /// The thread's buffer for payloads, taken while a request uses it.
    static PAYLOAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Largest buffer that a thread keeps, bytes.
const KEPT: usize = 64 << 10;

/// Builds the request's payload and passes it to `use_it`.
pub(super) fn with(
    request: Request<'_>,
    live: &Live,
    settings: &Settings<'_>,
    names: &Names,
    group: Option<&Group>,
    use_it: impl FnOnce(&[u8]) -> i32,
) -> Result<i32, Rejection> {
    let mut payload = PAYLOAD.take();
    payload.clear();
    encode(request, live, settings, names, group, &mut payload);
    if payload.len() > wsgi_wire::MAX_PAYLOAD {
        let text = format!(
            "the request's variables take {} bytes, and an application gets at most {}; the client gets 500. \
             LimitRequestFields and LimitRequestFieldSize bound what clients may send",
            payload.len(),
            wsgi_wire::MAX_PAYLOAD
        );
        return Err(Rejection::new(500, Message::LongRequest, text));
    }
    let status = use_it(&payload);
    if payload.capacity() <= KEPT {
        PAYLOAD.set(payload);
    }
    Ok(if status < 0 { FAILED } else { status })
}

fn encode(
    request: Request<'_>,
    live: &Live,
    settings: &Settings<'_>,
    names: &Names,
    group: Option<&Group>,
    out: &mut Vec<u8>,
) {
    let root = group.and_then(|group| group.root.as_deref());
    let script = script_of(request, settings);
    // The handler has refused a script that lies outside of the root directory.
    let script = environ::below_root(root, script).unwrap_or(script);
    let is_main = group.is_some_and(|group| group.main_script.as_deref() == Some(script));
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(settings.script_reloading, request::RELOAD)
        | flag(is_main, request::MAIN)
        | flag(settings.pass_apache_request && group.is_none(), request::PASS_RECORD)
        | flag(settings.ignore_activity, request::IGNORE_ACTIVITY);
    let head = Head {
        flags,
        log_level: request.log_level(),
        mtime_us: if settings.script_reloading { mtime_us(request, settings) } else { 0 },
        request_start_us: request.start_us(),
        queue_start_us: if group.is_some() { clock::wall_us() } else { 0 },
        script,
        callable: &names.callable,
        application_group: &names.application_group,
    };
    let mut encoder = Encoder::new(out, &head);
    put_variables(request, live, settings, root, |name, value| encoder.put(name, value));
    encoder.finish();
}

/// Gives each variable that the application sees to `put`. `root`: the root directory of its process.
pub(super) fn put_variables(
    request: Request<'_>,
    live: &Live,
    settings: &Settings<'_>,
    root: Option<&[u8]>,
    mut put: impl FnMut(&[u8], &[u8]),
) {
    let (listener_host, listener_port) = request.listener();
    let trusted =
        settings.trusted_proxy_headers.map(|listed| trusted_headers(request, listed, settings.trusted_proxies));
    let known = RequestFacts {
        method: request.method(),
        uri: request.uri(),
        path_info: request.path_info(),
        included: request.is_included(),
        tls: request.is_tls(),
        proxy_scheme: trusted.as_ref().map(|trusted| trusted.scheme).unwrap_or_default(),
        map_head_to_get: settings.map_head_to_get,
        content_filter: request.has_content_filter(),
        authorization: authorization(request, live, settings),
        handler: request.handler(),
        handler_script: settings.handler_script.map_or(b"", |script| &script.path),
        listener_host,
        listener_port,
        server_pid: live.pid.load(Ordering::Relaxed),
        request_id: request.log_id(),
        connection_id: request.connection_log_id(),
    };
    let mut put_passing = |name: &[u8], value: &[u8]| {
        if trusted.as_ref().is_none_or(|trusted| trusted.passes(name)) {
            if let Some(value) = environ::with_root(root, name, value) {
                put(name, value);
            }
        }
    };
    environ::build(&known, request.subprocess_env().iter(), &mut put_passing);
    if !request.has_cgi_rules() {
        environ::put_cgi(&facts::cgi(request, listener_host), request.headers_in().iter(), &mut put_passing);
    }
    if let Some(trusted) = &trusted {
        trusted.put(put);
    }
}

/// What the proxy before httpd says of its client, as far as the configuration trusts it.
fn trusted_headers<'r>(request: Request<'r>, listed: &[Text], proxies: Option<&[Subnet]>) -> TrustedHeaders<'r> {
    TrustedHeaders::new(listed, proxies, request.remote_addr(), |header| {
        // SetEnv and mod_rewrite may make up such a variable, so look for the header itself first.
        request.headers_in().get(header.name).or_else(|| request.subprocess_env().get(header.variable))
    })
}

/// The `Authorization` header, if the application may see it.
fn authorization<'r>(request: Request<'r>, live: &Live, settings: &Settings<'_>) -> Option<&'r [u8]> {
    let header = request.headers_in().get(c"Authorization")?;
    let Some(why) = environ::withhold(settings.pass_authorization, || request.is_authenticated_by_httpd()) else {
        return Some(header);
    };
    // CGIPassAuth and SetEnvIf may have let it through.
    if request.subprocess_env().get(c"HTTP_AUTHORIZATION").is_none() {
        live.advice.withheld(request, why);
    }
    None
}
