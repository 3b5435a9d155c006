//! One request thread of a daemon process. It takes a connection that has become readable out of
//! [`super::request_threads`], receives what is there, executes a request with one hold of the GIL, sends the response
//! with one call, and lets the connection rest again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::ptr;
use std::sync::atomic::Ordering;

use wsgi_sys::{clock, forked, process, thread};
use wsgi_wire::control::Cause;
use wsgi_wire::messages::Message;
use wsgi_wire::request::{self, DECIDE, IGNORE_ACTIVITY, Key, MAIN, Variables};
use wsgi_wire::response::Failure;

use crate::host::daemon::connection::{Connection, Incoming, Step};
use crate::host::daemon::outgoing::Outgoing;
use crate::host::daemon::request_threads::RequestThreads;
use crate::log;
use crate::python::interpreters;
use crate::python::threads;
use crate::request::adapter::{self, Request, numbers};
use crate::request::decide;
use crate::request::exchange::Exchange;
use crate::request::host::{Outcome, Sink};
use crate::request::telemetry::slow::{self, Claim};
use crate::timers::slots::Slot;

/// Memory that a request thread receives into.
const BUFFER: usize = 128 << 10;

/// A request thread, with memory of its own.
struct RequestThread {
    shared: &'static RequestThreads,
    slot: &'static Slot,
    number: u32,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

/// Starts the request threads.
///
/// # Errors
/// What the system says that has no room for one.
pub(super) fn start(shared: &'static RequestThreads) -> io::Result<()> {
    for (number, slot) in shared.slots.numbered() {
        shared.running.fetch_add(1, Ordering::SeqCst);
        let builder = std::thread::Builder::new().name(format!("wsgi-{number}")).stack_size(shared.stack_size);
        let started = builder.spawn(move || {
            let (ident, tid) = thread::numbers();
            slot.adopt(ident, tid);
            RequestThread::new(shared, slot, number).run();
            threads::release();
            shared.running.fetch_sub(1, Ordering::SeqCst);
        });
        if let Err(error) = started {
            shared.running.fetch_sub(1, Ordering::SeqCst);
            return Err(error);
        }
    }
    Ok(())
}

impl RequestThread {
    /// The request thread `number`, whose slot is `slot`.
    fn new(shared: &'static RequestThreads, slot: &'static Slot, number: u32) -> RequestThread {
        RequestThread { shared, slot, number, buffer: vec![0; BUFFER], out: Vec::with_capacity(BUFFER) }
    }

    /// Executes requests until the process stops.
    pub(super) fn run(&mut self) {
        self.run_with(RequestThread::advance);
    }

    /// Takes connections until the process stops, and lets `advance` go through what they have received.
    fn run_with(&mut self, advance: fn(&mut RequestThread, &mut Connection) -> bool) {
        while !self.shared.is_stopping() {
            let fd = match self.shared.epoll.wait() {
                Ok(fd) => fd,
                Err(error) => {
                    let text = format!("request thread {} ends: epoll_wait: {error}", self.number);
                    log::report(Message::ThreadEnds, &text);
                    return;
                }
            };
            if fd == self.shared.wake.as_fd().as_raw_fd() {
                continue;
            }
            let Some(mut connection) = self.shared.take(fd) else { continue };
            let advanced = panic::catch_unwind(AssertUnwindSafe(|| advance(self, &mut connection)));
            match advanced {
                Ok(true) => self.shared.rest(connection),
                Ok(false) => self.shared.close(Some(connection)),
                // Only the connection is lost, and its child sees it end. The thread goes on with memory of its own.
                Err(payload) => {
                    std::mem::forget(payload);
                    self.buffer = vec![0; BUFFER];
                    self.shared.close(Some(connection));
                    log::report(
                        Message::InternalOfRequest,
                        "internal error of mod_wsgi: a request thread closes its connection and goes on",
                    );
                }
            }
        }
    }

    /// Receives, and executes each request that is complete. False when the connection is to be closed.
    fn advance(&mut self, connection: &mut Connection) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let kept = if connection.is_empty() {
            match connection.receive(&mut buffer) {
                Ok(0) => false,
                Ok(count) => self.go_through(connection, &buffer[..count]),
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            }
        } else {
            match connection.receive_more() {
                Ok(0) => false,
                // A long head comes in many pieces: what is here stays where it is.
                Ok(_) if connection.awaits_more() => true,
                Ok(_) => {
                    let all = connection.early();
                    self.go_through(connection, &all)
                }
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            }
        };
        self.buffer = buffer;
        kept
    }

    fn go_through(&mut self, connection: &mut Connection, bytes: &[u8]) -> bool {
        let mut at = 0;
        loop {
            match connection.advance(bytes, &mut at) {
                Step::Close => return false,
                Step::Wait => {
                    connection.keep(&bytes[at..]);
                    return true;
                }
                Step::Request(range) if connection.has_body() => {
                    connection.keep(&bytes[at..]);
                    if !self.execute(connection, &bytes[range]) {
                        return false;
                    }
                    let rest = connection.early();
                    return rest.is_empty() || self.go_through(connection, &rest);
                }
                Step::Request(range) => {
                    if !self.execute(connection, &bytes[range]) {
                        return false;
                    }
                    if at == bytes.len() {
                        return true;
                    }
                }
            }
        }
    }

    /// Executes a request. False when the connection is of no more use.
    fn execute(&mut self, connection: &mut Connection, payload: &[u8]) -> bool {
        let shared = self.shared;
        shared.active.fetch_add(1, Ordering::SeqCst);
        let fd = connection.fd();
        let (number, slot) = (self.number, self.slot);
        let out = &mut self.out;
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            let area = connection.area().take();
            let mut body = Incoming::new(connection, slot);
            let mut sink = Outgoing::new(fd, out, area, slot);
            let kept = run_exchange(shared, (number, slot, fd), payload, &mut body, &mut sink);
            let area = sink.into_area();
            drop(body);
            *connection.area() = area;
            kept
        }));
        if forked::is_child() {
            // A panic has brought a forked process here.
            process::exit_now(1);
        }
        if result.is_err() {
            // The request that was cut short may have left a part of its response here.
            self.out.clear();
        }
        if self.out.capacity() > 2 * BUFFER {
            self.out = Vec::with_capacity(BUFFER);
        }
        shared.active.fetch_sub(1, Ordering::SeqCst);
        let finished = shared.finished.fetch_add(1, Ordering::Relaxed) + 1;
        if finished == shared.maximum_requests {
            shared.retire(Cause::MaximumRequests);
        }
        result.unwrap_or_else(|payload| {
            std::mem::forget(payload);
            log::report(Message::InternalOfRequest, "internal error of mod_wsgi while a request was executed");
            false
        })
    }
}

/// Method and URL of a request.
fn method_and_url<'r>(variables: &Variables<'r>) -> (&'r [u8], &'r [u8]) {
    let (mut method, mut url) = (None, None);
    for (key, value) in variables.clone().flatten() {
        match key {
            Key::Known(number) if usize::from(number) == numbers::METHOD => method = Some(value),
            Key::Known(number) if usize::from(number) == numbers::URL => url = Some(value),
            _ => continue,
        }
        if method.is_some() && url.is_some() {
            break;
        }
    }
    (method.unwrap_or_default(), url.unwrap_or_default())
}

/// Runs an exchange to its end. `place`: the request thread's number and slot, and the connection. False when the
/// connection is of no more use.
fn run_exchange(
    shared: &RequestThreads,
    place: (u32, &Slot, RawFd),
    payload: &[u8],
    body: &mut Incoming<'_>,
    sink: &mut Outgoing<'_>,
) -> bool {
    let (number, slot, fd) = place;
    let (taken_us, begun) = (clock::wall_us(), clock::monotonic());
    if shared.is_stopping() {
        return sink.end(Outcome::Stale).is_ok();
    }
    let Ok((head, variables)) = request::decode(payload) else {
        return sink.end(Outcome::Failed(Failure::Protocol)).is_ok();
    };
    // It ends behind the exchange, when the response is sent.
    let claim = if head.flags & DECIDE == 0 { slow::claim(number, &head, &variables, taken_us) } else { None };
    let (method, url) = method_and_url(&variables);
    let _open = slot.open(fd, begun, method, url);
    let _engaged = if head.flags & IGNORE_ACTIVITY == 0 { shared.activity.engage() } else { None };
    let is_main = head.flags & MAIN != 0 || shared.main_script.as_deref() == Some(head.script);
    let Some(interp) = interpreters::of_application_group(if is_main { b"" } else { head.application_group }) else {
        return sink.end(Outcome::Failed(Failure::Interpreter)).is_ok();
    };
    let exchange = pin!(Exchange::new(body, sink, number, head.log_level));
    let exchange = exchange.as_ref();
    exchange.watch.note(claim.as_ref());
    let outcome = threads::attach(interp, |gil| {
        slot.enter(ptr::from_ref(interp).addr(), gil.thread_state());
        exchange.begin();
        let request = Request { head, variables, taken_us };
        let outcome = match head.flags & DECIDE {
            0 => adapter::run(gil, interp, exchange, request),
            _ => decide::run(gil, interp, exchange, &request, payload),
        };
        {
            let _one = slot.raising.enter(gil);
            if slot.leave() {
                // The next request would get what this one has left.
                gil.raise_nothing_in_thread(thread::numbers().0);
            }
        }
        outcome
    });
    if outcome == Outcome::Stale {
        claim.iter().for_each(Claim::forget);
        shared.retire(Cause::ScriptReload);
    }
    // Another thread of the application may still be reading. The child ends the body now, which wakes that thread, and
    // the exchange goes when the thread is through.
    exchange.end(outcome).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use wsgi_sys::forked::Private;
    use wsgi_sys::stream;
    use wsgi_wire::config::GroupConfig;

    use super::*;

    #[test]
    fn a_panic_costs_the_connection_and_not_the_thread() {
        let (control, _supervisor) = UnixStream::pair().expect("sockets");
        let control: &'static UnixStream = Box::leak(Box::new(control));
        let config = GroupConfig { threads: 1, ..GroupConfig::default() };
        let threads: &'static RequestThreads =
            Box::leak(Box::new(RequestThreads::new(control.as_fd(), &config).expect("descriptors")));
        let connect = || {
            let (near, far) = UnixStream::pair().expect("sockets");
            near.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
            threads.adopt(Private::new(far.into()));
            near
        };
        let thread = std::thread::spawn(move || {
            let mut thread = RequestThread::new(threads, threads.slots.of(1).expect("a slot"), 1);
            thread.run_with(|thread, connection| {
                let mut buffer = std::mem::take(&mut thread.buffer);
                let count = connection.receive(&mut buffer).expect("something was sent");
                assert_ne!(&buffer[..count], b"panic", "this is a part of the test");
                thread.buffer = buffer;
                stream::send_now(connection.as_fd(), b"served").is_ok()
            });
        });
        let (mut first, mut second) = (connect(), connect());
        first.write_all(b"panic").expect("it is open");
        assert_eq!(first.read(&mut [0; 16]).expect("its end"), 0);
        let mut answer = [0; 6];
        second.write_all(b"serve").expect("it is open");
        second.read_exact(&mut answer).expect("an answer");
        assert_eq!((&answer, threads.connections()), (b"served", 1));
        threads.stop();
        thread.join().expect("the thread ends in order");
    }
}
