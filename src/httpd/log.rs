//! Lines for httpd's error logs, through the module's own log level (`LogLevel wsgi:debug`). Those of a request
//! name its client, as httpd does it, and its script, as mod_wsgi does it. Warnings and errors have a number.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wsgi_sys::forked;
use wsgi_wire::messages::Message;

use super::bindings;
use super::module;
use super::request::Request;
use super::server::Server;

/// httpd's log levels for lines without a number, by the numbers of http_log.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub(crate) enum Level {
    /// Life of processes.
    Info = 6,
    /// Life of requests.
    Debug = 7,
}

/// Longest line that httpd writes whole (MAX_STRING_LEN less its prefix).
const LONGEST: usize = 7600;

impl Request<'_> {
    /// APLOG level of the module for this request: lines above it are not written.
    pub(crate) fn log_level(self) -> u8 {
        // SAFETY: the request is valid, and the index is the module's.
        let limit = unsafe { bindings::ap_get_request_module_loglevel(self.raw(), module::index()) };
        u8::try_from(limit.clamp(0, 15)).unwrap_or(15)
    }

    /// Whether a line of this level would be written.
    pub(crate) fn logs(self, level: Level) -> bool {
        level as i32 <= self.log_level().into()
    }

    /// Writes one line, with the request's client, script and virtual host.
    pub(crate) fn log(self, level: Level, text: &str) {
        self.log_record(level as i32, text.as_bytes());
    }

    /// As [`Request::log`], for a warning or an error.
    pub(crate) fn report(self, message: Message, text: &str) {
        self.log_record(message.level().into(), message.line(text).as_bytes());
    }

    /// Writes the lines of a record, any bytes, together: no other thread of this process writes between them.
    pub(crate) fn log_record(self, level: i32, text: &[u8]) {
        let room = LONGEST - self.filename().len().min(LONGEST / 2);
        let _one = one_record();
        for piece in pieces(text, room) {
            // SAFETY: request and text are valid for the call.
            unsafe {
                bindings::wsgi_log_rerror(self.raw(), level, piece.as_ptr().cast(), piece.len() as bindings::apr_size_t)
            };
        }
    }
}

impl Server<'_> {
    /// Writes one line to the server's error log.
    pub(crate) fn log(self, level: Level, text: &str) {
        self.log_record(level as i32, text.as_bytes());
    }

    /// As [`Server::log`], for a warning or an error.
    pub(crate) fn report(self, message: Message, text: &str) {
        self.log_record(message.level().into(), message.line(text).as_bytes());
    }

    /// As [`Request::log_record`].
    pub(crate) fn log_record(self, level: i32, text: &[u8]) {
        let _one = one_record();
        for piece in pieces(text, LONGEST) {
            // SAFETY: server and text are valid for the call.
            unsafe {
                bindings::wsgi_log_error(self.raw(), level, piece.as_ptr().cast(), piece.len() as bindings::apr_size_t)
            };
        }
    }
}

/// APLOG_WARNING, which httpd shows at a start whatever `LogLevel` says.
const WARNING: i32 = 4;

/// Writes a line of a report to standard error as httpd writes those of `-t`: without time, place and number.
pub(crate) fn say_at_startup(text: &str) {
    for piece in pieces(text.as_bytes(), LONGEST) {
        // SAFETY: the text is valid for the call.
        unsafe { bindings::wsgi_log_startup(WARNING, piece.as_ptr().cast(), piece.len() as bindings::apr_size_t) };
    }
}

/// Held while the lines of a record are written.
static RECORD: Mutex<()> = Mutex::new(());

/// `None` in a process that an application has forked: a thread that is not there may have held the lock.
fn one_record() -> Option<MutexGuard<'static, ()>> {
    (!forked::is_child()).then(|| RECORD.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The lines of a record, the long ones in pieces of `room` bytes that httpd does not cut. httpd escapes what is not
/// printable, but it ends at a null character, which becomes `\0`.
fn pieces(text: &[u8], room: usize) -> impl Iterator<Item = Cow<'_, [u8]>> {
    text.split(|byte| *byte == b'\n').flat_map(move |line| {
        let empty: Option<&[u8]> = line.is_empty().then_some(b"");
        empty
            .into_iter()
            .chain(line.chunks(room))
            .map(|piece| if piece.contains(&0) { Cow::Owned(shown(piece)) } else { Cow::Borrowed(piece) })
    })
}

fn shown(piece: &[u8]) -> Vec<u8> {
    piece.iter().flat_map(|byte| if *byte == 0 { &b"\\0"[..] } else { std::slice::from_ref(byte) }).copied().collect()
}
