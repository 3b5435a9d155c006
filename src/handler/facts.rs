//! What the walk of a request asks httpd and the file system: facts for `route`'s decisions, expanded names, owners.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::environ;
use crate::facts;
use crate::httpd::request::{FileKind, Request};
use crate::live::Live;
use crate::route::{self, AcceptPathInfo, Facts, HandlerFacts, Settings};

/// The file that holds the application: the one that the request was mapped to, or a handler's script.
pub(super) fn script_of<'a>(request: Request<'a>, settings: &Settings<'a>) -> &'a [u8] {
    settings.handler_script.map_or_else(|| request.filename(), |script| &script.path)
}

/// When the script's file was changed, in microseconds since the epoch; 0 where only the daemon process can tell.
pub(super) fn mtime_us(request: Request<'_>, settings: &Settings<'_>) -> i64 {
    let Some(script) = settings.handler_script else { return request.mtime_us() };
    facts::mtime_us(&script.path)
}

/// What decides whether the request can be served at all.
pub(super) fn facts<'r>(request: Request<'r>, settings: &Settings<'_>, aliased: bool) -> HandlerFacts<'r> {
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
pub(super) fn drop_ambiguous_headers(request: Request<'_>) {
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
pub(super) struct Names {
    /// Its process group.
    pub(super) process_group: Vec<u8>,
    /// Its application group.
    pub(super) application_group: Vec<u8>,
    /// The name that the script gives to its application.
    pub(super) callable: Vec<u8>,
}

impl Names {
    /// Those of a request with these settings.
    pub(super) fn of(request: Request<'_>, live: &Live, settings: &Settings<'_>) -> Names {
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
