//! How many processes a process group is to have, between `min-processes` and `max-processes`: as many as its load
//! needs.

use wsgi_wire::control::Cause;

use super::group::Group;
use super::process::Phase;
use super::{Load, Millis, Out, ProcessId, say};

/// The group grows when this many looks in a row find that requests wait or that all request threads are taken.
const LOOKS: u32 = 2;
/// While processes still start because an earlier look asked for them, the next ones come this much later.
const PACE: Millis = 1_000;
/// Most processes that the group grows by at a time.
const MAX_STEP: u32 = 32;

impl Group {
    /// How many processes the group is to have now.
    pub(super) fn target(&self) -> usize {
        self.scale.target as usize
    }

    /// Whether it may grow or shrink.
    pub fn scales(&self) -> bool {
        self.rules.min < self.rules.max && !self.over
    }

    /// It has shrunk to no process at all.
    pub fn is_asleep(&self) -> bool {
        self.scale.target == 0
    }

    fn set_target(&mut self, target: u32, now: Millis) {
        self.scale.target = target;
        self.scale.needed_at.resize(self.target(), now);
    }

    /// Sets the size for a new configuration: the old size, within the new limits.
    pub(super) fn resize(&mut self, now: Millis) {
        let before = if self.generation == 1 { self.rules.processes } else { self.scale.target };
        // A group that does not scale has min = max = processes.
        let least = self.rules.min.min(self.rules.max);
        self.set_target(before.clamp(least, self.rules.max), now);
        (self.scale.pressed, self.scale.step, self.scale.spare) = (0, 1, false);
        self.scale.needed_at.fill(now);
    }

    /// The supervisor found this many processes: the group is to have no fewer, within its limits.
    pub(super) fn grow_to(&mut self, found: usize, now: Millis) {
        let found = u32::try_from(found).unwrap_or(u32::MAX).min(self.rules.max);
        if found > self.scale.target {
            self.set_target(found, now);
        }
    }

    /// A request has come while there is no process, so the group gets one.
    pub(super) fn wake(&mut self, now: Millis, out: &mut Out<'_>) {
        if self.is_asleep() && self.rules.max > 0 && !self.over {
            self.say_wakes(out);
            self.set_target(1, now);
        }
    }

    /// Takes a look at the group's load, and lets the group grow or shrink.
    pub(super) fn load(&mut self, load: &Load, now: Millis, out: &mut Out<'_>) {
        if !self.scales() {
            return;
        }
        if load.waiting > 0 {
            self.wake(now, out);
        }
        // Short requests come and go between two looks, so `busy` does not show them.
        let needed = self.needed(load.busy.saturating_add(load.waiting)).max(u32::from(load.served));
        self.scale.needed_at.iter_mut().take(needed as usize).for_each(|at| *at = now);
        self.scale.spare = needed < self.scale.target;
        self.grow(load, now, out);
        self.shrink(load.idlest, now, out);
    }

    /// The moment at which the group gives up one process, if it gets no more to do until then.
    pub(super) fn shrinks_at(&self) -> Option<Millis> {
        let shrinks = self.scales() && self.scale.spare && self.scale.target > self.rules.min;
        let last = self.scale.needed_at.last().filter(|_| shrinks)?;
        Some(last + self.rules.idle_timeout)
    }

    /// How many processes this many requests at a time need, with a fifth of their threads to spare.
    fn needed(&self, requests: u32) -> u32 {
        let threads = u64::from(self.rules.threads.max(1));
        u32::try_from((u64::from(requests) * 5).div_ceil(threads * 4)).unwrap_or(u32::MAX)
    }

    /// Adds one process, then two, then four ... while requests wait or every request thread is taken.
    fn grow(&mut self, load: &Load, now: Millis, out: &mut Out<'_>) {
        if load.waiting == 0 && (load.threads == 0 || load.busy < load.threads) {
            if self.scale.pressed == 0 {
                self.scale.step = 1;
            }
            self.scale.pressed = 0;
            return;
        }
        self.scale.pressed = self.scale.pressed.saturating_add(1);
        let coming = self.count(Phase::Starting) + self.count(Phase::Held) > 0;
        let early = coming && self.scale.grew_at.is_none_or(|at| now < at + PACE);
        // While no process serves, requests wait for the process that starts, and more processes do not help.
        let helps = self.serving() > 0 && self.urgent() == 0 && !self.ailing() && self.scale.target < self.rules.max;
        if self.scale.pressed < LOOKS || early || !helps {
            return;
        }
        let target = self.scale.target.saturating_add(self.scale.step).min(self.rules.max);
        self.say_grows(target - self.scale.target, load, out);
        self.set_target(target, now);
        self.scale.step = (self.scale.step * 2).min(MAX_STEP);
        (self.scale.grew_at, self.scale.pressed) = (Some(now), 0);
    }

    /// Takes one process away, if fewer would have been enough for `idle-timeout` and nothing else is changing.
    fn shrink(&mut self, idlest: Option<ProcessId>, now: Millis, out: &mut Out<'_>) {
        let living = |phase| !matches!(phase, Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Killed);
        let living = self.with_phase(living).len();
        let settled = living == self.target() && self.count(Phase::Ready) == living;
        let last = self.scale.needed_at.last().copied();
        // A process that this very look found to be needed is not idle, not even with idle-timeout=0.
        let spare = last.is_some_and(|at| at < now && now >= at + self.rules.idle_timeout);
        if !settled || !spare || self.scale.target <= self.rules.min {
            return;
        }
        let ready = |id: &ProcessId| self.processes.get(id).is_some_and(|it| it.phase == Phase::Ready);
        // A process that is old enough to be replaced goes first, because that saves a start.
        let old = self.processes.iter().find(|(id, it)| ready(id) && self.is_old(**id, it, now)).map(|(id, _)| *id);
        let process = old.or_else(|| idlest.filter(ready)).or_else(|| self.ready_ones().last());
        let Some(process) = process else { return };
        self.set_target(self.scale.target - 1, now);
        // An old process may be busy, so it has the same limit as if it were replaced.
        let cause = if old.is_some() { Cause::RestartInterval } else { Cause::IdleTimeout };
        if let Some(it) = self.processes.get_mut(&process) {
            it.retiring = Some(cause);
        }
        self.drain(process, say::words(Cause::IdleTimeout), now, out);
    }
}
