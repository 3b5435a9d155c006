//! Gives back what killed children held. One process does this at a time: the supervisor.

use std::sync::atomic::Ordering::SeqCst;

use super::line::{GRANTED, IDLE};
use super::{SUSPECT_AT, Scoreboard, WAITING_AT};

/// How many times the supervisor counts the waiters before it believes that their number is wrong.
const SAMPLES: u32 = 16;

impl Scoreboard {
    /// Gives back what children held that are not `alive` any more, and takes these children out of the line. Returns
    /// how many leases it found. One thread has to call this, every now and then.
    pub fn reclaim_dead(&self, alive: impl Fn(u32) -> bool) -> u32 {
        let mut found = 0;
        for cell in self.cells() {
            let pid = self.owner(cell).load(SeqCst);
            if pid != 0 && !alive(pid) {
                found += self.reclaim_cell(cell);
            }
        }
        for slot in self.used() {
            for index in self.leases(slot) {
                let pid = self.lease(index).load(SeqCst);
                // A dead child may have granted its lease to a waiter that has not put in its own id yet.
                if pid != 0 && !alive(pid) && !self.is_granted(index) && self.free_from(slot, index, pid) {
                    found += 1;
                }
            }
        }
        self.recount();
        self.hand_out(found);
        found
    }

    /// Frees the cell of a dead owner. Returns the number of leases that were granted to the owner.
    fn reclaim_cell(&self, cell: u32) -> u32 {
        // If the cell was idle when its owner died, the owner may have been counted or not: `recount` finds out.
        let value = self.cell(cell).swap(IDLE, SeqCst);
        if value != IDLE {
            self.word(WAITING_AT).fetch_sub(1, SeqCst);
        }
        let mut found = 0;
        if value >= GRANTED {
            // The lease belongs to the dead owner, whatever process id stands in it.
            let index = value - GRANTED;
            if index / self.geometry.leases < self.slots() {
                self.free(index / self.geometry.leases, index);
                found = 1;
            }
        }
        self.owner(cell).store(0, SeqCst);
        found
    }

    fn is_granted(&self, index: u32) -> bool {
        self.cells().any(|cell| self.cell(cell).load(SeqCst) == GRANTED + index)
    }

    /// Frees the lease if `pid` still has it.
    fn free_from(&self, slot: u32, index: u32, pid: u32) -> bool {
        let freed = self.lease(index).compare_exchange(pid, 0, SeqCst, SeqCst).is_ok();
        if freed {
            self.forget(index);
            self.less_busy(slot);
        }
        freed
    }

    /// Corrects the number of waiters. A child that died after it took a cell and before it changed the number (or the
    /// other way round) leaves a difference for good. A child that is just between these steps leaves a difference for
    /// a moment. So only a difference counts that is the same in all samples of two calls. It is subtracted from the
    /// number; a new number would undo what children change meanwhile.
    fn recount(&self) {
        let excess = || {
            let count = self.cells().filter(|cell| self.owner(*cell).load(SeqCst) != 0).count();
            self.word(WAITING_AT).load(SeqCst).wrapping_sub(u32::try_from(count).unwrap_or(0))
        };
        let first = excess();
        let is_steady = first != 0 && (1..SAMPLES).all(|_| excess() == first);
        let suspect = if is_steady { first } else { 0 };
        if self.word(SUSPECT_AT).swap(suspect, SeqCst) == suspect && suspect != 0 {
            self.word(WAITING_AT).fetch_sub(suspect, SeqCst);
            self.word(SUSPECT_AT).store(0, SeqCst);
        }
    }
}
