//! One request and its response, as the adapter sees them: the two halves of the host interface, and
//! where log lines of the request go.
//!
//! An [`Exchange`] stands on its request thread's stack. Python objects reach it through a [`Link`],
//! which is cut at the end of the request. Its cells are only touched with the GIL held: it is their
//! lock, and a cell found borrowed means that another thread waits in it without the GIL.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use wsgi_wire::frame::InputFailure;
use wsgi_wire::response::{Failure, FilePart};

use crate::input::Input;
use crate::output::Output;
use crate::py::Gil;

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
    /// Tells the child that the request will be executed and its body is wanted.
    fn confirm(&mut self);
    /// Logs a line. `now`: it should not wait for what else there is to send. Called without the GIL.
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
    /// Lines that came while the output was in use.
    pending: RefCell<Vec<(u8, Vec<u8>)>>,
    /// Its number among the request threads, from 1.
    pub thread_id: u32,
}

impl<'a> Exchange<'a> {
    /// An exchange between these halves.
    pub fn new(body: &'a mut dyn Body, sink: &'a mut dyn Sink, thread_id: u32) -> Self {
        Exchange {
            input: RefCell::new(Input::new(body)),
            output: RefCell::new(Output::new(sink)),
            pending: RefCell::new(Vec::new()),
            thread_id,
        }
    }

    /// Logs a line of this request. With `now` false it travels with the response.
    pub fn log(&self, gil: Gil, level: u8, text: &[u8], now: bool) {
        match self.output.try_borrow_mut() {
            Ok(mut output) if now => gil.detach(|| output.sink.log(level, text, true)),
            Ok(_) | Err(_) => self.pending.borrow_mut().push((level, text.to_vec())),
        }
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
    /// Unfinished lines of this thread: wsgi.errors, stdout, stderr.
    static PARTIAL: RefCell<[Vec<u8>; 3]> = const { RefCell::new([const { Vec::new() }; 3]) };
}

/// Where lines go that belong to no request.
static PROCESS_LOG: OnceLock<fn(u8, &[u8])> = OnceLock::new();

/// Sets the log of the process, once. Without it lines go to standard error.
pub fn set_process_log(log: fn(u8, &[u8])) {
    let _ = PROCESS_LOG.set(log);
}

/// Logs a line that belongs to no request. Called without the GIL, or where waiting is no harm.
pub fn process_log(level: u8, text: &[u8]) {
    match PROCESS_LOG.get() {
        Some(log) => log(level, text),
        None => crate::sys::log_line(text),
    }
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

/// Longest record; a longer line is cut into several.
const MAX_LINE: usize = 64 << 10;

fn emit(gil: Gil, mut line: &[u8]) {
    loop {
        let (part, rest) = line.split_at(line.len().min(MAX_LINE));
        CURRENT.with(|link| match link.exchange(gil) {
            Some(exchange) => exchange.log(gil, ERROR, part, true),
            None => gil.detach(|| process_log(ERROR, part)),
        });
        if rest.is_empty() {
            return;
        }
        line = rest;
    }
}

/// Takes what was written to stream `stream` (0 wsgi.errors, 1 stdout, 2 stderr).
pub fn write_text(gil: Gil, stream: usize, mut text: &[u8]) {
    let mut partial = take_partial(stream);
    while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = text.split_at(end);
        text = &rest[1..];
        if partial.is_empty() {
            emit(gil, line);
        } else {
            partial.extend_from_slice(line);
            emit(gil, &partial);
            partial.clear();
        }
    }
    partial.extend_from_slice(text);
    while partial.len() > MAX_LINE {
        let rest = partial.split_off(MAX_LINE);
        emit(gil, &partial);
        partial = rest;
    }
    PARTIAL.with_borrow_mut(|all| all[stream.min(2)] = partial);
}

/// Writes an unfinished line of stream `stream`, if there is one.
pub fn flush_text(gil: Gil, stream: usize) {
    let partial = take_partial(stream);
    if !partial.is_empty() {
        emit(gil, &partial);
    }
}

fn take_partial(stream: usize) -> Vec<u8> {
    PARTIAL.with_borrow_mut(|all| std::mem::take(&mut all[stream.min(2)]))
}

/// Ends the lines that the request left unfinished.
pub fn flush_all(gil: Gil) {
    for stream in 0..3 {
        flush_text(gil, stream);
    }
}
