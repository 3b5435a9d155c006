//! The clock that decisions see: the monotonic clock, without the time in which the supervisor did not run (SIGSTOP, a
//! frozen cgroup). In that time the processes that the supervisor waits for stood still as well, or nobody read their
//! messages. So a limit that ended meanwhile says nothing about them.

use wsgi_sys::clock;

use crate::decide::Millis;

/// If a round of the loop takes this much longer than its wait may take, something has stopped the supervisor.
const GAP: Millis = 2_000;

/// See the module.
#[derive(Debug)]
pub struct Clock {
    /// When the last round ended.
    last: Millis,
    /// Time that does not count.
    lost: Millis,
}

fn real() -> Millis {
    u64::try_from(clock::monotonic().as_millis()).unwrap_or(u64::MAX)
}

impl Clock {
    /// A clock that has lost nothing.
    pub fn new() -> Clock {
        Clock { last: real(), lost: 0 }
    }

    /// Milliseconds since some moment.
    pub fn now(&self) -> Millis {
        real().saturating_sub(self.lost)
    }

    /// A round of the loop has ended that had to take no longer than `patience`. Returns the gap, if there was one.
    pub fn round(&mut self, patience: Millis) -> Option<Millis> {
        self.round_at(real(), patience)
    }

    fn round_at(&mut self, real: Millis, patience: Millis) -> Option<Millis> {
        let elapsed = real.saturating_sub(self.last);
        self.last = real;
        let gap = elapsed.saturating_sub(patience);
        (gap >= GAP).then(|| {
            self.lost += gap;
            gap
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gaps_are_left_out() {
        let mut clock = Clock { last: 10_000, lost: 0 };
        assert_eq!(clock.round_at(11_500, 1_000), None);
        assert_eq!(clock.round_at(17_500, 1_000), Some(5_000));
        assert_eq!(clock.lost, 5_000);
        assert_eq!(clock.round_at(18_500, 1_000), None);
        assert_eq!(clock.lost, 5_000);
    }
}
