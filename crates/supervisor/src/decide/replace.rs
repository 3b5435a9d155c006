//! How processes follow each other: which one is replaced, in which order traffic moves, how a process ends.

use wsgi_wire::control::Cause;
use wsgi_wire::messages::Message;

use super::group::{Group, LOST_SUPERVISOR};
use super::process::{OWN_END, Overdue, Phase, Process};
use super::records::{MemoryHistory, back_off};
use super::{Action, Left, Millis, Out, ProcessId, say};

/// The limit at the end of httpd if `shutdown-timeout=0` sets none: httpd itself waits no longer.
const FINAL_WAIT: Millis = 3_000;
/// A process that was told to stop has this much longer than `shutdown-timeout`. It ends itself by a timer of that
/// length, and comes first. (This is short because httpd waits.)
const STOP_END: Millis = 300;
/// A process is replaced when this many looks in a row find it larger than `maximum-memory`.
const LOOKS: u32 = 2;
/// If a process is too large this soon after it became ready, the next replacement has to wait.
const SOON_LARGE: Millis = 30_000;

/// How a process makes room for its replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Manner {
    /// It serves until the replacement is ready.
    After,
    /// It takes no more requests.
    AtOnce,
    /// Some of its requests may never end; it ends by itself.
    Stuck,
}

impl Group {
    fn manner(&self, cause: Cause) -> Manner {
        match cause {
            // The old code may not answer another request, unless the configuration asks for that (`rolling`).
            Cause::ScriptReload if !self.rules.rolling => Manner::AtOnce,
            // The process cannot take a new connection.
            Cause::NoDescriptor => Manner::AtOnce,
            Cause::RequestTimeout | Cause::DeadlockTimeout | Cause::StartupTimeout => Manner::Stuck,
            Cause::ScriptReload
            | Cause::MaximumRequests
            | Cause::GracefulSignal
            | Cause::InactivityTimeout
            | Cause::RestartInterval
            | Cause::CpuTimeLimit
            | Cause::MaximumMemory
            | Cause::EvictionSignal
            | Cause::IdleTimeout => Manner::After,
        }
    }

    /// The process is to be replaced. A cause that leaves less time takes the place of an earlier cause.
    pub(super) fn retire(&mut self, process: ProcessId, cause: Cause, now: Millis, out: &mut Out<'_>) {
        let manner = self.manner(cause);
        let Some(it) = self.processes.get(&process) else { return };
        if it.retiring.is_some_and(|earlier| self.manner(earlier) >= manner) {
            // Old code serves, and its script has changed once more.
            if cause == Cause::ScriptReload && it.phase == Phase::Ready {
                self.changed(now);
            }
            return;
        }
        let phase = it.phase;
        if cause == Cause::ScriptReload && phase == Phase::Ready && self.is_superseded(it) {
            // The process may have sent this before it heard that it is superseded. Then children have turned away from
            // it, so mark it as ready again.
            out.push(Action::MarkReady { process });
            return self.changed(now);
        }
        if matches!(phase, Phase::Held | Phase::Ready) && matches!(cause, Cause::CpuTimeLimit | Cause::NoDescriptor) {
            // If a start alone uses the resource up, the next start will use it up as well.
            let (marks, life) = (it.marks, it.life(now));
            self.count_loss(marks, life, cause == Cause::NoDescriptor, now);
        }
        match (phase, manner) {
            (Phase::Ready, Manner::After) => {
                self.set_retiring(process, cause);
                self.say_retiring(process, cause, now, out);
            }
            (Phase::Ready, Manner::AtOnce) => {
                self.vacate(process, say::words(cause));
                self.set_retiring(process, cause);
                self.drain(process, say::words(cause), now, out);
            }
            (Phase::Ready | Phase::Draining { .. }, Manner::Stuck) => {
                self.vacate(process, say::words(cause));
                self.set_retiring(process, cause);
                self.leave_to_end(process, cause, now, out);
            }
            (Phase::Starting, Manner::Stuck) => self.overdue(process, say::words(cause), now, out),
            (Phase::Held, _) => self.stop(process, say::words(cause), now, out),
            (Phase::Failed { open }, _) => {
                // The process noticed that its script has changed before its file watch did.
                if open && cause == Cause::ScriptReload {
                    self.drain(process, say::words(cause), now, out);
                }
                self.changed(now);
            }
            (Phase::Starting | Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Killed, _) => {}
        }
    }

    fn set_retiring(&mut self, process: ProcessId, cause: Cause) {
        if let Some(it) = self.processes.get_mut(&process) {
            it.retiring = Some(cause);
        }
    }

    /// A process with stuck requests ends itself. This sets the limit for that.
    fn leave_to_end(&mut self, process: ProcessId, cause: Cause, now: Millis, out: &mut Out<'_>) {
        let was_ready = self.processes.get(&process).is_some_and(|it| it.phase == Phase::Ready);
        if cause == Cause::RequestTimeout && self.rules.graceful_timeout > 0 {
            if was_ready {
                self.drain(process, say::words(cause), now, out);
            } else if let Some(it) = self.processes.get_mut(&process) {
                // A process that drains because it was idle has no limit yet.
                if let Phase::Draining { until: None } = it.phase {
                    it.phase = Phase::Draining { until: Some(now + self.rules.graceful_timeout) };
                }
            }
            return;
        }
        if was_ready {
            self.say_retiring(process, cause, now, out);
        }
        self.stop(process, say::words(cause), now, out);
    }

    /// A process that starts is not ready in time. It counts as failed, and has a moment for its last words.
    pub(super) fn overdue(&mut self, process: ProcessId, why: &'static str, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process).filter(|it| it.overdue.is_none()) else { return };
        let cause = self.words_of_overdue(it, why, now);
        self.count_failure(it.marks, now);
        let show = self.say_cannot_start(Message::CannotStart, &cause, now, out);
        if let Some(it) = self.processes.get_mut(&process) {
            it.overdue = Some(Overdue { kill_at: now + OWN_END, show });
            it.ending = why;
        }
        out.push(Action::Output { process, show });
    }

    /// The shell has measured the memory of the process.
    pub(super) fn measured(&mut self, process: ProcessId, bytes: u64, now: Millis, out: &mut Out<'_>) {
        let limit = self.rules.maximum_memory;
        let busy = self.processes.values().any(|it| it.retiring == Some(Cause::MaximumMemory));
        let Some(it) = self.processes.get_mut(&process).filter(|it| it.phase == Phase::Ready) else { return };
        it.large = if limit > 0 && bytes > limit { it.large.saturating_add(1) } else { 0 };
        if it.large == 1 {
            it.large_after = it.life(now);
        }
        let (large, life) = (it.large, it.large_after);
        // One replacement at a time, so that the system needs room for one only.
        if large < LOOKS || busy || now < self.memory.next || it.retiring.is_some() {
            return;
        }
        match life {
            0..SOON_LARGE if self.memory.soon == 0 => self.say_limit_too_small(process, bytes, life, out),
            _ => self.say_large(process, bytes, out),
        }
        if life < SOON_LARGE {
            self.memory.next = now + back_off(self.memory.soon);
            self.memory.soon = self.memory.soon.saturating_add(1);
        } else {
            self.memory = MemoryHistory::default();
        }
        self.retire(process, Cause::MaximumMemory, now, out);
    }

    /// Lets the process take requests. Its age counts from now, because it may have waited for its siblings for long.
    pub(super) fn promote(&mut self, process: ProcessId, now: Millis, out: &mut Out<'_>) {
        if let Some(it) = self.processes.get_mut(&process) {
            (it.phase, it.ready) = (Phase::Ready, Some(now));
            out.push(Action::MarkReady { process });
        }
    }

    /// Lets new processes take over when all of them are ready, or all for which there is room, or when no old process
    /// serves.
    pub(super) fn release_held(&mut self, now: Millis, out: &mut Out<'_>) {
        let complete = self.count(Phase::Starting) == 0 && (self.missing() == 0 || self.attempts.slots_full);
        if complete || !self.old_ones_serve() {
            for process in self.with_phase(|phase| phase == Phase::Held) {
                self.promote(process, now, out);
            }
        }
    }

    /// Drains superseded processes, the oldest first, as soon as there are enough processes without them.
    pub(super) fn drain_superseded(&mut self, now: Millis, out: &mut Out<'_>) {
        let mut surplus = self.serving().saturating_sub(self.target());
        if self.count(Phase::Ready) == 0 {
            return;
        }
        let superseded = self.processes.iter().filter(|(_, it)| it.phase == Phase::Ready && !self.is_current(it));
        let why = |it: &Process| match (it.retiring, it.adopted) {
            (Some(cause), _) => say::words(cause),
            (None, Some(_)) => LOST_SUPERVISOR,
            (None, None) => "graceful restart",
        };
        let superseded: Vec<_> = superseded.map(|(id, it)| (*id, why(it))).collect();
        for (process, why) in superseded {
            if surplus > 0 {
                surplus -= 1;
                self.drain(process, why, now, out);
            }
        }
    }

    /// The option that limits how long a process may finish its requests if it goes for this cause, and the option's
    /// value.
    pub(super) fn drain_limit(&self, cause: Option<Cause>) -> (&'static str, Millis) {
        match cause {
            Some(Cause::EvictionSignal) if self.rules.eviction_timeout > 0 => {
                ("eviction-timeout", self.rules.eviction_timeout)
            }
            // Nothing is urgent: the group does not cut a request short because few others came.
            Some(Cause::IdleTimeout) => ("graceful-timeout", 0),
            _ => ("graceful-timeout", self.rules.graceful_timeout),
        }
    }

    pub(super) fn drain(&mut self, process: ProcessId, why: &'static str, now: Millis, out: &mut Out<'_>) {
        let retiring = self.processes.get(&process).and_then(|it| it.retiring);
        let (_, limit) = self.drain_limit(retiring);
        let Some(it) = self.processes.get_mut(&process) else { return };
        (it.phase, it.closed) = (Phase::Draining { until: (limit > 0).then(|| now + limit) }, now);
        it.ending = why;
        out.push(Action::MarkDraining { process });
        self.say_draining(process, now, out);
    }

    pub(super) fn stop(&mut self, process: ProcessId, why: &'static str, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get_mut(&process) else { return };
        let limit = match self.rules.shutdown_timeout {
            0 if self.stopping => Some(FINAL_WAIT),
            0 => None,
            // A process that starts may not have got as far as to set its own timer.
            limit if it.phase == Phase::Starting => Some(limit),
            limit => Some(limit + STOP_END),
        };
        if !matches!(it.phase, Phase::Draining { .. }) {
            out.push(Action::MarkDraining { process });
        }
        let alone = it.adopted == Some(Left::Alone);
        if !alone {
            out.push(Action::SendStop { process });
        }
        // A process that starts does not read its control socket, and it has no request in flight.
        if alone || it.phase == Phase::Starting {
            out.push(Action::Terminate { process });
        }
        it.phase = Phase::Stopping { kill_at: limit.map(|limit| now + limit) };
        it.ending = why;
    }

    /// Why the process is being replaced, if it is.
    pub(super) fn cause(&self, process: ProcessId) -> Option<Cause> {
        self.processes.get(&process)?.retiring
    }

    pub(super) fn kill(&mut self, process: ProcessId, out: &mut Out<'_>) {
        if let Some(it) = self.processes.get_mut(&process) {
            it.phase = Phase::Killed;
            out.push(Action::MarkDraining { process });
            out.push(Action::Kill { process });
        }
    }

    /// Ends everything.
    pub(super) fn stop_all(&mut self, why: &'static str, now: Millis, out: &mut Out<'_>) {
        (self.over, self.stopping, self.trouble) = (true, true, why.to_owned());
        for it in self.processes.values_mut() {
            if let Phase::Stopping { kill_at: None } = it.phase {
                it.phase = Phase::Stopping { kill_at: Some(now + FINAL_WAIT) };
            }
        }
        for process in self.with_phase(|phase| !matches!(phase, Phase::Stopping { .. } | Phase::Killed)) {
            self.stop(process, why, now, out);
        }
    }
}
