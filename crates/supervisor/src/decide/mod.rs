//! What to do when something happens: `decide(state, event, now) -> actions`. Pure; the shell in
//! [`crate::shell`] executes the actions and tells what came of them as further events.
//!
//! A daemon process goes Starting -> (Held ->) Ready -> Draining -> Stopping -> (Killed ->) exit. *Held*
//! is ready in itself, but waits until its siblings of a new configuration are ready too, so that
//! traffic moves from the old ones to the new ones in one step. A process is *superseded* when its
//! configuration is an old one or when it asked to be replaced.
//!
//! A pool that the configuration does not name any more serves on until the pool of its name that follows
//! it, if there is one, is ready, and until the children of the old configuration are gone, but for a little while at
//! least; then it drains.

#[cfg(test)]
mod histories;
mod pool;
mod process;
mod say;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use wsgi_wire::control::Cause;

pub use pool::Pool;

/// [`wsgi_wire::pool::PoolConfig::id`].
pub type PoolId = u64;

/// A process that the supervisor knows; numbers are never used again, unlike process ids.
pub type ProcessId = u64;

/// Milliseconds of the monotonic clock.
pub type Millis = u64;

/// What of a pool's configuration decisions and their messages need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// The group's name.
    pub name: String,
    /// `file:line`.
    pub defined_at: String,
    /// The interpreter.
    pub python: String,
    /// What chose it.
    pub python_from: String,
    /// How many processes there should be.
    pub processes: u32,
    /// From stop to SIGKILL.
    pub shutdown_timeout: Millis,
    /// From drain to stop; 0: no limit.
    pub graceful_timeout: Millis,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It was no child of this supervisor, so the status is not known.
    Unknown,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The parent's configuration is complete.
    Configured {
        /// All pools of it. Without any the supervisor ends as soon as what there is has drained away.
        pools: Vec<(PoolId, Rules)>,
    },
    /// A process of an earlier supervisor was found on a pool's scoreboard.
    Adopted { pool: PoolId, process: ProcessId, pid: i32 },
    /// The process exists.
    Spawned { process: ProcessId, pid: i32 },
    /// There was nowhere to put the process; its pool tries again soon.
    NoSlot { process: ProcessId },
    /// The process could not be made or could not execute its program, for this reason.
    StartFailed { process: ProcessId, cause: String },
    /// The process says that it is ready.
    Ready { process: ProcessId },
    /// The process asks to be replaced.
    Retire { process: ProcessId, cause: Cause },
    /// The process did what no daemon process does.
    Violation { process: ProcessId, what: String },
    /// How many requests are reserved on a draining process.
    InFlight { process: ProcessId, count: u32 },
    /// How many requests wait for a pool that is leaving.
    Waiting { pool: PoolId, count: u32 },
    /// Whether children of a configuration that names the pool are left.
    Held { pool: PoolId, held: bool },
    /// The process has ended. `diagnosis` is the cause as far as one can be read from what it wrote.
    Exited { process: ProcessId, ended: Ended, in_flight: u32, diagnosis: String },
    /// Time has passed.
    Tick,
    /// End everything, for this reason.
    Stop { why: &'static str },
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a process; answered by Spawned, NoSlot or StartFailed. `quiet`: keep what it writes until
    /// [`Action::Output`], because the last attempt failed too.
    Start { pool: PoolId, process: ProcessId, quiet: bool },
    /// Let requests come.
    MarkReady { process: ProcessId },
    /// Let no further request come.
    MarkDraining { process: ProcessId },
    /// Ask it to finish and exit.
    SendStop { process: ProcessId },
    /// SIGTERM: it has no control socket, or does not read it yet.
    Terminate { process: ProcessId },
    /// SIGKILL to its process group.
    Kill { process: ProcessId },
    /// Write what was kept of its output, or forget it.
    Output { process: ProcessId, show: bool },
    /// It does not exist any more: free its slot.
    Clear { process: ProcessId },
    /// Say on the scoreboard whether processes can be started.
    Fault { pool: PoolId, on: bool },
    /// The pool has no processes and is in no configuration.
    Forget { pool: PoolId },
    /// Write a line (or several, separated by newlines) to the pool's error log.
    Log { pool: PoolId, level: u8, text: String },
    /// Everything has ended.
    Exit,
}

/// APLOG levels.
pub mod level {
    /// A process was lost or cannot start.
    pub const ERROR: u8 = 3;
    /// A limit was reached.
    pub const WARNING: u8 = 4;
    /// The life of processes.
    pub const INFO: u8 = 6;
    /// Details.
    pub const DEBUG: u8 = 7;
}

/// Everything that decisions depend on.
#[derive(Debug, Default)]
pub struct State {
    pools: BTreeMap<PoolId, Pool>,
    stopping: bool,
    /// The configuration names no pool.
    leaving: bool,
    exited: bool,
    next: ProcessId,
}

impl State {
    /// A number for a process that the shell has found.
    pub fn fresh(&mut self) -> ProcessId {
        self.next += 1;
        self.next
    }

    /// Whether everything is being ended.
    pub fn stopping(&self) -> bool {
        self.stopping
    }

    /// Processes whose requests in flight are waited for.
    pub fn draining(&self) -> Vec<ProcessId> {
        self.pools.values().flat_map(Pool::draining).collect()
    }

    /// Processes that take requests.
    pub fn ready(&self) -> Vec<ProcessId> {
        self.pools.values().flat_map(Pool::ready_ones).collect()
    }

    /// Pools that end as soon as no request waits for them.
    pub fn leaving(&self) -> Vec<PoolId> {
        self.pools.iter().filter(|(_, pool)| pool.is_leaving()).map(|(id, _)| *id).collect()
    }

    /// When [`Event::Tick`] has something to do at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        self.pools.values().filter_map(Pool::deadline).min()
    }

    /// The pools.
    #[cfg(test)]
    pub fn pools(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.pools.iter().map(|(id, pool)| (*id, pool))
    }

    fn pool_of(&mut self, process: ProcessId) -> Option<(PoolId, &mut Pool)> {
        self.pools.iter_mut().find(|(_, pool)| pool.knows(process)).map(|(id, pool)| (*id, pool))
    }
}

/// Collects a pool's actions.
pub(crate) struct Out<'a> {
    pool: PoolId,
    actions: &'a mut Vec<Action>,
}

impl Out<'_> {
    fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn log(&mut self, level: u8, text: String) {
        self.actions.push(Action::Log { pool: self.pool, level, text });
    }
}

/// What to do about `event`, which happened at `now`.
pub fn decide(state: &mut State, event: Event, now: Millis) -> Vec<Action> {
    let mut actions = Vec::new();
    match event {
        Event::Configured { pools } => configure(state, pools, now, &mut actions),
        Event::Adopted { pool, process, pid } => {
            if let Some(found) = state.pools.get_mut(&pool) {
                found.adopt(process, pid, now, &mut Out { pool, actions: &mut actions });
            }
        }
        Event::Waiting { pool, count } => {
            if let Some(found) = state.pools.get_mut(&pool) {
                found.waiting(count);
            }
        }
        Event::Held { pool, held } => {
            if let Some(found) = state.pools.get_mut(&pool) {
                found.hold(held);
            }
        }
        Event::Stop { why } => stop(state, why, now, &mut actions),
        Event::Tick => {
            for (id, pool) in &mut state.pools {
                pool.tick(now, &mut Out { pool: *id, actions: &mut actions });
            }
        }
        Event::Spawned { process, .. }
        | Event::NoSlot { process }
        | Event::StartFailed { process, .. }
        | Event::Ready { process }
        | Event::Retire { process, .. }
        | Event::Violation { process, .. }
        | Event::InFlight { process, .. }
        | Event::Exited { process, .. } => {
            if let Some((id, pool)) = state.pool_of(process) {
                pool.handle(process, event, now, &mut Out { pool: id, actions: &mut actions });
            }
        }
    }
    settle(state, now, &mut actions);
    actions
}

fn configure(state: &mut State, pools: Vec<(PoolId, Rules)>, now: Millis, actions: &mut Vec<Action>) {
    if state.stopping || state.exited {
        return;
    }
    state.leaving = pools.is_empty();
    for (id, pool) in &mut state.pools {
        if !pools.iter().any(|(named, _)| named == id) {
            pool.unname();
        }
    }
    for (id, rules) in pools {
        let pool = state.pools.entry(id).or_default();
        pool.configure(rules, now, &mut Out { pool: id, actions });
    }
}

fn stop(state: &mut State, why: &'static str, now: Millis, actions: &mut Vec<Action>) {
    if !state.stopping {
        state.stopping = true;
        for (id, pool) in &mut state.pools {
            pool.stop_all(why, now, &mut Out { pool: *id, actions });
        }
    }
}

/// Ends pools that are in no configuration any more, when nobody needs them.
fn let_go(state: &mut State, now: Millis, actions: &mut Vec<Action>) {
    let arriving = |pool: &&Pool| pool.is_arriving();
    let awaited: Vec<_> = state.pools.values().filter(arriving).map(|pool| pool.rules.name.clone()).collect();
    for (id, pool) in state.pools.iter_mut().filter(|(_, pool)| pool.is_unnamed()) {
        let awaited = awaited.contains(&pool.rules.name);
        pool.let_go(awaited, now, &mut Out { pool: *id, actions });
    }
}

/// Starts what is missing, moves traffic, drops what is done with.
fn settle(state: &mut State, now: Millis, actions: &mut Vec<Action>) {
    let_go(state, now, actions);
    for (id, pool) in &mut state.pools {
        pool.settle(now, &mut state.next, &mut Out { pool: *id, actions });
    }
    state.pools.retain(|id, pool| {
        let done = pool.is_over();
        if done {
            actions.push(Action::Forget { pool: *id });
        }
        !done
    });
    if (state.stopping || state.leaving) && !state.exited && state.pools.is_empty() {
        state.exited = true;
        actions.push(Action::Exit);
    }
}
