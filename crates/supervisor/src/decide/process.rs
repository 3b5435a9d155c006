//! What a pool knows of one of its processes.

use wsgi_wire::control::Cause;

use super::Millis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Held,
    Ready,
    Draining { until: Option<Millis> },
    Stopping { kill_at: Option<Millis> },
    Killed,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Option<i32>,
    pub(super) phase: Phase,
    pub(super) started: Millis,
    pub(super) ready: Option<Millis>,
    pub(super) in_flight: u32,
    /// Why it is being ended, for its last line.
    pub(super) ending: &'static str,
    /// It asked for a replacement.
    pub(super) retiring: Option<Cause>,
    pub(super) marks: Marks,
    /// It was found, not started: by an earlier supervisor.
    pub(super) adopted: bool,
}

/// The pool's counters when a process was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) generation: u64,
    pub(super) failures: u32,
    pub(super) quick: u32,
}
