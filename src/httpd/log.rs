//! Lines for httpd's error logs, through the module's own log level (`LogLevel wsgi:debug`).

use super::bindings as sys;
use super::request::Request;
use super::server::Server;

/// httpd's log levels, by the numbers of http_log.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
#[allow(dead_code)]
pub(crate) enum Level {
    /// We cannot serve.
    Crit = 2,
    /// A request or a process was lost.
    Error = 3,
    /// Configuration or application misbehaves.
    Warn = 4,
    /// Worth a line at start-up whatever the level.
    Notice = 5,
    /// Life of processes.
    Info = 6,
    /// Life of requests.
    Debug = 7,
}

/// Longest line that httpd writes whole (MAX_STRING_LEN less its prefix).
const LONGEST: usize = 7600;

impl Request<'_> {
    /// Whether a line of this level would be written.
    pub(crate) fn logs(self, level: Level) -> bool {
        // SAFETY: the request is valid, and the index is the module's.
        let limit = unsafe { sys::ap_get_request_module_loglevel(self.raw(), crate::hooks::module_index()) };
        level as i32 <= limit
    }

    /// Writes one line, with the request's client and virtual host.
    pub(crate) fn log(self, level: Level, text: &str) {
        self.log_bytes(level as i32, text.as_bytes());
    }

    /// Writes a line of any bytes in pieces that httpd does not cut; it escapes what is not printable.
    pub(crate) fn log_bytes(self, level: i32, text: &[u8]) {
        for piece in pieces(text) {
            // SAFETY: request and text are valid for the call.
            unsafe { sys::wsgi_log_rerror(self.raw(), level, piece.as_ptr().cast(), piece.len() as sys::apr_size_t) };
        }
    }
}

impl Server<'_> {
    /// Writes one line to the server's error log.
    pub(crate) fn log(self, level: Level, text: &str) {
        self.log_bytes(level as i32, text.as_bytes());
    }

    /// As [`Request::log_bytes`].
    pub(crate) fn log_bytes(self, level: i32, text: &[u8]) {
        for piece in pieces(text) {
            // SAFETY: server and text are valid for the call.
            unsafe { sys::wsgi_log_error(self.raw(), level, piece.as_ptr().cast(), piece.len() as sys::apr_size_t) };
        }
    }
}

fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let empty: Option<&[u8]> = text.is_empty().then_some(b"");
    empty.into_iter().chain(text.chunks(LONGEST))
}
