//! What httpd's scoreboard says, for `mod_wsgi.server_metrics()`. A daemon process asks the supervisor, who asks
//! one of httpd's children; in embedded mode the child is this process, and is asked through its table.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use wsgi_sys::memory;

use crate::daemon::Daemon;

/// How long a daemon process waits for an answer.
const LIMIT: Duration = Duration::from_secs(1);
/// When it asks again: the child that was asked may have ended.
const AGAIN: Duration = Duration::from_millis(250);
/// How often it looks whether another thread has taken the answer.
const SLICE: Duration = Duration::from_millis(5);
/// More is no answer, bytes.
const MOST: u64 = 256 << 20;

/// Who is asked.
#[derive(Clone, Copy)]
enum Source {
    /// The supervisor of this daemon process.
    Daemon(&'static Daemon),
    /// [`wsgi_wire::host::Host::server_metrics`].
    Child(unsafe extern "C" fn() -> i32),
}

static SOURCE: OnceLock<Source> = OnceLock::new();

/// The answers that came, and the last of them.
#[derive(Default)]
struct Answers {
    count: u64,
    last: Option<Vec<u8>>,
}

static ANSWERS: Mutex<Answers> = Mutex::new(Answers { count: 0, last: None });

fn answers() -> MutexGuard<'static, Answers> {
    ANSWERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on this daemon process may ask, if its group has `server-metrics=On`.
pub fn by_way_of(daemon: &'static Daemon) {
    if daemon.config.server_metrics {
        let _ = SOURCE.set(Source::Daemon(daemon));
    }
}

/// From now on applications of this child may ask (`WSGIServerMetrics On`).
pub fn from_child(ask: unsafe extern "C" fn() -> i32) {
    let _ = SOURCE.set(Source::Child(ask));
}

/// An answer of the supervisor.
pub fn arrived(file: OwnedFd) {
    let found = memory::read_whole(file, MOST).ok();
    let mut answers = answers();
    answers.count += 1;
    answers.last = found;
}

/// The metrics of now as JSON. Nothing where they are not enabled, and when no answer comes. Without the GIL.
pub fn current() -> Option<Vec<u8>> {
    match SOURCE.get()? {
        Source::Daemon(daemon) => ask(daemon),
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

/// Messages of the supervisor are taken here as well: the main thread does that only when all scripts are loaded,
/// and they may want to know while they are.
fn ask(daemon: &Daemon) -> Option<Vec<u8>> {
    // Who asks after another must not get the other's answer, which may be older.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let known = answers().count;
    let end = Instant::now() + LIMIT;
    let mut next = Instant::now();
    loop {
        let answers = answers();
        if answers.count != known {
            return answers.last.clone();
        }
        drop(answers);
        let now = Instant::now();
        if now >= end {
            return None;
        }
        if now >= next {
            daemon.ask_for_metrics();
            next = now + AGAIN;
        }
        if !daemon.take_message(SLICE) {
            return None;
        }
    }
}
