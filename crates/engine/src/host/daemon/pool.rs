//! A daemon process's connections and request threads.
//!
//! All idle threads wait in one epoll, in which each resting connection is armed for one event. The thread that gets
//! the event takes the connection, so there is no dispatcher and no hand-over. It receives what is there, executes a
//! request with one hold of the GIL, sends the response with one call, and lets the connection rest again.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wsgi_sys::event::{Epoll, Event};
use wsgi_sys::forked::{self, Private};
use wsgi_sys::{clock, process, stream, thread};
use wsgi_wire::control::{Cause, FromDaemon, ToDaemon};
use wsgi_wire::loaded::Loaded;
use wsgi_wire::pool::{PoolConfig, stack_bytes};
use wsgi_wire::request::{self, IGNORE_ACTIVITY, Key, MAIN, Variables};
use wsgi_wire::response::Failure;

use crate::host::daemon::connection::{Connection, Incoming, Step};
use crate::host::daemon::outgoing::Outgoing;
use crate::log::{ERROR, process_log};
use crate::python::interpreters;
use crate::python::threads;
use crate::request::adapter::{self, Request, numbers};
use crate::request::exchange::Exchange;
use crate::request::host::{Outcome, Sink};
use crate::request::script::Occasion;
use crate::timers::activity::Activity;
use crate::timers::slots::{Slot, Slots};
use crate::timers::watchdog::Process;

/// Memory that a request thread receives into.
const BUFFER: usize = 128 << 10;
/// Stack of a request thread, bytes, and what to say about it.
pub fn stack_size(wanted: Option<u64>) -> (usize, Option<String>) {
    let used = stack_bytes(wanted);
    let small = wanted.filter(|wanted| used > *wanted);
    let problem = small
        .map(|wanted| format!("stack-size={wanted} is too small for Python; threads have the smallest, {used} bytes"));
    (usize::try_from(used).unwrap_or(usize::MAX), problem)
}

/// What the request threads share.
#[derive(Debug)]
pub struct Pool {
    epoll: Epoll,
    /// Connections that rest, by descriptor.
    resting: Mutex<Vec<Option<Box<Connection>>>>,
    wake: Event,
    stopping: AtomicBool,
    /// Exchanges in progress.
    active: AtomicUsize,
    /// Connections, resting or not.
    connections: AtomicUsize,
    finished: AtomicU64,
    /// Request threads that have not ended.
    threads: AtomicUsize,
    maximum_requests: u64,
    /// For `inactivity-timeout`.
    pub activity: Activity,
    main_script: Option<Vec<u8>>,
    control: BorrowedFd<'static>,
    retired: AtomicBool,
    /// Scripts of which the process serves old code, with the time of change that the supervisor knows of.
    outdated: Mutex<HashMap<Vec<u8>, Option<i64>>>,
    /// Messages about scripts that may be handed on, in the order in which they were loaded; as many as there are scripts.
    loaded: Mutex<Vec<Vec<u8>>>,
    /// The process has said why it cannot go on.
    gave_up: AtomicBool,
    /// What each request thread executes.
    pub slots: Slots,
    stack_size: usize,
    /// The process is to end by itself.
    end: Event,
    ending: AtomicBool,
}

impl Pool {
    /// A pool without threads and connections. `control` is the socket to the supervisor.
    pub fn new(control: BorrowedFd<'static>, config: &PoolConfig) -> io::Result<Pool> {
        let pool = Pool {
            epoll: Epoll::new()?,
            resting: Mutex::default(),
            wake: Event::new()?,
            stopping: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            finished: AtomicU64::new(0),
            threads: AtomicUsize::new(0),
            maximum_requests: config.maximum_requests,
            activity: Activity::new(config.inactivity_timeout_ms),
            main_script: config.main_script.as_ref().map(|path| path.as_bytes().to_vec()),
            control,
            retired: AtomicBool::new(false),
            outdated: Mutex::default(),
            loaded: Mutex::default(),
            gave_up: AtomicBool::new(false),
            slots: Slots::new(config.threads),
            stack_size: stack_size(config.stack_size).0,
            end: Event::new()?,
            ending: AtomicBool::new(false),
        };
        pool.epoll.add_always(pool.wake.as_fd().as_raw_fd())?;
        Ok(pool)
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Option<Box<Connection>>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges in progress.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// Connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Whether the process is ending.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Request threads that run.
    pub fn threads(&self) -> usize {
        self.threads.load(Ordering::SeqCst)
    }

    fn slot<'g>(
        resting: &'g mut MutexGuard<'_, Vec<Option<Box<Connection>>>>,
        fd: RawFd,
    ) -> &'g mut Option<Box<Connection>> {
        let at = usize::try_from(fd).unwrap_or(0);
        if resting.len() <= at {
            resting.resize_with(at + 1, || None);
        }
        &mut resting[at]
    }

    /// Takes a new connection.
    pub fn adopt(&self, fd: Private) {
        let connection = Box::new(Connection::new(fd));
        let fd = connection.fd();
        let mut resting = self.resting();
        if self.stopping.load(Ordering::SeqCst) {
            return;
        }
        self.connections.fetch_add(1, Ordering::SeqCst);
        *Self::slot(&mut resting, fd) = Some(connection);
        drop(resting);
        if self.epoll.add_once(fd).is_err() {
            self.close(self.take(fd));
        }
    }

    fn take(&self, fd: RawFd) -> Option<Box<Connection>> {
        Self::slot(&mut self.resting(), fd).take()
    }

    fn close(&self, connection: Option<Box<Connection>>) {
        if connection.is_some() {
            self.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Lets the connection wait for its next request.
    fn rest(&self, mut connection: Box<Connection>) {
        connection.trim();
        let fd = connection.fd();
        let mut resting = self.resting();
        if self.stopping.load(Ordering::SeqCst) {
            drop(resting);
            return self.close(Some(connection));
        }
        *Self::slot(&mut resting, fd) = Some(connection);
        drop(resting);
        if self.epoll.rearm(fd).is_err() {
            self.close(self.take(fd));
        }
    }

    /// Ends the threads: the idle ones now, the others after their exchange. Resting connections are
    /// closed unread, so that a child whose request nobody has begun knows that (ECONNRESET).
    pub fn stop(&self) {
        let resting = {
            let mut resting = self.resting();
            self.stopping.store(true, Ordering::SeqCst);
            std::mem::take(&mut *resting)
        };
        self.connections.fetch_sub(resting.iter().flatten().count(), Ordering::SeqCst);
        drop(resting);
        self.wake.set();
    }

    /// Asks the supervisor to replace this process: once, and once more if it turns out that it cannot go on.
    pub fn retire(&self, cause: Cause) {
        let is_first = !self.retired.swap(true, Ordering::SeqCst);
        let gives_up = matches!(cause, Cause::RequestTimeout | Cause::DeadlockTimeout | Cause::StartupTimeout);
        if is_first || (gives_up && !self.gave_up.swap(true, Ordering::SeqCst)) {
            self.tell(FromDaemon::Retire(cause));
        }
    }

    /// Notes that the process serves old code of `script`, whose file changed at `mtime_us`. Tells the supervisor of
    /// each change once: the process that the supervisor starts for one change may be broken, and gone when the next
    /// change comes.
    pub fn note_outdated(&self, script: &[u8], mtime_us: Option<i64>) {
        let mut outdated = self.outdated.lock().unwrap_or_else(PoisonError::into_inner);
        if outdated.get(script) != Some(&mtime_us) {
            outdated.insert(script.to_vec(), mtime_us);
            drop(outdated);
            self.tell(FromDaemon::Retire(Cause::ScriptReload));
        }
    }

    /// Makes the main thread end the process as if it had been told to stop.
    pub fn ask_to_end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.end.set();
    }

    /// Readable as soon as the process is to end by itself.
    pub fn end_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Whether the process must end by itself.
    pub fn is_to_end(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Whether the process has asked the supervisor to replace it.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Sends a message to the supervisor. When it is gone the main thread finds out by itself.
    pub fn tell(&self, message: FromDaemon) {
        let _ = stream::send_now(self.control, &message.encode());
    }

    /// Whether the supervisor wants the process to stop, or is gone. For the time when nobody reads the control socket
    /// yet.
    pub fn is_unwanted(&self) -> bool {
        if self.is_to_end() {
            return true;
        }
        let mut first = [0];
        let got = stream::peek_now(self.control, &mut first);
        got.is_ok_and(|len| len == 0 || ToDaemon::decode(&first) == Ok(ToDaemon::Stop))
    }

    /// Tells the supervisor that a script is loaded, unless its name is too long to be handed on.
    pub fn tell_loaded(&self, group: &str, script: &str, why: Occasion) {
        let told = Loaded { asked: why == Occasion::Asked, group, script };
        let Some(message) = told.encode() else { return };
        // If this cannot be sent, the next process does not load the script in advance.
        let _ = stream::send_now(self.control, &message);
        // The next supervisor does not know what was handed on, so tell it that some request has asked for this script.
        let again = Loaded { asked: true, ..told }.encode().filter(|_| why != Occasion::Configured);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = again.filter(|message| !loaded.contains(message)) {
            loaded.push(message);
        }
    }

    /// Tells another supervisor of the scripts that it may hand on.
    pub fn tell_loaded_again(&self) {
        for message in self.loaded.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = stream::send_now(self.control, message);
        }
    }

    /// Starts the request threads.
    pub fn start(&'static self) -> io::Result<()> {
        for (number, slot) in self.slots.numbered() {
            self.threads.fetch_add(1, Ordering::SeqCst);
            let builder = std::thread::Builder::new().name(format!("wsgi-{number}")).stack_size(self.stack_size);
            let started = builder.spawn(move || {
                let (ident, tid) = thread::numbers();
                slot.adopt(ident, tid);
                RequestThread { pool: self, slot, number, buffer: vec![0; BUFFER], out: Vec::with_capacity(BUFFER) }
                    .run();
                threads::release();
                self.threads.fetch_sub(1, Ordering::SeqCst);
            });
            if let Err(error) = started {
                self.threads.fetch_sub(1, Ordering::SeqCst);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Process for Pool {
    fn slots(&self) -> &Slots {
        &self.slots
    }

    fn retire(&self, cause: Cause) {
        Pool::retire(self, cause);
    }

    fn stop(&self) {
        Pool::stop(self);
    }

    fn ask_to_end(&self) {
        Pool::ask_to_end(self);
    }
}

struct RequestThread {
    pool: &'static Pool,
    slot: &'static Slot,
    number: u32,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl RequestThread {
    fn run(&mut self) {
        self.run_with(RequestThread::advance);
    }

    /// Takes connections until the process stops, and lets `advance` go through what they have received.
    fn run_with(&mut self, advance: fn(&mut RequestThread, &mut Connection) -> bool) {
        while !self.pool.stopping.load(Ordering::SeqCst) {
            let fd = match self.pool.epoll.wait() {
                Ok(fd) => fd,
                Err(error) => {
                    process_log(ERROR, format!("request thread {} ends: epoll_wait: {error}", self.number).as_bytes());
                    return;
                }
            };
            if fd == self.pool.wake.as_fd().as_raw_fd() {
                continue;
            }
            let Some(mut connection) = self.pool.take(fd) else { continue };
            let advanced = panic::catch_unwind(AssertUnwindSafe(|| advance(self, &mut connection)));
            match advanced {
                Ok(true) => self.pool.rest(connection),
                Ok(false) => self.pool.close(Some(connection)),
                // Only the connection is lost, and its child sees it end. The thread goes on with memory of its own.
                Err(payload) => {
                    std::mem::forget(payload);
                    self.buffer = vec![0; BUFFER];
                    self.pool.close(Some(connection));
                    process_log(
                        ERROR,
                        b"internal error of mod_wsgi: a request thread closes its connection and goes on",
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
        let pool = self.pool;
        pool.active.fetch_add(1, Ordering::SeqCst);
        let fd = connection.fd();
        let (number, slot) = (self.number, self.slot);
        let out = &mut self.out;
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            let area = connection.area().take();
            let mut body = Incoming::new(connection, slot);
            let mut sink = Outgoing::new(fd, out, area, slot);
            let kept = exchange(pool, (number, slot, fd), payload, &mut body, &mut sink);
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
        pool.active.fetch_sub(1, Ordering::SeqCst);
        let finished = pool.finished.fetch_add(1, Ordering::Relaxed) + 1;
        if finished == pool.maximum_requests {
            pool.retire(Cause::MaximumRequests);
        }
        result.unwrap_or_else(|payload| {
            std::mem::forget(payload);
            process_log(ERROR, b"internal error of mod_wsgi while a request was executed");
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

/// One exchange, to its end. `place`: the request thread's number and slot, and the connection. False when the
/// connection is of no more use.
fn exchange(
    pool: &Pool,
    place: (u32, &Slot, RawFd),
    payload: &[u8],
    body: &mut Incoming<'_>,
    sink: &mut Outgoing<'_>,
) -> bool {
    let (number, slot, fd) = place;
    let (taken_us, begun) = (clock::wall_us(), clock::monotonic());
    if pool.stopping.load(Ordering::SeqCst) {
        return sink.end(Outcome::Stale).is_ok();
    }
    let Ok((head, variables)) = request::decode(payload) else {
        return sink.end(Outcome::Failed(Failure::Protocol)).is_ok();
    };
    let (method, url) = method_and_url(&variables);
    let _open = slot.open(fd, begun, method, url);
    let _engaged = if head.flags & IGNORE_ACTIVITY == 0 { pool.activity.engage() } else { None };
    let is_main = head.flags & MAIN != 0 || pool.main_script.as_deref() == Some(head.script);
    let Some(interp) = interpreters::of_group(if is_main { b"" } else { head.group }) else {
        return sink.end(Outcome::Failed(Failure::Interpreter)).is_ok();
    };
    let exchange = Exchange::new(body, sink, number, head.log_level);
    let outcome = threads::attach(interp, |gil| {
        slot.enter(ptr::from_ref(interp).addr());
        exchange.begin();
        let outcome = adapter::run(gil, interp, &exchange, Request { head, variables, taken_us });
        if slot.leave() {
            // The next request would get what this one has left.
            gil.raise_nothing_in_thread(thread::numbers().0);
        }
        outcome
    });
    if outcome == Outcome::Stale {
        pool.retire(Cause::ScriptReload);
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

    use super::*;

    #[test]
    fn a_panic_costs_the_connection_and_not_the_thread() {
        let (control, _supervisor) = UnixStream::pair().expect("sockets");
        let control: &'static UnixStream = Box::leak(Box::new(control));
        let config = PoolConfig { threads: 1, ..PoolConfig::default() };
        let pool: &'static Pool = Box::leak(Box::new(Pool::new(control.as_fd(), &config).expect("a pool")));
        let connect = || {
            let (near, far) = UnixStream::pair().expect("sockets");
            near.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
            pool.adopt(Private::new(far.into()));
            near
        };
        let thread = std::thread::spawn(move || {
            let mut thread = RequestThread {
                pool,
                slot: pool.slots.of(1).expect("a slot"),
                number: 1,
                buffer: vec![0; BUFFER],
                out: Vec::new(),
            };
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
        assert_eq!((&answer, pool.connections()), (b"served", 1));
        pool.stop();
        thread.join().expect("the thread ends in order");
    }
}
