//! One process group's part of the decisions: its processes, its configuration, its beginning and its end. Other files
//! hold the rest: [`super::start`] starts processes, [`super::replace`] replaces them, [`super::scale`] decides how
//! many there are, and [`super::timers`] does what is due by time.

use std::collections::{BTreeMap, VecDeque};

use wsgi_wire::control::Cause;
use wsgi_wire::messages::Message;

use super::process::{Phase, Process};
use super::records::{Attempts, MemoryHistory, Scale};
use super::{Action, Busy, Ended, Event, Exit, Found, Left, Millis, Out, ProcessId, Rules};

/// A group that no configuration names any more takes requests for this long after its successor (if it has one) is
/// ready. Children of the old configuration have accepted requests that they have not sent to it yet.
pub(super) const LINGER: Millis = 5_000;

/// How long a group waits with its first start, so that the processes that the supervisor found can say which scripts
/// they have loaded.
const HEARING: Millis = 300;

/// Why a process ends that an earlier supervisor started.
pub(super) const LOST_SUPERVISOR: &str = "its supervisor was lost";

/// A process group and its processes.
#[derive(Debug, Default)]
pub struct Group {
    pub(super) rules: Rules,
    pub(super) processes: BTreeMap<ProcessId, Process>,
    pub(super) generation: u64,
    /// No configuration names this group any more. It serves until its successor is ready and the old children are
    /// gone.
    unnamed: bool,
    /// The earliest moment at which it may end. `None` while a configuration names it or its successor is not ready.
    let_go_at: Option<Millis>,
    /// Children are left that may still send it requests.
    held: bool,
    /// How many requests waited for one of its request threads at the last count.
    waiting: u32,
    /// It takes no more requests. (`stopping`: because the supervisor stops everything.)
    pub(super) over: bool,
    pub(super) stopping: bool,
    pub(super) attempts: Attempts,
    pub(super) scale: Scale,
    pub(super) memory: MemoryHistory,
    /// Processes that take no more requests and have no successor yet: pid and cause.
    pub(super) vacant: VecDeque<(String, &'static str)>,
    /// Why a process was last lost or could not start, or why this group is to have no processes.
    pub(super) trouble: String,
    /// Why it cannot answer any request; `None` while it can.
    fault: Option<String>,
}

impl Group {
    /// Whether the process is one of this group's.
    pub fn knows(&self, process: ProcessId) -> bool {
        self.processes.contains_key(&process)
    }

    /// Processes that are waited for while they finish requests.
    pub fn draining(&self) -> impl Iterator<Item = ProcessId> {
        self.processes.iter().filter(|(_, it)| matches!(it.phase, Phase::Draining { .. })).map(|(id, _)| *id)
    }

    /// When a process last began to drain, or the group to leave.
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

    /// Nothing is left of a group that is in no configuration.
    pub fn is_over(&self) -> bool {
        self.over && self.processes.is_empty()
    }

    /// It is about to end, so the supervisor counts the requests that wait for it.
    pub fn is_leaving(&self) -> bool {
        self.unnamed && !self.over && !self.held && self.let_go_at.is_some()
    }

    /// When it may end, if only time still keeps it. `None` while requests wait: the supervisor then looks at it again
    /// and again ([`super::State::next_look`]).
    pub(super) fn leaves_at(&self) -> Option<Millis> {
        self.let_go_at.filter(|_| self.is_leaving() && self.waiting == 0)
    }

    /// No configuration names it any more.
    pub(super) fn is_unnamed(&self) -> bool {
        self.unnamed
    }

    /// Its processes are still starting, so a predecessor of the same name goes on serving. The predecessor does not
    /// wait for processes that cannot start.
    pub(super) fn is_arriving(&self) -> bool {
        let complete = self.count(Phase::Ready) >= self.target();
        !self.unnamed && !self.over && !complete && !self.ailing() && !self.attempts.slots_full
    }

    /// Processes that serve.
    pub fn serving(&self) -> usize {
        self.ready_ones().count()
    }

    /// The process counts towards the number that the configuration asks for.
    pub(super) fn is_current(&self, it: &Process) -> bool {
        it.marks.generation == self.generation
            && it.retiring.is_none()
            && matches!(it.phase, Phase::Starting | Phase::Held | Phase::Ready)
    }

    /// The process belongs to an old configuration, or no configuration names its group any more.
    pub(super) fn is_superseded(&self, it: &Process) -> bool {
        self.unnamed || it.marks.generation != self.generation
    }

    /// Notes that the process takes no more requests and that no other process has been started in its place.
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

    /// Whether processes of an old configuration serve.
    pub(super) fn old_ones_serve(&self) -> bool {
        self.processes.values().any(|it| it.marks.generation != self.generation && it.phase == Phase::Ready)
    }

    /// Takes a (new) configuration, which supersedes the processes that run already.
    pub(super) fn configure(&mut self, rules: Rules, now: Millis, out: &mut Out<'_>) {
        self.rules = rules;
        self.generation += 1;
        if self.generation == 1 {
            // What an earlier supervisor said about this group does not hold any more.
            out.push(Action::Fault { group: out.group, cause: None });
        }
        (self.unnamed, self.let_go_at, self.waiting, self.over) = (false, None, 0, false);
        self.attempts = Attempts::from(now);
        self.memory = MemoryHistory::default();
        self.vacant.clear();
        self.resize(now);
        self.keep_code(out);
        self.supersede("graceful restart", now, out);
    }

    /// Notes that no configuration names the group any more. It serves until [`Group::let_go`] ends it.
    pub(super) fn unname(&mut self, out: &mut Out<'_>) {
        if !std::mem::replace(&mut self.unnamed, true) {
            self.keep_code(out);
        }
    }

    /// Notes how many requests wait for this group while it is leaving.
    pub(super) fn waiting(&mut self, count: u32) {
        self.waiting = count;
    }

    /// Notes whether children are left that may still send it requests.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Ends a group that no configuration names any more. While its successor is `awaited` (not ready yet), the group
    /// goes on serving. After that it serves for [`LINGER`] more. Then it ends as soon as no old child is left and no
    /// request waits for it. Waiting requests delay its end by graceful-timeout at most (if that is not 0).
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

    /// Tells the processes that serve to keep the code that they have. If the new code cannot be loaded, nothing else
    /// can serve.
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

    /// Takes over a process that an earlier supervisor left behind; it counts as superseded. If it serves and the
    /// supervisor can reach it, it goes on until processes that the supervisor can watch are ready, as after
    /// `graceful`. If it was still starting, the supervisor stops it. Any other process only finishes its requests.
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
                // No request waits for the new processes, so there is time to hear which scripts they are to load.
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

    /// Handles an event of one process of this group.
    pub(super) fn handle(&mut self, process: ProcessId, event: Event, now: Millis, out: &mut Out<'_>) {
        match event {
            Event::Spawned { pid, .. } => self.spawned(process, pid, out),
            Event::NoSlot { .. } => self.no_slot(process, now, out),
            Event::StartFailed { message, cause, .. } => self.start_failed(process, (message, &cause), now, out),
            Event::Loaded { .. } => self.progresses(process, now),
            Event::Ready { .. } => self.ready(process, now, out),
            Event::Failed { output, .. } => self.failed(process, &output, now, out),
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
            self.say_cannot_start(Message::CannotStart, &format!("it {what}"), now, out);
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
            return self.start_failed(process, (Message::CannotStart, &exit.diagnosis), now, out);
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

    /// Starts missing processes; moves traffic from superseded processes to current ones.
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
            out.push(Action::Fault { group: out.group, cause: self.fault.clone() });
        }
    }
}
