//! The functions that the engine calls while it runs a request in this child.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one record of httpd's, one fact that makes it valid")]

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::os::fd::{BorrowedFd, IntoRawFd};

use wsgi_wire::PROTOCOL;
use wsgi_wire::decision::Answer;
use wsgi_wire::host::{Host, READ_GONE, READ_REFUSED, READ_TIMED_OUT};
use wsgi_wire::messages::Message;
use wsgi_wire::response::{Failure, Head};

use crate::httpd::body::{Body, BodyError};
use crate::httpd::file::{FileBody, FileError};
use crate::httpd::guard::guard;
use crate::httpd::log::Level;
use crate::httpd::output::{Output, Then};
use crate::httpd::process;
use crate::httpd::request::Request;
use crate::metrics;
use crate::respond::{self, Delivery, Instead};
use crate::route::BodyLength;

/// A request that the engine runs.
pub(super) struct Serving<'r> {
    request: Request<'r>,
    body: Option<Body<'r>>,
    delivery: Delivery,
    failed: Option<BodyError>,
    output: Output<'r>,
    begun: bool,
    ended: bool,
    gone: bool,
    /// What the client gets instead of this response. The child then drops the response's body.
    instead: Option<Instead>,
    /// A script was asked: an answer may come, and a response may not.
    asks: bool,
    answer: Option<Answer>,
}

impl<'r> Serving<'r> {
    pub(super) fn new(request: Request<'r>, body: BodyLength, delivery: Delivery, asks: bool) -> Serving<'r> {
        let body = (body != BodyLength::Empty).then(|| Body::new(request));
        let output = Output::new(request);
        let (begun, ended, gone) = (false, false, false);
        let (failed, instead, answer) = (None, None, None);
        Serving { request, body, delivery, failed, output, begun, ended, gone, instead, asks, answer }
    }

    fn read(&mut self, buffer: &mut [u8]) -> isize {
        let Some(body) = &mut self.body else { return 0 };
        if let Some(error) = self.failed {
            return code_of(error);
        }
        match body.read_into(buffer) {
            Ok(count) => isize::try_from(count).unwrap_or(0),
            Err(error) => {
                self.failed = Some(error);
                let text = format!("{}; the application gets an OSError", error.text());
                self.request.log(Level::Info, &text);
                code_of(error)
            }
        }
    }

    fn answer(&mut self, payload: &[u8]) -> i32 {
        self.answer = Answer::decode(payload).ok().filter(|_| self.asks);
        if self.answer.is_some() { 0 } else { -1 }
    }

    /// What a script has decided.
    pub(super) fn into_answer(self) -> Option<Answer> {
        self.answer
    }

    fn head(&mut self, payload: &[u8]) -> i32 {
        if self.asks {
            return -1;
        }
        let Ok(head) = Head::decode(payload) else { return -1 };
        self.instead = respond::set_head(self.request, &head, self.delivery.error_override);
        self.begun = self.instead.is_none();
        0
    }

    fn data(&mut self, bytes: &[u8], flush: bool) -> i32 {
        if self.gone || self.ended || self.asks {
            return -1;
        }
        self.ended = !flush;
        if self.instead.is_some() {
            return 0;
        }
        if self.ended {
            self.end_stream();
        }
        // httpd reads the rest of the request's body before it writes what is not flushed.
        let flush = flush || self.body.as_ref().is_some_and(|body| !body.ended());
        let then = if flush { Then::Flush } else { Then::End };
        self.gone = self.output.pass([bytes], then).is_err();
        self.gone |= self.ended && flush && !self.gone && self.output.pass([], Then::End).is_err();
        if self.gone { -1 } else { 0 }
    }

    /// The rest of the body, and the end of the response.
    fn file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> i32 {
        if self.instead.is_some() {
            return 0;
        }
        if self.gone || self.ended || self.asks {
            return -1;
        }
        let Ok(file) = file.try_clone_to_owned() else { return -1 };
        self.end_stream();
        let body = FileBody { file, offset, length, sendfile: self.delivery.sendfile };
        match self.output.pass_file(&body) {
            Ok(()) => self.ended = true,
            Err(FileError::Broken) => self.gone = true,
            Err(_) => self
                .request
                .report(Message::FileOfResponse, "the file of a response became shorter; the response is cut short"),
        }
        if self.ended { 0 } else { -1 }
    }

    /// The engine has handed over the whole response.
    pub(super) fn end(mut self) -> i32 {
        if let Some(instead) = &self.instead {
            return respond::finish(self.request, instead);
        }
        if !self.ended && !self.gone {
            self.end_stream();
            let _ = self.output.pass([], Then::End);
        }
        0
    }

    /// Reads and drops the rest of an HTTP/2 request's body: mod_http2 resets a stream whose body nobody has read, and
    /// clients then drop the response.
    fn end_stream(&mut self) {
        if let Some(body) = self.body.as_mut().filter(|_| self.request.is_stream()) {
            // A failure of the client does not matter any more: its response is decided.
            let _ = body.discard();
        }
    }

    /// The engine has no (complete) response.
    pub(super) fn fail(mut self, failure: Failure) -> i32 {
        if let Some(instead) = &self.instead {
            // The head that came before has decided what the client gets.
            return respond::finish(self.request, instead);
        }
        if self.begun {
            if !self.gone && !self.ended {
                self.output.cut_short();
            }
            return 0;
        }
        self.end_stream();
        match (self.failed, failure) {
            (Some(BodyError::TimedOut), _) => 408,
            (Some(BodyError::Refused(status)), _) => status,
            (Some(BodyError::Gone), _) | (None, Failure::ClientGone) => 400,
            (None, Failure::Timeout) => 504,
            (None, _) => 500,
        }
    }
}

fn code_of(error: BodyError) -> isize {
    match error {
        BodyError::Gone => READ_GONE,
        BodyError::TimedOut => READ_TIMED_OUT,
        BodyError::Refused(_) => READ_REFUSED,
    }
}

/// The table for the engine.
pub(super) static HOST: Host =
    Host { protocol: PROTOCOL, read_body, head, data, file, answer, record, server_metrics, log };

/// What the engine passes back to the functions below. For one request the engine never runs two of them at the same
/// time, except [`record`], which therefore reads nothing but the field of that name.
pub(super) struct Passed<'r> {
    record: *mut c_void,
    serving: UnsafeCell<Serving<'r>>,
}

impl<'r> Passed<'r> {
    pub(super) fn new(serving: Serving<'r>) -> Passed<'r> {
        Passed { record: serving.request.raw().cast(), serving: UnsafeCell::new(serving) }
    }

    /// The request, which the engine has done with.
    pub(super) fn into_serving(self) -> Serving<'r> {
        self.serving.into_inner()
    }
}

/// # Safety
/// `request` is the [`Passed`] that `Engine::run` was given, during that call; no other function has the reference.
unsafe fn serving<'a>(request: *mut c_void) -> Option<&'a mut Serving<'a>> {
    // SAFETY: the contract above.
    let passed = unsafe { request.cast::<Passed<'a>>().as_ref() }?;
    // SAFETY: the contract above: one function at a time.
    Some(unsafe { &mut *passed.serving.get() })
}

/// # Safety
/// As [`Host::read_body`] says.
unsafe extern "C" fn read_body(request: *mut c_void, buf: *mut u8, len: usize) -> isize {
    if buf.is_null() || len == 0 {
        return 0;
    }
    // SAFETY: the engine gives `len` writable bytes.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buf, len) };
    // SAFETY: the contract of `Host`.
    let serving = unsafe { serving(request) };
    guard(READ_REFUSED, process::log_panic, || serving.map_or(READ_REFUSED, |serving| serving.read(buffer)))
}

/// # Safety
/// As [`Host::head`] says.
unsafe extern "C" fn head(request: *mut c_void, payload: *const u8, len: usize) -> i32 {
    // SAFETY: the contract of `Host`.
    let (serving, payload) = unsafe { (serving(request), slice(payload, len)) };
    guard(-1, process::log_panic, || serving.map_or(-1, |serving| serving.head(payload)))
}

/// # Safety
/// As [`Host::data`] says.
unsafe extern "C" fn data(request: *mut c_void, bytes: *const u8, len: usize, flush: i32) -> i32 {
    // SAFETY: the contract of `Host`.
    let (serving, bytes) = unsafe { (serving(request), slice(bytes, len)) };
    guard(-1, process::log_panic, || serving.map_or(-1, |serving| serving.data(bytes, flush != 0)))
}

/// # Safety
/// As [`Host::file`] says.
unsafe extern "C" fn file(request: *mut c_void, fd: i32, offset: u64, length: u64) -> i32 {
    if fd < 0 {
        return -1;
    }
    // SAFETY: the contract of `Host`; the caller keeps the descriptor open during the call.
    let (serving, fd) = unsafe { (serving(request), BorrowedFd::borrow_raw(fd)) };
    guard(-1, process::log_panic, || serving.map_or(-1, |serving| serving.file(fd, offset, length)))
}

/// # Safety
/// As [`Host::answer`] says.
unsafe extern "C" fn answer(request: *mut c_void, payload: *const u8, len: usize) -> i32 {
    // SAFETY: the contract of `Host`.
    let (serving, payload) = unsafe { (serving(request), slice(payload, len)) };
    guard(-1, process::log_panic, || serving.map_or(-1, |serving| serving.answer(payload)))
}

/// # Safety
/// As [`Host::record`] says.
unsafe extern "C" fn record(request: *mut c_void) -> *mut c_void {
    // SAFETY: the contract of `Host`; other functions may have a reference to what is in the cell, but this one does
    // not look there.
    unsafe { request.cast::<Passed<'_>>().as_ref() }.map_or(std::ptr::null_mut(), |passed| passed.record)
}

/// # Safety
/// As [`Host::server_metrics`] says.
unsafe extern "C" fn server_metrics() -> i32 {
    guard(-1, process::log_panic, || metrics::snapshot().map_or(-1, IntoRawFd::into_raw_fd))
}

/// # Safety
/// As [`Host::log`] says.
unsafe extern "C" fn log(request: *mut c_void, level: u8, text: *const u8, len: usize) {
    // SAFETY: the contract of `Host`.
    let (serving, text) = unsafe { (serving(request), slice(text, len)) };
    guard(
        (),
        |_| {},
        || match serving {
            Some(serving) => serving.request.log_record(level.into(), text),
            None => process::log_main(level.into(), text),
        },
    );
}

/// # Safety
/// NULL, or `len` bytes that stay for `'a`.
unsafe fn slice<'a>(bytes: *const u8, len: usize) -> &'a [u8] {
    if bytes.is_null() || len == 0 {
        return b"";
    }
    // SAFETY: the contract above.
    unsafe { std::slice::from_raw_parts(bytes, len) }
}
