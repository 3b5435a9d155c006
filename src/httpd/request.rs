//! A request.

use std::any::TypeId;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use super::bindings;
use super::module::OfDirectory;
use super::pool::Pool;
use super::server::Server;
use super::table::Table;
use super::{bytes, module, optional};

/// A request that lives for `'r`, the time of the hook that got it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'r> {
    raw: *mut bindings::request_rec,
    life: PhantomData<&'r ()>,
}

/// What kind of file `r->filename` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Nothing is there.
    Missing,
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// A number of a C macro as the type of the field that holds it.
macro_rules! constant {
    ($name:ident) => {
        bindings::$name as i64
    };
}

/// Begins each value that the module keeps of a request: a reader learns from it what type follows, and where the next
/// value is.
#[repr(C)]
struct Kept {
    kind: TypeId,
    next: *mut Kept,
}

/// A value that the module keeps of a request.
#[repr(C)]
struct Own<T> {
    kept: Kept,
    value: T,
}

impl<'r> Request<'r> {
    /// # Safety
    /// `raw` is NULL or a request that lives for `'r`.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::request_rec) -> Option<Self> {
        (!raw.is_null()).then_some(Request { raw, life: PhantomData })
    }

    /// For calls of httpd.
    pub(crate) fn raw(self) -> *mut bindings::request_rec {
        self.raw
    }

    fn record(self) -> &'r bindings::request_rec {
        // SAFETY: `from_raw`'s contract; the reference is not kept over calls that change the request.
        unsafe { &*self.raw }
    }

    fn connection(self) -> &'r bindings::conn_rec {
        // SAFETY: a request's connection outlives it.
        unsafe { &*self.record().connection }
    }

    /// The request's pool.
    pub(crate) fn pool(self) -> Pool<'r> {
        // SAFETY: the pool lives as long as the request.
        unsafe { Pool::from_raw(self.record().pool) }
    }

    /// The virtual host.
    pub(crate) fn server(self) -> Server<'r> {
        // SAFETY: servers outlive requests.
        unsafe { Server::from_raw(self.record().server) }
    }

    /// The module's record of the directory, as merged for this request.
    pub(crate) fn dir_config<T: OfDirectory>(self) -> Option<&'r T> {
        // SAFETY: the vector is the request's; the module's entry is a `T` (the contract of `OfDirectory`) of a pool that
        // outlives it, or NULL.
        unsafe {
            let found = bindings::ap_get_module_config(self.record().per_dir_config, module::record());
            found.cast::<T>().as_ref()
        }
    }

    /// Gives the request a value of ours, as later hooks of it find it by [`Request::own_config`].
    pub(crate) fn set_own_config<T: 'static>(self, value: T) {
        let kept = Kept { kind: TypeId::of::<T>(), next: self.kept() };
        let owned = self.pool().own(Own { kept, value });
        // SAFETY: the vector is the request's and has room for the module.
        unsafe { bindings::ap_set_module_config(self.record().request_config, module::record(), owned.cast()) };
    }

    /// The values that [`Request::set_own_config`] gave, the last one first; or NULL.
    fn kept(self) -> *mut Kept {
        // SAFETY: the vector is the request's; only `set_own_config` puts the module's entry there: an `Own`, which begins
        // with a `Kept`, or NULL.
        unsafe { bindings::ap_get_module_config(self.record().request_config, module::record()) }.cast()
    }

    /// What [`Request::set_own_config`] gave last that is a `T`.
    pub(crate) fn own_config<T: 'static>(self) -> Option<&'r T> {
        let mut found = self.kept();
        // SAFETY: NULL, or a value that lives in the request's pool.
        while let Some(kept) = unsafe { found.as_ref() } {
            if kept.kind == TypeId::of::<T>() {
                // SAFETY: it is an `Own` of this kind, and lives in the request's pool.
                return Some(unsafe { &(*found.cast::<Own<T>>()).value });
            }
            found = kept.next;
        }
        None
    }

    /// As [`Request::own_config`]; the request gets a value if it has none.
    pub(crate) fn own_config_or<T: 'static>(self, make: impl FnOnce() -> T) -> Option<&'r T> {
        if self.own_config::<T>().is_none() {
            self.set_own_config(make());
        }
        self.own_config()
    }

    /// `r->uri`: path, decoded.
    pub(crate) fn uri(self) -> &'r [u8] {
        // SAFETY: a C string of the request, or NULL.
        unsafe { bytes(self.record().uri) }
    }

    /// `r->path_info`.
    pub(crate) fn path_info(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.record().path_info) }
    }

    /// `r->filename`.
    pub(crate) fn filename(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.record().filename) }
    }

    /// `r->handler`.
    pub(crate) fn handler(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.record().handler) }
    }

    /// `r->method`.
    pub(crate) fn method(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.record().method) }
    }

    /// Host of the request line or header.
    pub(crate) fn hostname(self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { optional(self.record().hostname) }
    }

    /// `r->log_id`, made now if nothing has made one.
    pub(crate) fn log_id(self) -> Option<&'r [u8]> {
        let raw = self.raw;
        // SAFETY: the request is ours in its handler, and the hook stores a C string of its pool.
        unsafe {
            if (*raw).log_id.is_null() {
                bindings::ap_run_generate_log_id((*raw).connection, raw, &raw mut (*raw).log_id);
            }
            optional((*raw).log_id)
        }
    }

    /// `LimitRequestBody`, bytes; 0 is no limit.
    pub(crate) fn body_limit(self) -> u64 {
        // SAFETY: the request is valid.
        u64::try_from(unsafe { bindings::ap_get_limit_req_body(self.raw) }).unwrap_or(0)
    }

    /// The connection's log id.
    pub(crate) fn connection_log_id(self) -> Option<&'r [u8]> {
        // SAFETY: as above, of the connection.
        unsafe { optional(self.connection().log_id) }
    }

    /// Microseconds since the epoch when the request arrived.
    pub(crate) fn start_us(self) -> i64 {
        self.record().request_time
    }

    /// `r->status`.
    pub(crate) fn status(self) -> i32 {
        self.record().status
    }

    /// Mapped by `ProxyPass` or such.
    pub(crate) fn is_proxied(self) -> bool {
        self.record().proxyreq != 0
    }

    /// Part of an SSI document.
    pub(crate) fn is_included(self) -> bool {
        // SAFETY: a C string that mod_include sets, or NULL.
        !self.record().main.is_null() && unsafe { bytes(self.record().protocol) } == b"INCLUDED"
    }

    /// The port that httpd takes for the server's.
    pub(crate) fn server_port(self) -> u16 {
        // SAFETY: the request is valid.
        unsafe { bindings::ap_get_server_port(self.raw) }
    }

    /// Whether `Options` allows ExecCGI.
    pub(crate) fn exec_cgi(self) -> bool {
        // SAFETY: the request is valid.
        let options = unsafe { bindings::ap_allow_options(self.raw) };
        i64::from(options) & constant!(OPT_EXECCGI) != 0
    }

    /// `AcceptPathInfo Off` holds.
    pub(crate) fn rejects_path_info(self) -> bool {
        i64::from(self.record().used_path_info) == constant!(AP_REQ_REJECT_PATH_INFO)
    }

    /// What httpd found at `r->filename`.
    pub(crate) fn file_kind(self) -> FileKind {
        match self.record().finfo.filetype {
            bindings::apr_filetype_e_APR_NOFILE => FileKind::Missing,
            bindings::apr_filetype_e_APR_DIR => FileKind::Directory,
            _ => FileKind::File,
        }
    }

    /// Modification time of `r->filename`, microseconds since the epoch.
    pub(crate) fn mtime_us(self) -> i64 {
        self.record().finfo.mtime
    }

    /// Request headers.
    pub(crate) fn headers_in(self) -> Table<'r> {
        // SAFETY: table and pool live as long as the request.
        unsafe { Table::from_raw(self.record().headers_in, self.pool()) }
    }

    /// Response headers.
    pub(crate) fn headers_out(self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.record().headers_out, self.pool()) }
    }

    /// Response headers that stay on errors and redirects.
    pub(crate) fn err_headers_out(self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.record().err_headers_out, self.pool()) }
    }

    /// `SetEnv`, CGI variables and such.
    pub(crate) fn subprocess_env(self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.record().subprocess_env, self.pool()) }
    }

    /// Notes that modules leave each other.
    pub(crate) fn notes(self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.record().notes, self.pool()) }
    }

    /// httpd has rules of its own for the CGI variables of this request: `CGIVar`, `CGIPassAuth`, or it was
    /// redirected or included by another one.
    pub(crate) fn has_cgi_rules(self) -> bool {
        // SAFETY: the core's record of the directory is always there, of this type.
        let core = unsafe { bindings::wsgi_core_dir_config(self.raw).as_ref() };
        let by_configuration = core
            .is_none_or(|core| core.cgi_pass_auth() == bindings::AP_CGI_PASS_AUTH_ON || !core.cgi_var_rules.is_null());
        by_configuration || !self.record().prev.is_null() || !self.record().main.is_null()
    }

    /// `r->the_request`.
    pub(crate) fn request_line(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe { bytes(self.record().the_request) }
    }

    /// `r->protocol`.
    pub(crate) fn protocol(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe { bytes(self.record().protocol) }
    }

    /// `r->args`.
    pub(crate) fn query(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe { bytes(self.record().args) }
    }

    /// `ap_http_scheme`.
    pub(crate) fn scheme(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe { bytes(bindings::ap_run_http_scheme(self.raw)) }
    }

    /// `ap_get_server_banner`.
    pub(crate) fn banner(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe { bytes(bindings::ap_get_server_banner()) }
    }

    /// `ap_get_server_name_for_url`, escaped for HTML.
    pub(crate) fn escaped_server_name(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe {
            bytes(bindings::ap_escape_html2(self.record().pool, bindings::ap_get_server_name_for_url(self.raw), 0))
        }
    }

    /// `r->useragent_ip`.
    pub(crate) fn remote_addr(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe { bytes(self.record().useragent_ip) }
    }

    /// What httpd calls the client: its name, where it was looked up (`HostnameLookups`), or else its address.
    pub(crate) fn client_name(self) -> &'r [u8] {
        let kind = bindings::REMOTE_NAME as i32;
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe { bytes(bindings::ap_get_useragent_host(self.raw, kind, std::ptr::null_mut())) }
    }

    /// The client's name, where it was looked up.
    pub(crate) fn resolved_client_name(self) -> Option<&'r [u8]> {
        let kind = bindings::REMOTE_HOST as i32;
        // SAFETY: as above.
        unsafe { optional(bindings::ap_get_useragent_host(self.raw, kind, std::ptr::null_mut())) }
    }

    /// `Satisfy Any` holds (mod_access_compat): who is refused access may still authenticate.
    pub(crate) fn any_satisfies(self) -> bool {
        // SAFETY: the request is valid.
        unsafe { bindings::ap_satisfies(self.raw) == bindings::SATISFY_ANY as i32 }
    }

    /// `ServerSignature`, as CGI scripts get it.
    pub(crate) fn signature(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text lives in its pool.
        unsafe { bytes(bindings::ap_psignature(c"".as_ptr(), self.raw)) }
    }

    /// A variable of mod_ssl.
    pub(crate) fn tls_variable(self, name: &str) -> Option<Vec<u8>> {
        let name = self.pool().string(name.as_bytes());
        let record = self.record();
        // SAFETY: the request, its server and its connection are valid; the text, or NULL, lives in the request's pool.
        let value = unsafe {
            optional(bindings::ap_ssl_var_lookup(record.pool, record.server, record.connection, self.raw, name))
        };
        value.map(<[u8]>::to_vec)
    }

    /// `ap_document_root`.
    pub(crate) fn document_root(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe { bytes(bindings::ap_document_root(self.raw)) }
    }

    /// `ap_context_prefix`.
    pub(crate) fn context_prefix(self) -> &'r [u8] {
        // SAFETY: the request is valid; the text, or NULL, lives as long.
        unsafe { bytes(bindings::ap_context_prefix(self.raw)) }
    }

    /// `ServerAdmin`.
    pub(crate) fn server_admin(self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { optional((*self.record().server).server_admin) }
    }

    /// `r->user`.
    pub(crate) fn user(self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { optional(self.record().user) }
    }

    /// Sets `r->user`.
    pub(crate) fn set_user(self, user: &[u8]) {
        let user = self.pool().string(user);
        // SAFETY: the request is ours in the provider; the name lives in its pool.
        unsafe { (*self.raw).user = user };
    }

    /// `r->ap_auth_type`.
    pub(crate) fn auth_type(self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { optional(self.record().ap_auth_type) }
    }

    /// httpd has authentication configured for the request, or a module of it has found a user. (`AuthType None` is
    /// none. Whether a `Require` asks for a user is not looked at: without an `AuthType` only a module that sets
    /// `r->user` can fulfil it, and asking httpd would run every access checker again.)
    pub(crate) fn is_authenticated_by_httpd(self) -> bool {
        // SAFETY: the request is valid; the answer is a C string or NULL.
        let configured = unsafe { !bindings::ap_auth_type(self.raw).is_null() };
        configured || self.user().is_some() || self.auth_type().is_some()
    }

    /// `ap_context_document_root`.
    pub(crate) fn context_document_root(self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { optional(bindings::ap_context_document_root(self.raw)) }
    }

    /// The client's port.
    pub(crate) fn remote_port(self) -> u16 {
        let client = self.connection().client_addr;
        // SAFETY: the client's address lives as long as its connection.
        if client.is_null() { 0 } else { unsafe { (*client).port } }
    }

    /// Fills `subprocess_env` with the CGI variables, all but `PATH_TRANSLATED`; `SCRIPT_NAME` is the whole path.
    ///
    /// For `PATH_TRANSLATED`, which no WSGI application gets, `ap_add_cgi_vars` would run a subrequest with a
    /// directory walk of its own, at the cost of all that we do. It does so where there is a `path_info`.
    pub(crate) fn add_cgi_variables(self) {
        // SAFETY: the request is valid and in its handler; the empty text is constant and put back at once.
        unsafe {
            bindings::ap_add_common_vars(self.raw);
            let path_info = std::mem::replace(&mut (*self.raw).path_info, c"".as_ptr().cast_mut());
            bindings::ap_add_cgi_vars(self.raw);
            (*self.raw).path_info = path_info;
        }
    }

    /// The connection is TLS.
    pub(crate) fn is_tls(self) -> bool {
        // SAFETY: the connection outlives the request.
        unsafe { bindings::wsgi_is_https(self.record().connection) != 0 }
    }

    /// The client's socket; `None` where the connection is not one of its own (an HTTP/2 stream).
    pub(crate) fn client_socket(self) -> Option<BorrowedFd<'r>> {
        // SAFETY: the connection is the request's.
        let fd = unsafe { bindings::wsgi_client_fd(self.record().connection) };
        // SAFETY: httpd keeps the client's socket open as long as its connection.
        (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// The request is one of several on its connection (HTTP/2).
    pub(crate) fn is_stream(self) -> bool {
        !self.connection().master.is_null()
    }

    /// The client is gone.
    pub(crate) fn is_aborted(self) -> bool {
        self.connection().aborted != 0
    }

    /// Where the connection was accepted: address and port.
    pub(crate) fn listener(self) -> (&'r [u8], u16) {
        let address = self.connection().local_addr;
        if address.is_null() {
            return (b"", 0);
        }
        // SAFETY: the address lives as long as the connection.
        let port = unsafe { (*address).port };
        // SAFETY: a C string of the connection, or NULL.
        (unsafe { bytes(self.connection().local_ip) }, port)
    }

    /// The first output filter changes content rather than protocol.
    pub(crate) fn has_content_filter(self) -> bool {
        let filter = self.record().output_filters;
        if filter.is_null() {
            return false;
        }
        // SAFETY: a filter in the chain of the request, and its registration.
        let kind = unsafe { (*(*filter).frec).ftype };
        kind < bindings::ap_filter_type_AP_FTYPE_PROTOCOL
    }

    /// Maps the request to a file for a handler.
    pub(crate) fn map_to(self, filename: &[u8], handler: &CStr) {
        let filename = self.pool().string(filename);
        let handler = self.pool().string(handler.to_bytes());
        // SAFETY: the request is ours for the hook; the strings live in its pool.
        unsafe {
            (*self.raw).filename = filename;
            (*self.raw).handler = handler;
        }
        // As mod_alias does: ScriptAlias needs no ExecCGI.
        self.notes().set(b"alias-forced-type", b"wsgi-script");
    }

    /// Whether [`Request::map_to`] mapped it.
    pub(crate) fn is_mapped(self) -> bool {
        self.notes().get(c"alias-forced-type") == Some(b"wsgi-script")
    }
}
