//! What to do when something happens: `decide(state, event, now) -> actions`. Pure; the shell in [`crate::shell`]
//! executes the actions and reports what came of them as further events.
//!
//! A daemon process goes Starting -> (Held ->) Ready -> Draining -> Stopping -> (Killed ->) exit. A *held* process is
//! ready in itself, but waits until its siblings of a new configuration are ready too. So traffic moves from the old
//! processes to the new ones in one step. A process is *superseded* when its configuration is an old one or when it
//! asked to be replaced. A process that could not load its script is *Failed*: it watches for the mend, and takes
//! requests (which get 500) only while no other process does.
//!
//! A pool that the configuration does not name any more serves on for a little while at least. It serves until the pool
//! of the same name that follows it (if there is one) is ready, and until the children of the old configuration are
//! gone. Then it drains.

mod event;
#[cfg(test)]
mod found;
#[cfg(test)]
mod handing;
#[cfg(test)]
mod histories;
mod jitter;
mod pool;
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
#[cfg(test)]
mod told;

use std::collections::BTreeMap;

pub use event::{Action, Busy, Ended, Event, Exit, Found, Handing, Left, Load, Rules, level};
pub use jitter::requests as jittered_requests;
pub use pool::Pool;
pub use say::seconds;

/// [`wsgi_wire::pool::PoolConfig::id`].
pub type PoolId = u64;

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
    pools: BTreeMap<PoolId, Pool>,
    stopping: bool,
    /// The configuration names no pool.
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
        self.pools.values().flat_map(Pool::draining).collect()
    }

    /// How long after `now` to look again at processes that drain and pools that leave: soon if one has just begun,
    /// less often the longer it takes. (Children say when the last request of a process has ended. These looks are for
    /// what children cannot say.)
    pub fn next_look(&self, now: Millis) -> Option<Millis> {
        let begun = self.pools.values().filter_map(Pool::begun_to_go).max()?;
        Some((now.saturating_sub(begun) / 50).clamp(SOONEST_LOOK, LATEST_LOOK))
    }

    /// Processes that take requests.
    pub fn open(&self) -> Vec<ProcessId> {
        self.pools.values().flat_map(Pool::open_ones).collect()
    }

    /// Processes of a pool that serve, the oldest first.
    pub fn serving(&self, pool: PoolId) -> Vec<ProcessId> {
        self.pools.get(&pool).into_iter().flat_map(Pool::ready_ones).collect()
    }

    /// Processes whose memory is limited.
    pub fn measured(&self) -> Vec<ProcessId> {
        self.pools.values().filter(|pool| pool.measures()).flat_map(Pool::ready_ones).collect()
    }

    /// Each pool, with the time until its next start if a start has failed.
    pub fn next_starts(&self, now: Millis) -> impl Iterator<Item = (PoolId, Option<Millis>)> {
        self.pools.iter().map(move |(id, pool)| (*id, pool.wait_for_start(now)))
    }

    /// Pools that end as soon as no request waits for them.
    pub fn leaving(&self) -> Vec<PoolId> {
        self.pools.iter().filter(|(_, pool)| pool.is_leaving()).map(|(id, _)| *id).collect()
    }

    /// Pools that may grow or shrink and have processes. `asleep`: instead those that have shrunk to none, which
    /// children wake.
    pub fn scaling(&self, asleep: bool) -> Vec<PoolId> {
        let wanted = |pool: &Pool| pool.scales() && pool.is_asleep() == asleep;
        self.pools.iter().filter(|(_, pool)| wanted(pool)).map(|(id, _)| *id).collect()
    }

    /// The next moment at which [`Event::Tick`] has something to do.
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
        Event::Found(found) => state.found.push(found),
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
        Event::Load { pool, load } => {
            if let Some(found) = state.pools.get_mut(&pool) {
                found.load(&load, now, &mut Out { pool, actions: &mut actions });
            }
        }
        Event::Wanted { pool } => {
            if let Some(found) = state.pools.get_mut(&pool) {
                found.wake(now, &mut Out { pool, actions: &mut actions });
            }
        }
        Event::Stop { why } => stop(state, why, now, &mut actions),
        Event::Tick => {
            for (id, pool) in &mut state.pools {
                pool.tick(now, &mut Out { pool: *id, actions: &mut actions });
            }
        }
        of_process => {
            let process = of_process.process().unwrap_or_default();
            if let Some((pool, found)) = state.pool_of(process) {
                found.handle(process, of_process, now, &mut Out { pool, actions: &mut actions });
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
            pool.unname(&mut Out { pool: *id, actions });
        }
    }
    for (id, rules) in pools {
        let pool = state.pools.entry(id).or_default();
        pool.configure(rules, now, &mut Out { pool: id, actions });
    }
    for found in std::mem::take(&mut state.found) {
        if let Some(pool) = state.pools.get_mut(&found.pool) {
            pool.adopt(found, now, &mut Out { pool: found.pool, actions });
        }
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

/// Ends pools that no configuration names any more, when nobody needs them.
fn let_go(state: &mut State, now: Millis, actions: &mut Vec<Action>) {
    let arriving = |pool: &&Pool| pool.is_arriving();
    let awaited: Vec<_> = state.pools.values().filter(arriving).map(|pool| pool.rules.name.clone()).collect();
    for (id, pool) in state.pools.iter_mut().filter(|(_, pool)| pool.is_unnamed()) {
        let awaited = awaited.contains(&pool.rules.name);
        pool.let_go(awaited, now, &mut Out { pool: *id, actions });
    }
}

/// Starts missing processes, moves traffic, and forgets pools that are over.
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
