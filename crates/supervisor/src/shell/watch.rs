//! What daemon processes say and write, and how they end: control messages, output, exits. Also the connections that
//! children send, and what the supervisor looks at by time.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use wsgi_sys::process::{Outcome, exists, reap};
use wsgi_sys::scoreboard::State as SlotState;
use wsgi_sys::{fd, socket};
use wsgi_wire::control::{Cause, Connect, FromDaemon, ToDaemon};
use wsgi_wire::messages::Message;

use super::process::{Heard, Output};
use super::{GroupEntry, LOOK, Shell, millis};
use crate::decide::{Busy, Ended, Event, Exit, GroupId, Millis, ProcessId, seconds};
use crate::diagnose;

/// Most messages that the supervisor takes from one socket in one round.
const ROUND: usize = 64;
/// A process that lives on without its control socket for this long is of no use.
const CLOSED_LIMIT: Millis = 1_000;
/// The log says at most once in this time that a descriptor was lost.
const COMPLAINTS: Millis = 60_000;
/// How many requests of a process a line names.
const OLDEST: usize = 3;
/// How many pipes of ended processes are kept because something that these processes started still holds them.
const MAX_OUTPUTS_LEFT: usize = 64;

impl Shell {
    pub(super) fn signals_came(&mut self) {
        let mut bytes = [0; 64];
        while let Ok(len @ 1..) = fd::read(self.signals.as_fd(), &mut bytes) {
            for signal in &bytes[..len] {
                match i32::from(*signal) {
                    libc::SIGTERM => self.stop("the supervisor got SIGTERM"),
                    libc::SIGINT => self.stop("the supervisor got SIGINT"),
                    _ => {}
                }
            }
        }
        self.reap();
    }

    pub(super) fn stop(&mut self, why: &'static str) {
        let stop_is_queued = self.events.iter().any(|event| matches!(event, Event::Stop { .. }));
        if !self.state.stopping() && !stop_is_queued {
            self.info(&format!("supervisor: stopping all daemon processes: {why}"));
        }
        self.events.push_back(Event::Stop { why });
    }

    /// Waits for all children that have ended.
    fn reap(&mut self) {
        while let Some((pid, status)) = reap() {
            let found = self.processes.iter().find(|(_, it)| it.pid == pid && !it.adopted);
            if let Some(id) = found.map(|(id, _)| *id) {
                self.ended(id, status);
            }
        }
    }

    fn ended(&mut self, id: ProcessId, status: ExitStatus) {
        // Everything that it has said comes before its end.
        self.executed(id);
        self.hear_process(id);
        self.finish_output(id);
        if self.events.iter().any(|event| matches!(event, Event::StartFailed { process, .. } if *process == id)) {
            return;
        }
        let ended = match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Status(code),
            (_, Some(signal)) => Ended::Signal(signal),
            _ => Ended::Unknown,
        };
        let mut diagnosis = self.diagnose(id, ended);
        let loading =
            self.processes.get(&id).filter(|process| !process.open).and_then(|process| process.known.loading());
        if let Some(script) = loading {
            diagnosis.push_str(&format!(
                "; it was loading the scripts that an earlier process had loaded, and {script} was the next"
            ));
        }
        self.exited(id, ended, diagnosis);
    }

    fn exited(&mut self, id: ProcessId, ended: Ended, diagnosis: String) {
        let (busy, served) = (self.busy(id), self.served(id));
        self.tell_children(id, ended);
        self.events.push_back(Event::Exited { process: id, exit: Exit { ended, busy, served, diagnosis } });
    }

    /// What the process has written since it started, as far as the shell has kept it.
    fn output_so_far(&mut self, id: ProcessId) -> String {
        // The process wrote before it sent its message.
        self.read_output(id);
        let Some(output) = self.outputs.get(&id) else { return String::new() };
        let (first, last) = output.first_and_last_lines();
        let last = (first.last().map(|line| line.trim()) != Some(last)).then_some(last);
        first.iter().map(String::as_str).chain(last).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// Tells the children how the process ended that was executing their requests. They give their leases back then.
    fn tell_children(&self, id: ProcessId, ended: Ended) {
        let Some(process) = self.processes.get(&id) else { return };
        if let Some(entry) = self.groups.get(&process.group) {
            entry.board.set_ended(process.slot, process.epoch, &ended.to_string());
        }
    }

    fn diagnose(&self, id: ProcessId, ended: Ended) -> String {
        let config = self.processes.get(&id).and_then(|it| self.groups.get(&it.group)).map(|entry| &entry.config);
        let (first, last) = self.outputs.get(&id).map_or((&[][..], ""), Output::first_and_last_lines);
        config.map_or_else(String::new, |config| diagnose::early_exit(config, ended, first, last))
    }

    /// The requests that the process is executing.
    fn busy(&self, id: ProcessId) -> Busy {
        let Some(process) = self.processes.get(&id) else { return Busy::default() };
        let Some(entry) = self.groups.get(&process.group) else { return Busy::default() };
        let count = entry.board.in_flight(process.slot);
        let all = if count > 0 { entry.board.executing(process.slot) } else { Vec::new() };
        let known = all.iter().filter(|one| !one.what.is_empty()).take(OLDEST);
        let oldest = known.map(|one| format!("{} for {}", one.what, seconds(millis(one.age())))).collect();
        Busy { count, oldest }
    }

    /// How many requests the process has answered.
    fn served(&self, id: ProcessId) -> u32 {
        let board = |process: &super::Process| Some(self.groups.get(&process.group)?.board.served(process.slot));
        self.processes.get(&id).and_then(board).unwrap_or(0)
    }

    /// Looks whether Python was executed.
    pub(super) fn executed(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(spawned) = &process.spawned else { return };
        match spawned.outcome() {
            Outcome::Pending => {}
            Outcome::WentWithout(step, error) => {
                let (group, pid) = (process.group, process.pid);
                if let Some(entry) = self.groups.get(&group) {
                    let text = diagnose::went_without(&entry.config, pid, step, &error);
                    self.report_of(group, diagnose::message_without(step), &text);
                }
                // This comes to an end: each such step reports at most once.
                self.executed(id);
            }
            Outcome::Executed => process.spawned = None,
            Outcome::Failed(step, error) => {
                process.spawned = None;
                let found = self
                    .groups
                    .get(&process.group)
                    .map(|entry| (diagnose::message(&entry.config, step), diagnose::step(&entry.config, step, &error)));
                let (message, cause) = found.unwrap_or_else(|| (Message::CannotStart, error.to_string()));
                self.events.push_back(Event::StartFailed { process: id, message, cause });
            }
        }
    }

    pub(super) fn hear_process(&mut self, id: ProcessId) {
        let now = self.clock.now();
        for _ in 0..ROUND {
            let Some(process) = self.processes.get_mut(&id) else { return };
            let event = match process.hear() {
                Heard::Nothing => return,
                // The limit of a process's list bounds how often this happens.
                Heard::Loaded(true) if !process.open => Event::Loaded { process: id },
                Heard::Loaded(_) => continue,
                Heard::Message(FromDaemon::Ready) => Event::Ready { process: id },
                Heard::Message(FromDaemon::Failed) => Event::Failed { process: id, output: self.output_so_far(id) },
                Heard::Message(FromDaemon::Changed) => Event::Changed { process: id },
                Heard::Message(FromDaemon::ServerMetrics) => {
                    self.ask_for_metrics(id);
                    continue;
                }
                Heard::Message(FromDaemon::Retire(cause)) => Event::Retire { process: id, cause },
                Heard::Noise(what) => {
                    process.control = None;
                    Event::Violation { process: id, what }
                }
                Heard::Closed => {
                    process.control = None;
                    process.closed_at = Some(now);
                    return;
                }
            };
            self.events.push_back(event);
        }
    }

    pub(super) fn write_output(&self, group: GroupId, pid: i32, level: u8, line: &[u8]) {
        let Some(GroupEntry { config, log, .. }) = self.groups.get(&group) else {
            return self.log.line(level, pid, line);
        };
        let known = log.is_unread();
        log.line(level, pid, line);
        if !log.is_unread() || !log.takes(level) {
            return;
        }
        if !known {
            let text = format!(
                "process group \"{}\": the program that its error log is piped to has ended; until httpd starts it again (at graceful), lines about the group and its processes stand in the main error log",
                config.name
            );
            self.report(Message::LogProgramEnded, &text);
        }
        self.log.line(level, pid, line);
    }

    pub(super) fn read_output(&mut self, id: ProcessId) {
        let Some(mut output) = self.outputs.remove(&id) else { return };
        let (group, pid) = (output.group, output.pid);
        let more = output.read(|level, line| self.write_output(group, pid, level, line));
        if more || self.processes.contains_key(&id) {
            self.outputs.insert(id, output);
        }
    }

    fn finish_output(&mut self, id: ProcessId) {
        let Some(mut output) = self.outputs.remove(&id) else { return };
        let (group, pid) = (output.group, output.pid);
        for _ in 0..ROUND {
            if !output.read(|level, line| self.write_output(group, pid, level, line)) {
                break;
            }
        }
        output.finish(|level, line| self.write_output(group, pid, level, line));
        self.outputs.insert(id, output);
    }

    /// Reads what children send: connections for processes, and other messages.
    pub(super) fn hear_children(&mut self) {
        let mut buffer = [0; 64];
        self.spare.clear();
        for _ in 0..ROUND {
            let Some(children) = &self.children else { return };
            let mut got = match socket::try_recv_with_fds(children.as_fd(), &mut buffer) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.children = None,
            };
            let Ok(wanted) = Connect::decode(&buffer[..got.len]) else { continue };
            if got.truncated && got.fds.is_empty() && wanted.slot != Connect::METRICS {
                self.say_lost_connection();
                continue;
            }
            if wanted.slot == Connect::WANTED {
                self.events.push_back(Event::Wanted { group: wanted.group });
                continue;
            }
            if wanted.slot == Connect::METRICS {
                got.fds.pop().into_iter().for_each(|file| self.hand_metrics_on(wanted, &file));
                continue;
            }
            // Nothing to do: each round looks at draining processes.
            if wanted.slot == Connect::DRAINED {
                continue;
            }
            let fits = |it: &&mut super::Process| it.group == wanted.group && it.slot == wanted.slot && it.open;
            let found = self.processes.values_mut().find(fits).filter(|it| it.epoch == wanted.epoch);
            // Otherwise the connection is closed, and the child chooses another process.
            if let (Some(process), Some(connection)) = (found, got.fds.pop()) {
                process.hand(ToDaemon::Connection, connection);
                if process.is_stalled() && self.store.clear() {
                    self.processes.values_mut().for_each(super::Process::flush);
                    self.say_not_stored(&"connections need the room");
                }
            }
        }
    }

    /// There was no room for a child's descriptor. The child finds its end closed and tries again.
    fn say_lost_connection(&mut self) {
        let now = self.clock.now();
        if now >= self.next_complaint {
            self.next_complaint = now + COMPLAINTS;
            let text = "supervisor: a connection of a child is lost, because the supervisor has no descriptor left; raise the limit of open files";
            self.report(Message::ConnectionLost, text);
        }
    }

    /// Does what is due by time.
    pub(super) fn look(&mut self) {
        for id in self.state.draining() {
            let busy = self.busy(id);
            self.events.push_back(Event::InFlight { process: id, busy });
        }
        for group in self.state.leaving() {
            let count = self.groups.get(&group).map_or(0, |entry| entry.board.waiting());
            self.events.push_back(Event::Waiting { group, count });
        }
        self.sample();
        self.look_for_questions();
        let now = self.clock.now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + u64::try_from(LOOK.as_millis()).unwrap_or(1_000);
        self.reap();
        self.look_for_parent();
        for entry in self.groups.values() {
            entry.board.reclaim_dead(|pid| i32::try_from(pid).is_ok_and(exists));
        }
        let closed = |at: Option<Millis>| at.is_some_and(|at| now >= at + CLOSED_LIMIT);
        let mute: Vec<_> = self.processes.iter().filter(|(_, it)| closed(it.closed_at)).map(|(id, _)| *id).collect();
        for process in mute {
            let what = "lives on without its control socket".to_owned();
            self.events.push_back(Event::Violation { process, what });
        }
        let left: Vec<_> = self.processes.iter().filter(|(_, it)| it.adopted && it.watch.is_none()).collect();
        let ended: BTreeSet<_> = left.into_iter().filter(|(_, it)| !exists(it.pid)).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|id| self.adopted_ended(id));
        self.look_for_stale();
        self.measure();
        self.processes.values_mut().for_each(super::Process::flush);
        self.drop_old_outputs();
    }

    /// Finds processes that children have set to draining by themselves, because they saw that the script has changed.
    fn look_for_stale(&mut self) {
        for id in self.state.open() {
            let Some(process) = self.processes.get(&id) else { continue };
            let board = self.groups.get(&process.group).map(|entry| &entry.board);
            if board.is_some_and(|board| board.state(process.slot) == SlotState::Draining) {
                self.events.push_back(Event::Retire { process: id, cause: Cause::ScriptReload });
            }
        }
    }

    fn drop_old_outputs(&mut self) {
        let left: Vec<_> = self.outputs.keys().filter(|id| !self.processes.contains_key(id)).copied().collect();
        for id in left.iter().take(left.len().saturating_sub(MAX_OUTPUTS_LEFT)) {
            self.outputs.remove(id);
        }
    }

    /// A process of an earlier supervisor has ended.
    pub(super) fn adopted_ended(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.watch = None;
            self.exited(id, Ended::Unknown, String::new());
        }
    }
}
