//! The table of functions between an httpd child and the engine in embedded mode.
//!
//! The child opens libpython and then the engine, and calls the engine's three exported functions
//! ([`Embed`], [`Run`], [`Finish`], found by dlsym under [`EMBED_SYMBOL`], ...). While a request runs,
//! the engine calls back through [`Host`] with the request pointer that `Run` was given. Payloads are
//! those of [`crate::request`] and [`crate::response`], the same as in frames.

use core::ffi::{c_char, c_void};

/// Symbol of [`Embed`] in the engine.
pub const EMBED_SYMBOL: &core::ffi::CStr = c"wsgi_engine_embed";
/// Symbol of [`Run`] in the engine.
pub const RUN_SYMBOL: &core::ffi::CStr = c"wsgi_engine_run";
/// Symbol of [`Finish`] in the engine.
pub const FINISH_SYMBOL: &core::ffi::CStr = c"wsgi_engine_finish";

/// `read_body`: the client closed the connection.
pub const READ_GONE: isize = -1;
/// `read_body`: the client sent nothing for httpd's `Timeout`.
pub const READ_TIMED_OUT: isize = -2;
/// `read_body`: httpd refused the body.
pub const READ_REFUSED: isize = -3;

/// What the child offers. The functions never unwind. The engine calls those that take a `request` only until [`Run`]
/// returns, and one at a time for a request, by whatever thread: an application may use its streams in another thread
/// than the one that runs the request. It calls them without the GIL. `record` is the exception to both.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// Fills `buf` with up to `len` bytes of the request's body, blocking until there is at least one.
    /// Number of bytes; 0 at the end; READ_GONE, READ_TIMED_OUT or READ_REFUSED.
    pub read_body: unsafe extern "C" fn(request: *mut c_void, buf: *mut u8, len: usize) -> isize,
    /// Takes the response's head (payload of [`crate::response::Head`]). 0, or -1 when it is refused.
    pub head: unsafe extern "C" fn(request: *mut c_void, payload: *const u8, len: usize) -> i32,
    /// Takes bytes of the body. `flush` not 0: they must reach the client now; 0: the response ends with
    /// these. 0, or -1 when the client is gone.
    pub data: unsafe extern "C" fn(request: *mut c_void, bytes: *const u8, len: usize, flush: i32) -> i32,
    /// Takes the rest of the body from a regular file: `length` bytes from `offset`. `fd` stays the
    /// caller's. 0, or -1 when the client is gone or the file ended early.
    pub file: unsafe extern "C" fn(request: *mut c_void, fd: i32, offset: u64, length: u64) -> i32,
    /// Takes what a script decided (payload of [`crate::decision::Answer`]), for a request with the flag DECIDE. 0, or -1
    /// when it is refused.
    pub answer: unsafe extern "C" fn(request: *mut c_void, payload: *const u8, len: usize) -> i32,
    /// httpd's `request_rec` behind `request`, for `apache.request_rec`. May be called with the GIL, because it does not
    /// wait, and while another function of the table runs for the request.
    pub record: unsafe extern "C" fn(request: *mut c_void) -> *mut c_void,
    /// What httpd's scoreboard says: a new descriptor, the caller's, of a file as [`crate::control::ToDaemon::ServerMetrics`]
    /// describes it; -1 when there is none. On any thread, with or without a request.
    pub server_metrics: unsafe extern "C" fn() -> i32,
    /// Logs a record: one line or several, with newlines between them. With a null `request` it goes to the log of the
    /// server.
    pub log: unsafe extern "C" fn(request: *mut c_void, level: u8, text: *const u8, len: usize),
}

/// Starts Python in this process on a thread of its own, and waits until it runs. `config` is an
/// [`crate::config::EmbedConfig`] as JSON. Null when Python runs; else the cause as a C string that lives
/// as long as the process. To be called once.
pub type Embed = unsafe extern "C" fn(config: *const u8, len: usize, host: *const Host) -> *const c_char;

/// Runs one request (payload of [`crate::request`]) on the calling thread. 0: the response was handed
/// over whole; else a [`crate::response::Failure`] as number.
pub type Run = unsafe extern "C" fn(payload: *const u8, len: usize, request: *mut c_void) -> i32;

/// Ends Python: atexit functions run, at most `timeout_ms`. 0: ended; 1: left as it was, because a
/// request still runs or time was up. No request may be run after.
pub type Finish = unsafe extern "C" fn(timeout_ms: u32) -> i32;
