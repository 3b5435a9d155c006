//! One request and its response, as the adapter sees them: the two halves, and the log records of the request.
//!
//! An [`Exchange`] stands on its request thread's stack. Python objects reach it through a [`super::link::Link`], and it
//! goes only after the last of those who came that way. So whatever Python runs in between (a finaliser, another thread),
//! a method of ours never works on an exchange that is gone. Other threads of the application may come that way, too: the
//! parts that they can reach are [`Guarded`], or atomic.

use std::marker::PhantomPinned;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use wsgi_sys::forked;
use wsgi_wire::messages::Message;

use crate::log::{INFO, cut_record};
use crate::python::guarded::Guarded;
use crate::python::py::{Any, Gil, Kind, Owned, Raised, Res};
use crate::request::events::{Watch, response_started};
use crate::request::host::{Body, Gone, Outcome, Sink};
use crate::request::input::Input;
use crate::request::output::{Output, Stop, encode, exception_parts};

/// A request that is being executed.
pub struct Exchange<'a> {
    /// The request's body.
    pub input: Guarded<Input<'a>>,
    /// The response.
    pub output: Guarded<Output<'a>>,
    /// Records that came while the output was in use, or that travel with the response.
    pending: Guarded<Vec<(u8, Vec<u8>)>>,
    /// Its number among the request threads, from 1.
    pub thread_id: u32,
    /// Records above this level would not be written.
    pub log_level: u8,
    /// What events tell of the request.
    pub watch: Watch<'a>,
    /// The application was told that its client has left, or sends nothing any more.
    client_left: AtomicBool,
    /// The child holds the body back until it is asked for it.
    unasked: AtomicBool,
    /// The host has the head, or is being given it.
    handed: AtomicBool,
    /// Callers that came through a link, to read the body and for all else. Counted attached, but for the last look.
    pub(super) readers: AtomicU32,
    pub(super) writers: AtomicU32,
    /// Without `Unpin`, a mutable reference to this is not taken for the only reference. `drop` has one and waits for uses
    /// that other threads still have. (What `UnsafePinned` will say one day.)
    _shared: PhantomPinned,
}

impl<'a> Exchange<'a> {
    /// An exchange between these halves.
    pub fn new(body: &'a mut dyn Body, sink: &'a mut dyn Sink, thread_id: u32, log_level: u8) -> Self {
        Exchange {
            input: Guarded::new(Input::new(body)),
            output: Guarded::new(Output::new(sink)),
            pending: Guarded::new(Vec::new()),
            thread_id,
            log_level,
            watch: Watch::new(),
            client_left: AtomicBool::new(false),
            unasked: AtomicBool::new(false),
            handed: AtomicBool::new(false),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            _shared: PhantomPinned,
        }
    }

    /// The application is being told that its client has left.
    pub fn note_client_left(&self) {
        self.client_left.store(true, Ordering::Relaxed);
    }

    /// The application was told that its client has left, so what it raises now is most likely that.
    pub fn client_has_left(&self) -> bool {
        self.client_left.load(Ordering::Relaxed)
    }

    /// The body comes when the application begins to read it.
    pub fn note_unasked(&self) {
        self.unasked.store(true, Ordering::Relaxed);
    }

    /// The response is about to be sent, by a thread that holds the output meanwhile.
    pub fn note_handed(&self) {
        self.handed.store(true, Ordering::Relaxed);
    }

    /// Asks the child for the body, unless the response has begun: then it comes without being asked for.
    pub fn ask_for_body(&self, gil: Gil) {
        self.unasked.store(false, Ordering::Relaxed);
        // Another thread that has the output now may send the response, or a line for the log.
        while !self.handed.load(Ordering::Relaxed) {
            if let Some(mut output) = self.output.try_hold(gil) {
                if !output.is_handed() {
                    output.sink.confirm();
                }
                return;
            }
            gil.detach(|| std::thread::sleep(LOOK));
        }
    }

    /// Logs a record of this request, behind those that came before it. With `now` false it travels with the response.
    pub fn log(&self, gil: Gil, level: u8, text: &[u8], now: bool) {
        if level > self.log_level {
            return;
        }
        let mut left = Some(text);
        while let Some(text) = left {
            let (part, rest) = cut_record(text);
            self.pending.with(|pending| pending.push((level, part.to_vec())));
            left = rest;
        }
        if !now {
            return;
        }
        // Another thread of the application writes: the record goes with the next one, or with the response.
        let Some(mut output) = self.output.try_hold(gil) else { return };
        let (sink, records) = (&mut *output.sink, self.pending.with(std::mem::take));
        gil.detach(|| records.iter().for_each(|(level, text)| sink.log(*level, text, true)));
    }

    /// Logs what happens to this request; it travels with the response.
    pub fn info(&self, gil: Gil, text: &str) {
        self.log(gil, INFO, text.as_bytes(), false);
    }

    /// As [`Exchange::info`], for a warning or an error.
    pub fn report(&self, gil: Gil, message: Message, text: &str) {
        self.log(gil, message.level(), message.line(text).as_bytes(), false);
    }

    /// The application is about to be called.
    pub fn begin(&self) {
        self.output.hold_alone().sink.begin();
    }

    /// Ends the exchange. The thread is not attached, no Python object has a link to this any more, and nobody writes.
    pub fn end(&self, outcome: Outcome) -> Result<(), Gone> {
        let mut output = self.output.hold_alone();
        for (level, text) in self.pending.with(std::mem::take) {
            output.sink.log(level, &text, false);
        }
        output.sink.end(outcome)
    }

    /// Waits until no other thread writes to this exchange. After the link was cut none can begin to.
    pub fn await_writers(&self, gil: Gil) {
        // A forked process has none of the other threads.
        while self.writers.load(Ordering::Acquire) > 0 && !forked::is_child() {
            gil.detach(|| std::thread::sleep(LOOK));
        }
    }
}

/// How often the thread looks whether the others are through.
const LOOK: Duration = Duration::from_millis(1);

impl Drop for Exchange<'_> {
    /// Another thread of the application may still be reading the body. It goes on when the host has ended the exchange.
    /// The caller is not attached: that thread needs the GIL to come back.
    fn drop(&mut self) {
        let in_use = || self.readers.load(Ordering::Acquire) + self.writers.load(Ordering::Acquire) > 0;
        while in_use() && !forked::is_child() {
            std::thread::sleep(LOOK);
        }
    }
}

/// What applications call.
impl Exchange<'_> {
    /// Runs `body` with the input half, unless another thread reads from it.
    fn with_input<T>(&self, gil: Gil, body: impl FnOnce(&mut Input<'_>) -> Res<T>) -> Res<T> {
        if self.unasked.load(Ordering::Relaxed) {
            self.ask_for_body(gil);
        }
        match self.input.try_hold(gil) {
            Some(mut input) => {
                let result = body(&mut input);
                if input.client_left {
                    self.note_client_left();
                }
                result
            }
            None => Err(gil.raise(Kind::Runtime, "another thread is reading from this wsgi.input")),
        }
    }

    /// Runs `read`, which returns bytes of the body.
    fn measure_read(&self, read: impl FnOnce() -> Res<Owned>) -> Res<Owned> {
        let began = self.watch.meter.start();
        let bytes = read();
        let length = bytes.as_ref().ok().and_then(|bytes| bytes.as_bytes()).map_or(0, <[u8]>::len);
        self.watch.meter.has_read(began, length);
        bytes
    }

    /// `read(size)`
    pub fn read(&self, gil: Gil, limit: Option<usize>) -> Res<Owned> {
        self.measure_read(|| self.with_input(gil, |input| input.read(gil, limit)))
    }

    /// `readline(size)`
    pub fn readline(&self, gil: Gil, limit: Option<usize>) -> Res<Owned> {
        self.measure_read(|| self.with_input(gil, |input| input.line(gil, limit)))
    }

    /// `next(input)`; nothing at the end.
    pub fn next_line(&self, gil: Gil) -> Res<Option<Owned>> {
        let line = self.readline(gil, None)?;
        let is_end = line.as_bytes().ok_or(Raised)?.is_empty();
        Ok((!is_end).then_some(line))
    }

    /// `readlines(hint)`: appends to `lines`.
    pub fn readlines(&self, gil: Gil, lines: &Any, hint: Option<usize>) -> Res<()> {
        let mut total = 0usize;
        while let Some(line) = self.next_line(gil)? {
            lines.append(&line)?;
            total = total.saturating_add(line.as_bytes().map_or(0, <[u8]>::len));
            if hint.is_some_and(|hint| hint > 0 && total >= hint) {
                break;
            }
        }
        Ok(())
    }

    /// Sends a block of the body at once.
    pub fn block(&self, gil: Gil, bytes: &[u8]) -> Result<(), Stop> {
        let Some(mut output) = self.output.try_hold(gil) else {
            return Err(gil.raise(Kind::Runtime, "another thread is writing to this response").into());
        };
        let began = self.watch.meter.start();
        let sent = output.block(gil, bytes, &|| self.note_handed());
        self.watch.meter.has_written(began);
        sent
    }

    /// `write(data)`
    pub fn write(&self, gil: Gil, data: &Any) -> Res<()> {
        let Some(bytes) = data.as_bytes() else {
            let text = format!("write() argument must be bytes, not {}", data.type_name(gil));
            return Err(gil.raise(Kind::Type, &text));
        };
        match self.block(gil, bytes) {
            Ok(()) => Ok(()),
            Err(Stop::Raised) => Err(Raised),
            Err(Stop::Gone) => {
                self.note_client_left();
                Err(gil.raise(Kind::Os, "mod_wsgi client connection closed"))
            }
        }
    }

    /// `start_response(status, headers, exc_info)`
    pub fn start(&self, gil: Gil, status: &Any, headers: &Any, exc_info: Option<&Any>) -> Res<()> {
        if headers.as_list().is_none() {
            let name = if headers.is_none() { "None".to_owned() } else { headers.type_name(gil) };
            return Err(gil.raise(Kind::Type, &format!("start_response() argument 2 must be list, not {name}")));
        }
        let exc_info = exc_info.filter(|info| !info.is_none());
        let parts = exc_info.map(|info| exception_parts(gil, info)).transpose()?;
        if self.with_output(gil, |output| Ok(output.is_committed()))? {
            return Err(match parts {
                Some([kind, value, traceback]) => gil.raise_again(kind, value, traceback),
                None => gil.raise(Kind::Runtime, "start_response() called more than once without exc_info"),
            });
        }
        // What the application passed, and subscribers, may run code of their own here, so nothing is borrowed.
        response_started(gil, self, status, headers, exc_info)?;
        let head = encode(gil, status, headers)?;
        self.with_output(gil, |output| output.set_head(gil, head))
    }

    /// Runs `body` with the output half, unless another thread writes to it.
    fn with_output<T>(&self, gil: Gil, body: impl FnOnce(&mut Output<'_>) -> Res<T>) -> Res<T> {
        match self.output.try_hold(gil) {
            Some(mut output) => body(&mut output),
            None => Err(gil.raise(Kind::Runtime, "another thread is writing to this response")),
        }
    }
}
