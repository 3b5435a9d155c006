//! One pool's part of the decisions: its processes, its attempts to start them, and the rules by which
//! they follow each other.

use std::collections::BTreeMap;

use wsgi_wire::control::Cause;

use super::process::{Marks, Phase, Process};
use super::{Action, Ended, Event, Millis, Out, ProcessId, Rules};

/// A process that is lost this soon after it became ready counts as one that cannot live.
const SHORT_LIFE: Millis = 1_500;
/// Longest wait between attempts to start.
const LONGEST_WAIT: Millis = 60_000;
/// When every slot is taken by old processes: how soon to look again.
const SLOT_WAIT: Millis = 100;
/// How long a pool that is in no configuration any more goes on taking requests once what follows it has
/// come: children of the old configuration have accepted some that they have not sent yet.
pub(super) const LINGER: Millis = 5_000;
/// Where `shutdown-timeout=0` names no limit, httpd's own patience at its end holds.
const FINAL_WAIT: Millis = 3_000;

/// A process group and its processes.
#[derive(Debug, Default)]
pub struct Pool {
    pub(super) rules: Rules,
    pub(super) processes: BTreeMap<ProcessId, Process>,
    generation: u64,
    /// In no configuration any more; it serves until its successor does, and children have moved on.
    unnamed: bool,
    /// When it may end, once that is known.
    let_go_at: Option<Millis>,
    /// Children that may still send it requests are left.
    held: bool,
    /// Requests that wait for one of its request threads, when they were last counted.
    waiting: u32,
    /// It takes no more requests, or everything is being stopped.
    over: bool,
    stopping: bool,
    /// Attempts to start that failed since the last success.
    pub(super) failures: u32,
    /// Processes in a row that were lost right after they had become ready.
    pub(super) quick: u32,
    next_start: Millis,
    slots_full: bool,
    pub(super) reported: Option<String>,
    fault: bool,
}

/// 1 s, 2 s, 4 s ... 60 s.
pub(super) fn back_off(attempt: u32) -> Millis {
    1_000u64.checked_shl(attempt.min(16)).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
}

impl Pool {
    /// Whether the process is one of this pool's.
    pub fn knows(&self, process: ProcessId) -> bool {
        self.processes.contains_key(&process)
    }

    /// Processes that are waited for while they finish requests.
    pub fn draining(&self) -> impl Iterator<Item = ProcessId> {
        self.processes.iter().filter(|(_, it)| matches!(it.phase, Phase::Draining { .. })).map(|(id, _)| *id)
    }

    /// Processes that take requests.
    pub fn ready_ones(&self) -> impl Iterator<Item = ProcessId> {
        self.processes.iter().filter(|(_, it)| it.phase == Phase::Ready).map(|(id, _)| *id)
    }

    /// The next moment at which time alone changes something.
    pub fn deadline(&self) -> Option<Millis> {
        let starts = (!self.over && self.due() > 0).then_some(self.next_start);
        let ends = self.processes.values().filter_map(|it| match it.phase {
            Phase::Draining { until } => until,
            Phase::Stopping { kill_at } => kill_at,
            _ => None,
        });
        // While requests wait it is looked at all the time.
        let let_go = self.let_go_at.filter(|_| self.is_leaving() && self.waiting == 0);
        ends.chain(starts).chain(let_go).min()
    }

    /// Nothing is left of a pool that is in no configuration.
    pub fn is_over(&self) -> bool {
        self.over && self.processes.is_empty()
    }

    /// It is about to end: requests that wait for it are counted.
    pub fn is_leaving(&self) -> bool {
        self.unnamed && !self.over && !self.held && self.let_go_at.is_some()
    }

    /// In no configuration any more.
    pub(super) fn is_unnamed(&self) -> bool {
        self.unnamed
    }

    /// Its processes are still on their way: a predecessor of its name goes on serving. Those that
    /// cannot be started are not waited for.
    pub(super) fn is_arriving(&self) -> bool {
        let complete = self.count(Phase::Ready) >= self.rules.processes as usize;
        !self.unnamed && !self.over && !complete && !self.ailing() && !self.slots_full
    }

    /// Processes that take requests.
    pub fn serving(&self) -> usize {
        self.ready_ones().count()
    }

    fn is_current(&self, it: &Process) -> bool {
        it.marks.generation == self.generation
            && it.retiring.is_none()
            && matches!(it.phase, Phase::Starting | Phase::Held | Phase::Ready)
    }

    fn count(&self, phase: Phase) -> usize {
        self.processes.values().filter(|it| self.is_current(it) && it.phase == phase).count()
    }

    fn missing(&self) -> usize {
        let current = self.processes.values().filter(|it| self.is_current(it)).count();
        (self.rules.processes as usize).saturating_sub(current)
    }

    /// Starts go badly: one at a time then.
    fn ailing(&self) -> bool {
        self.failures > 0 || self.quick >= 2
    }

    /// How many processes to start as soon as the time has come: those that are missing; while starts go
    /// badly, or when all that is missing is replacements for processes that still serve, one at a time.
    fn due(&self) -> usize {
        let missing = self.missing();
        let serves = |it: &&Process| it.phase == Phase::Ready && it.retiring.is_some();
        let replaceable = self.processes.values().filter(serves).count();
        match missing.saturating_sub(replaceable) {
            urgent if urgent > 0 && !self.ailing() => urgent,
            _ if self.count(Phase::Starting) > 0 => 0,
            _ => missing.min(1),
        }
    }

    /// Takes a (new) configuration. What runs already is superseded by it.
    pub(super) fn configure(&mut self, rules: Rules, now: Millis, out: &mut Out<'_>) {
        self.rules = rules;
        self.generation += 1;
        if self.generation == 1 {
            // What an earlier supervisor said about it is over.
            out.push(Action::Fault { pool: out.pool, on: false });
        }
        (self.unnamed, self.let_go_at, self.waiting) = (false, None, 0);
        (self.over, self.failures, self.quick, self.next_start, self.reported) = (false, 0, 0, now, None);
        self.supersede("graceful restart", now, out);
    }

    /// The pool is in no configuration any more: it serves until [`Pool::let_go`] ends it.
    pub(super) fn unname(&mut self) {
        self.unnamed = true;
    }

    /// So many requests wait for a pool that is leaving.
    pub(super) fn waiting(&mut self, count: u32) {
        self.waiting = count;
    }

    /// Children that may still send it requests are left, or are not.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Ends a pool that is in no configuration any more, some time after it is not `awaited` that a
    /// successor is ready, not while old children are left, and not while requests wait for it (but for graceful-timeout at most).
    pub(super) fn let_go(&mut self, awaited: bool, now: Millis, out: &mut Out<'_>) {
        if !self.unnamed || self.over || (awaited && self.let_go_at.is_none()) {
            return;
        }
        let at = *self.let_go_at.get_or_insert(now + LINGER);
        let limit = self.rules.graceful_timeout;
        if !self.held && now >= at && (self.waiting == 0 || (limit > 0 && now >= at + limit)) {
            self.remove(now, out);
        }
    }

    fn remove(&mut self, now: Millis, out: &mut Out<'_>) {
        self.over = true;
        self.supersede("the process group is not configured any more", now, out);
        for process in self.with_phase(|phase| phase == Phase::Ready) {
            self.drain(process, "the process group is not configured any more", now, out);
        }
    }

    fn supersede(&mut self, why: &'static str, now: Millis, out: &mut Out<'_>) {
        let ended = |phase| match phase {
            Phase::Starting | Phase::Held => true,
            Phase::Ready | Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Killed => false,
        };
        for process in self.with_phase(ended) {
            self.stop(process, why, now, out);
        }
    }

    pub(super) fn stop_all(&mut self, why: &'static str, now: Millis, out: &mut Out<'_>) {
        (self.over, self.stopping) = (true, true);
        for it in self.processes.values_mut() {
            if let Phase::Stopping { kill_at: None } = it.phase {
                it.phase = Phase::Stopping { kill_at: Some(now + FINAL_WAIT) };
            }
        }
        for process in self.with_phase(|phase| !matches!(phase, Phase::Stopping { .. } | Phase::Killed)) {
            self.stop(process, why, now, out);
        }
    }

    fn with_phase(&self, wanted: impl Fn(Phase) -> bool) -> Vec<ProcessId> {
        self.processes.iter().filter(|(_, it)| wanted(it.phase)).map(|(id, _)| *id).collect()
    }

    /// A process that an earlier supervisor left behind: it may finish, and is replaced.
    pub(super) fn adopt(&mut self, process: ProcessId, pid: i32, now: Millis, out: &mut Out<'_>) {
        let mut it = self.new_process(now);
        it.pid = Some(pid);
        it.marks.generation = 0;
        it.adopted = true;
        it.ready = Some(now);
        self.processes.insert(process, it);
        self.drain(process, "its supervisor was lost", now, out);
    }

    fn new_process(&self, now: Millis) -> Process {
        Process {
            pid: None,
            phase: Phase::Starting,
            started: now,
            ready: None,
            in_flight: 0,
            ending: "",
            retiring: None,
            marks: Marks { generation: self.generation, failures: self.failures, quick: self.quick },
            adopted: false,
        }
    }

    pub(super) fn tick(&mut self, now: Millis, out: &mut Out<'_>) {
        let over = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        for process in self.with_phase(|phase| matches!(phase, Phase::Draining { until } if over(until))) {
            self.say_graceful_timeout(process, out);
            self.stop(process, "graceful-timeout", now, out);
        }
        for process in self.with_phase(|phase| matches!(phase, Phase::Stopping { kill_at } if over(kill_at))) {
            self.say_shutdown_timeout(process, out);
            self.kill(process, out);
        }
    }

    /// An event of one process of this pool.
    pub(super) fn handle(&mut self, process: ProcessId, event: Event, now: Millis, out: &mut Out<'_>) {
        match event {
            Event::Spawned { pid, .. } => {
                self.slots_full = false;
                if let Some(it) = self.processes.get_mut(&process) {
                    it.pid = Some(pid);
                }
                self.say_started(process, out);
            }
            Event::NoSlot { .. } => {
                self.processes.remove(&process);
                if !std::mem::replace(&mut self.slots_full, true) {
                    self.say_no_slot(out);
                }
                self.next_start = self.next_start.max(now + SLOT_WAIT);
            }
            Event::StartFailed { cause, .. } => self.start_failed(process, &cause, now, out),
            Event::Ready { .. } => self.ready(process, now, out),
            Event::Retire { cause, .. } => self.retire(process, cause, now, out),
            Event::Violation { what, .. } => self.violation(process, &what, now, out),
            Event::InFlight { count, .. } => self.in_flight(process, count, now, out),
            Event::Exited { ended, in_flight, diagnosis, .. } => {
                self.exited(process, ended, in_flight, &diagnosis, now, out);
            }
            Event::Configured { .. }
            | Event::Adopted { .. }
            | Event::Waiting { .. }
            | Event::Held { .. }
            | Event::Tick
            | Event::Stop { .. } => {}
        }
    }

    fn ready(&mut self, process: ProcessId, now: Millis, out: &mut Out<'_>) {
        let old_ones_serve =
            self.processes.values().any(|it| it.marks.generation != self.generation && it.phase == Phase::Ready);
        let Some(it) = self.processes.get_mut(&process).filter(|it| it.phase == Phase::Starting) else { return };
        it.ready = Some(now);
        it.phase = Phase::Held;
        out.push(Action::Output { process, show: true });
        self.say_ready(process, now, out);
        (self.failures, self.reported, self.next_start) = (0, None, now);
        if !old_ones_serve {
            self.promote(process, out);
        }
    }

    fn promote(&mut self, process: ProcessId, out: &mut Out<'_>) {
        if let Some(it) = self.processes.get_mut(&process) {
            it.phase = Phase::Ready;
            out.push(Action::MarkReady { process });
        }
    }

    fn retire(&mut self, process: ProcessId, cause: Cause, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get_mut(&process).filter(|it| it.retiring.is_none()) else { return };
        match it.phase {
            // The old code may not answer another request.
            Phase::Ready if cause == Cause::ScriptReload => {
                it.retiring = Some(cause);
                self.drain(process, cause.name(), now, out);
            }
            Phase::Ready => it.retiring = Some(cause),
            Phase::Held => self.stop(process, cause.name(), now, out),
            Phase::Starting | Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Killed => {}
        }
    }

    fn violation(&mut self, process: ProcessId, what: &str, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get_mut(&process).filter(|it| it.phase != Phase::Killed) else { return };
        it.ending = "it broke the protocol";
        let (phase, ready, marks) = (it.phase, it.ready, it.marks);
        if phase == Phase::Starting {
            self.count_failure(marks, now);
            self.say_cannot_start(&format!("it {what}"), now, out);
        } else {
            self.say_violation(process, what, out);
        }
        if matches!(phase, Phase::Held | Phase::Ready) {
            self.count_loss(marks, ready, now);
        }
        self.kill(process, out);
    }

    fn in_flight(&mut self, process: ProcessId, count: u32, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get_mut(&process) else { return };
        it.in_flight = count;
        if count == 0 && matches!(it.phase, Phase::Draining { .. }) {
            let why = it.ending;
            self.stop(process, why, now, out);
        }
    }

    fn drain(&mut self, process: ProcessId, why: &'static str, now: Millis, out: &mut Out<'_>) {
        let limit = self.rules.graceful_timeout;
        let Some(it) = self.processes.get_mut(&process) else { return };
        it.phase = Phase::Draining { until: (limit > 0).then(|| now + limit) };
        it.ending = why;
        out.push(Action::MarkDraining { process });
        self.say_draining(process, out);
    }

    fn stop(&mut self, process: ProcessId, why: &'static str, now: Millis, out: &mut Out<'_>) {
        let limit = match self.rules.shutdown_timeout {
            0 if self.stopping => Some(FINAL_WAIT),
            0 => None,
            limit => Some(limit),
        };
        let Some(it) = self.processes.get_mut(&process) else { return };
        if !matches!(it.phase, Phase::Draining { .. }) {
            out.push(Action::MarkDraining { process });
        }
        if !it.adopted {
            out.push(Action::SendStop { process });
        }
        // While it starts it does not read its control socket; and nothing is in flight yet.
        if it.adopted || it.phase == Phase::Starting {
            out.push(Action::Terminate { process });
        }
        it.phase = Phase::Stopping { kill_at: limit.map(|limit| now + limit) };
        it.ending = why;
    }

    fn kill(&mut self, process: ProcessId, out: &mut Out<'_>) {
        if let Some(it) = self.processes.get_mut(&process) {
            it.phase = Phase::Killed;
            out.push(Action::MarkDraining { process });
            out.push(Action::Kill { process });
        }
    }

    fn start_failed(&mut self, process: ProcessId, cause: &str, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.remove(&process) else { return };
        if it.phase == Phase::Starting {
            self.count_failure(it.marks, now);
            let show = self.say_cannot_start(cause, now, out);
            out.push(Action::Output { process, show });
        }
        out.push(Action::Clear { process });
    }

    /// Attempts of one wave count once.
    fn count_failure(&mut self, marks: Marks, now: Millis) {
        if marks.failures == self.failures && marks.generation == self.generation {
            self.next_start = now + back_off(self.failures);
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// A process that was ready since `ready` was lost: the second short life in a row makes the next wait.
    fn count_loss(&mut self, marks: Marks, ready: Option<Millis>, now: Millis) {
        if marks.generation != self.generation || self.over {
            return;
        }
        let life = now.saturating_sub(ready.unwrap_or(now));
        self.quick = if life < SHORT_LIFE { marks.quick.saturating_add(1) } else { 0 };
        if self.quick >= 2 {
            self.next_start = now + back_off(self.quick - 2);
        }
    }

    fn exited(
        &mut self,
        process: ProcessId,
        ended: Ended,
        in_flight: u32,
        diagnosis: &str,
        now: Millis,
        out: &mut Out<'_>,
    ) {
        let Some(it) = self.processes.get(&process) else { return };
        if it.phase == Phase::Starting {
            return self.start_failed(process, diagnosis, now, out);
        }
        let Some(mut it) = self.processes.remove(&process) else { return };
        it.in_flight = in_flight;
        let lost = matches!(it.phase, Phase::Held | Phase::Ready);
        if lost {
            self.count_loss(it.marks, it.ready, now);
        }
        self.say_exited(&it, ended, lost, now, out);
        out.push(Action::Output { process, show: true });
        out.push(Action::Clear { process });
    }

    /// When the next attempt is made, if it is made later.
    pub(super) fn wait_for_start(&self, now: Millis) -> Option<Millis> {
        (!self.over && self.next_start > now).then(|| self.next_start - now)
    }

    /// Starts what is missing; moves traffic from superseded processes to current ones.
    pub(super) fn settle(&mut self, now: Millis, next: &mut ProcessId, out: &mut Out<'_>) {
        if !self.over {
            self.release_held(out);
            self.drain_superseded(now, out);
            self.start_missing(now, next, out);
        }
        let fault = self.over || (self.serving() == 0 && (self.failures > 0 || self.quick >= 3));
        if fault != self.fault {
            self.fault = fault;
            out.push(Action::Fault { pool: out.pool, on: fault });
        }
    }

    fn start_missing(&mut self, now: Millis, next: &mut ProcessId, out: &mut Out<'_>) {
        let due = if now < self.next_start { 0 } else { self.due() };
        for _ in 0..due {
            *next += 1;
            self.processes.insert(*next, self.new_process(now));
            out.push(Action::Start { pool: out.pool, process: *next, quiet: self.failures > 0 });
        }
    }

    /// New processes take over when all are there, or all for which there is room, or when no old one serves.
    fn release_held(&mut self, out: &mut Out<'_>) {
        let old_ones_serve =
            self.processes.values().any(|it| it.marks.generation != self.generation && it.phase == Phase::Ready);
        let complete = self.count(Phase::Starting) == 0 && (self.missing() == 0 || self.slots_full);
        if complete || !old_ones_serve {
            for process in self.with_phase(|phase| phase == Phase::Held) {
                self.promote(process, out);
            }
        }
    }

    /// Superseded processes go as soon as there are enough without them, the oldest first.
    fn drain_superseded(&mut self, now: Millis, out: &mut Out<'_>) {
        let mut surplus = self.serving().saturating_sub(self.rules.processes as usize);
        if self.count(Phase::Ready) == 0 {
            return;
        }
        let superseded = self.processes.iter().filter(|(_, it)| it.phase == Phase::Ready && !self.is_current(it));
        let superseded: Vec<_> = superseded.map(|(id, it)| (*id, it.retiring)).collect();
        for (process, retiring) in superseded {
            if surplus > 0 {
                surplus -= 1;
                self.drain(process, retiring.map_or("graceful restart", Cause::name), now, out);
            }
        }
    }
}
