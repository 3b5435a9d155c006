//! The scoreboard of a process group: shared memory in which httpd's children choose a daemon process
//! and reserve one of its request threads, and in which the supervisor says which processes there are.
//!
//! The parent creates it, children inherit the mapping, and the supervisor maps the descriptor that the parent sends to
//! it. Nobody can change its size. Daemon processes do not see it. But an application in embedded mode runs in a child
//! and can write anything to it. So nobody trusts a word of it as an index, a length or a number of rounds, and each
//! process uses the sizes that it noted when it made or mapped the scoreboard.
//!
//! There is no lock and no pointer in it. A reservation is a *lease*: a word of the slot that holds the process id of
//! the child, so that the supervisor can find what a killed child held and give it back ([`Scoreboard::reclaim_dead`]).
//! When all leases are taken a child waits in line, in a cell of its own (`line`).

mod episode;
mod line;
mod reclaim;
mod record;
#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use crate::memory::Mapping;

pub use episode::{Fault, Stoppage, Trouble};
pub use record::Executing;
use record::RECORD_WORDS;

const MAGIC: u32 = 0x7753_4234;
const MAGIC_AT: usize = 0;
const SLOTS_AT: usize = 1;
const LEASES_AT: usize = 2;
const WAITERS_AT: usize = 3;
const FAULT_AT: usize = 4;
const USED_AT: usize = 5;
const CELLS_AT: usize = 6;
const SUSPECT_AT: usize = 7;
/// Two words for each [`Trouble`].
const TROUBLE_AT: usize = 8;
/// When a child asked the supervisor for a process, and when the supervisor tries to start one again.
const ASKED_AT: usize = 12;
const NEXT_START_AT: usize = 13;
/// Since when no process can be started, and how many requests were refused because of that.
const FAULT_SINCE_AT: usize = 14;
const REFUSED_AT: usize = 15;
const TICKET_AT: usize = 16;
const WAITING_AT: usize = 32;
/// Why no process can be started.
const FAULT_TEXT_AT: usize = 48;
const FAULT_TEXT_WORDS: usize = 64;
const HEADER_WORDS: usize = FAULT_TEXT_AT + FAULT_TEXT_WORDS;

const SLOT_WORDS: usize = 32;
const STATE: usize = 0;
const EPOCH: usize = 1;
const CAPACITY: usize = 2;
const PID: usize = 3;
const BUSY: usize = 4;
const SERVED: usize = 5;
/// The epoch of the slot's last process whose end is known. The words from the second one on say how it ended.
const ENDED: usize = 6;
const ENDED_TEXT: usize = 7;

const WAITER_WORDS: usize = 4;

/// Sizes of a scoreboard, fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Daemon processes that can exist at a time, replaced ones included.
    pub slots: u32,
    /// Most request threads of a process.
    pub leases: u32,
    /// Most requests that can wait.
    pub waiters: u32,
}

impl Geometry {
    /// Room for `processes` of `threads` each and their successors, and for `backlog` waiters. There is much more room
    /// than that, so that usual changes of the configuration fit: memory that is not used costs nothing.
    pub fn for_group(processes: u32, threads: u32, backlog: u32) -> Geometry {
        Geometry {
            slots: power_of_two(processes.saturating_mul(3).saturating_add(16)),
            leases: power_of_two(threads.max(64)),
            waiters: power_of_two(backlog.max(1024)),
        }
    }

    /// Whether a group of this shape can use a scoreboard of these sizes.
    pub fn holds(&self, processes: u32, threads: u32, backlog: u32) -> bool {
        processes.saturating_mul(2).saturating_add(2) <= self.slots && threads <= self.leases && backlog <= self.waiters
    }

    /// How many words it takes; `None` if that is more than a process can have. All places of a scoreboard are below
    /// this number, so that nothing overflows when a process computes them.
    fn words(&self) -> Option<usize> {
        // A waiter's cell has to hold the number of a lease.
        self.slots.checked_mul(self.leases)?.checked_add(line::GRANTED)?;
        let [slots, leases, waiters] = [self.slots, self.leases, self.waiters].map(|count| count as usize);
        let of_slots = slots.checked_mul(SLOT_WORDS.checked_add(leases)?)?;
        let before = HEADER_WORDS.checked_add(of_slots)?.checked_add(waiters.checked_mul(WAITER_WORDS)?)?;
        let records = slots.checked_mul(leases)?.checked_mul(RECORD_WORDS)?;
        before.checked_next_multiple_of(RECORD_WORDS)?.checked_add(records)
    }

    /// The records of the leases come last, each in a cache line of its own.
    fn records_at(&self) -> usize {
        let before = HEADER_WORDS
            + self.slots as usize * (SLOT_WORDS + self.leases as usize)
            + self.waiters as usize * WAITER_WORDS;
        before.next_multiple_of(RECORD_WORDS)
    }
}

fn power_of_two(least: u32) -> u32 {
    least.checked_next_power_of_two().unwrap_or(1 << 31)
}

/// What a slot's process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// No process.
    Gone = 0,
    /// Started, not yet able to take requests.
    Starting = 1,
    /// Takes requests.
    Ready = 2,
    /// Finishes the requests that it has, takes no new ones.
    Draining = 3,
}

impl State {
    fn from_word(word: u32) -> State {
        match word {
            1 => State::Starting,
            2 => State::Ready,
            3 => State::Draining,
            _ => State::Gone,
        }
    }
}

/// A reserved request thread. Give it back with [`Scoreboard::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Lease {
    /// The slot whose process is to be used.
    pub slot: u32,
    /// The slot's epoch at that time: connections of another epoch lead to another process.
    pub epoch: u32,
    index: u32,
}

/// Why a request got no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many requests as `limit` wait already.
    Full,
    /// The time to wait was over.
    TimedOut,
    /// No process is ready and the last attempt to start one failed.
    Unavailable,
    /// This child ends ([`Scoreboard::close`]).
    Closed,
}

/// A mapped scoreboard.
#[derive(Debug)]
pub struct Scoreboard {
    map: Mapping,
    geometry: Geometry,
    /// Belongs to this process alone; not in shared memory.
    closed: AtomicBool,
}

impl Scoreboard {
    /// Makes a scoreboard in new shared memory. The descriptor is for [`Scoreboard::map`] elsewhere.
    ///
    /// # Errors
    /// As memfd_create, ftruncate or mmap give them; `InvalidInput` for sizes that no process can have.
    pub fn create(geometry: Geometry) -> io::Result<(OwnedFd, Scoreboard)> {
        let words = geometry.words().ok_or(io::ErrorKind::InvalidInput)?;
        let (fd, map) = Mapping::create(c"wsgi-scoreboard", words)?;
        let board = Scoreboard { map, geometry, closed: AtomicBool::new(false) };
        board.restore();
        Ok((fd, board))
    }

    fn header(&self) -> [(usize, u32); 4] {
        let Geometry { slots, leases, waiters } = self.geometry;
        [(MAGIC_AT, MAGIC), (SLOTS_AT, slots), (LEASES_AT, leases), (WAITERS_AT, waiters)]
    }

    /// Whether the header still says what it said in the beginning. If not, something in a child has written to it, and
    /// the rest is not to be trusted either.
    pub fn is_intact(&self) -> bool {
        self.header().iter().all(|(at, value)| self.word(*at).load(SeqCst) == *value)
    }

    /// Writes the header (or writes it again), so that [`Scoreboard::map`] finds it.
    pub fn restore(&self) {
        self.header().iter().for_each(|(at, value)| self.word(*at).store(*value, SeqCst));
    }

    /// Maps what [`Scoreboard::create`] made.
    ///
    /// # Errors
    /// As mmap gives them, or `InvalidData` when the memory is no scoreboard of this version, or could be made shorter.
    pub fn map(fd: impl AsFd) -> io::Result<Scoreboard> {
        let map = Mapping::open(fd.as_fd())?;
        let words = map.words();
        let read = |at: usize| words.get(at).map_or(0, |word| word.load(SeqCst));
        let geometry = Geometry { slots: read(SLOTS_AT), leases: read(LEASES_AT), waiters: read(WAITERS_AT) };
        if read(MAGIC_AT) != MAGIC || geometry.words() != Some(words.len()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a scoreboard of this version"));
        }
        Ok(Scoreboard { map, geometry, closed: AtomicBool::new(false) })
    }

    /// Its sizes.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Number of slots.
    pub fn slots(&self) -> u32 {
        self.geometry.slots
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        &self.map.words()[at]
    }

    fn slot(&self, slot: u32, field: usize) -> &AtomicU32 {
        assert!(slot < self.geometry.slots, "slot {slot}");
        self.word(HEADER_WORDS + slot as usize * SLOT_WORDS + field)
    }

    fn lease(&self, index: u32) -> &AtomicU32 {
        self.word(HEADER_WORDS + self.geometry.slots as usize * SLOT_WORDS + index as usize)
    }

    /// The leases of a slot that its capacity allows, as a range of indexes.
    fn leases(&self, slot: u32) -> std::ops::Range<u32> {
        let first = slot * self.geometry.leases;
        first..first + self.capacity(slot)
    }

    /// The slot's state.
    pub fn state(&self, slot: u32) -> State {
        State::from_word(self.slot(slot, STATE).load(SeqCst))
    }

    /// The slot's process; 0 when there is none.
    pub fn pid(&self, slot: u32) -> u32 {
        self.slot(slot, PID).load(SeqCst)
    }

    /// Which process of this slot it is: each new one has the next number.
    pub fn epoch(&self, slot: u32) -> u32 {
        self.slot(slot, EPOCH).load(SeqCst)
    }

    /// Request threads of the slot's process.
    pub fn capacity(&self, slot: u32) -> u32 {
        self.slot(slot, CAPACITY).load(SeqCst).min(self.geometry.leases)
    }

    /// Leases of the slot that children hold.
    pub fn in_flight(&self, slot: u32) -> u32 {
        let held = self.leases(slot).filter(|index| self.lease(*index).load(SeqCst) != 0);
        u32::try_from(held.count()).unwrap_or(u32::MAX)
    }

    /// A slot without a process, if nobody holds a lease of its last process any more.
    pub fn free_slot(&self) -> Option<u32> {
        (0..self.slots()).find(|slot| self.state(*slot) == State::Gone && self.in_flight(*slot) == 0)
    }

    /// Puts a new process into a slot from [`Scoreboard::free_slot`], as Starting. Returns its epoch.
    pub fn place(&self, slot: u32, capacity: u32, pid: u32) -> u32 {
        self.slot(slot, CAPACITY).store(capacity.min(self.geometry.leases), SeqCst);
        self.slot(slot, PID).store(pid, SeqCst);
        self.slot(slot, BUSY).store(0, SeqCst);
        self.slot(slot, SERVED).store(0, SeqCst);
        let epoch = self.slot(slot, EPOCH).fetch_add(1, SeqCst).wrapping_add(1);
        self.word(USED_AT).fetch_max(slot + 1, SeqCst);
        self.slot(slot, STATE).store(State::Starting as u32, SeqCst);
        epoch
    }

    /// Names the slot's process, if [`Scoreboard::place`] came before its id was known.
    pub fn set_pid(&self, slot: u32, pid: u32) {
        self.slot(slot, PID).store(pid, SeqCst);
    }

    /// Changes the slot's state. When a process becomes Ready, its leases go to the requests that wait.
    pub fn set_state(&self, slot: u32, state: State) {
        self.slot(slot, STATE).store(state as u32, SeqCst);
        match state {
            State::Gone => self.slot(slot, PID).store(0, SeqCst),
            State::Ready => self.hand_out(self.capacity(slot)),
            State::Starting | State::Draining => {}
        }
    }

    /// A child saw that the slot's process of that epoch takes no more requests. This keeps other children from trying
    /// it.
    pub fn mark_draining(&self, lease: &Lease) {
        if self.epoch(lease.slot) == lease.epoch {
            let ready = State::Ready as u32;
            let _ = self.slot(lease.slot, STATE).compare_exchange(ready, State::Draining as u32, SeqCst, SeqCst);
        }
    }

    /// This process is about to end, so none of its threads waits any more. Other processes are not affected. Safe in a
    /// signal handler.
    pub fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Whether [`Scoreboard::close`] was called in this process.
    pub fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Says how long it is until the next attempt to start a process; children tell this to clients.
    pub fn set_next_start(&self, wait: Option<Duration>) {
        let at = wait.map_or(0, |wait| record::word_of(crate::clock::monotonic() + wait));
        self.word(NEXT_START_AT).store(at, SeqCst);
    }

    /// How long it is until the next attempt to start a process, if that is known.
    pub fn next_start_in(&self) -> Option<Duration> {
        let at = self.word(NEXT_START_AT).load(SeqCst);
        let left = at.wrapping_sub(record::now_word());
        // A moment that is over says nothing.
        (at != 0 && left <= u32::MAX / 2).then(|| Duration::from_millis(left.into()))
    }

    /// No process is ready, and the last attempt to start one failed.
    pub fn unavailable(&self) -> bool {
        self.word(FAULT_AT).load(SeqCst) != 0 && !self.used().any(|slot| self.state(slot) == State::Ready)
    }

    /// Ready processes, their request threads, and how many of these are taken: for messages.
    pub fn census(&self) -> (u32, u32, u32) {
        self.used().filter(|slot| self.state(*slot) == State::Ready).fold((0, 0, 0), |(ready, threads, busy), slot| {
            (ready + 1, threads + self.capacity(slot), busy + self.in_flight(slot))
        })
    }

    fn used(&self) -> std::ops::Range<u32> {
        0..self.word(USED_AT).load(SeqCst).min(self.slots())
    }

    /// Reserves a request thread of the least busy ready process for the child `me`, if one is free.
    pub fn try_reserve(&self, me: u32) -> Option<Lease> {
        let ready = |slot: &u32| self.state(*slot) == State::Ready;
        let least = self.used().filter(ready).min_by_key(|slot| self.slot(*slot, BUSY).load(SeqCst))?;
        self.claim(least, me).or_else(|| self.used().filter(ready).find_map(|slot| self.claim(slot, me)))
    }

    fn claim(&self, slot: u32, me: u32) -> Option<Lease> {
        let epoch = self.epoch(slot);
        let index = self.leases(slot).find(|index| {
            let lease = self.lease(*index);
            lease.load(SeqCst) == 0 && lease.compare_exchange(0, me, SeqCst, SeqCst).is_ok()
        })?;
        self.slot(slot, BUSY).fetch_add(1, SeqCst);
        // The supervisor changes the state first and looks at the leases after that. So we take the lease first and
        // look at the state after that.
        if self.state(slot) == State::Ready && self.epoch(slot) == epoch {
            return Some(Lease { slot, epoch, index });
        }
        self.free(slot, index);
        None
    }

    fn free(&self, slot: u32, index: u32) {
        self.forget(index);
        self.less_busy(slot);
        self.lease(index).store(0, SeqCst);
    }

    fn less_busy(&self, slot: u32) {
        let _ = self.slot(slot, BUSY).fetch_update(SeqCst, SeqCst, |busy| busy.checked_sub(1));
    }
}
