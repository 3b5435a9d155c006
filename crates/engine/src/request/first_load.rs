//! For `startup-timeout`: since when requests load a script, while no script was ever loaded.
//!
//! Scripts that are loaded before the process is ready are the supervisor's business, which enforces the same option. A
//! load that fails ends the time as well: the process is not stuck, and what follows is decided elsewhere.

#![forbid(unsafe_code)]

use std::time::Duration;

use parking_lot::Mutex;

/// Loads for requests, and since when there are any. Threads of several interpreters come here at the same moment; the lock
/// is held for moments.
#[derive(Debug)]
pub struct FirstLoad(Mutex<State>);

#[derive(Debug)]
struct State {
    is_loaded: bool,
    active: usize,
    /// On the monotonic clock, while something is being loaded.
    since: Duration,
}

/// That of this process.
pub static FIRST_LOAD: FirstLoad = FirstLoad::new();

impl FirstLoad {
    const fn new() -> FirstLoad {
        FirstLoad(Mutex::new(State { is_loaded: false, active: 0, since: Duration::ZERO }))
    }

    /// A request begins to load a script.
    pub fn begin(&self, now: Duration) {
        let mut state = self.0.lock();
        if state.active == 0 {
            state.since = now;
        }
        state.active += 1;
    }

    /// The script could not be loaded, or it was loaded: then the time never runs again.
    pub fn end(&self, is_loaded: bool) {
        let mut state = self.0.lock();
        state.is_loaded |= is_loaded;
        state.active = state.active.saturating_sub(1);
    }

    /// A script was loaded before any request came.
    pub fn loaded(&self) {
        self.0.lock().is_loaded = true;
    }

    /// How long loading has taken, when that is longer than `limit`.
    pub fn overdue(&self, limit: Option<Duration>, now: Duration) -> Option<Duration> {
        let state = self.0.lock();
        if state.active == 0 || state.is_loaded {
            return None;
        }
        let time = now.saturating_sub(state.since);
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
