//! Waiting on a word of memory that processes share. Called by the scoreboard only.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex::{self, Flags, Timespec};

/// Without `PRIVATE`, other processes that have mapped the memory count as well.
const SHARED: Flags = Flags::empty();

/// Sleeps while `word` holds `expected`, until [`wake_one`], [`wake_all`] or `limit`. May return early.
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Duration) {
    // What the system's record has no room for is for ever.
    let timeout = Timespec::try_from(limit).ok();
    // Callers look at the word again, whatever ended the wait.
    let _ = futex::wait(word, SHARED, expected, timeout.as_ref());
}

/// Wakes one thread, of any process, that waits on `word`.
pub(crate) fn wake_one(word: &AtomicU32) {
    let _ = futex::wake(word, SHARED, 1);
}

/// Wakes all threads that wait on `word`.
pub(crate) fn wake_all(word: &AtomicU32) {
    // The system takes the number as a signed one.
    let _ = futex::wake(word, SHARED, i32::MAX as u32);
}
