//! Where the log lines of a thread go: to the request that the thread executes, or to the log of the process. The log
//! streams of Python, `wsgi.errors`, stdout and stderr, write here.

use std::cell::{Cell, RefCell};
use std::pin::Pin;

use crate::log::{MAX_RECORD, PRINTED, process_level, process_log};
use crate::python::py::Gil;
use crate::python::threads;
use crate::request::exchange::Exchange;
use crate::request::link::{Link, Use};

thread_local! {
    /// The exchange that this thread executes.
    static CURRENT: Link = const { Link::new() };
    /// The interpreter in which it does, as Python knows it. Elsewhere, where the thread may be for a moment in the middle of
    /// the exchange, nothing may touch that: its lock is the GIL of this one.
    static PLACE: Cell<usize> = const { Cell::new(0) };
    /// Unfinished lines of this thread.
    static PARTIAL: RefCell<Partial> = const { RefCell::new(Partial([const { Vec::new() }; 3])) };
}

/// Unfinished lines of wsgi.errors, stdout and stderr. They are written at the latest when the thread ends.
struct Partial([Vec<u8>; 3]);

impl Drop for Partial {
    fn drop(&mut self) {
        if threads::is_ended() {
            // The thread gives nothing back, not even memory.
            std::mem::forget(std::mem::take(&mut self.0));
            return;
        }
        self.0.iter().filter(|line| !line.is_empty()).for_each(|line| process_log(PRINTED, line));
    }
}

/// In a forked process: forgets unfinished lines, which belong to the process before it.
pub fn forget_unfinished() {
    let _ = PARTIAL.try_with(|all| all.try_borrow_mut().map(|mut all| all.0.iter_mut().for_each(Vec::clear)));
}

/// Whether a record of this thread would be written.
pub fn is_logged(gil: Gil, level: u8) -> bool {
    let limit = current(gil, |exchange| exchange.map(|exchange| exchange.log_level));
    level <= limit.unwrap_or_else(process_level)
}

/// Runs `body` with the exchange that this thread executes in the interpreter to which it is attached, if there is one.
fn current<T>(gil: Gil, body: impl FnOnce(Option<Use<'_>>) -> T) -> T {
    let is_here = PLACE.get() == gil.interpreter();
    CURRENT.with(|link| body(if is_here { link.writer(gil) } else { None }))
}

/// Runs `body`, attached; log lines of this thread are those of `exchange` meanwhile. In httpd's children the thread may be in
/// the middle of another exchange: a filter such as mod_include's makes a request of its own for what that one sends.
pub fn with_exchange<T>(gil: Gil, exchange: Pin<&Exchange<'_>>, body: impl FnOnce() -> T) -> T {
    /// Also when `body` panics.
    struct Back(Link, usize);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: nothing, or the exchange of a call of `with_exchange` around this one, which cuts the link.
            CURRENT.with(|link| unsafe { link.follow(&self.0) });
            PLACE.set(self.1);
        }
    }
    let back = Back(Link::new(), PLACE.replace(gil.interpreter()));
    // SAFETY: as in `Back`; it is looked at again by `drop` only.
    CURRENT.with(|link| unsafe { back.0.follow(link) });
    // SAFETY: it leads elsewhere when this function returns, attached; the exchange is borrowed until then.
    CURRENT.with(|link| unsafe { link.set(exchange) });
    body()
}

/// Runs `body` with the exchange that this thread executes, if there is one.
pub fn with_current<T>(gil: Gil, body: impl FnOnce(&Exchange<'static>) -> T) -> Option<T> {
    current(gil, |exchange| exchange.map(|exchange| body(&exchange)))
}

/// Logs a record of this thread: its lines belong to the request that the thread executes, if there is one.
pub fn emit(gil: Gil, level: u8, record: &[u8]) {
    current(gil, |exchange| match exchange {
        Some(exchange) => exchange.log(gil, level, record, true),
        None => gil.detach(|| process_log(level, record)),
    });
}

/// Takes what was written to stream `stream` (0 wsgi.errors, 1 stdout, 2 stderr): lines that one call completes are one
/// record.
pub fn write_text(gil: Gil, stream: usize, text: &[u8]) {
    let mut partial = take_partial(stream);
    let rest = match text.iter().rposition(|byte| *byte == b'\n') {
        Some(end) if partial.is_empty() => {
            emit(gil, PRINTED, &text[..end]);
            &text[end + 1..]
        }
        Some(end) => {
            partial.extend_from_slice(&text[..end]);
            emit(gil, PRINTED, &partial);
            partial.clear();
            &text[end + 1..]
        }
        None => text,
    };
    partial.extend_from_slice(rest);
    while partial.len() > MAX_RECORD {
        let rest = partial.split_off(MAX_RECORD);
        emit(gil, PRINTED, &partial);
        partial = rest;
    }
    PARTIAL.with_borrow_mut(|all| all.0[stream.min(2)] = partial);
}

/// Writes an unfinished line of stream `stream`, if there is one.
pub fn flush_text(gil: Gil, stream: usize) {
    let partial = take_partial(stream);
    if !partial.is_empty() {
        emit(gil, PRINTED, &partial);
    }
}

fn take_partial(stream: usize) -> Vec<u8> {
    PARTIAL.with_borrow_mut(|all| std::mem::take(&mut all.0[stream.min(2)]))
}

/// Ends the lines that the request left unfinished.
pub fn flush_all(gil: Gil) {
    for stream in 0..3 {
        flush_text(gil, stream);
    }
}
