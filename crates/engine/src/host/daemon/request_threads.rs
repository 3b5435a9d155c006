//! The connections of a daemon process, and what its request threads share.
//!
//! All idle threads wait in one epoll, in which each resting connection is armed for one event. The thread that gets
//! the event takes the connection, so there is no dispatcher and no hand-over. [`super::request_thread`] is what a
//! thread then does with it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use wsgi_sys::event::{Epoll, Event};
use wsgi_sys::forked::Private;
use wsgi_sys::stream;
use wsgi_wire::config::{GroupConfig, stack_bytes};
use wsgi_wire::control::{Cause, FromDaemon, ToDaemon};
use wsgi_wire::loaded::Loaded;

use crate::host::daemon::connection::Connection;
use crate::request::script::Occasion;
use crate::timers::activity::Activity;
use crate::timers::slots::Slots;
use crate::timers::watchdog::Process;

/// Stack of a request thread, bytes, and what to say about it.
pub fn stack_size(wanted: Option<u64>) -> (usize, Option<String>) {
    let used = stack_bytes(wanted);
    let small = wanted.filter(|wanted| used > *wanted);
    let problem = small
        .map(|wanted| format!("stack-size={wanted} is too small for Python; request threads get the smallest stack that works, {used} bytes"));
    (usize::try_from(used).unwrap_or(usize::MAX), problem)
}

/// What the request threads share.
#[derive(Debug)]
pub struct RequestThreads {
    pub(super) epoll: Epoll,
    /// Connections that rest, by descriptor.
    resting: Mutex<Vec<Option<Box<Connection>>>>,
    pub(super) wake: Event,
    stopping: AtomicBool,
    /// Exchanges in progress.
    pub(super) active: AtomicUsize,
    /// Connections, resting or not.
    connections: AtomicUsize,
    pub(super) finished: AtomicU64,
    /// Request threads that have not ended.
    pub(super) running: AtomicUsize,
    pub(super) maximum_requests: u64,
    /// For `inactivity-timeout`.
    pub activity: Activity,
    pub(super) main_script: Option<Vec<u8>>,
    control: BorrowedFd<'static>,
    retired: AtomicBool,
    /// Why the process ends, if anything but an order or a signal makes it end. The first cause counts.
    cause: OnceLock<Cause>,
    /// Scripts of which the process serves old code, with the time of change that the supervisor knows of.
    outdated: Mutex<HashMap<Vec<u8>, Option<i64>>>,
    /// Messages about scripts that may be handed on, in the order in which they were loaded; as many as there are scripts.
    loaded: Mutex<Vec<Vec<u8>>>,
    /// The process has said why it cannot go on.
    gave_up: AtomicBool,
    /// What each request thread executes.
    pub slots: Slots,
    pub(super) stack_size: usize,
    /// The process is to end by itself.
    end: Event,
    ending: AtomicBool,
}

impl RequestThreads {
    /// No thread runs and there is no connection. `control` is the socket to the supervisor.
    pub fn new(control: BorrowedFd<'static>, config: &GroupConfig) -> io::Result<RequestThreads> {
        let threads = RequestThreads {
            epoll: Epoll::new()?,
            resting: Mutex::default(),
            wake: Event::new()?,
            stopping: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            finished: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            maximum_requests: config.maximum_requests,
            activity: Activity::new(config.inactivity_timeout_ms),
            main_script: config.main_script.as_ref().map(|path| path.as_bytes().to_vec()),
            control,
            retired: AtomicBool::new(false),
            cause: OnceLock::new(),
            outdated: Mutex::default(),
            loaded: Mutex::default(),
            gave_up: AtomicBool::new(false),
            slots: Slots::new(config.threads),
            stack_size: stack_size(config.stack_size).0,
            end: Event::new()?,
            ending: AtomicBool::new(false),
        };
        threads.epoll.add_always(threads.wake.as_fd().as_raw_fd())?;
        Ok(threads)
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
    pub fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
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

    /// Takes a connection that waits for its next request.
    pub(super) fn take(&self, fd: RawFd) -> Option<Box<Connection>> {
        Self::slot(&mut self.resting(), fd).take()
    }

    /// Closes a connection that [`RequestThreads::take`] has taken.
    pub(super) fn close(&self, connection: Option<Box<Connection>>) {
        if connection.is_some() {
            self.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Lets the connection wait for its next request.
    pub(super) fn rest(&self, mut connection: Box<Connection>) {
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
        self.note_cause(cause);
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
            self.note_cause(Cause::ScriptReload);
            self.tell(FromDaemon::Retire(Cause::ScriptReload));
        }
    }

    /// Notes why the process ends.
    pub fn note_cause(&self, cause: Cause) {
        let _ = self.cause.set(cause);
    }

    /// Why the process ends, in mod_wsgi's words.
    pub fn reason(&self) -> &'static str {
        self.cause.get().map_or("shutdown_signal", |cause| cause.name())
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
    pub fn tell_loaded(&self, application_group: &str, script: &str, why: Occasion) {
        let loaded = Loaded { asked: why == Occasion::Asked, application_group, script };
        let Some(message) = loaded.encode() else { return };
        // If this cannot be sent, the next process does not load the script in advance.
        let _ = stream::send_now(self.control, &message);
        // The next supervisor does not know what was handed on, so tell it that some request has asked for this script.
        let again = Loaded { asked: true, ..loaded }.encode().filter(|_| why != Occasion::Configured);
        let mut all = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = again.filter(|message| !all.contains(message)) {
            all.push(message);
        }
    }

    /// Tells another supervisor of the scripts that it may hand on.
    pub fn tell_loaded_again(&self) {
        for message in self.loaded.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = stream::send_now(self.control, message);
        }
    }
}

impl Process for RequestThreads {
    fn slots(&self) -> &Slots {
        &self.slots
    }

    fn retire(&self, cause: Cause) {
        RequestThreads::retire(self, cause);
    }

    fn stop(&self) {
        RequestThreads::stop(self);
    }

    fn ask_to_end(&self) {
        RequestThreads::ask_to_end(self);
    }

    fn reason(&self) -> &'static str {
        RequestThreads::reason(self)
    }
}
