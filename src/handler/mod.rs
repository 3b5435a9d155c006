//! The walk of a request: from its URL to a script, from its settings to a process, and then to daemon or embedded mode.
//! The hooks of a request call it. `facts` asks httpd what the walk has to know; `payload` packs the environ.

mod facts;
mod payload;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wsgi_wire::messages::Message;

use crate::daemon::{self, Job};
use crate::decide::{self, Dispatched};
use crate::directive::{Alias, DirConfig, RequestConfig, ServerConfig};
use crate::embedded;
use crate::facts::{check_owner, check_root};
use crate::httpd::request::{FileKind, Request};
use crate::live::{self, Live};
use crate::respond::Delivery;
use crate::route::{self, AliasMatch, Rejection, Settings, Target};
use facts::{Names, drop_ambiguous_headers, facts, script_of};

/// Handlers that run the file that the request was mapped to.
const SCRIPT: [&[u8]; 2] = [b"wsgi-script", b"application/x-httpd-wsgi"];

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

/// Notes that httpd has let the request pass: if something refuses it from here on, it is not httpd's access control.
pub(crate) fn admit(request: Request<'_>) {
    if let Some(mapped) = request.own_config::<Mapped>() {
        mapped.admitted.set(true);
    }
}

/// The request is over. If httpd's access control refused it, the log says what may be missing.
pub(crate) fn look_back(request: Request<'_>) {
    let refused = request.status() == 403 && request.file_kind() == FileKind::File && !decide::has_denied(request);
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
        if !rejection.text.is_empty() {
            request.report(rejection.message, &rejection.text);
        }
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

fn serve(request: Request<'_>, live: &'static Live) -> Result<i32, Rejection> {
    let internal = |text: &'static str| Rejection::new(500, Message::InternalOfRequest, text);
    let server = request.server().config::<ServerConfig>().ok_or_else(|| internal("the server has no record"))?;
    let alias = alias_of(request, live, server);
    let settings =
        Settings::of(server, request.dir_config::<DirConfig>(), alias.map(|alias| &alias.options), request.handler());
    let body = route::check_request(&facts(request, &settings, alias.is_some()))?;
    drop_ambiguous_headers(request);
    if request.has_cgi_rules() {
        request.add_cgi_variables();
    }
    let dispatched = decide::dispatch(request, &|put| payload::put_variables(request, live, &settings, None, put))
        .transpose()
        // `decide` has logged why.
        .map_err(|()| internal(""))?;
    let settings = match &dispatched {
        Some(Dispatched { process_group, application_group, callable }) => {
            settings.with_choice(process_group.as_deref(), application_group.as_deref(), callable.as_deref())
        }
        None => settings,
    };
    let names = Names::of(request, live, &settings);
    let key = live::server_key(request.server());
    let global = &live.reading.global;
    let same_name = |one, other| live.same_name(one, other);
    let delivery = Delivery {
        error_override: settings.error_override,
        sendfile: settings.enable_sendfile && request.allows_sendfile(),
    };
    match route::admit(global, &names.process_group, key, settings.restrict_process, same_name)? {
        Target::Embedded => {
            let embedded = embedded::get().ok_or_else(|| internal("embedded mode has no record"))?;
            payload::with(request, live, &settings, &names, None, |payload| {
                embedded::serve(request, embedded, payload, body, delivery)
            })
        }
        Target::Daemon(at, options) => {
            let groups = daemon::groups().ok_or_else(|| internal("the process groups have no record"))?;
            let group = groups.all.get(at).ok_or_else(|| internal("the process group has no record"))?;
            let (pid, dispatch) = (live.pid.load(Ordering::Relaxed), groups.dispatch.as_ref());
            check_owner(script_of(request, &settings), group, options)?;
            check_root(script_of(request, &settings), group, options)?;
            payload::with(request, live, &settings, &names, Some(group), |payload| {
                daemon::serve(&Job { request, pid, dispatch, group, options, payload, body, delivery, asks: None })
            })
        }
    }
}
