//! Taking turns before a GIL, in embedded mode.
//!
//! Threads that meet at the GIL cost two or three context switches each (a mutex, a condition variable and
//! the mutex again); with requests of some ten microseconds that is a fifth of all CPU time (measured: 63 us
//! a request without turns, 51 with them). A thread therefore waits here, where one switch is enough, until the
//! one before it is through.
//!
//! The order is only a courtesy. A thread that lets go of the GIL in order to wait ends its turn ([`end`]) where we
//! know of it; an application may also wait by itself (a database, a sleep). So no thread waits longer than
//! [`PATIENCE`] for its turn. If one had to wait that long, it goes on without a turn, and for the next [`PAUSE`]
//! requests no thread takes any. Daemon processes gain nothing from turns, because the scoreboard counts out their
//! request threads. Without a GIL there is nothing to wait for.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::python::py::runs_free;

/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_millis(1);
/// Requests that take no turn after one waited in vain.
const PAUSE: u32 = 1000;

/// The turns before one GIL.
#[derive(Debug, Default)]
pub struct Turns {
    turn: Mutex<()>,
    paused: AtomicU32,
}

thread_local! {
    static MINE: Cell<Option<MutexGuard<'static, ()>>> = const { Cell::new(None) };
}

/// Ends the turn when dropped, if it has not ended before.
pub struct Turn;

impl Drop for Turn {
    fn drop(&mut self) {
        end();
    }
}

impl Turns {
    /// Waits for this thread's turn; returns without one when turns do not help. To be called detached.
    pub fn begin(&'static self) -> Turn {
        if runs_free() {
            return Turn;
        }
        let left = self.paused.load(Ordering::Relaxed);
        if left > 0 {
            self.paused.store(left - 1, Ordering::Relaxed);
        } else if let Some(guard) = self.turn.try_lock_for(PATIENCE) {
            MINE.set(Some(guard));
        } else {
            self.paused.store(PAUSE, Ordering::Relaxed);
        }
        Turn
    }
}

/// Ends this thread's turn, if it has one.
pub fn end() {
    drop(MINE.take());
}

/// In a forked process: leaves the lock as it is, because the threads that wait for it are not there.
pub fn forget() {
    let _ = MINE.try_with(|mine| std::mem::forget(mine.take()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_in_vain_goes_on_and_turns_pause() {
        let [turns, others]: [&'static Turns; 2] = [(); 2].map(|()| &*Box::leak(Box::default()));
        let first = turns.begin();
        let other = std::thread::spawn(|| {
            let _turn = turns.begin();
            let has_turn = MINE.take().is_some();
            let _turn = others.begin();
            (has_turn, turns.paused.load(Ordering::Relaxed), MINE.take().is_some())
        });
        assert_eq!(other.join().expect("no panic"), (false, PAUSE, true));
        drop(first);
        drop(turns.begin());
        assert_eq!(turns.paused.load(Ordering::Relaxed), PAUSE - 1);
        assert!(turns.turn.try_lock().is_some());
    }
}
