//! What httpd's scoreboard says, for `mod_wsgi.server_metrics()`. A daemon process asks the supervisor, and the
//! supervisor asks one of httpd's children. In embedded mode this process is the child, and the engine asks it through
//! its table.

use std::os::fd::{FromRawFd, OwnedFd};
use std::process;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wsgi_sys::memory;

/// How long a daemon process waits for an answer.
const LIMIT: Duration = Duration::from_secs(1);
/// When it asks again: the child that was asked may have ended.
const AGAIN: Duration = Duration::from_millis(500);
/// How long it waits for a message at a time, while no other thread takes messages.
const SLICE: Duration = Duration::from_millis(50);
/// The longest answer that it accepts, in bytes.
const MOST: u64 = 256 << 20;

/// A daemon process's way to its supervisor.
pub trait Supervisor: Sync {
    /// Asks the supervisor for what [`arrived`] takes.
    fn ask_for_metrics(&self);
    /// Whether a thread takes the supervisor's messages as they come.
    fn is_heard(&self) -> bool;
    /// Takes a message of the supervisor, if one comes within `limit`. False: the supervisor is gone.
    fn take_message(&self, limit: Duration) -> bool;
}

/// Who is asked.
#[derive(Clone, Copy)]
enum Source {
    /// The supervisor of this daemon process.
    Daemon(&'static dyn Supervisor),
    /// [`wsgi_wire::host::Host::server_metrics`].
    Child(unsafe extern "C" fn() -> i32),
}

/// The source, and the id of the process that may ask it. A process that the application forks may not: it shares this
/// process's sockets and locks.
static SOURCE: OnceLock<(u32, Source)> = OnceLock::new();

/// The answers that came, and the last of them until it is taken.
struct Answers {
    count: u64,
    last: Option<Vec<u8>>,
}

static ANSWERS: Mutex<Answers> = Mutex::new(Answers { count: 0, last: None });
static CAME: Condvar = Condvar::new();

/// From now on this daemon process may ask (`server-metrics=On`).
pub fn by_way_of(supervisor: &'static dyn Supervisor) {
    let _ = SOURCE.set((process::id(), Source::Daemon(supervisor)));
}

/// From now on applications of this child may ask (`WSGIServerMetrics On`).
pub fn from_child(ask: unsafe extern "C" fn() -> i32) {
    let _ = SOURCE.set((process::id(), Source::Child(ask)));
}

/// An answer of the supervisor.
pub fn arrived(file: OwnedFd) {
    let found = memory::read_whole(file, MOST).ok();
    let mut answers = ANSWERS.lock();
    answers.count += 1;
    answers.last = found;
    CAME.notify_all();
}

/// The metrics of now as JSON. `None` where they are not enabled, when no answer comes, and in a process that the
/// application has forked. Without the GIL.
pub fn current() -> Option<Vec<u8>> {
    let (owner, source) = *SOURCE.get()?;
    if owner != process::id() {
        return None;
    }
    match source {
        Source::Daemon(supervisor) => ask(supervisor),
        Source::Child(ask) => {
            // SAFETY: the child's function, for any thread.
            let file = unsafe { ask() };
            if file < 0 {
                return None;
            }
            // SAFETY: by its contract a descriptor that is ours.
            memory::read_whole(unsafe { OwnedFd::from_raw_fd(file) }, MOST).ok()
        }
    }
}

fn ask(supervisor: &dyn Supervisor) -> Option<Vec<u8>> {
    let end = Instant::now() + LIMIT;
    // A thread that asks after another must not get the other's answer, which may be older.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.try_lock_until(end)?;
    let known = ANSWERS.lock().count;
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next {
            supervisor.ask_for_metrics();
            next = now + AGAIN;
        }
        let pause = next.min(end);
        // While the process still loads scripts, no other thread takes the supervisor's messages, and a script may want
        // to know the metrics then.
        if !supervisor.is_heard() && !supervisor.take_message(SLICE.min(pause.saturating_duration_since(now))) {
            return None;
        }
        let mut answers = ANSWERS.lock();
        if supervisor.is_heard() {
            CAME.wait_while_until(&mut answers, |answers| answers.count == known, pause);
        }
        if answers.count != known {
            return answers.last.take();
        }
        if Instant::now() >= end {
            return None;
        }
    }
}
