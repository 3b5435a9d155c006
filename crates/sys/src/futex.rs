//! Waiting on a word of shared memory. Called by the scoreboard only.
//!
//! Linux has futexes; elsewhere a waiter looks again every millisecond.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` holds `expected`, until [`wake_one`], [`wake_all`] or `limit`. May return early.
#[cfg(target_os = "linux")]
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    // SAFETY: `word` and `timeout` outlive the call; FUTEX_WAIT only reads both.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const timeout) };
}

/// Wakes one thread, of any process, that waits on `word`.
#[cfg(target_os = "linux")]
pub(crate) fn wake_one(word: &AtomicU32) {
    wake(word, 1);
}

/// Wakes all threads that wait on `word`.
#[cfg(target_os = "linux")]
pub(crate) fn wake_all(word: &AtomicU32) {
    wake(word, libc::c_int::MAX);
}

#[cfg(target_os = "linux")]
fn wake(word: &AtomicU32, count: libc::c_int) {
    // SAFETY: FUTEX_WAKE takes the address as a key and does not write there.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}

/// Sleeps at most a millisecond while `word` holds `expected`.
#[cfg(not(target_os = "linux"))]
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Duration) {
    if word.load(std::sync::atomic::Ordering::SeqCst) == expected {
        std::thread::sleep(limit.min(Duration::from_millis(1)));
    }
}

/// Nothing to do: waiters look by themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn wake_one(_word: &AtomicU32) {}

/// As [`wake_one`].
#[cfg(not(target_os = "linux"))]
pub(crate) fn wake_all(_word: &AtomicU32) {}
