//! How long a thread has waited for the GIL, for events and metrics. Nothing is measured before somebody wants to know.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wsgi_sys::clock;

static WANTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static MINE: Cell<Waits> = const { Cell::new(Waits { count: 0, time: Duration::ZERO }) };
}

/// Waits of a thread since it was last attached from outside of Python.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// How often it took the GIL.
    pub count: u32,
    /// How long that took.
    pub time: Duration,
}

/// From now on waits are measured.
pub fn measure() {
    WANTED.store(true, Ordering::Relaxed);
}

/// A wait that has begun, if anybody wants to know.
#[derive(Debug)]
pub struct Began(Option<Duration>);

/// The thread is about to take the GIL. `is_first`: what it has waited before belongs to another request.
pub fn begin(is_first: bool) -> Began {
    if !WANTED.load(Ordering::Relaxed) {
        return Began(None);
    }
    if is_first {
        MINE.set(Waits::default());
    }
    Began(Some(clock::monotonic()))
}

/// The thread has the GIL.
pub fn end(began: Began) {
    if let Began(Some(began)) = began {
        let Waits { count, time } = MINE.get();
        MINE.set(Waits { count: count + 1, time: time + clock::monotonic().saturating_sub(began) });
    }
}

/// What this thread has waited.
pub fn mine() -> Waits {
    MINE.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_count_from_the_first_attachment_on_and_only_when_somebody_wants_to_know() {
        end(begin(true));
        assert_eq!(mine(), Waits::default());
        measure();
        end(begin(true));
        end(begin(false));
        assert_eq!(mine().count, 2);
        end(begin(true));
        assert_eq!(mine().count, 1);
    }
}
