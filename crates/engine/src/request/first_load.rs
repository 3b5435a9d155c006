//! For `startup-timeout`: since when requests load a script, while no script was ever loaded.
//!
//! Scripts that are loaded before the process is ready are the supervisor's business, which enforces the same option. A
//! load that fails ends the time as well: the process is not stuck, and what follows is decided elsewhere.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Loads for requests, and since when there are any.
#[derive(Debug)]
pub struct FirstLoad {
    loaded: AtomicBool,
    active: AtomicUsize,
    /// Microseconds of the monotonic clock; 0 when nothing is being loaded.
    since_us: AtomicU64,
}

/// That of this process.
pub static FIRST_LOAD: FirstLoad = FirstLoad::new();

impl FirstLoad {
    const fn new() -> FirstLoad {
        FirstLoad { loaded: AtomicBool::new(false), active: AtomicUsize::new(0), since_us: AtomicU64::new(0) }
    }

    /// A request begins to load a script.
    pub fn begin(&self, now: Duration) {
        if self.active.fetch_add(1, Ordering::SeqCst) == 0 {
            self.since_us.store(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// The script could not be loaded, or it was loaded: then the time never runs again.
    pub fn end(&self, is_loaded: bool) {
        self.loaded.fetch_or(is_loaded, Ordering::SeqCst);
        if self.active.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.since_us.store(0, Ordering::SeqCst);
        }
    }

    /// A script was loaded before any request came.
    pub fn loaded(&self) {
        self.loaded.store(true, Ordering::SeqCst);
    }

    /// How long loading has taken, when that is longer than `limit`.
    pub fn overdue(&self, limit: Option<Duration>, now: Duration) -> Option<Duration> {
        let since = self.since_us.load(Ordering::SeqCst);
        if since == 0 || self.loaded.load(Ordering::SeqCst) {
            return None;
        }
        let time = now.saturating_sub(Duration::from_micros(since));
        limit.filter(|limit| time > *limit).map(|_| time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_time_runs_while_requests_load_and_none_has_succeeded() {
        let load = FirstLoad::new();
        let limit = Some(seconds(3));
        assert_eq!(load.overdue(limit, seconds(99)), None);
        load.begin(seconds(100));
        load.begin(seconds(102));
        assert_eq!(load.overdue(limit, seconds(103)), None);
        assert_eq!(load.overdue(limit, seconds(104)), Some(seconds(4)));
        assert_eq!(load.overdue(None, seconds(104)), None);
        load.end(false);
        assert_eq!(load.overdue(limit, seconds(105)), Some(seconds(5)));
        load.end(false);
        assert_eq!(load.overdue(limit, seconds(106)), None);
    }

    #[test]
    fn the_first_script_that_is_loaded_ends_it_for_good() {
        let load = FirstLoad::new();
        load.begin(seconds(100));
        load.begin(seconds(100));
        load.end(true);
        assert_eq!(load.overdue(Some(seconds(3)), seconds(200)), None);
        load.end(false);
        load.begin(seconds(300));
        assert_eq!(load.overdue(Some(seconds(3)), seconds(400)), None);
    }
}
