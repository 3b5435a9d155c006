//! The line of requests that wait for a lease. Each waiter stands in a cell of its own. A child that frees a lease
//! hands it to the oldest waiter instead of letting all race for it (a race costs p99 and CPU).
//!
//! A cell belongs to the process whose id stands in it. This begins with the compare-and-swap that put the id there,
//! and ends when the owner stores 0 (or [`super::reclaim`], for a dead owner). Other processes only turn WAITING into
//! GRANTED. A granted lease keeps the process id of its giver until the new holder puts in its own id. Until then the
//! cell says that the lease is held.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::record::now_word;
use super::{
    ASKED_AT, CELLS_AT, HEADER_WORDS, Lease, Refused, SLOT_WORDS, Scoreboard, State, TICKET_AT, WAITER_WORDS,
    WAITING_AT,
};
use crate::futex;

const CELL: usize = 0;
const PID: usize = 1;
const TICKET: usize = 2;
/// Cell values; from GRANTED on: GRANTED + index of the lease. IDLE: the cell has no owner, or its owner is just coming
/// or going.
pub(super) const IDLE: u32 = 0;
const WAITING: u32 = 2;
pub(super) const GRANTED: u32 = 16;

/// How long a waiter sleeps before it looks again by itself: a process may die before it wakes the waiter.
const BACKSTOP: Duration = Duration::from_secs(1);
/// How often the waiters, all together, ask for a process, milliseconds: a little less than a waiter sleeps.
const ASK_EVERY: u32 = 900;
/// How often a process that hands out leases looks again for a waiter that came meanwhile.
const LOOKS: u32 = 64;

/// The number of waiters in this word. It may be below 0 for a moment while `recount` corrects it.
fn counted(word: u32) -> u32 {
    i32::try_from(word).map_or(0, i32::unsigned_abs)
}

impl Scoreboard {
    fn waiter(&self, cell: u32, field: usize) -> &AtomicU32 {
        let leases = self.geometry.slots as usize * (SLOT_WORDS + self.geometry.leases as usize);
        self.word(HEADER_WORDS + leases + cell as usize * WAITER_WORDS + field)
    }

    /// The cells that were ever used.
    pub(super) fn cells(&self) -> std::ops::Range<u32> {
        0..self.word(CELLS_AT).load(SeqCst).min(self.geometry.waiters)
    }

    pub(super) fn cell(&self, cell: u32) -> &AtomicU32 {
        self.waiter(cell, CELL)
    }

    /// The process that the cell belongs to; 0 when it is free.
    pub(super) fn owner(&self, cell: u32) -> &AtomicU32 {
        self.waiter(cell, PID)
    }

    /// Requests that wait for a lease.
    pub fn waiting(&self) -> u32 {
        counted(self.word(WAITING_AT).load(SeqCst))
    }

    /// Makes all waiters look again.
    pub(super) fn wake_all(&self) {
        self.cells().map(|cell| self.cell(cell)).filter(|word| word.load(SeqCst) == WAITING).for_each(futex::wake_one);
    }

    /// Reserves a request thread for the child `me`. If none is free, waits for one until `deadline`, behind the
    /// requests that wait already, provided that these are fewer than `limit`.
    ///
    /// # Errors
    /// [`Refused`] says why there is none.
    pub fn reserve(&self, me: u32, limit: u32, deadline: Option<Instant>) -> Result<Lease, Refused> {
        self.reserve_asking(me, limit, deadline, || ())
    }

    /// As [`Scoreboard::reserve`]. `ask` asks the supervisor for a process. While no process is ready or starting, one
    /// of all waiters calls it now and then.
    ///
    /// # Errors
    /// As [`Scoreboard::reserve`].
    pub fn reserve_asking(
        &self,
        me: u32,
        limit: u32,
        deadline: Option<Instant>,
        ask: impl Fn(),
    ) -> Result<Lease, Refused> {
        if self.waiting() == 0 {
            if let Some(lease) = self.try_reserve(me) {
                return Ok(lease);
            }
        }
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        if self.unavailable() {
            // If the supervisor has given up, it learns that another try is worth it.
            self.ask_if_due(&ask);
            return Err(Refused::Unavailable);
        }
        let cell = self.enqueue(me, limit).ok_or(Refused::Full)?;
        let result = self.wait(cell, me, deadline, &ask);
        self.leave(cell);
        result
    }

    /// Calls `ask` when no process is ready or starting and no child has asked for one in the last moments.
    fn ask_if_due(&self, ask: &impl Fn()) {
        let serves = |slot| matches!(self.state(slot), State::Starting | State::Ready);
        if self.used().any(serves) {
            return;
        }
        let (asked, now) = (self.word(ASKED_AT), now_word());
        let before = asked.load(SeqCst);
        let is_due = before == 0 || now.wrapping_sub(before) >= ASK_EVERY;
        if is_due && asked.compare_exchange(before, now, SeqCst, SeqCst).is_ok() {
            ask();
        }
    }

    /// Takes a cell and stands in line. The order of these steps tells [`super::reclaim`] what a dead owner has
    /// counted.
    pub(super) fn enqueue(&self, me: u32, limit: u32) -> Option<u32> {
        if self.waiting() >= limit {
            return None;
        }
        let cell = (0..self.geometry.waiters).find(|cell| {
            let owner = self.owner(*cell);
            owner.load(SeqCst) == 0 && owner.compare_exchange(0, me, SeqCst, SeqCst).is_ok()
        })?;
        if cell >= self.word(CELLS_AT).load(SeqCst) {
            self.word(CELLS_AT).fetch_max(cell + 1, SeqCst);
        }
        self.waiter(cell, TICKET).store(self.word(TICKET_AT).fetch_add(1, SeqCst), SeqCst);
        let one_more = |count| (counted(count) < limit).then(|| count.wrapping_add(1));
        if self.word(WAITING_AT).fetch_update(SeqCst, SeqCst, one_more).is_err() {
            // Others were quicker.
            self.owner(cell).store(0, SeqCst);
            return None;
        }
        self.cell(cell).store(WAITING, SeqCst);
        Some(cell)
    }

    /// Gives back the cell, which is idle again.
    pub(super) fn leave(&self, cell: u32) {
        self.word(WAITING_AT).fetch_sub(1, SeqCst);
        self.owner(cell).store(0, SeqCst);
    }

    fn wait(&self, cell: u32, me: u32, deadline: Option<Instant>, ask: &impl Fn()) -> Result<Lease, Refused> {
        let word = self.cell(cell);
        loop {
            if word.load(SeqCst) == WAITING {
                // A lease may have become free after our first look and before we stood in line.
                if let Some(lease) = self.try_reserve(me) {
                    return Ok(self.keep_one(cell, me, lease));
                }
                self.ask_if_due(ask);
            }
            let left = deadline.map_or(BACKSTOP, |deadline| deadline.saturating_duration_since(Instant::now()));
            let gave_up = if self.is_closed() {
                Some(Refused::Closed)
            } else if self.unavailable() {
                Some(Refused::Unavailable)
            } else if left.is_zero() {
                Some(Refused::TimedOut)
            } else {
                futex::wait(word, WAITING, left.min(BACKSTOP));
                None
            };
            if let Some(why) = gave_up {
                return match word.compare_exchange(WAITING, IDLE, SeqCst, SeqCst) {
                    Ok(_) => Err(why),
                    Err(granted) => self.take_grant(cell, me, granted).ok_or(why),
                };
            }
            let now = word.load(SeqCst);
            if now == WAITING {
                continue;
            }
            match self.take_grant(cell, me, now) {
                Some(lease) => return Ok(lease),
                // None of our code writes such a value.
                None => word.store(WAITING, SeqCst),
            }
        }
    }

    /// Steps out of the line with `lease`. If another lease was granted at the same moment, that one goes to the next
    /// waiter.
    fn keep_one(&self, cell: u32, me: u32, lease: Lease) -> Lease {
        if let Err(granted) = self.cell(cell).compare_exchange(WAITING, IDLE, SeqCst, SeqCst) {
            self.take_grant(cell, me, granted).into_iter().for_each(|extra| self.release(extra));
        }
        lease
    }

    /// The lease that the value `granted` of our cell gives us; `None` for a value that means no lease. The cell is
    /// idle after this.
    pub(super) fn take_grant(&self, cell: u32, me: u32, granted: u32) -> Option<Lease> {
        let leases = self.geometry.slots * self.geometry.leases;
        let Some(index) = granted.checked_sub(GRANTED).filter(|index| *index < leases) else {
            self.cell(cell).store(IDLE, SeqCst);
            return None;
        };
        // In this order, so that at every moment the lease or the cell says that someone alive holds the lease.
        self.lease(index).store(me, SeqCst);
        self.cell(cell).store(IDLE, SeqCst);
        let slot = index / self.geometry.leases;
        Some(Lease { slot, epoch: self.epoch(slot), index })
    }

    /// Gives a lease back: to the oldest waiter if there is one.
    pub fn release(&self, lease: Lease) {
        self.forget(lease.index);
        if self.waiting() != 0 && self.state(lease.slot) == State::Ready && self.grant(lease.index) {
            return;
        }
        self.free(lease.slot, lease.index);
        if self.waiting() != 0 {
            self.hand_out(1);
        }
    }

    /// Whether the lease, which has been given back already, was the last one of a process that is draining.
    pub fn is_drained(&self, lease: &Lease) -> bool {
        self.state(lease.slot) == State::Draining
            && self.epoch(lease.slot) == lease.epoch
            && self.in_flight(lease.slot) == 0
    }

    /// Hands up to `count` free leases to waiters.
    pub(super) fn hand_out(&self, count: u32) {
        self.hand_out_by(count, |index| self.grant(index));
    }

    /// As [`Scoreboard::hand_out`]. `grant` gives a lease that we hold to a waiter, or returns false if there is no
    /// waiter.
    pub(super) fn hand_out_by(&self, mut count: u32, mut grant: impl FnMut(u32) -> bool) {
        let mut looks = LOOKS;
        while count > 0 && looks > 0 && self.waiting() != 0 {
            let Some(lease) = self.try_reserve(std::process::id()) else { return };
            if grant(lease.index) {
                count -= 1;
                continue;
            }
            self.free(lease.slot, lease.index);
            // A waiter that stood in line after `grant` looked, and that found the lease taken by us, sleeps now.
            if self.oldest_waiter().is_none() {
                return;
            }
            looks -= 1;
        }
    }

    /// Gives a lease that we hold to the oldest waiter; false when no waiter takes it.
    pub(super) fn grant(&self, index: u32) -> bool {
        while let Some(cell) = self.oldest_waiter() {
            let word = self.cell(cell);
            if word.compare_exchange(WAITING, GRANTED + index, SeqCst, SeqCst).is_ok() {
                futex::wake_one(word);
                return true;
            }
        }
        false
    }

    fn oldest_waiter(&self) -> Option<u32> {
        let now = self.word(TICKET_AT).load(SeqCst);
        self.cells()
            .filter(|cell| self.cell(*cell).load(SeqCst) == WAITING)
            .max_by_key(|cell| now.wrapping_sub(self.waiter(*cell, TICKET).load(SeqCst)))
    }
}
