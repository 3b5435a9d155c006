//! What to do when something happens: `decide(state, event, now) -> actions`. Pure; the shell in [`crate::shell`]
//! executes the actions and reports what came of them as further events.
//!
//! A daemon process goes Starting -> (Held ->) Ready -> Draining -> Stopping -> (Killed ->) exit. A *held* process is
//! ready in itself, but waits until its siblings of a new configuration are ready too. So traffic moves from the old
//! processes to the new ones in one step. A process is *superseded* when its configuration is an old one or when it
//! asked to be replaced. A process that could not load its script is *Failed*: it watches for the mend, and takes
//! requests (which get 500) only while no other process does.
//!
//! A process group that the configuration does not name any more serves on for a little while at least. It serves until
//! the group of the same name that follows it (if there is one) is ready, and until the children of the old
//! configuration are gone. Then it drains.

mod event;
#[cfg(test)]
mod found;
mod group;
#[cfg(test)]
mod handing;
#[cfg(test)]
mod histories;
mod jitter;
#[cfg(test)]
mod log_lines;
mod process;
mod records;
mod replace;
mod say;
mod scale;
#[cfg(test)]
mod sizes;
mod start;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::BTreeMap;

use wsgi_wire::control::Cause;
use wsgi_wire::messages::Message;

pub use event::{Action, Busy, Ended, Event, Exit, Found, Handing, Left, Load, Rules, level};
pub use group::Group;
pub use jitter::requests as jittered_requests;
pub use say::seconds;

/// [`wsgi_wire::config::GroupConfig::id`].
pub type GroupId = u64;

/// A process that the supervisor knows; numbers are never used again, unlike process ids.
pub type ProcessId = u64;

/// Milliseconds of the monotonic clock.
pub type Millis = u64;

/// How soon, and how late, the supervisor looks at draining processes again.
const SOONEST_LOOK: Millis = 20;
const LATEST_LOOK: Millis = 1_000;

/// Everything that decisions depend on.
#[derive(Debug, Default)]
pub struct State {
    groups: BTreeMap<GroupId, Group>,
    stopping: bool,
    /// The configuration names no group.
    leaving: bool,
    exited: bool,
    next: ProcessId,
    /// Processes that an earlier supervisor left behind, until the configuration comes.
    found: Vec<Found>,
}

impl State {
    /// A number for a process that the shell has found.
    pub fn fresh(&mut self) -> ProcessId {
        self.next += 1;
        self.next
    }

    /// Whether the supervisor is ending everything.
    pub fn stopping(&self) -> bool {
        self.stopping
    }

    /// Processes whose requests in flight the supervisor waits for.
    pub fn draining(&self) -> Vec<ProcessId> {
        self.groups.values().flat_map(Group::draining).collect()
    }

    /// How long after `now` to look again at processes that drain and groups that leave: soon if one has just begun,
    /// less often the longer it takes. (Children say when the last request of a process has ended. These looks are for
    /// what children cannot say.)
    pub fn next_look(&self, now: Millis) -> Option<Millis> {
        let begun = self.groups.values().filter_map(Group::begun_to_go).max()?;
        Some((now.saturating_sub(begun) / 50).clamp(SOONEST_LOOK, LATEST_LOOK))
    }

    /// Processes that take requests.
    pub fn open(&self) -> Vec<ProcessId> {
        self.groups.values().flat_map(Group::open_ones).collect()
    }

    /// Processes of a group that serve, the oldest first.
    pub fn serving(&self, group: GroupId) -> Vec<ProcessId> {
        self.groups.get(&group).into_iter().flat_map(Group::ready_ones).collect()
    }

    /// Why a process is being replaced, if it is.
    pub fn cause(&self, process: ProcessId) -> Option<Cause> {
        self.groups.values().find_map(|group| group.cause(process))
    }

    /// Processes whose memory is limited.
    pub fn measured(&self) -> Vec<ProcessId> {
        self.groups.values().filter(|group| group.measures()).flat_map(Group::ready_ones).collect()
    }

    /// Each group, with the time until its next start if a start has failed.
    pub fn next_starts(&self, now: Millis) -> impl Iterator<Item = (GroupId, Option<Millis>)> {
        self.groups.iter().map(move |(id, group)| (*id, group.wait_for_start(now)))
    }

    /// Groups that end as soon as no request waits for them.
    pub fn leaving(&self) -> Vec<GroupId> {
        self.groups.iter().filter(|(_, group)| group.is_leaving()).map(|(id, _)| *id).collect()
    }

    /// Groups that may grow or shrink and have processes. `asleep`: instead those that have shrunk to none, which
    /// children wake.
    pub fn scaling(&self, asleep: bool) -> Vec<GroupId> {
        let wanted = |group: &Group| group.scales() && group.is_asleep() == asleep;
        self.groups.iter().filter(|(_, group)| wanted(group)).map(|(id, _)| *id).collect()
    }

    /// The next moment at which [`Event::Tick`] has something to do.
    pub fn deadline(&self) -> Option<Millis> {
        self.groups.values().filter_map(Group::deadline).min()
    }

    /// The groups.
    #[cfg(test)]
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups.iter().map(|(id, group)| (*id, group))
    }

    fn group_of(&mut self, process: ProcessId) -> Option<(GroupId, &mut Group)> {
        self.groups.iter_mut().find(|(_, group)| group.knows(process)).map(|(id, group)| (*id, group))
    }
}

/// Collects a group's actions.
pub(crate) struct Out<'a> {
    group: GroupId,
    actions: &'a mut Vec<Action>,
}

impl Out<'_> {
    fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn info(&mut self, text: String) {
        self.actions.push(Action::Log { group: self.group, level: level::INFO, text });
    }

    fn debug(&mut self, text: String) {
        self.actions.push(Action::Log { group: self.group, level: level::DEBUG, text });
    }

    /// A warning or an error.
    fn report(&mut self, message: Message, text: &str) {
        self.actions.push(Action::Log { group: self.group, level: message.level(), text: message.line(text) });
    }
}

/// What to do about `event`, which happened at `now`.
pub fn decide(state: &mut State, event: Event, now: Millis) -> Vec<Action> {
    let mut actions = Vec::new();
    match event {
        Event::Configured { groups } => configure(state, groups, now, &mut actions),
        Event::Found(found) => state.found.push(found),
        Event::Waiting { group, count } => {
            if let Some(found) = state.groups.get_mut(&group) {
                found.waiting(count);
            }
        }
        Event::Held { group, held } => {
            if let Some(found) = state.groups.get_mut(&group) {
                found.hold(held);
            }
        }
        Event::Load { group, load } => {
            if let Some(found) = state.groups.get_mut(&group) {
                found.load(&load, now, &mut Out { group, actions: &mut actions });
            }
        }
        Event::Wanted { group } => {
            if let Some(found) = state.groups.get_mut(&group) {
                found.wake(now, &mut Out { group, actions: &mut actions });
            }
        }
        Event::Stop { why } => stop(state, why, now, &mut actions),
        Event::Tick => {
            for (id, group) in &mut state.groups {
                group.tick(now, &mut Out { group: *id, actions: &mut actions });
            }
        }
        of_process => {
            let process = of_process.process().unwrap_or_default();
            if let Some((group, found)) = state.group_of(process) {
                found.handle(process, of_process, now, &mut Out { group, actions: &mut actions });
            }
        }
    }
    settle(state, now, &mut actions);
    actions
}

fn configure(state: &mut State, groups: Vec<(GroupId, Rules)>, now: Millis, actions: &mut Vec<Action>) {
    if state.stopping || state.exited {
        return;
    }
    state.leaving = groups.is_empty();
    for (id, group) in &mut state.groups {
        if !groups.iter().any(|(named, _)| named == id) {
            group.unname(&mut Out { group: *id, actions });
        }
    }
    for (id, rules) in groups {
        let group = state.groups.entry(id).or_default();
        group.configure(rules, now, &mut Out { group: id, actions });
    }
    for found in std::mem::take(&mut state.found) {
        if let Some(group) = state.groups.get_mut(&found.group) {
            group.adopt(found, now, &mut Out { group: found.group, actions });
        }
    }
}

fn stop(state: &mut State, why: &'static str, now: Millis, actions: &mut Vec<Action>) {
    if !state.stopping {
        state.stopping = true;
        for (id, group) in &mut state.groups {
            group.stop_all(why, now, &mut Out { group: *id, actions });
        }
    }
}

/// Ends groups that no configuration names any more, when nobody needs them.
fn let_go(state: &mut State, now: Millis, actions: &mut Vec<Action>) {
    let arriving = |group: &&Group| group.is_arriving();
    let awaited: Vec<_> = state.groups.values().filter(arriving).map(|group| group.rules.name.clone()).collect();
    for (id, group) in state.groups.iter_mut().filter(|(_, group)| group.is_unnamed()) {
        let awaited = awaited.contains(&group.rules.name);
        group.let_go(awaited, now, &mut Out { group: *id, actions });
    }
}

/// Starts missing processes, moves traffic, and forgets groups that are over.
fn settle(state: &mut State, now: Millis, actions: &mut Vec<Action>) {
    let_go(state, now, actions);
    for (id, group) in &mut state.groups {
        group.settle(now, &mut state.next, &mut Out { group: *id, actions });
    }
    state.groups.retain(|id, group| {
        let done = group.is_over();
        if done {
            actions.push(Action::Forget { group: *id });
        }
        !done
    });
    if (state.stopping || state.leaving) && !state.exited && state.groups.is_empty() {
        state.exited = true;
        actions.push(Action::Exit);
    }
}
