//! One pool's part of the decisions: its processes, its configuration, its beginning and end. How
//! processes start is in [`super::start`], how they follow each other in [`super::replace`], how many there
//! are to be in [`super::scale`], what time brings in [`super::timers`].

use std::collections::{BTreeMap, VecDeque};

use wsgi_wire::control::Cause;

use super::process::{Phase, Process};
use super::records::{Attempts, MemoryHistory, Scale};
use super::{Action, Busy, Ended, Event, Exit, Found, Left, Millis, Out, ProcessId, Rules};

/// How long a pool that is in no configuration any more goes on taking requests once what follows it has
/// come: children of the old configuration have accepted some that they have not sent yet.
pub(super) const LINGER: Millis = 5_000;

/// How long processes that were found may take to say which scripts they have loaded.
const HEARING: Millis = 300;

/// Why a process goes that an earlier supervisor has started.
pub(super) const LOST_SUPERVISOR: &str = "its supervisor was lost";

/// A process group and its processes.
#[derive(Debug, Default)]
pub struct Pool {
    pub(super) rules: Rules,
    pub(super) processes: BTreeMap<ProcessId, Process>,
    pub(super) generation: u64,
    /// In no configuration any more; it serves until its successor does, and children have moved on.
    unnamed: bool,
    /// When it may end, once that is known.
    let_go_at: Option<Millis>,
    /// Children that may still send it requests are left.
    held: bool,
    /// Requests that wait for one of its request threads, when they were last counted.
    waiting: u32,
    /// It takes no more requests, or everything is being stopped.
    pub(super) over: bool,
    pub(super) stopping: bool,
    pub(super) attempts: Attempts,
    pub(super) scale: Scale,
    pub(super) memory: MemoryHistory,
    /// Places of processes that went, and were not replaced before: pid and cause.
    pub(super) vacant: VecDeque<(String, &'static str)>,
    /// Why a process was lost or could not start, as it was said last, or why there are to be none.
    pub(super) trouble: String,
    /// Why no request can be answered, where that is so.
    fault: Option<String>,
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

    /// When a process has begun to drain, or the pool to leave: the last time.
    pub(super) fn begun_to_go(&self) -> Option<Millis> {
        let draining = self.processes.values().filter(|it| matches!(it.phase, Phase::Draining { .. }));
        let leaving = self.let_go_at.filter(|_| self.is_leaving()).map(|at| at.saturating_sub(LINGER));
        draining.map(|it| it.closed).chain(leaving).max()
    }

    /// Processes that serve.
    pub fn ready_ones(&self) -> impl Iterator<Item = ProcessId> {
        self.processes.iter().filter(|(_, it)| it.phase == Phase::Ready).map(|(id, _)| *id)
    }

    /// Processes that take requests.
    pub fn open_ones(&self) -> impl Iterator<Item = ProcessId> {
        let open = |phase| matches!(phase, Phase::Ready | Phase::Failed { open: true });
        self.processes.iter().filter(move |(_, it)| open(it.phase)).map(|(id, _)| *id)
    }

    /// Whether the memory of its processes is limited.
    pub fn measures(&self) -> bool {
        self.rules.maximum_memory > 0 && !self.over
    }

    /// Nothing is left of a pool that is in no configuration.
    pub fn is_over(&self) -> bool {
        self.over && self.processes.is_empty()
    }

    /// It is about to end: requests that wait for it are counted.
    pub fn is_leaving(&self) -> bool {
        self.unnamed && !self.over && !self.held && self.let_go_at.is_some()
    }

    /// When it may end, where nothing but time keeps it. While requests wait it is looked at all the time.
    pub(super) fn leaves_at(&self) -> Option<Millis> {
        self.let_go_at.filter(|_| self.is_leaving() && self.waiting == 0)
    }

    /// In no configuration any more.
    pub(super) fn is_unnamed(&self) -> bool {
        self.unnamed
    }

    /// Its processes are still on their way: a predecessor of its name goes on serving. Those that
    /// cannot be started are not waited for.
    pub(super) fn is_arriving(&self) -> bool {
        let complete = self.count(Phase::Ready) >= self.target();
        !self.unnamed && !self.over && !complete && !self.ailing() && !self.attempts.slots_full
    }

    /// Processes that serve.
    pub fn serving(&self) -> usize {
        self.ready_ones().count()
    }

    /// It takes part in what its configuration asks for.
    pub(super) fn is_current(&self, it: &Process) -> bool {
        it.marks.generation == self.generation
            && it.retiring.is_none()
            && matches!(it.phase, Phase::Starting | Phase::Held | Phase::Ready)
    }

    /// Its configuration is an old one, or in none any more.
    pub(super) fn is_superseded(&self, it: &Process) -> bool {
        self.unnamed || it.marks.generation != self.generation
    }

    /// The process takes no more requests, and nobody has been started in its place.
    pub(super) fn vacate(&mut self, process: ProcessId, why: &'static str) {
        if let Some(it) = self.processes.get(&process).filter(|it| self.is_current(it)) {
            self.vacant.push_back((format!("{} ({why})", it.pid_text()), why));
        }
    }

    pub(super) fn count(&self, phase: Phase) -> usize {
        self.processes.values().filter(|it| self.is_current(it) && it.phase == phase).count()
    }

    pub(super) fn missing(&self) -> usize {
        let current = self.processes.values().filter(|it| self.is_current(it)).count();
        self.target().saturating_sub(current)
    }

    pub(super) fn with_phase(&self, wanted: impl Fn(Phase) -> bool) -> Vec<ProcessId> {
        self.processes.iter().filter(|(_, it)| wanted(it.phase)).map(|(id, _)| *id).collect()
    }

    /// Processes of an old configuration serve.
    pub(super) fn old_ones_serve(&self) -> bool {
        self.processes.values().any(|it| it.marks.generation != self.generation && it.phase == Phase::Ready)
    }

    /// Takes a (new) configuration. What runs already is superseded by it.
    pub(super) fn configure(&mut self, rules: Rules, now: Millis, out: &mut Out<'_>) {
        self.rules = rules;
        self.generation += 1;
        if self.generation == 1 {
            // What an earlier supervisor said about it is over.
            out.push(Action::Fault { pool: out.pool, cause: None });
        }
        (self.unnamed, self.let_go_at, self.waiting, self.over) = (false, None, 0, false);
        self.attempts = Attempts::from(now);
        self.memory = MemoryHistory::default();
        self.vacant.clear();
        self.resize(now);
        self.keep_code(out);
        self.supersede("graceful restart", now, out);
    }

    /// The pool is in no configuration any more: it serves until [`Pool::let_go`] ends it.
    pub(super) fn unname(&mut self, out: &mut Out<'_>) {
        if !std::mem::replace(&mut self.unnamed, true) {
            self.keep_code(out);
        }
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
    /// successor is ready, not while old children are left, and not while requests wait for it (but for
    /// graceful-timeout at most).
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
        let why = "the process group is not configured any more";
        (self.over, self.trouble) = (true, why.to_owned());
        self.supersede(why, now, out);
        for process in self.open_ones().collect::<Vec<_>>() {
            self.drain(process, why, now, out);
        }
    }

    /// What serves goes on with the code that it has: should the new code not load, it is what there is.
    fn keep_code(&mut self, out: &mut Out<'_>) {
        for process in self.ready_ones().collect::<Vec<_>>() {
            out.push(Action::SendSuperseded { process });
        }
    }

    fn supersede(&mut self, why: &'static str, now: Millis, out: &mut Out<'_>) {
        let ended = |phase| match phase {
            Phase::Starting | Phase::Held | Phase::Failed { open: false } => true,
            Phase::Ready
            | Phase::Failed { open: true }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed => false,
        };
        for process in self.with_phase(ended) {
            self.stop(process, why, now, out);
        }
        let limit = self.rules.graceful_timeout;
        let unhurried = |it: &&mut Process| it.retiring == Some(Cause::IdleTimeout) && limit > 0;
        for it in self.processes.values_mut().filter(unhurried) {
            if let Phase::Draining { until: None } = it.phase {
                (it.phase, it.retiring, it.ending) = (Phase::Draining { until: Some(now + limit) }, None, why);
            }
        }
    }

    /// A process that an earlier supervisor left behind. It is superseded: one that can be reached serves until those
    /// that can be watched are ready, as after `graceful`; another one may finish.
    pub(super) fn adopt(&mut self, found: Found, now: Millis, out: &mut Out<'_>) {
        let Found { process, pid, left, .. } = found;
        let mut it = self.new_process(now);
        it.pid = Some(pid);
        it.marks.generation = 0;
        it.adopted = Some(left);
        match left {
            Left::Serving => {
                (it.phase, it.ready) = (Phase::Ready, Some(now));
                self.processes.insert(process, it);
                self.grow_to(self.serving(), now);
                // Nobody waits for the new ones, so there is time to hear which scripts they are to load.
                self.attempts.next = self.attempts.next.max(now + HEARING);
                out.push(Action::MarkReady { process });
                out.push(Action::SendSuperseded { process });
                self.say_adopted(process, out);
            }
            Left::Starting => {
                self.processes.insert(process, it);
                self.stop(process, LOST_SUPERVISOR, now, out);
            }
            Left::Draining | Left::Alone => {
                it.ready = Some(now);
                self.processes.insert(process, it);
                self.drain(process, LOST_SUPERVISOR, now, out);
            }
        }
    }

    /// An event of one process of this pool.
    pub(super) fn handle(&mut self, process: ProcessId, event: Event, now: Millis, out: &mut Out<'_>) {
        match event {
            Event::Spawned { pid, .. } => self.spawned(process, pid, out),
            Event::NoSlot { .. } => self.no_slot(process, now, out),
            Event::StartFailed { cause, .. } => self.start_failed(process, &cause, now, out),
            Event::Loaded { .. } => self.progresses(process, now),
            Event::Ready { .. } => self.ready(process, now, out),
            Event::Failed { said, .. } => self.failed(process, &said, now, out),
            Event::Changed { .. } => self.changed(now),
            Event::Retire { cause, .. } => self.retire(process, cause, now, out),
            Event::Violation { what, .. } => self.violation(process, &what, now, out),
            Event::InFlight { busy, .. } => self.in_flight(process, busy, now, out),
            Event::Memory { bytes, .. } => self.measured(process, bytes, now, out),
            Event::Exited { exit, .. } => self.exited(process, &exit, now, out),
            Event::Configured { .. }
            | Event::Found(_)
            | Event::Waiting { .. }
            | Event::Held { .. }
            | Event::Load { .. }
            | Event::Wanted { .. }
            | Event::Tick
            | Event::Stop { .. } => {}
        }
    }

    fn violation(&mut self, process: ProcessId, what: &str, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get_mut(&process).filter(|it| it.phase != Phase::Killed) else { return };
        it.ending = "it broke the protocol";
        let (phase, life, marks) = (it.phase, it.life(now), it.marks);
        if phase != Phase::Starting {
            self.vacate(process, "it broke the protocol");
        }
        if phase == Phase::Starting {
            self.count_failure(marks, now);
            self.say_cannot_start(&format!("it {what}"), now, out);
        } else {
            self.trouble = format!("a process {what}");
            self.say_violation(process, what, out);
        }
        if matches!(phase, Phase::Held | Phase::Ready) {
            self.count_loss(marks, life, false, now);
        }
        self.kill(process, out);
    }

    fn in_flight(&mut self, process: ProcessId, busy: Busy, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get_mut(&process) else { return };
        it.busy = busy;
        if it.busy.count == 0 && matches!(it.phase, Phase::Draining { .. }) {
            let why = it.ending;
            self.stop(process, why, now, out);
        }
    }

    fn exited(&mut self, process: ProcessId, exit: &Exit, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process) else { return };
        if it.phase == Phase::Starting {
            self.hope_after(exit.ended);
            return self.start_failed(process, &exit.diagnosis, now, out);
        }
        let has_ended = self.rules.threads == 0 && exit.ended == Ended::Status(0);
        self.vacate(process, if has_ended { "its script has ended" } else { "it was lost" });
        let Some(mut it) = self.processes.remove(&process) else { return };
        it.busy = exit.busy.clone();
        let lost = matches!(it.phase, Phase::Held | Phase::Ready | Phase::Failed { .. });
        if lost && !matches!(it.phase, Phase::Failed { .. }) {
            self.count_loss(it.marks, it.life(now), exit.served > 0 || exit.busy.count > 0, now);
        }
        if lost {
            self.trouble = format!("process {} was lost: {}", it.pid_text(), exit.ended);
        }
        self.say_exited(&it, exit.ended, lost, now, out);
        out.push(Action::Output { process, show: true });
        out.push(Action::Clear { process });
    }

    /// Starts what is missing; moves traffic from superseded processes to current ones.
    pub(super) fn settle(&mut self, now: Millis, next: &mut ProcessId, out: &mut Out<'_>) {
        if !self.over {
            self.release_held(now, out);
            self.drain_superseded(now, out);
            self.settle_failed(now, out);
            self.start_missing(now, next, out);
        }
        let fault = (self.over || self.cannot_serve()).then_some(&self.trouble);
        if fault != self.fault.as_ref() {
            self.fault = fault.cloned();
            out.push(Action::Fault { pool: out.pool, cause: self.fault.clone() });
        }
    }
}
