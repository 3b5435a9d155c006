//! One request and its response, as the adapter sees them: the two halves, and the log records of the request.
//!
//! An [`Exchange`] stands on its request thread's stack. Python objects reach it through a [`Link`], which the request
//! thread cuts at the end of the request. A caller that came through the link before that holds a [`Use`], and the
//! exchange goes only after the last [`Use`]. So whatever Python runs in between (a finaliser, another thread), a
//! method of ours never works on an exchange that is gone. A thread touches the cells of an exchange only with the GIL
//! held: the GIL is their lock, and a cell found borrowed means that another thread waits in it without the GIL.

use std::cell::{Cell, RefCell};
use std::marker::{PhantomData, PhantomPinned};
use std::ops::Deref;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wsgi_sys::forked;
use wsgi_wire::messages::Message;

use crate::log::{INFO, cut_record};
use crate::python::py::{Any, Gil, Kind, Owned, Raised, Res};
use crate::request::events::{Watch, response_started};
use crate::request::host::{Body, Gone, Outcome, Sink};
use crate::request::input::Input;
use crate::request::output::{Output, Stop, encode, exception_parts};

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
    pub log_level: u8,
    /// What events tell of the request.
    pub watch: Watch<'a>,
    /// The application was told that its client has left, or sends nothing any more.
    client_left: Cell<bool>,
    /// The child holds the body back until it is asked for it.
    unasked: Cell<bool>,
    /// Callers that came through a link, to read the body and for all else. Counted with the GIL held, but for the last
    /// look.
    readers: AtomicU32,
    writers: AtomicU32,
    /// Without `Unpin`, a mutable reference to this is not taken for the only reference. `drop` has one and waits for uses
    /// that other threads still have. (What `UnsafePinned` will say one day.)
    _shared: PhantomPinned,
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
            watch: Watch::new(),
            client_left: Cell::new(false),
            unasked: Cell::new(false),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            _shared: PhantomPinned,
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

    /// The body comes when the application begins to read it.
    pub fn note_unasked(&self) {
        self.unasked.set(true);
    }

    /// Asks the child for the body, unless the response has begun: then it comes without being asked for.
    pub fn ask_for_body(&self) {
        self.unasked.set(false);
        // Another thread that has the output now sends the response.
        if let Ok(mut output) = self.output.try_borrow_mut() {
            if !output.is_handed() {
                output.sink.confirm();
            }
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
            self.pending.borrow_mut().push((level, part.to_vec()));
            left = rest;
        }
        if !now {
            return;
        }
        // Another thread of the application writes: the record goes with the next one, or with the response.
        let Ok(mut output) = self.output.try_borrow_mut() else { return };
        let (sink, records) = (&mut *output.sink, self.pending.take());
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
        self.output.borrow_mut().sink.begin();
    }

    /// Ends the exchange. The thread is not attached, no Python object has a link to this any more, and nobody writes.
    pub fn end(&self, outcome: Outcome) -> Result<(), Gone> {
        let mut output = self.output.borrow_mut();
        for (level, text) in self.pending.borrow_mut().drain(..) {
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
        if self.unasked.get() {
            self.ask_for_body();
        }
        match self.input.try_borrow_mut() {
            Ok(mut input) => {
                let result = body(&mut input);
                if input.client_left {
                    self.note_client_left();
                }
                result
            }
            Err(_) => Err(gil.raise(Kind::Runtime, "another thread is reading from this wsgi.input")),
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
        let Ok(mut output) = self.output.try_borrow_mut() else {
            return Err(gil.raise(Kind::Runtime, "another thread is writing to this response").into());
        };
        let began = self.watch.meter.start();
        let sent = output.block(gil, bytes);
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
        match self.output.try_borrow_mut() {
            Ok(mut output) => body(&mut output),
            Err(_) => Err(gil.raise(Kind::Runtime, "another thread is writing to this response")),
        }
    }
}

/// An exchange to which a link has led. The exchange does not go before this value is dropped.
pub struct Use<'l> {
    /// By address, as the count: the exchange may go in the moment in which the count falls, and a reference would have to
    /// outlive that.
    exchange: NonNull<Exchange<'static>>,
    /// Where this is counted.
    count: NonNull<AtomicU32>,
    link: PhantomData<&'l Link>,
}

impl Use<'_> {
    fn new(exchange: &Exchange<'static>, count: &AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Use { exchange: NonNull::from(exchange), count: NonNull::from(count), link: PhantomData }
    }
}

impl Deref for Use<'_> {
    type Target = Exchange<'static>;

    fn deref(&self) -> &Exchange<'static> {
        // SAFETY: the exchange is there as long as this is counted.
        unsafe { self.exchange.as_ref() }
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        // SAFETY: a part of the exchange, which is there until this count falls.
        unsafe { self.count.as_ref() }.fetch_sub(1, Ordering::Release);
    }
}

/// A Python object's way to the exchange: null before it and after its end.
#[derive(Debug)]
#[repr(transparent)]
pub struct Link(Cell<*const Exchange<'static>>);

impl Link {
    /// Leads nowhere.
    pub const fn new() -> Link {
        Link(Cell::new(ptr::null()))
    }

    /// Leads to `exchange` from now on.
    ///
    /// # Safety
    /// The link is cut, with the GIL held, before the exchange goes. (It is pinned, because a [`Use`] knows its address and
    /// may end long after the link was cut.)
    pub unsafe fn set(&self, exchange: Pin<&Exchange<'_>>) {
        self.0.set(ptr::from_ref(exchange.get_ref()).cast());
    }

    /// Leads where `other` leads.
    ///
    /// # Safety
    /// As [`Link::set`], for the exchange to which `other` leads.
    pub unsafe fn follow(&self, other: &Link) {
        self.0.set(other.0.get());
    }

    /// Leads nowhere from now on.
    pub fn cut(&self) {
        self.0.set(ptr::null());
    }

    /// The exchange, to read its body, while the request runs in the process that serves.
    pub fn reader(&self, gil: Gil) -> Option<Use<'_>> {
        self.exchange(gil).map(|exchange| Use::new(exchange, &exchange.readers))
    }

    /// As [`Link::reader`], for everything else.
    pub fn writer(&self, gil: Gil) -> Option<Use<'_>> {
        self.exchange(gil).map(|exchange| Use::new(exchange, &exchange.writers))
    }

    fn exchange(&self, _gil: Gil) -> Option<&Exchange<'static>> {
        if forked::is_child() {
            return None;
        }
        // SAFETY: not cut, so the exchange is there; the GIL, under which it would be cut, is held until the use is counted,
        // and the exchange waits for that use.
        unsafe { self.0.get().as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::pin::pin;
    use std::sync::Mutex;

    use wsgi_wire::frame::InputFailure;
    use wsgi_wire::response::FilePart;

    use super::*;

    struct Nobody;

    impl Body for Nobody {
        fn read(&mut self, _buf: &mut [u8]) -> Result<usize, InputFailure> {
            Ok(0)
        }
    }

    impl Sink for Nobody {
        fn head(&mut self, _payload: &[u8]) {}
        fn keep(&mut self, _bytes: &[u8]) {}
        fn send(&mut self, _bytes: &[u8]) -> Result<(), Gone> {
            Ok(())
        }
        fn try_send(&mut self, _bytes: &[u8]) -> Option<Result<bool, Gone>> {
            None
        }
        fn file(&mut self, _file: OwnedFd, _part: FilePart) -> Result<(), Gone> {
            Ok(())
        }
        fn answer(&mut self, _payload: &[u8]) {}
        fn confirm(&mut self) {}
        fn log(&mut self, _level: u8, _text: &[u8], _now: bool) {}
        fn end(&mut self, _outcome: Outcome) -> Result<(), Gone> {
            Ok(())
        }
    }

    /// A link as a Python object has it: every thread may come to it, with the GIL.
    struct Object(Link);

    // SAFETY: the test's lock stands for the GIL.
    unsafe impl Sync for Object {}

    /// Threads take uses of an exchange, with the lock that stands for the GIL held, and keep them without it, while the
    /// request thread ends one exchange after the other. Miri (`make check-miri`) sees a use of an exchange that is gone.
    #[test]
    fn an_exchange_goes_after_its_last_use() {
        let (object, lock, over) = (Object(Link::new()), Mutex::new(()), AtomicU32::new(0));
        let uses = |way: for<'l> fn(&'l Link, Gil) -> Option<Use<'l>>| {
            let (object, lock, over) = (&object, &lock, &over);
            move || {
                let mut seen = 0;
                while over.load(Ordering::Relaxed) == 0 {
                    let held = lock.lock().expect("the GIL");
                    // SAFETY: nothing here calls Python.
                    let found = way(&object.0, unsafe { Gil::assume() });
                    drop(held);
                    seen = found.map_or(seen, |found| found.thread_id.max(seen));
                    std::thread::yield_now();
                }
                seen
            }
        };
        let seen = std::thread::scope(|scope| {
            let users = [scope.spawn(uses(Link::reader)), scope.spawn(uses(Link::writer))];
            for number in 1..=20 {
                let (mut body, mut sink) = (Nobody, Nobody);
                let exchange = pin!(Exchange::new(&mut body, &mut sink, number, 0));
                let held = lock.lock().expect("the GIL");
                // SAFETY: cut below, before the exchange goes.
                unsafe { object.0.set(exchange.as_ref()) };
                drop(held);
                std::thread::yield_now();
                let held = lock.lock().expect("the GIL");
                object.0.cut();
                drop(held);
            }
            over.store(1, Ordering::Relaxed);
            users.map(|user| user.join().expect("no panic"))
        });
        assert!(seen.iter().all(|seen| *seen <= 20));
    }
}
