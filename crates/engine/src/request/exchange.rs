//! One request and its response, as the adapter sees them: the two halves of the host interface, and
//! where log lines of the request go.
//!
//! An [`Exchange`] stands on its request thread's stack. Python objects reach it through a [`Link`],
//! which is cut at the end of the request. Its cells are only touched with the GIL held: it is their
//! lock, and a cell found borrowed means that another thread waits in it without the GIL.

use core::ffi::c_void;
use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use wsgi_wire::frame::InputFailure;
use wsgi_wire::response::{Failure, FilePart};

use crate::python::py::Gil;
use crate::request::input::Input;
use crate::request::output::Output;

/// httpd's level for what applications print, and for their errors.
pub const ERROR: u8 = 3;
/// httpd's level for warnings.
pub const WARN: u8 = 4;
/// httpd's level for events in the life of a process.
pub const INFO: u8 = 6;

/// The client is gone, or the child is: nothing more can be sent.
#[derive(Debug, Clone, Copy)]
pub struct Gone;

/// How an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The response was handed over whole.
    Complete,
    /// There is no, or no complete, response. The cause has been logged.
    Failed(Failure),
    /// The script has changed; nothing was executed.
    Stale,
}

/// The request's body as the host delivers it.
pub trait Body {
    /// Fills the start of `buf`, waiting until there is a byte; 0 at the end. Called without the GIL.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, InputFailure>;
}

/// What the host does with the response.
pub trait Sink {
    /// The application is about to be called: from now on the request may not be given to another process.
    fn begin(&mut self) {}
    /// Keeps the head to be sent with what follows.
    fn head(&mut self, payload: &[u8]);
    /// Keeps bytes of the body to be sent with what follows.
    fn keep(&mut self, bytes: &[u8]);
    /// Sends what was kept and `bytes`, waiting as long as it takes. Called without the GIL.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Gone>;
    /// As `send`, but without waiting, with the GIL held. Nothing when it does not want to; false when
    /// the rest waits for `send` to be called with no bytes.
    fn try_send(&mut self, bytes: &[u8]) -> Option<Result<bool, Gone>>;
    /// Takes the rest of the body, which is a part of a regular file, and sends what was kept before it. Called
    /// without the GIL.
    fn file(&mut self, file: OwnedFd, part: FilePart) -> Result<(), Gone>;
    /// Takes the rest of the body at once, if all of it fits where the host can reach it. Called without the GIL.
    fn share(&mut self, _parts: &[&[u8]], _total: usize) -> bool {
        false
    }
    /// The host's own record of the request: httpd's `request_rec`, in embedded mode.
    fn record(&self) -> Option<NonNull<c_void>> {
        None
    }
    /// Tells the child that the request will be executed and its body is wanted.
    fn confirm(&mut self);
    /// Logs a record: one line or several, with newlines between them. `now`: it should not wait for what else there
    /// is to send. Called without the GIL.
    fn log(&mut self, level: u8, text: &[u8], now: bool);
    /// Sends what was kept and ends the exchange. Called without the GIL.
    fn end(&mut self, outcome: Outcome) -> Result<(), Gone>;
}

/// A request that is being executed.
pub struct Exchange<'a> {
    /// The request's body.
    pub input: RefCell<Input<'a>>,
    /// The response.
    pub output: RefCell<Output<'a>>,
    /// Records that came while the output was in use, or that travel with the response.
    pending: RefCell<Vec<(u8, Vec<u8>)>>,
    /// Its number among the request threads, from 1.
    pub thread_id: u32,
    /// Records above this level would not be written.
    log_level: u8,
    /// The application was told that its client has left, or sends nothing any more.
    client_left: Cell<bool>,
}

impl<'a> Exchange<'a> {
    /// An exchange between these halves.
    pub fn new(body: &'a mut dyn Body, sink: &'a mut dyn Sink, thread_id: u32, log_level: u8) -> Self {
        Exchange {
            input: RefCell::new(Input::new(body)),
            output: RefCell::new(Output::new(sink)),
            pending: RefCell::new(Vec::new()),
            thread_id,
            log_level,
            client_left: Cell::new(false),
        }
    }

    /// The application is being told that its client has left.
    pub fn note_client_left(&self) {
        self.client_left.set(true);
    }

    /// The application was told that its client has left, so what it raises now is most likely that.
    pub fn client_has_left(&self) -> bool {
        self.client_left.get()
    }

    /// Logs a record of this request, behind those that came before it. With `now` false it travels with the response.
    pub fn log(&self, gil: Gil, level: u8, text: &[u8], now: bool) {
        if level > self.log_level {
            return;
        }
        let mut left = Some(text);
        while let Some(text) = left {
            let (part, rest) = cut_record(text);
            self.pending.borrow_mut().push((level, part.to_vec()));
            left = rest;
        }
        if !now {
            return;
        }
        // Another thread of the application writes: the record goes with the next one, or with the response.
        let Ok(mut output) = self.output.try_borrow_mut() else { return };
        let records = self.pending.take();
        gil.detach(|| records.iter().for_each(|(level, text)| output.sink.log(*level, text, true)));
    }

    /// The application is about to be called.
    pub fn begin(&self) {
        self.output.borrow_mut().sink.begin();
    }

    /// Ends the exchange. The thread is not attached, and no Python object has a link to this any more.
    pub fn end(&self, outcome: Outcome) -> Result<(), Gone> {
        let mut output = self.output.borrow_mut();
        for (level, text) in self.pending.borrow_mut().drain(..) {
            output.sink.log(level, &text, false);
        }
        output.sink.end(outcome)
    }

    /// Waits until no other thread writes to this exchange. The link is cut, so none can begin to.
    pub fn await_writers(&self, gil: Gil) {
        while self.output.try_borrow_mut().is_err() {
            gil.detach(|| std::thread::sleep(Duration::from_millis(1)));
        }
    }

    /// Whether another thread of the application is reading the body now.
    pub fn has_reader(&self) -> bool {
        self.input.try_borrow_mut().is_err()
    }
}

/// A Python object's way to the exchange: null before it and after its end.
#[derive(Debug)]
#[repr(transparent)]
pub struct Link(Cell<*const Exchange<'static>>);

impl Link {
    /// Leads to `exchange` until [`Link::cut`] is called, which the caller does before the exchange goes.
    pub fn set(&self, exchange: &Exchange<'_>) {
        self.0.set(ptr::from_ref(exchange).cast());
    }

    /// Leads nowhere from now on.
    pub fn cut(&self) {
        self.0.set(ptr::null());
    }

    /// The exchange, while the request runs.
    pub fn exchange(&self, _gil: Gil) -> Option<&Exchange<'static>> {
        // SAFETY: `adapter::run` cuts the link before its exchange goes, and the exchange outlives
        // every borrow of its cells by other threads (`await_writers`, `has_reader`).
        unsafe { self.0.get().as_ref() }
    }
}

thread_local! {
    /// The exchange that this thread executes.
    static CURRENT: Link = const { Link(Cell::new(ptr::null())) };
    /// Unfinished lines of this thread.
    static PARTIAL: RefCell<Partial> = const { RefCell::new(Partial([const { Vec::new() }; 3])) };
}

/// Unfinished lines of wsgi.errors, stdout and stderr. They are written at the latest when the thread ends.
struct Partial([Vec<u8>; 3]);

/// The process ends, perhaps by a signal in the middle of anything.
static ENDED: AtomicBool = AtomicBool::new(false);

/// From now on a thread that ends writes nothing.
pub fn mark_ended() {
    ENDED.store(true, Ordering::SeqCst);
}

impl Drop for Partial {
    fn drop(&mut self) {
        if ENDED.load(Ordering::SeqCst) {
            // Not even memory is given back.
            std::mem::forget(std::mem::take(&mut self.0));
            return;
        }
        self.0.iter().filter(|line| !line.is_empty()).for_each(|line| process_log(ERROR, line));
    }
}

/// Where lines go that belong to no request.
static PROCESS_LOG: OnceLock<fn(u8, &[u8])> = OnceLock::new();
/// Records above this level that belong to no request would not be written.
static PROCESS_LEVEL: AtomicU8 = AtomicU8::new(7);

/// Sets the log of the process, once. Without it lines go to standard error.
pub fn set_process_log(log: fn(u8, &[u8])) {
    let _ = PROCESS_LOG.set(log);
}

/// Sets the level above which records of the process are left out.
pub fn set_process_level(level: u8) {
    PROCESS_LEVEL.store(level, Ordering::Relaxed);
}

/// Logs a record that belongs to no request. Called without the GIL, or where waiting is no harm.
pub fn process_log(level: u8, text: &[u8]) {
    if level > PROCESS_LEVEL.load(Ordering::Relaxed) {
        return;
    }
    match PROCESS_LOG.get() {
        Some(log) => log(level, text),
        None => crate::sys::log_record(level, text),
    }
}

/// Whether a record of this thread would be written.
pub fn is_logged(gil: Gil, level: u8) -> bool {
    let limit = CURRENT.with(|link| link.exchange(gil).map(|exchange| exchange.log_level));
    level <= limit.unwrap_or_else(|| PROCESS_LEVEL.load(Ordering::Relaxed))
}

/// Makes log lines of this thread those of `exchange` until the result is dropped (attached).
pub fn enter(exchange: &Exchange<'_>) -> Current {
    CURRENT.with(|link| link.set(exchange));
    Current
}

/// See [`enter`].
#[derive(Debug)]
pub struct Current;

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.with(Link::cut);
    }
}

/// Longest record, bytes; a longer one is cut into several.
const MAX_RECORD: usize = 64 << 10;

/// The part of a record that is sent at once, and the rest: cut between two lines, if it can be.
fn cut_record(record: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(part) = record.get(..=MAX_RECORD) else { return (record, None) };
    match part.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => (&record[..end], Some(&record[end + 1..])),
        None => (&record[..MAX_RECORD], Some(&record[MAX_RECORD..])),
    }
}

/// Logs a record of this thread: its lines belong to the request that the thread executes, if there is one.
pub fn emit(gil: Gil, level: u8, record: &[u8]) {
    CURRENT.with(|link| match link.exchange(gil) {
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
            emit(gil, ERROR, &text[..end]);
            &text[end + 1..]
        }
        Some(end) => {
            partial.extend_from_slice(&text[..end]);
            emit(gil, ERROR, &partial);
            partial.clear();
            &text[end + 1..]
        }
        None => text,
    };
    partial.extend_from_slice(rest);
    while partial.len() > MAX_RECORD {
        let rest = partial.split_off(MAX_RECORD);
        emit(gil, ERROR, &partial);
        partial = rest;
    }
    PARTIAL.with_borrow_mut(|all| all.0[stream.min(2)] = partial);
}

/// Writes an unfinished line of stream `stream`, if there is one.
pub fn flush_text(gil: Gil, stream: usize) {
    let partial = take_partial(stream);
    if !partial.is_empty() {
        emit(gil, ERROR, &partial);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(record: &[u8]) -> Vec<usize> {
        let (mut lens, mut left) = (Vec::new(), Some(record));
        while let Some(record) = left {
            let (part, rest) = cut_record(record);
            lens.push(part.len());
            left = rest;
        }
        lens
    }

    #[test]
    fn a_record_is_cut_between_lines_and_within_one_only_where_it_is_too_long() {
        let lines = [&b"x".repeat(MAX_RECORD - 1)[..], b"y", &b"z".repeat(MAX_RECORD + 1)].join(&b"\n"[..]);
        assert_eq!(parts(&lines), [MAX_RECORD - 1, 1, MAX_RECORD, 1]);
        assert_eq!(parts(&b"x".repeat(MAX_RECORD)), [MAX_RECORD]);
        assert_eq!(parts(b""), [0]);
        assert_eq!(parts(b"a\n\nb"), [4]);
    }
}
