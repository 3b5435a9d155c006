//! What a process group knows of one of its processes.

use wsgi_wire::control::Cause;

use super::{Busy, Handing, Left, Millis};

/// How long a process that was not ready in time has left to end itself, so that its own last line comes first.
pub(super) const OWN_END: Millis = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Held,
    Ready,
    /// It could not load its script. `open`: it takes requests, because no other process can.
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
    /// When its start last made progress: it began, or it loaded one of several scripts.
    pub(super) progressed: Millis,
    pub(super) ready: Option<Millis>,
    /// When it began to drain.
    pub(super) closed: Millis,
    pub(super) busy: Busy,
    /// Why it ends, for its last line in the log.
    pub(super) ending: &'static str,
    /// Why it is to be replaced.
    pub(super) retiring: Option<Cause>,
    pub(super) marks: Marks,
    /// Set when an earlier supervisor started it and this supervisor found it.
    pub(super) adopted: Option<Left>,
    /// The process whose place it takes, if that one takes no more requests: its pid, and why.
    pub(super) replaces: String,
    /// Set when it was not ready in time.
    pub(super) overdue: Option<Overdue>,
    /// Its start takes long, and the log says so already.
    pub(super) slow: bool,
    /// How many looks in a row found it larger than `maximum-memory`.
    pub(super) large: u32,
    /// How long it had been ready at the first of these looks.
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

    /// How long it has been ready (since it began to serve, if it does).
    pub(super) fn life(&self, now: Millis) -> Millis {
        now.saturating_sub(self.ready.unwrap_or(now))
    }
}

/// The group's counters at the moment when it started the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) generation: u64,
    pub(super) failures: u32,
    pub(super) quick: u32,
    /// Whether it was to load what other processes had loaded.
    pub(super) handing: Handing,
    /// It was started because there was reason to hope: a file had changed, for example.
    pub(super) hopeful: bool,
}

/// What happens to a process that is not ready in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overdue {
    pub(super) kill_at: Millis,
    /// Whether its output is news, so that it goes to the log.
    pub(super) show: bool,
}
