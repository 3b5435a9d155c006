//! What a pool knows of one of its processes.

use wsgi_wire::control::Cause;

use super::{Busy, Handing, Left, Millis};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Held,
    Ready,
    /// It could not load its script. `open`: requests come, since there is no other process for them.
    Failed {
        open: bool,
    },
    Draining {
        until: Option<Millis>,
    },
    Stopping {
        kill_at: Option<Millis>,
    },
    Killed,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Option<i32>,
    pub(super) phase: Phase,
    pub(super) started: Millis,
    /// When its start got on last: it began, or has loaded one of several scripts.
    pub(super) progressed: Millis,
    pub(super) ready: Option<Millis>,
    /// When it began to drain.
    pub(super) closed: Millis,
    pub(super) busy: Busy,
    /// Why it is being ended, for its last line.
    pub(super) ending: &'static str,
    /// Why a replacement is wanted.
    pub(super) retiring: Option<Cause>,
    pub(super) marks: Marks,
    /// It was found, not started: an earlier supervisor has left it.
    pub(super) adopted: Option<Left>,
    /// Whose place it takes, where that one takes no requests any more: its pid, and why.
    pub(super) replaces: String,
    /// It was not ready in time.
    pub(super) overdue: Option<Overdue>,
    /// It takes long to start, and that was said.
    pub(super) slow: bool,
    /// Looks in a row that found it larger than `maximum-memory`.
    pub(super) large: u32,
    /// How long it had been ready when the first of them did.
    pub(super) large_after: Millis,
}

impl Process {
    pub(super) fn new(now: Millis, marks: Marks) -> Process {
        Process {
            pid: None,
            phase: Phase::Starting,
            started: now,
            progressed: now,
            ready: None,
            closed: 0,
            busy: Busy::default(),
            ending: "",
            retiring: None,
            marks,
            adopted: None,
            replaces: String::new(),
            overdue: None,
            slow: false,
            large: 0,
            large_after: 0,
        }
    }

    /// How long it has been ready, and served if it does.
    pub(super) fn life(&self, now: Millis) -> Millis {
        now.saturating_sub(self.ready.unwrap_or(now))
    }
}

/// The pool's counters when a process was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) generation: u64,
    pub(super) failures: u32,
    pub(super) quick: u32,
    /// What it was to load of what others had loaded.
    pub(super) handing: Handing,
    /// It was started because a file had changed.
    pub(super) hopeful: bool,
}

/// What follows for a process that is not ready in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overdue {
    pub(super) kill_at: Millis,
    /// Whether what it writes is news.
    pub(super) show: bool,
}
