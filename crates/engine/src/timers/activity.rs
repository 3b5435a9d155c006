//! When the last request was executed that counts as activity, for `inactivity-timeout`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The requests that count: not those of `WSGIIgnoreActivity`.
#[derive(Debug)]
pub struct Activity {
    begin: Instant,
    /// `None`: the option is off, and nothing is noted.
    limit: Option<Duration>,
    /// Such requests that are being executed.
    engaged: AtomicUsize,
    /// When the last one ended, milliseconds since `begin`; 0: there was none, so the time does not run.
    last_ms: AtomicU64,
}

/// What follows from the activity so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There is nothing to look for.
    Never,
    /// Look again after this time, and not earlier.
    In(Duration),
    /// Nothing happened for this time, which is the limit.
    Expired(Duration),
}

impl Activity {
    /// No request so far. `limit_ms` 0: the option is off.
    pub fn new(limit_ms: u64) -> Activity {
        let limit = Some(Duration::from_millis(limit_ms)).filter(|limit| !limit.is_zero());
        Activity { begin: Instant::now(), limit, engaged: AtomicUsize::new(0), last_ms: AtomicU64::new(0) }
    }

    /// A request begins that counts; it ends when the result is dropped.
    pub fn engage(&self) -> Option<Engaged<'_>> {
        self.limit?;
        self.engaged.fetch_add(1, Ordering::Relaxed);
        Some(Engaged(self))
    }

    /// Looks at the time.
    pub fn next(&self) -> Next {
        // Read in the order opposite to that in which `Engaged` writes: a request that is not seen engaged any more has
        // written its time.
        let engaged = self.engaged.load(Ordering::Acquire);
        let last = Some(self.last_ms.load(Ordering::Relaxed)).filter(|last| *last > 0).map(Duration::from_millis);
        next(self.limit, last, engaged, self.begin.elapsed())
    }
}

/// A request that counts and is being executed.
#[derive(Debug)]
pub struct Engaged<'a>(&'a Activity);

impl Drop for Engaged<'_> {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_ms.store(now.max(1), Ordering::Relaxed);
        self.0.engaged.fetch_sub(1, Ordering::Release);
    }
}

fn next(limit: Option<Duration>, last: Option<Duration>, engaged: usize, now: Duration) -> Next {
    match (limit, last) {
        (None, _) => Next::Never,
        (Some(limit), Some(last)) if engaged == 0 => match (last + limit).checked_sub(now) {
            Some(left) if !left.is_zero() => Next::In(left),
            _ => Next::Expired(limit),
        },
        // Whatever ends or begins from now on cannot expire earlier.
        (Some(limit), _) => Next::In(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn time_runs_from_the_end_of_the_last_request_and_not_before_the_first() {
        assert_eq!(next(None, Some(seconds(1)), 0, seconds(99)), Next::Never);
        assert_eq!(next(Some(seconds(5)), None, 0, seconds(99)), Next::In(seconds(5)));
        assert_eq!(next(Some(seconds(5)), Some(seconds(10)), 0, seconds(12)), Next::In(seconds(3)));
        assert_eq!(next(Some(seconds(5)), Some(seconds(10)), 0, seconds(15)), Next::Expired(seconds(5)));
        assert_eq!(next(Some(seconds(5)), Some(seconds(10)), 0, seconds(99)), Next::Expired(seconds(5)));
    }

    #[test]
    fn nothing_expires_while_a_request_is_executed() {
        assert_eq!(next(Some(seconds(5)), Some(seconds(10)), 1, seconds(99)), Next::In(seconds(5)));
    }

    #[test]
    fn requests_are_noted_when_the_option_is_on() {
        assert!(Activity::new(0).engage().is_none());
        let activity = Activity::new(1_000_000);
        drop(activity.engage());
        assert!(matches!(activity.next(), Next::In(left) if left <= seconds(1_001)));
        assert!(activity.last_ms.load(Ordering::Relaxed) > 0);
    }
}
