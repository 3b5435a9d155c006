//! One request: from URL to script, from settings to a process, from variables to a payload, and then
//! to daemon or embedded mode. The hooks of a request call it.

use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use wsgi_wire::request::{self, Encoder, Head};

use crate::daemon::{self, Job};
use crate::directive::{Alias, DirConfig, RequestConfig, ServerConfig, Subnet, Text, shown};
use crate::embedded;
use crate::environ::{self, Cgi, RequestFacts, Told};
use crate::httpd::log::Level;
use crate::httpd::request::{FileKind, Request};
use crate::live::{self, Group, Live};
use crate::respond::Delivery;
use crate::route::{self, AcceptPathInfo, AliasMatch, Facts, HandlerFacts, Ownership, Rejection, Settings, Target};

/// Handlers that run the file that the request was mapped to.
const SCRIPT: [&[u8]; 2] = [b"wsgi-script", b"application/x-httpd-wsgi"];

/// Status for what an entry cannot do.
const FAILED: i32 = 500;

/// What `translate_name` leaves for later hooks of a request.
struct Mapped {
    alias: Arc<Alias>,
    /// httpd's access control has let the request pass.
    admitted: Cell<bool>,
}

/// Maps the request to the script of an alias. False: none matches.
pub(crate) fn translate(request: Request<'_>) -> bool {
    let Some(live) = live::get() else { return false };
    let Some(server) = request.server().config::<ServerConfig>() else { return false };
    if server.aliases.is_empty() || request.is_proxied() {
        return false;
    }
    let Some(found) = match_alias(request, live, server) else { return false };
    request.map_to(&found.filename, c"wsgi-script");
    request.set_own_config(Mapped { alias: Arc::clone(found.alias), admitted: Cell::new(false) });
    true
}

fn match_alias<'s>(request: Request<'_>, live: &Live, server: &'s ServerConfig) -> Option<AliasMatch<'s>> {
    let regex = |alias: &Alias, uri: &[u8]| live.regex(alias.id)?.captures(uri);
    route::match_alias(&server.aliases, request.uri(), regex)
}

/// The alias that mapped the request.
fn alias_of<'s>(request: Request<'s>, live: &Live, server: &'s ServerConfig) -> Option<&'s Arc<Alias>> {
    if !request.is_mapped() {
        return None;
    }
    match request.own_config::<Mapped>() {
        Some(mapped) => Some(&mapped.alias),
        // A fast redirect (FallbackResource, DirectoryIndex) takes over the URL and notes of the request that was mapped,
        // but nothing else of ours.
        None => Some(match_alias(request, live, server)?.alias),
    }
}

/// Notes that httpd has let the request pass: who refuses it from here on is not its access control.
pub(crate) fn admit(request: Request<'_>) {
    if let Some(mapped) = request.own_config::<Mapped>() {
        mapped.admitted.set(true);
    }
}

/// The request is over. If httpd's access control refused it, the log says what may be missing.
pub(crate) fn look_back(request: Request<'_>) {
    let refused = request.status() == 403 && request.file_kind() == FileKind::File;
    if refused && request.own_config::<Mapped>().is_some_and(|mapped| !mapped.admitted.get()) {
        if let Some(live) = live::get() {
            live.advice.forbidden(request, request.filename());
        }
    }
}

/// Serves the request. `None`: it is not ours.
pub(crate) fn run(request: Request<'_>) -> Option<i32> {
    if !is_ours(request) {
        return None;
    }
    let live = live::get()?;
    Some(serve(request, live).unwrap_or_else(|rejection| {
        request.log(Level::Error, &rejection.text);
        i32::from(rejection.status)
    }))
}

/// Whether the request's handler is one of the module's own names or one of `WSGIHandlerScript`.
fn is_ours(request: Request<'_>) -> bool {
    let handler = request.handler();
    let has = |values: &RequestConfig| values.handler_script(handler).is_some();
    SCRIPT.contains(&handler)
        || request.server().config::<ServerConfig>().is_some_and(|server| has(&server.request))
        || request.dir_config::<DirConfig>().is_some_and(|dir| has(&dir.request))
}

/// The file that holds the application: the one that the request was mapped to, or a handler's script.
fn script_of<'a>(request: Request<'a>, settings: &Settings<'a>) -> &'a [u8] {
    settings.handler_script.map_or_else(|| request.filename(), |script| &script.path)
}

/// When that file was changed, microseconds since the epoch; 0 where only the daemon process can tell.
fn mtime_us(request: Request<'_>, settings: &Settings<'_>) -> i64 {
    let Some(script) = settings.handler_script else { return request.mtime_us() };
    let found = Path::new(OsStr::from_bytes(&script.path)).metadata().ok();
    found.map_or(0, |found| found.mtime() * 1_000_000 + found.mtime_nsec() / 1000)
}

fn serve(request: Request<'_>, live: &'static Live) -> Result<i32, Rejection> {
    let internal = |text: &'static str| Rejection { status: 500, text: Cow::Borrowed(text) };
    let server = request.server().config::<ServerConfig>().ok_or_else(|| internal("the server has no record"))?;
    let alias = alias_of(request, live, server);
    let settings =
        Settings::of(server, request.dir_config::<DirConfig>(), alias.map(|alias| &alias.options), request.handler());
    let body = route::check_request(&facts(request, &settings, alias.is_some()))?;
    drop_ambiguous_headers(request);
    if request.has_cgi_rules() {
        request.add_cgi_variables();
    }
    let names = Names::of(request, live, &settings);
    let key = live::server_key(request.server());
    let global = &live.reading.global;
    let same_name = |one, other| live.same_name(one, other);
    let delivery = Delivery {
        error_override: settings.error_override,
        sendfile: settings.enable_sendfile && request.allows_sendfile(),
    };
    match route::admit(global, &names.process_group, key, settings.restrict_process, same_name)? {
        Target::Embedded => with_payload(request, live, &settings, &names, None, |payload| {
            embedded::serve(request, live, payload, body, delivery)
        }),
        Target::Daemon(at, options) => {
            let group = live.groups.get(at).ok_or_else(|| internal("the process group has no record"))?;
            check_owner(script_of(request, &settings), group, options)?;
            check_root(script_of(request, &settings), group, options)?;
            with_payload(request, live, &settings, &names, Some(group), |payload| {
                daemon::serve(&Job { request, live, group, options, payload, body, delivery })
            })
        }
    }
}

fn facts<'r>(request: Request<'r>, settings: &Settings<'_>, aliased: bool) -> HandlerFacts<'r> {
    HandlerFacts {
        runs_resource: settings.handler_script.is_none(),
        aliased,
        exec_cgi: request.exec_cgi(),
        filename: request.filename(),
        file: match request.file_kind() {
            FileKind::Missing => route::FileKind::Missing,
            FileKind::Directory => route::FileKind::Directory,
            FileKind::File => route::FileKind::File,
        },
        accept_path_info: if request.rejects_path_info() { AcceptPathInfo::Off } else { AcceptPathInfo::Default },
        path_info: request.path_info(),
        transfer_encoding: request.headers_in().get(c"Transfer-Encoding"),
        content_length: request.headers_in().get(c"Content-Length"),
        chunked_request: settings.chunked_request,
        body_limit: request.body_limit(),
    }
}

/// Removes request headers whose names could be taken for others once they are variables.
fn drop_ambiguous_headers(request: Request<'_>) {
    let table = request.headers_in();
    let ambiguous: Vec<Vec<u8>> =
        table.iter().map(|(name, _)| name).filter(|name| !environ::header_may_stay(name)).map(<[u8]>::to_vec).collect();
    for name in ambiguous {
        if let Ok(name) = std::ffi::CString::new(name) {
            table.unset(&name);
        }
    }
}

/// Group and callable names of a request, expanded.
struct Names {
    process_group: Vec<u8>,
    application_group: Vec<u8>,
    callable: Vec<u8>,
}

impl Names {
    fn of(request: Request<'_>, live: &Live, settings: &Settings<'_>) -> Names {
        let script_name = environ::script_name(request.uri(), request.path_info(), request.is_included());
        let env = |name: &[u8]| variable(request, name);
        let facts = Facts {
            server_name: request.server().name(),
            port: request.server_port(),
            request_host: request.hostname(),
            script_name: &script_name,
            case_sensitive: live.reading.global.runtime.case_sensitivity != Some(false),
            env: &env,
        };
        let callable = if settings.callable_is_literal {
            Cow::Borrowed(settings.callable_object)
        } else {
            route::expand_callable(settings.callable_object, &facts)
        };
        Names {
            process_group: route::expand_group(settings.process_group, &facts).into_owned(),
            application_group: route::expand_group(settings.application_group, &facts).into_owned(),
            callable: callable.into_owned(),
        }
    }
}

/// The `x` of `%{ENV:x}`: notes, then the request's variables, then httpd's environment.
fn variable<'a>(request: Request<'_>, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let key = std::ffi::CString::new(name).ok()?;
    let of_request = request.notes().get(&key).or_else(|| request.subprocess_env().get(&key));
    let owned = of_request.map(<[u8]>::to_vec).or_else(|| {
        let value = std::env::var_os(OsStr::from_bytes(name))?;
        Some(value.as_bytes().to_vec())
    });
    owned.map(Cow::Owned)
}

/// `script-user` and `script-group`.
fn check_owner(filename: &[u8], group: &Group, options: &crate::directive::ProcessGroup) -> Result<(), Rejection> {
    let user = group.script_user.zip(options.script_user.as_deref()).map(|(id, name)| Ownership::User(id, name));
    let of_group =
        || group.script_group.zip(options.script_group.as_deref()).map(|(id, name)| Ownership::Group(id, name));
    let Some(wanted) = user.or_else(of_group) else { return Ok(()) };
    let script = Path::new(OsStr::from_bytes(filename));
    let owner = |found: Metadata| route::FileOwner { uid: found.uid(), gid: found.gid(), mode: found.mode() };
    let directory = script.parent().and_then(|parent| parent.metadata().ok()).map(owner);
    route::check_owner(wanted, filename, script.metadata().ok().map(owner), directory)
}

/// `chroot`: a script that lies outside cannot be read.
fn check_root(filename: &[u8], group: &Group, options: &crate::directive::ProcessGroup) -> Result<(), Rejection> {
    if environ::below_root(group.root.as_deref(), filename).is_some() {
        return Ok(());
    }
    let (script, name) = (shown(filename), shown(&options.name));
    let root = shown(group.root.as_deref().unwrap_or_default());
    let text = format!(
        "process group \"{name}\": the script \"{script}\" lies outside of chroot={root}, so no process of the group can \
         read it; the client gets 502"
    );
    Err(Rejection { status: 502, text: text.into() })
}

thread_local! {
    /// The thread's buffer for payloads, taken while a request uses it.
    static PAYLOAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Largest buffer that a thread keeps, bytes.
const KEPT: usize = 64 << 10;

/// Builds the request's payload and passes it to `use_it`.
fn with_payload(
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
            "the request's variables take {} bytes; at most {} are allowed",
            payload.len(),
            wsgi_wire::MAX_PAYLOAD
        );
        return Err(Rejection { status: 500, text: text.into() });
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
    // One that lies outside has been refused.
    let script = environ::below_root(root, script).unwrap_or(script);
    let alone = group.is_some_and(|group| group.main_script.as_deref() == Some(script));
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(settings.script_reloading, request::RELOAD)
        | flag(alone, request::MAIN)
        | flag(settings.pass_apache_request && group.is_none(), request::PASS_RECORD)
        | flag(settings.ignore_activity, request::IGNORE_ACTIVITY);
    let head = Head {
        flags,
        log_level: request.log_level(),
        mtime_us: if settings.script_reloading { mtime_us(request, settings) } else { 0 },
        request_start_us: request.start_us(),
        queue_start_us: if group.is_some() { now_us() } else { 0 },
        script,
        callable: &names.callable,
        group: &names.application_group,
    };
    let (listener_host, listener_port) = request.listener();
    let told = settings.trusted_proxy_headers.map(|listed| told(request, listed, settings.trusted_proxies));
    let facts = RequestFacts {
        method: request.method(),
        uri: request.uri(),
        path_info: request.path_info(),
        included: request.is_included(),
        tls: request.is_tls(),
        told_scheme: told.as_ref().map(|told| told.scheme).unwrap_or_default(),
        map_head_to_get: settings.map_head_to_get,
        content_filter: request.has_content_filter(),
        authorization: authorization(request, live, settings),
        handler: request.handler(),
        handler_script: settings.handler_script.map_or(b"", |script| &script.path),
        listener_host,
        listener_port,
        server_pid: live.pid.load(std::sync::atomic::Ordering::Relaxed),
        request_id: request.log_id(),
        connection_id: request.connection_log_id(),
    };
    let mut encoder = Encoder::new(out, &head);
    let mut put = |name: &[u8], value: &[u8]| {
        if told.as_ref().is_none_or(|told| told.passes(name)) {
            if let Some(value) = environ::with_root(root, name, value) {
                encoder.put(name, value);
            }
        }
    };
    environ::build(&facts, request.subprocess_env().iter(), &mut put);
    if !request.has_cgi_rules() {
        environ::put_cgi(&cgi(request, listener_host), request.headers_in().iter(), &mut put);
    }
    if let Some(told) = &told {
        told.put(|name, value| encoder.put(name, value));
    }
    encoder.finish();
}

/// What the proxy before httpd tells of its client.
fn told<'r>(request: Request<'r>, listed: &[Text], proxies: Option<&[Subnet]>) -> Told<'r> {
    Told::new(listed, proxies, request.remote_addr(), |header| {
        // SetEnv and mod_rewrite may make one up; the header itself goes first.
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

/// What the CGI variables are made of.
fn cgi<'r>(request: Request<'r>, server_addr: &'r [u8]) -> Cgi<'r> {
    Cgi {
        request_line: request.request_line(),
        protocol: request.protocol(),
        query: request.query(),
        scheme: request.scheme(),
        software: request.banner(),
        server_name: request.escaped_server_name(),
        server_addr,
        server_port: request.server_port(),
        server_admin: request.server_admin(),
        remote_addr: request.remote_addr(),
        remote_port: request.remote_port(),
        user: request.user(),
        auth_type: request.auth_type(),
        document_root: request.document_root(),
        filename: request.filename(),
        context_prefix: request.context_prefix(),
        context_document_root: request.context_document_root(),
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(0)
}
