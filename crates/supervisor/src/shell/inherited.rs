//! Processes that an earlier supervisor left on a scoreboard when it was killed. If the [`super::store`] holds the
//! control socket of a process, the process serves until new ones are ready. Otherwise it only finishes what it
//! executes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use wsgi_sys::process::pidfd_open;
use wsgi_sys::scoreboard::State as SlotState;
use wsgi_wire::control::ToDaemon;
use wsgi_wire::messages::Message;

use super::Shell;
use super::process::{Output, Process};
use super::store::Taken;
use crate::decide::{Event, Found, GroupId, Left};
use crate::diagnose;
use crate::handed::Known;

impl Shell {
    /// Finds the processes of all groups, before the first configuration is in force.
    pub(super) fn take_over(&mut self) {
        let mut stored = self.store.take_all();
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            self.take_over_group(group, &mut stored);
        }
        // This closes the rest of the store: processes of groups that no configuration names any more find that they
        // are alone.
        drop(stored);
        self.processes.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.store(id));
    }

    fn take_over_group(&mut self, group: GroupId, stored: &mut Vec<Taken>) {
        let Some(entry) = self.groups.get(&group) else { return };
        let user = diagnose::identity(&entry.config).0.uid;
        for slot in 0..entry.board.slots() {
            if entry.board.state(slot) == SlotState::Gone {
                continue;
            }
            let pid = i32::try_from(entry.board.pid(slot)).unwrap_or(0);
            // Open this first, so that all checks after it are about this very process.
            let watch = pidfd_open(pid).ok();
            if !is_daemon(pid, user) || pid == self.parent_pid {
                if entry.board.state(slot) != SlotState::Draining {
                    self.say_lost(group, pid);
                }
                entry.board.set_state(slot, SlotState::Gone);
                continue;
            }
            let id = self.state.fresh();
            let mut process = Process::new(group, pid, slot, entry.board.epoch(slot));
            (process.watch, process.adopted) = (watch, true);
            let at = stored.iter().position(|one| process.stored() == one.stored);
            let (control, output) = at.map(|at| stored.swap_remove(at)).map(|it| (it.control, it.output)).unzip();
            process.control = control;
            let left = left(entry.board.state(slot), process.control.is_some());
            // As after a change of configuration, because nobody knows with which configuration the process was
            // started.
            process.known = Known::new(&entry.config.targets, &[]);
            process.known.reconfigured(Some(&entry.config.targets));
            if left == Left::Serving {
                process.tell(ToDaemon::TellScripts);
            }
            self.processes.insert(id, process);
            // Nothing is opened by way of the process's own descriptors: it decides what they are.
            if let Some(pipe) = output.flatten() {
                let mut output = Output::new(pipe, group, pid, false);
                output.forget_start();
                self.outputs.insert(id, output);
            }
            self.events.push_back(Event::Found(Found { group, process: id, pid, left }));
        }
    }
}

impl Shell {
    fn say_lost(&self, group: GroupId, pid: i32) {
        let Some(entry) = self.groups.get(&group) else { return };
        let name = &entry.config.name;
        let text = format!(
            "process group \"{name}\": process {pid} was lost while no supervisor was there to see how it ended; it is replaced"
        );
        self.report_of(group, Message::LostUnseen, &text);
    }
}

/// What the supervisor can use a process for.
fn left(state: SlotState, is_reachable: bool) -> Left {
    match state {
        _ if !is_reachable => Left::Alone,
        SlotState::Ready => Left::Serving,
        SlotState::Starting => Left::Starting,
        SlotState::Draining | SlotState::Gone => Left::Draining,
    }
}

/// Whether the number is that of a living process that a supervisor can have started for this user: the
/// leader of a session of its own. Shared memory is not believed further than that.
fn is_daemon(pid: i32, user: u32) -> bool {
    if pid <= 1 {
        return false;
    }
    let owner = fs::metadata(format!("/proc/{pid}")).map(|found| found.uid());
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    owner.is_ok_and(|owner| owner == user) && leads_session(&stat, pid)
}

/// proc(5): after the name in parentheses come state, parent, pgrp, session.
fn leads_session(stat: &str, pid: i32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = rest.split_whitespace().take(4).collect();
    let [state, _, pgrp, session] = fields[..] else { return false };
    let own = pid.to_string();
    state != "Z" && pgrp == own && session == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_living_leaders_of_a_session_are_taken() {
        assert!(leads_session("44 (python) odd) S 1 44 44 0 -1", 44));
        assert!(!leads_session("44 (python) Z 1 44 44 0 -1", 44));
        assert!(!leads_session("44 (python) S 1 40 44 0 -1", 44));
        assert!(!leads_session("44 (python) S 1", 44));
        assert!(!is_daemon(0, 0) && !is_daemon(1, 0));
    }
}
