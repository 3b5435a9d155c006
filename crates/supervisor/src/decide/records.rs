//! What a process group keeps beside its processes: attempts to start, its size, replacements for `maximum-memory`.
//! `start`, `scale` and `replace` decide by them.

use super::Millis;

/// Longest wait between attempts to start.
const LONGEST_WAIT: Millis = 60_000;
/// Shortest time between attempts that changed files bring about.
const CHANGED_WAIT: Millis = 200;
/// So many of them may follow each other that soon; then the wait doubles: an application may change its own files
/// whenever it is loaded.
pub(super) const CHANGED_FREE: u32 = 4;
/// A change this long after the last attempt is the administrator's.
pub(super) const CHANGED_CALM: Millis = 10_000;

/// What is known of attempts to start.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Those that failed since the last success.
    pub(super) failures: u32,
    /// When the first of them failed.
    pub(super) since: Option<Millis>,
    /// How often the wait has been doubled.
    pub(super) step: u32,
    /// Processes in a row that were lost right after they had become ready.
    pub(super) quick: u32,
    /// Not before this moment.
    pub(super) next: Millis,
    /// When the last one began.
    pub(super) last: Option<Millis>,
    /// A file has changed since then, so the next one may succeed.
    pub(super) hope: bool,
    /// Attempts in a row that changed files brought about, and that failed.
    pub(super) vain: u32,
    /// One has failed that was only to try what others had loaded: the next one does without.
    pub(super) bare: bool,
    /// One has failed that was to load what others had loaded.
    pub(super) burdened: bool,
    pub(super) slots_full: bool,
    /// What was said last about a failure.
    pub(super) reported: Option<String>,
}

/// 1 s, 2 s, 4 s ... 60 s.
pub(super) fn back_off(attempt: u32) -> Millis {
    1_000u64.checked_shl(attempt.min(16)).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
}

impl Attempts {
    /// None so far; the first one may come at once.
    pub(super) fn from(now: Millis) -> Attempts {
        Attempts { next: now, ..Attempts::default() }
    }

    /// Whether this failure is not the one that was said last; from now on it is.
    pub(super) fn is_news(&mut self, failure: String) -> bool {
        let is_news = self.reported.as_ref() != Some(&failure);
        self.reported = Some(failure);
        is_news
    }

    /// How long it has been failing.
    pub(super) fn lasted(&self, now: Millis) -> Millis {
        now.saturating_sub(self.since.unwrap_or(now))
    }

    pub(super) fn soon(&self, now: Millis) -> Millis {
        let doubled = CHANGED_WAIT.checked_shl(self.vain.saturating_sub(CHANGED_FREE).min(16)).unwrap_or(LONGEST_WAIT);
        self.last.map_or(now, |last| now.max(last + doubled.min(LONGEST_WAIT)))
    }
}

/// What is known of a group's size.
#[derive(Debug, Default)]
pub(super) struct Scale {
    pub(super) target: u32,
    /// Looks in a row at which there was too little.
    pub(super) pressed: u32,
    /// How many processes come next.
    pub(super) step: u32,
    pub(super) grew_at: Option<Millis>,
    /// When the first, second ... process was needed last.
    pub(super) needed_at: Vec<Millis>,
    /// At the last look there was less to do than all processes are for.
    pub(super) spare: bool,
}

/// Replacements for `maximum-memory`.
#[derive(Debug, Default)]
pub(super) struct MemoryHistory {
    /// Those in a row that came soon after the process was ready.
    pub(super) soon: u32,
    /// The next one not before this moment.
    pub(super) next: Millis,
}
