//! Executes actions.

use std::os::fd::AsFd;

use wsgi_sys::process::{kill, killpg, pidfd_kill};
use wsgi_sys::scoreboard::{State as SlotState, Stoppage};
use wsgi_wire::control::ToDaemon;
use wsgi_wire::messages::Message;

use super::process::{Output, Process};
use super::{Shell, millis, own_pid, start};
use crate::decide::{Action, Event, GroupId, Handing, ProcessId, seconds};
use crate::handed::{Handed, Known, hand_on};

impl Shell {
    pub(super) fn execute(&mut self, action: Action) {
        match action {
            Action::Start { group, process, quiet, handing } => self.start(group, process, quiet, handing),
            Action::MarkReady { process } => {
                self.mark(process, SlotState::Ready);
                if let Some(group) = self.processes.get(&process).map(|found| found.group) {
                    self.say_refused(group, "it takes requests again");
                }
            }
            Action::MarkDraining { process } => self.mark(process, SlotState::Draining),
            Action::SendStop { process } => {
                let cause = self.state.cause(process);
                if let Some(found) = self.processes.get_mut(&process) {
                    found.stop(cause);
                }
            }
            Action::SendSuperseded { process } => {
                if let Some(found) = self.processes.get_mut(&process) {
                    found.tell(ToDaemon::Superseded);
                }
            }
            Action::Terminate { process } => self.signal(process, libc::SIGTERM),
            Action::Dump { process } => self.dump(process),
            Action::Kill { process } => self.signal(process, libc::SIGKILL),
            Action::Output { process, show } => self.release_output(process, show),
            Action::Clear { process } => self.clear(process),
            Action::Fault { group, cause } => {
                if let Some(entry) = self.groups.get(&group) {
                    entry.board.set_fault(cause.as_deref());
                }
            }
            Action::Forget { group } => {
                self.say_refused(group, "the group ends");
                self.groups.remove(&group);
            }
            Action::Log { group, level, text } => {
                let pid = own_pid();
                text.lines().for_each(|line| self.write_output(group, pid, level, line.as_bytes()));
            }
            Action::Exit => self.done = true,
        }
    }

    /// The scripts that the serving processes hand on to the next process.
    fn handed(&self, group: GroupId, handing: Handing) -> Vec<Handed> {
        let serving = match handing {
            Handing::Nothing => Vec::new(),
            // Such a group checks the owner of a script at each request, so no process loads a script before a request.
            _ if self.groups.get(&group).is_some_and(|entry| entry.config.checks_owner) => Vec::new(),
            Handing::Tried | Handing::Required => self.state.serving(group),
        };
        let known = serving.iter().filter_map(|id| self.processes.get(id)).map(|process| &process.known);
        hand_on(known, handing == Handing::Required, self.clock.now())
    }

    fn start(&mut self, group: GroupId, id: ProcessId, quiet: bool, handing: Handing) {
        let handed = self.handed(group, handing);
        let Some(entry) = self.groups.get(&group) else { return };
        let Some(slot) = entry.board.free_slot() else {
            return self.events.push_back(Event::NoSlot { process: id });
        };
        match start::start(&entry.config, &handed, id, self.parent_pid, &self.engines) {
            Ok(started) => {
                let pid = started.spawned.pid;
                let epoch = entry.board.place(slot, entry.config.threads, u32::try_from(pid).unwrap_or(0));
                let mut process = Process::new(group, pid, slot, epoch);
                process.spawned = Some(started.spawned);
                process.control = Some(started.control);
                process.known = Known::new(&entry.config.targets, &handed);
                self.processes.insert(id, process);
                self.outputs.insert(id, Output::new(started.output, group, pid, quiet));
                self.store(id);
                self.events.push_back(Event::Spawned { process: id, pid });
            }
            Err(cause) => {
                self.events.push_back(Event::StartFailed { process: id, message: Message::CannotStart, cause })
            }
        }
    }

    /// Keeps a process's control socket, and the pipe of its output, for the supervisor that comes after this one.
    pub(super) fn store(&mut self, id: ProcessId) {
        let of = |id| {
            let process: &Process = self.processes.get(&id)?;
            let output = self.outputs.get(&id).and_then(|output| output.fd.as_ref());
            let fds = [process.control.as_ref()?].into_iter().chain(output);
            Some((process.stored(), fds.map(AsFd::as_fd).collect::<Vec<_>>()))
        };
        if self.store.is_cluttered(self.processes.len()) {
            self.store.tidy(of);
        }
        let Some((stored, fds)) = of(id) else { return };
        let put = self.store.put(id, stored, &fds).or_else(|_| {
            // Messages of ended processes may take the room.
            self.store.tidy(of);
            self.store.put(id, stored, &fds)
        });
        if let Err(error) = put {
            self.say_not_stored(&error);
        }
    }

    /// Says, once, that the next supervisor will not get the control sockets of some processes.
    pub(super) fn say_not_stored(&mut self, why: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.store_failed, true) {
            let text = format!(
                "supervisor: it cannot keep the control sockets of some processes for another supervisor ({why}); if this supervisor is lost, these processes finish their requests and end; a higher limit of open files avoids that"
            );
            self.report(Message::NotKept, &text);
        }
    }

    /// Says how many requests were refused while no process could be started. A child said so when that began.
    fn say_refused(&self, group: GroupId, now: &str) {
        let Some(entry) = self.groups.get(&group) else { return };
        let Some(stoppage) = entry.board.end_stoppage() else { return };
        let text = refused(&entry.config.name, now, stoppage);
        self.report_of(group, Message::Stopped, &text);
    }

    fn mark(&mut self, id: ProcessId, state: SlotState) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.open = true;
        if let Some(entry) = self.groups.get(&process.group) {
            entry.board.set_state(process.slot, state);
        }
    }

    /// Signals a process. Nobody has waited for it yet, so its number is still its own.
    fn signal(&mut self, id: ProcessId, signal: i32) {
        let Some(process) = self.processes.get(&id) else { return };
        if process.watch.as_ref().is_some_and(|watch| pidfd_kill(watch.as_fd(), 0).is_err()) {
            return;
        }
        // If the process has ended meanwhile, this only fails.
        let _ = if signal == libc::SIGKILL {
            // killpg fails before the process has called setsid.
            killpg(process.pid, signal).or_else(|_| kill(process.pid, signal))
        } else {
            kill(process.pid, signal)
        };
    }

    /// Has the engine write the stacks. If the engine is not up yet, the signal ends the process a little early.
    fn dump(&mut self, id: ProcessId) {
        self.signal(id, libc::SIGRTMAX() - wsgi_wire::control::DUMP_SIGNAL_BELOW_MAX);
    }

    fn clear(&mut self, id: ProcessId) {
        let Some(process) = self.processes.remove(&id) else { return };
        if let Some(entry) = self.groups.get(&process.group) {
            entry.board.set_state(process.slot, SlotState::Gone);
        }
        if self.outputs.get(&id).is_some_and(|output| output.fd.is_none()) {
            self.outputs.remove(&id);
        }
    }

    fn release_output(&mut self, id: ProcessId, show: bool) {
        let Some(mut output) = self.outputs.remove(&id) else { return };
        let (group, pid) = (output.group, output.pid);
        output.release(show, &mut |level, line| self.write_output(group, pid, level, line));
        output.forget_start();
        self.outputs.insert(id, output);
    }
}

/// The line at the end of a stoppage.
fn refused(group: &str, now: &str, stoppage: Stoppage) -> String {
    let Stoppage { lasted, refused } = stoppage;
    let requests = if refused == 1 { "1 request".to_owned() } else { format!("{refused} requests") };
    let lasted = seconds(millis(lasted));
    format!("process group \"{group}\": {now}; {requests} got 503, because for {lasted} no process could be started")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_of_a_stoppage_counts_requests_and_time() {
        let stoppage = |refused| Stoppage { lasted: Duration::from_millis(23_400), refused };
        assert_eq!(
            refused("app", "it takes requests again", stoppage(1)),
            "process group \"app\": it takes requests again; 1 request got 503, because for 23.4 s no process could be started"
        );
        assert!(refused("app", "x", stoppage(412)).contains("; 412 requests got 503, because for "));
    }
}
