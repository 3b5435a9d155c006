//! How processes start: attempts, failures, the wait between attempts, and what happens to a process that could not
//! load its script.

use wsgi_wire::control::Cause;
use wsgi_wire::messages::Message;

use super::group::Group;
use super::process::{Marks, Phase, Process};
use super::records::{Attempts, CHANGED_CALM, CHANGED_FREE, back_off};
use super::{Action, Ended, Handing, Left, Millis, Out, ProcessId, say};

/// If a process is lost this soon after it became ready, it counts as a process that cannot live.
const SHORT_LIFE: Millis = 1_500;
/// When every slot is taken by old processes: how soon to look again.
const SLOT_WAIT: Millis = 100;
/// Shortest time between starts when processes die of the requests that they get.
const CRASH_WAIT: Millis = 1_000;
/// SIGKILL and SIGTERM. They come from outside, and not from what the process does (POSIX numbers them).
const KILLERS: [i32; 2] = [9, 15];

impl Group {
    /// Starts go badly, so the group makes one at a time.
    pub(super) fn ailing(&self) -> bool {
        self.attempts.failures > 0 || self.attempts.quick >= 2
    }

    /// No process can answer a request, and the next start is not expected to change that.
    pub(super) fn cannot_serve(&self) -> bool {
        // Nothing had failed when this start began, or something that had failed may have been mended since.
        let unblemished = |it: &Process| it.marks.failures == 0 && it.marks.quick == 0 && it.overdue.is_none();
        let hopeful = |it: &Process| it.phase == Phase::Starting && (it.marks.hopeful || unblemished(it));
        (self.attempts.failures > 0 || self.attempts.quick >= 3)
            && self.open_ones().next().is_none()
            && !self.attempts.hope
            && !self.processes.values().any(hopeful)
    }

    /// How many processes serve until their replacements are ready.
    fn replaceable(&self) -> usize {
        let serves =
            |it: &&Process| it.phase == Phase::Ready && it.retiring.is_some() && it.marks.generation == self.generation;
        self.processes.values().filter(serves).count()
    }

    /// How many processes are missing, apart from the replacements of processes that still serve.
    pub(super) fn urgent(&self) -> usize {
        self.missing().saturating_sub(self.replaceable())
    }

    /// How many processes to start as soon as the time has come: all that are missing. But only one at a time while
    /// starts go badly, or when nothing is missing but replacements of processes that still serve.
    pub(super) fn due(&self) -> usize {
        match self.urgent() {
            urgent if urgent > 0 && !self.ailing() => urgent,
            _ if self.count(Phase::Starting) > 0 => 0,
            _ => self.missing().min(1),
        }
    }

    /// Whether a process that starts now is to load what other processes have loaded. While others serve, no request
    /// waits for the new process, so it has time to load all that they have.
    ///
    /// The new process must be able to load all of it in two cases: it follows a process that still serves and can go
    /// on for long, or the group serves old code on purpose. Otherwise (a process was lost, or more are needed) a
    /// broken script may not cost the other scripts of the group anything: the new process is ready without it, and the
    /// requests for it find out. If a script even ends the process, or never ends itself, the next process loads none
    /// of them.
    fn handing(&self) -> Handing {
        let presses = |it: &Process| {
            it.phase == Phase::Ready && matches!(it.retiring, Some(Cause::MaximumMemory | Cause::CpuTimeLimit))
        };
        let follows = self.urgent() == 0 && !self.processes.values().any(presses);
        let keeps_code = self.rules.rolling || self.old_ones_serve() || follows;
        match self.serving() {
            0 => Handing::Nothing,
            _ if keeps_code => Handing::Required,
            _ if self.attempts.bare => Handing::Nothing,
            _ => Handing::Tried,
        }
    }

    /// Notes that a start has made progress: `startup-timeout` counts for each of several scripts.
    pub(super) fn progresses(&mut self, process: ProcessId, now: Millis) {
        if let Some(it) = self.processes.get_mut(&process).filter(|it| it.phase == Phase::Starting) {
            it.progressed = now;
        }
    }

    pub(super) fn new_process(&self, now: Millis) -> Process {
        let Attempts { failures, quick, .. } = self.attempts;
        Process::new(
            now,
            Marks { generation: self.generation, failures, quick, handing: Handing::Nothing, hopeful: false },
        )
    }

    pub(super) fn start_missing(&mut self, now: Millis, next: &mut ProcessId, out: &mut Out<'_>) {
        if self.missing() == 0 {
            self.vacant.clear();
        }
        if self.serving() == 0 && std::mem::take(&mut self.attempts.burdened) {
            // The next process has less to load, and requests wait for it.
            (self.attempts.next, self.attempts.hope) = (self.attempts.soon(now).min(self.attempts.next), true);
        }
        let due = if now < self.attempts.next { 0 } else { self.due() };
        if due == 0 {
            return;
        }
        let urgent = self.urgent();
        self.attempts.last = Some(now);
        let hopeful = std::mem::take(&mut self.attempts.hope);
        // Otherwise several processes would write the same lines at the same time, or one would repeat those of the
        // last attempt.
        let quiet = self.attempts.failures > 0 || due + self.count(Phase::Starting) > 1;
        let handing = self.handing();
        for number in 0..due {
            *next += 1;
            let mut it = self.new_process(now);
            it.marks.hopeful = hopeful;
            let vacancy = if number < urgent { self.vacant.pop_front() } else { None };
            let (replaces, why) = vacancy.unwrap_or_default();
            // The code has changed for all processes at once, and their requests wait.
            let handing = if why == say::words(Cause::ScriptReload) { Handing::Nothing } else { handing };
            (it.replaces, it.marks.handing) = (replaces, handing);
            self.processes.insert(*next, it);
            out.push(Action::Start { group: out.group, process: *next, quiet, handing });
        }
    }

    pub(super) fn spawned(&mut self, process: ProcessId, pid: i32, out: &mut Out<'_>) {
        self.attempts.slots_full = false;
        if let Some(it) = self.processes.get_mut(&process) {
            it.pid = Some(pid);
        }
        self.say_started(process, out);
    }

    pub(super) fn no_slot(&mut self, process: ProcessId, now: Millis, out: &mut Out<'_>) {
        self.processes.remove(&process);
        if !std::mem::replace(&mut self.attempts.slots_full, true) {
            self.say_no_slot(out);
        }
        self.attempts.next = self.attempts.next.max(now + SLOT_WAIT);
    }

    pub(super) fn ready(&mut self, process: ProcessId, now: Millis, out: &mut Out<'_>) {
        let old_ones_serve = self.old_ones_serve();
        let Some(it) = self.processes.get_mut(&process).filter(|it| it.phase == Phase::Starting) else { return };
        (it.ready, it.phase) = (Some(now), Phase::Held);
        let late = it.overdue.take().is_some();
        out.push(Action::Output { process, show: true });
        self.say_ready(process, late, now, out);
        let Attempts { quick, last, slots_full, .. } = self.attempts;
        self.attempts = Attempts { quick, last, slots_full, ..Attempts::from(now) };
        if !old_ones_serve {
            self.promote(process, now, out);
        }
    }

    pub(super) fn start_failed(
        &mut self,
        process: ProcessId,
        (message, cause): (Message, &str),
        now: Millis,
        out: &mut Out<'_>,
    ) {
        let Some(it) = self.processes.remove(&process) else { return };
        if it.phase == Phase::Starting {
            let show = match it.overdue {
                // The process was overdue, and ended of that.
                Some(overdue) => overdue.show,
                None => {
                    self.count_failure(it.marks, now);
                    self.say_cannot_start(message, cause, now, out)
                }
            };
            out.push(Action::Output { process, show });
        }
        out.push(Action::Clear { process });
    }

    /// Something outside has killed a process that was starting. The next process is likely to live, and requests wait
    /// for it.
    pub(super) fn hope_after(&mut self, ended: Ended) {
        if matches!(ended, Ended::Signal(signal) if KILLERS.contains(&signal)) && self.attempts.failures == 0 {
            self.attempts.hope = true;
        }
    }

    /// Counts a failed attempt. Attempts that began together count once.
    pub(super) fn count_failure(&mut self, marks: Marks, now: Millis) {
        self.attempts.bare |= marks.handing == Handing::Tried;
        self.attempts.burdened |= marks.handing != Handing::Nothing;
        if marks.failures != self.attempts.failures || marks.generation != self.generation {
            return;
        }
        if marks.hopeful {
            self.attempts.vain = self.attempts.vain.saturating_add(1);
        }
        let soon = self.attempts.soon(now);
        let attempts = &mut self.attempts;
        if attempts.hope {
            (attempts.next, attempts.step) = (soon, 0);
        } else {
            attempts.next = now + back_off(attempts.step);
            attempts.step = attempts.step.saturating_add(1);
        }
        attempts.since.get_or_insert(now);
        attempts.failures = attempts.failures.saturating_add(1);
    }

    /// A process was lost, or has used up what it may use, after it had been ready for `life`. `used`: it had answered
    /// requests or was executing one. If processes end soon and no request had to do with it, the second one in a row
    /// makes the next start wait. If requests had to do with it, starts are only a second apart.
    pub(super) fn count_loss(&mut self, marks: Marks, life: Millis, used: bool, now: Millis) {
        if marks.generation != self.generation || self.over {
            return;
        }
        let last = self.attempts.last.unwrap_or(0);
        let attempts = &mut self.attempts;
        let in_a_row = marks.quick.saturating_add(1);
        match life {
            SHORT_LIFE.. => attempts.quick = 0,
            _ if used => {
                attempts.quick = in_a_row.min(1);
                if marks.quick > 0 {
                    attempts.next = attempts.next.max(last + CRASH_WAIT);
                }
            }
            _ => attempts.quick = in_a_row,
        }
        if attempts.quick >= 2 {
            attempts.next = now + back_off(attempts.quick - 2);
        }
    }

    /// How long it is until the next attempt, if the group does not make it at once.
    pub(super) fn wait_for_start(&self, now: Millis) -> Option<Millis> {
        (!self.over && self.attempts.next > now).then(|| self.attempts.next - now)
    }

    /// A process could not load its script. It stays, to notice when somebody mends the script. Of several such
    /// processes one stays, the one with the newest cause.
    pub(super) fn failed(&mut self, process: ProcessId, output: &str, now: Millis, out: &mut Out<'_>) {
        let found = |it: &&mut Process| it.adopted == Some(Left::Serving) && it.phase == Phase::Ready;
        if let Some(it) = self.processes.get_mut(&process).filter(found) {
            // An earlier supervisor had heard this already. The process answers with 500, so nobody misses it.
            it.phase = Phase::Failed { open: true };
            self.attempts.next = now;
            if self.with_phase(|phase| matches!(phase, Phase::Failed { .. })).len() > 1 {
                self.drain(process, say::ANOTHER_FAILED, now, out);
            }
            return;
        }
        let Some(it) = self.processes.get_mut(&process).filter(|it| it.phase == Phase::Starting) else { return };
        (it.ready, it.phase) = (Some(now), Phase::Failed { open: false });
        let (marks, overdue) = (it.marks, it.overdue.take());
        let before = self.processes.iter().find(|(id, it)| **id != process && matches!(it.phase, Phase::Failed { .. }));
        let before = before.map(|(id, it)| (*id, it.phase, it.marks));
        self.count_failure(marks, now);
        let news = overdue.is_none() && self.is_news_of_loading(output);
        out.push(Action::Output { process, show: news });
        self.say_not_loaded(process, output, news, now, out);
        match before {
            Some((_, _, of)) if of == marks => self.stop(process, say::ANOTHER_FAILED, now, out),
            Some((other, Phase::Failed { open: true }, _)) => {
                self.open_failed(process, out);
                self.drain(other, say::ANOTHER_FAILED, now, out);
            }
            Some((other, ..)) => self.stop(other, say::ANOTHER_FAILED, now, out),
            None => {}
        }
    }

    fn open_failed(&mut self, process: ProcessId, out: &mut Out<'_>) {
        if let Some(it) = self.processes.get_mut(&process) {
            it.phase = Phase::Failed { open: true };
            out.push(Action::MarkReady { process });
        }
    }

    /// Lets a failed process take requests while no process serves, and ends it when its successor has come.
    pub(super) fn settle_failed(&mut self, now: Millis, out: &mut Out<'_>) {
        let newest = self
            .processes
            .iter()
            .filter(|(_, it)| self.is_current(it) && matches!(it.phase, Phase::Held | Phase::Ready));
        let newest = newest.map(|(id, _)| *id).max();
        for process in self.with_phase(|phase| matches!(phase, Phase::Failed { .. })) {
            let Some(it) = self.processes.get(&process) else { continue };
            let followed = newest.is_some_and(|newest| newest > process) || self.missing() == 0;
            match it.phase {
                Phase::Failed { open: false } if followed && self.serving() > 0 => {
                    self.stop(process, "other processes of its group serve", now, out);
                }
                Phase::Failed { open: false } if self.serving() == 0 => self.open_failed(process, out),
                Phase::Failed { open: true } if self.serving() > 0 => {
                    self.drain(process, "other processes of its group serve", now, out);
                }
                _ => {}
            }
        }
    }

    /// A file has changed: if an attempt has failed, or is about to fail, the next one comes at once.
    pub(super) fn changed(&mut self, now: Millis) {
        let tries = self.attempts.failures > 0 || self.count(Phase::Starting) > 0;
        if !tries || self.over {
            return;
        }
        if self.attempts.last.is_none_or(|last| now > last + CHANGED_CALM) {
            self.attempts.vain = 0;
        }
        let soon = self.attempts.soon(now);
        let attempts = &mut self.attempts;
        (attempts.hope, attempts.step) = (true, attempts.vain.saturating_sub(CHANGED_FREE));
        attempts.next = attempts.next.min(soon);
    }
}
