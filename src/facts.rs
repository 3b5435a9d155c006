//! Facts about a request and about scripts, from httpd and from the file system: what `handler` and `decide` both ask.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use wsgi_wire::messages::Message;

use crate::daemon::Group;
use crate::directive::{ProcessGroup, shown};
use crate::environ::{self, Cgi};
use crate::httpd::request::Request;
use crate::route::{self, Ownership, Rejection};

/// When a script's file was changed, in microseconds since the epoch; 0 where only the daemon process can tell.
pub(crate) fn mtime_us(script: &[u8]) -> i64 {
    let found = Path::new(OsStr::from_bytes(script)).metadata().ok();
    found.map_or(0, |found| found.mtime() * 1_000_000 + found.mtime_nsec() / 1000)
}

/// `script-user` and `script-group`.
pub(crate) fn check_owner(filename: &[u8], group: &Group, options: &ProcessGroup) -> Result<(), Rejection> {
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
pub(crate) fn check_root(filename: &[u8], group: &Group, options: &ProcessGroup) -> Result<(), Rejection> {
    if environ::below_root(group.root.as_deref(), filename).is_some() {
        return Ok(());
    }
    let (script, name) = (shown(filename), shown(&options.name));
    let root = shown(group.root.as_deref().unwrap_or_default());
    let text = format!(
        "process group \"{name}\": the script \"{script}\" lies outside of chroot={root}, so no process of the group can \
         read it; the client gets 502"
    );
    Err(Rejection::new(502, Message::OutsideRoot, text))
}

/// What the CGI variables are made of.
pub(crate) fn cgi<'r>(request: Request<'r>, server_addr: &'r [u8]) -> Cgi<'r> {
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
