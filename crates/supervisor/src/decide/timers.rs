//! What happens by time alone: limits end, and processes become old enough to be replaced.

use wsgi_wire::control::Cause;

use super::group::Group;
use super::process::{Phase, Process};
use super::{Action, Millis, Out, ProcessId, jitter};

/// If a start takes longer than this, the log says so.
pub(super) const LONG_START: Millis = 60_000;

/// A group gets smaller this long after the moment at which it may, at the latest.
const SHRINKING: Millis = 1_000;

impl Group {
    /// The next moment at which time alone changes something.
    pub fn deadline(&self) -> Option<Millis> {
        let starts = (!self.over && self.due() > 0).then_some(self.attempts.next);
        let of_processes = self.processes.iter().filter_map(|(id, it)| match it.phase {
            Phase::Draining { until } => until,
            Phase::Stopping { kill_at } => kill_at,
            Phase::Starting => self.start_limit(it),
            Phase::Ready => self.recycled_at(*id, it),
            Phase::Held | Phase::Failed { .. } | Phase::Killed => None,
        });
        of_processes.chain(starts).chain(self.leaves_at()).min()
    }

    /// When the supervisor looks again at a process that is starting.
    fn start_limit(&self, it: &Process) -> Option<Millis> {
        match (it.overdue, self.rules.startup_timeout) {
            (Some(overdue), _) => Some(overdue.kill_at),
            (None, 0) => (!it.slow).then_some(it.progressed + LONG_START),
            (None, limit) => Some(it.progressed + limit),
        }
    }

    /// When a process is old enough to be replaced. Each process has its own moment.
    fn old_at(&self, process: ProcessId, it: &Process) -> Option<Millis> {
        let ready = it.ready.filter(|_| self.rules.restart_interval > 0 && !self.over && self.is_current(it))?;
        Some(ready + jitter::later(self.rules.restart_interval, process))
    }

    /// Whether the process is old enough to be replaced.
    pub(super) fn is_old(&self, process: ProcessId, it: &Process, now: Millis) -> bool {
        self.old_at(process, it).is_some_and(|at| at <= now)
    }

    /// When the supervisor replaces a process for its age. If the group is about to have one process fewer, it waits
    /// for that, by up to a tenth of restart-interval: otherwise it would start a process only to end it at once.
    fn recycled_at(&self, process: ProcessId, it: &Process) -> Option<Millis> {
        let old = self.old_at(process, it)?;
        let fewer =
            self.shrinks_at().filter(|at| *at + SHRINKING > old && *at <= old + self.rules.restart_interval / 10);
        Some(fewer.map_or(old, |at| at + SHRINKING))
    }

    pub(super) fn tick(&mut self, now: Millis, out: &mut Out<'_>) {
        let over = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        for process in self.with_phase(|phase| matches!(phase, Phase::Draining { until } if over(until))) {
            self.say_drain_limit(process, out);
            let why = self.drain_limit(self.processes.get(&process).and_then(|it| it.retiring)).0;
            self.stop(process, why, now, out);
        }
        for process in self.with_phase(|phase| matches!(phase, Phase::Stopping { kill_at } if over(kill_at))) {
            self.say_shutdown_timeout(process, out);
            self.kill(process, out);
        }
        for process in self.with_phase(|phase| phase == Phase::Starting) {
            let due = self.processes.get(&process).is_some_and(|it| over(self.start_limit(it)));
            if due {
                self.start_limit_is_over(process, now, out);
            }
        }
        for process in self.with_phase(|phase| phase == Phase::Ready) {
            let due = self.processes.get(&process).is_some_and(|it| over(self.recycled_at(process, it)));
            if due {
                self.retire(process, Cause::RestartInterval, now, out);
            }
        }
    }

    fn start_limit_is_over(&mut self, process: ProcessId, now: Millis, out: &mut Out<'_>) {
        let limit = self.rules.startup_timeout;
        let Some(it) = self.processes.get_mut(&process) else { return };
        if it.overdue.is_some() {
            self.kill(process, out);
        } else if limit > 0 {
            self.overdue(process, "startup-timeout", now, out);
            out.push(Action::Dump { process });
        } else {
            it.slow = true;
            self.say_slow(process, now, out);
        }
    }
}
