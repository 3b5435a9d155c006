//! The scoreboard of a process group: shared memory in which httpd's children choose a daemon process
//! and reserve one of its request threads, and in which the supervisor says which processes there are.
//!
//! The parent creates it, children inherit the mapping, the supervisor maps the descriptor that it is
//! sent. Daemon processes do not see it, so nothing in it can be forged by an application.
//!
//! There is no lock and no pointer in it. A reservation is a *lease*: a word of the slot that holds the
//! process id of the child, so that what a killed child held can be found and given back
//! ([`Scoreboard::reclaim_dead`]). When all leases are taken a child waits in a cell of its own; who
//! frees a lease hands it to the oldest waiter instead (racing for it costs p99 and CPU).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::futex;
use crate::memory::Mapping;

const MAGIC: u32 = 0x7753_4231;
const MAGIC_AT: usize = 0;
const SLOTS_AT: usize = 1;
const LEASES_AT: usize = 2;
const WAITERS_AT: usize = 3;
const FAULT_AT: usize = 4;
const USED_AT: usize = 5;
const TICKET_AT: usize = 16;
const WAITING_AT: usize = 32;
const HEADER_WORDS: usize = 48;

const SLOT_WORDS: usize = 16;
const STATE: usize = 0;
const EPOCH: usize = 1;
const CAPACITY: usize = 2;
const PID: usize = 3;
const BUSY: usize = 4;

const WAITER_WORDS: usize = 4;
const CELL: usize = 0;
const CELL_PID: usize = 1;
const CELL_TICKET: usize = 2;
/// Cell values; from GRANTED on: GRANTED + index of the lease.
const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const WAITING: u32 = 2;
const GRANTED: u32 = 16;

/// How long a waiter sleeps before it looks again by itself, should a wake-up have died with its sender.
const BACKSTOP: Duration = Duration::from_secs(1);

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
    /// Room for `processes` of `threads` each and their successors, with some to spare for the next
    /// configuration, and for `backlog` waiters.
    pub fn for_group(processes: u32, threads: u32, backlog: u32) -> Geometry {
        Geometry {
            slots: processes.saturating_mul(3).saturating_add(5).next_power_of_two(),
            leases: threads.max(16).next_power_of_two(),
            waiters: backlog.max(128).next_power_of_two(),
        }
    }

    /// Whether a group of this shape can use a scoreboard of these sizes.
    pub fn holds(&self, processes: u32, threads: u32, backlog: u32) -> bool {
        processes.saturating_mul(2).saturating_add(2) <= self.slots && threads <= self.leases && backlog <= self.waiters
    }

    fn words(&self) -> usize {
        HEADER_WORDS + self.slots as usize * (SLOT_WORDS + self.leases as usize) + self.waiters as usize * WAITER_WORDS
    }
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
    /// Finishes what it has, takes nothing new.
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

/// Why no lease could be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `limit` requests wait already.
    Full,
    /// The time was over.
    TimedOut,
    /// No process is ready and the last attempt to start one failed.
    Unavailable,
}

/// A mapped scoreboard.
#[derive(Debug)]
pub struct Scoreboard {
    map: Mapping,
    geometry: Geometry,
}

impl Scoreboard {
    /// Makes a scoreboard in new shared memory. The descriptor is for [`Scoreboard::map`] elsewhere.
    ///
    /// # Errors
    /// As memfd_create, ftruncate or mmap give them.
    pub fn create(geometry: Geometry) -> io::Result<(OwnedFd, Scoreboard)> {
        let (fd, map) = Mapping::create(c"wsgi-scoreboard", geometry.words())?;
        let board = Scoreboard { map, geometry };
        for (at, value) in [(SLOTS_AT, geometry.slots), (LEASES_AT, geometry.leases), (WAITERS_AT, geometry.waiters)] {
            board.word(at).store(value, SeqCst);
        }
        board.word(MAGIC_AT).store(MAGIC, SeqCst);
        Ok((fd, board))
    }

    /// Maps what [`Scoreboard::create`] made.
    ///
    /// # Errors
    /// As mmap gives them, or `InvalidData` when the memory is no scoreboard of this version.
    pub fn map(fd: impl AsFd) -> io::Result<Scoreboard> {
        let map = Mapping::open(fd.as_fd())?;
        let words = map.words();
        let read = |at: usize| words.get(at).map_or(0, |word| word.load(SeqCst));
        let geometry = Geometry { slots: read(SLOTS_AT), leases: read(LEASES_AT), waiters: read(WAITERS_AT) };
        if read(MAGIC_AT) != MAGIC || geometry.words() > words.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a scoreboard of this version"));
        }
        Ok(Scoreboard { map, geometry })
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
        first..first + self.capacity(slot).min(self.geometry.leases)
    }

    fn waiter(&self, cell: u32, field: usize) -> &AtomicU32 {
        let leases = self.geometry.slots as usize * (SLOT_WORDS + self.geometry.leases as usize);
        self.word(HEADER_WORDS + leases + cell as usize * WAITER_WORDS + field)
    }

    /// The slot's state.
    pub fn state(&self, slot: u32) -> State {
        State::from_word(self.slot(slot, STATE).load(SeqCst))
    }

    /// The slot's process; 0 when there is none.
    pub fn pid(&self, slot: u32) -> u32 {
        self.slot(slot, PID).load(SeqCst)
    }

    /// Which process of this slot it is.
    pub fn epoch(&self, slot: u32) -> u32 {
        self.slot(slot, EPOCH).load(SeqCst)
    }

    /// Request threads of the slot's process.
    pub fn capacity(&self, slot: u32) -> u32 {
        self.slot(slot, CAPACITY).load(SeqCst)
    }

    /// Leases of the slot that children hold.
    pub fn in_flight(&self, slot: u32) -> u32 {
        let first = slot * self.geometry.leases;
        let held = (first..first + self.geometry.leases).filter(|index| self.lease(*index).load(SeqCst) != 0);
        u32::try_from(held.count()).unwrap_or(u32::MAX)
    }

    /// Requests that wait for a lease.
    pub fn waiting(&self) -> u32 {
        self.word(WAITING_AT).load(SeqCst)
    }

    /// A slot that has no process and of whose last process nobody holds a lease.
    pub fn free_slot(&self) -> Option<u32> {
        (0..self.slots()).find(|slot| self.state(*slot) == State::Gone && self.in_flight(*slot) == 0)
    }

    /// Puts a new process into a slot from [`Scoreboard::free_slot`], as Starting. Returns its epoch.
    pub fn place(&self, slot: u32, capacity: u32, pid: u32) -> u32 {
        self.slot(slot, CAPACITY).store(capacity.min(self.geometry.leases), SeqCst);
        self.slot(slot, PID).store(pid, SeqCst);
        self.slot(slot, BUSY).store(0, SeqCst);
        let epoch = self.slot(slot, EPOCH).fetch_add(1, SeqCst).wrapping_add(1);
        self.word(USED_AT).fetch_max(slot + 1, SeqCst);
        self.slot(slot, STATE).store(State::Starting as u32, SeqCst);
        epoch
    }

    /// Names the slot's process, where [`Scoreboard::place`] came before it was known.
    pub fn set_pid(&self, slot: u32, pid: u32) {
        self.slot(slot, PID).store(pid, SeqCst);
    }

    /// Changes the slot's state. With Ready its leases go to those who wait.
    pub fn set_state(&self, slot: u32, state: State) {
        self.slot(slot, STATE).store(state as u32, SeqCst);
        match state {
            State::Gone => self.slot(slot, PID).store(0, SeqCst),
            State::Ready => self.hand_out(self.capacity(slot)),
            State::Starting | State::Draining => {}
        }
    }

    /// A child saw that the slot's process of that epoch takes no more requests: nobody else should try.
    pub fn mark_draining(&self, lease: &Lease) {
        if self.epoch(lease.slot) == lease.epoch {
            let ready = State::Ready as u32;
            let _ = self.slot(lease.slot, STATE).compare_exchange(ready, State::Draining as u32, SeqCst, SeqCst);
        }
    }

    /// Says whether processes can be started at all. While they cannot and none is ready, nobody waits.
    pub fn set_fault(&self, fault: bool) {
        self.word(FAULT_AT).store(u32::from(fault), SeqCst);
        if fault {
            (0..self.geometry.waiters)
                .map(|cell| self.waiter(cell, CELL))
                .filter(|cell| cell.load(SeqCst) == WAITING)
                .for_each(futex::wake_one);
        }
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
        // The supervisor looks at the leases after it has changed the state; so look at the state after
        // the lease is taken.
        if self.state(slot) == State::Ready && self.epoch(slot) == epoch {
            return Some(Lease { slot, epoch, index });
        }
        self.free(slot, index);
        None
    }

    fn free(&self, slot: u32, index: u32) {
        let _ = self.slot(slot, BUSY).fetch_update(SeqCst, SeqCst, |busy| busy.checked_sub(1));
        self.lease(index).store(0, SeqCst);
    }

    /// Reserves a request thread for the child `me`, waiting for one until `deadline` behind those who
    /// wait already, when these are fewer than `limit`.
    ///
    /// # Errors
    /// [`Refused`] says why there is none.
    pub fn reserve(&self, me: u32, limit: u32, deadline: Option<Instant>) -> Result<Lease, Refused> {
        if self.waiting() == 0 {
            if let Some(lease) = self.try_reserve(me) {
                return Ok(lease);
            }
        }
        if self.unavailable() {
            return Err(Refused::Unavailable);
        }
        let cell = self.enqueue(me, limit).ok_or(Refused::Full)?;
        self.word(WAITING_AT).fetch_add(1, SeqCst);
        let result = self.wait(cell, me, deadline);
        let _ = self.word(WAITING_AT).fetch_update(SeqCst, SeqCst, |waiting| waiting.checked_sub(1));
        result
    }

    /// Takes a cell and stands in line.
    fn enqueue(&self, me: u32, limit: u32) -> Option<u32> {
        if self.waiting() >= limit {
            return None;
        }
        let cell = (0..self.geometry.waiters)
            .find(|cell| self.waiter(*cell, CELL).compare_exchange(FREE, CLAIMED, SeqCst, SeqCst).is_ok())?;
        self.waiter(cell, CELL_PID).store(me, SeqCst);
        let ticket = self.word(TICKET_AT).fetch_add(1, SeqCst);
        self.waiter(cell, CELL_TICKET).store(ticket, SeqCst);
        self.waiter(cell, CELL).store(WAITING, SeqCst);
        Some(cell)
    }

    fn wait(&self, cell: u32, me: u32, deadline: Option<Instant>) -> Result<Lease, Refused> {
        let word = self.waiter(cell, CELL);
        loop {
            if word.load(SeqCst) == WAITING {
                // A lease may have been freed between the first look and our standing in line.
                if let Some(lease) = self.try_reserve(me) {
                    return Ok(self.keep_one(cell, lease));
                }
            }
            let left = deadline.map_or(BACKSTOP, |deadline| deadline.saturating_duration_since(Instant::now()));
            let gave_up = if self.unavailable() {
                Some(Refused::Unavailable)
            } else if left.is_zero() {
                Some(Refused::TimedOut)
            } else {
                futex::wait(word, WAITING, left.min(BACKSTOP));
                None
            };
            if let Some(why) = gave_up {
                match word.compare_exchange(WAITING, FREE, SeqCst, SeqCst) {
                    Ok(_) => return Err(why),
                    Err(granted) => return Ok(self.take_grant(cell, granted)),
                }
            }
            let now = word.load(SeqCst);
            if now >= GRANTED {
                return Ok(self.take_grant(cell, now));
            }
        }
    }

    /// Leaves the line with `lease`; what was granted at the same moment goes to the next.
    fn keep_one(&self, cell: u32, lease: Lease) -> Lease {
        if let Err(granted) = self.waiter(cell, CELL).compare_exchange(WAITING, FREE, SeqCst, SeqCst) {
            let extra = self.take_grant(cell, granted);
            self.release(extra);
        }
        lease
    }

    fn take_grant(&self, cell: u32, granted: u32) -> Lease {
        self.waiter(cell, CELL).store(FREE, SeqCst);
        let index = granted - GRANTED;
        let slot = index / self.geometry.leases;
        Lease { slot, epoch: self.epoch(slot), index }
    }

    /// Gives a lease back: to the oldest waiter if there is one.
    pub fn release(&self, lease: Lease) {
        if self.waiting() != 0 && self.state(lease.slot) == State::Ready && self.grant(lease.index) {
            return;
        }
        self.free(lease.slot, lease.index);
        if self.waiting() != 0 {
            self.hand_out(1);
        }
    }

    /// Hands up to `count` free leases to those who wait.
    fn hand_out(&self, count: u32) {
        for _ in 0..count {
            if self.waiting() == 0 {
                return;
            }
            let Some(lease) = self.try_reserve(std::process::id()) else { return };
            if !self.grant(lease.index) {
                self.free(lease.slot, lease.index);
                return;
            }
        }
    }

    /// Makes a lease that we hold the oldest waiter's; false when nobody takes it.
    fn grant(&self, index: u32) -> bool {
        let mine = self.lease(index).load(SeqCst);
        while let Some(cell) = self.oldest_waiter() {
            self.lease(index).store(self.waiter(cell, CELL_PID).load(SeqCst), SeqCst);
            let word = self.waiter(cell, CELL);
            if word.compare_exchange(WAITING, GRANTED + index, SeqCst, SeqCst).is_ok() {
                futex::wake_one(word);
                return true;
            }
            self.lease(index).store(mine, SeqCst);
        }
        false
    }

    fn oldest_waiter(&self) -> Option<u32> {
        let now = self.word(TICKET_AT).load(SeqCst);
        (0..self.geometry.waiters)
            .filter(|cell| self.waiter(*cell, CELL).load(SeqCst) == WAITING)
            .max_by_key(|cell| now.wrapping_sub(self.waiter(*cell, CELL_TICKET).load(SeqCst)))
    }

    /// Gives back what children hold that are not `alive` any more, and takes them out of the line.
    /// Returns how many leases were found.
    pub fn reclaim_dead(&self, alive: impl Fn(u32) -> bool) -> u32 {
        for cell in 0..self.geometry.waiters {
            let word = self.waiter(cell, CELL);
            let value = word.load(SeqCst);
            let pid = self.waiter(cell, CELL_PID).load(SeqCst);
            if value == FREE || pid == 0 || alive(pid) {
                continue;
            }
            if word.compare_exchange(value, FREE, SeqCst, SeqCst).is_ok() && value != CLAIMED {
                let _ = self.word(WAITING_AT).fetch_update(SeqCst, SeqCst, |waiting| waiting.checked_sub(1));
            }
        }
        let mut found = 0;
        for slot in self.used() {
            let first = slot * self.geometry.leases;
            for index in first..first + self.geometry.leases {
                let pid = self.lease(index).load(SeqCst);
                if pid != 0 && !alive(pid) && self.lease(index).load(SeqCst) == pid {
                    self.free(slot, index);
                    found += 1;
                }
            }
        }
        self.hand_out(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    const ME: u32 = 4242;

    fn board(processes: u32, threads: u32) -> Scoreboard {
        let (_, board) = Scoreboard::create(Geometry::for_group(processes, threads, 100)).expect("memfd");
        for _ in 0..processes {
            let slot = board.free_slot().expect("free");
            board.place(slot, threads, 100 + slot);
            board.set_state(slot, State::Ready);
        }
        board
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(30))
    }

    fn later() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(30))
    }

    #[test]
    fn requests_go_to_the_least_busy_process_until_all_are_full() {
        let board = board(2, 2);
        let slots: Vec<u32> = (0..4).map(|_| board.try_reserve(ME).expect("free").slot).collect();
        assert_eq!(slots, [0, 1, 0, 1]);
        assert_eq!(board.try_reserve(ME), None);
        assert_eq!(board.reserve(ME, 10, soon()), Err(Refused::TimedOut));
        assert_eq!(board.reserve(ME, 0, soon()), Err(Refused::Full));
        assert_eq!(board.census(), (2, 4, 4));
        assert_eq!(board.waiting(), 0);
    }

    #[test]
    fn only_ready_processes_are_chosen() {
        let board = board(1, 1);
        let held = board.try_reserve(ME).expect("ready");
        board.mark_draining(&held);
        assert_eq!(board.state(0), State::Draining);
        board.release(held);
        assert_eq!(board.try_reserve(ME), None);
        board.set_state(0, State::Gone);
        assert_eq!(board.free_slot(), Some(0));
    }

    #[test]
    fn a_slot_is_not_used_again_while_a_lease_of_its_last_process_is_held() {
        let board = board(1, 2);
        let held = board.try_reserve(ME).expect("ready");
        board.set_state(0, State::Gone);
        assert_eq!(board.free_slot(), Some(1));
        board.release(held);
        assert_eq!(board.free_slot(), Some(0));
        assert_ne!(board.place(0, 2, 7), held.epoch);
    }

    #[test]
    fn a_fault_refuses_at_once_and_wakes_those_who_wait() {
        let board = Arc::new(board(1, 1));
        board.set_state(0, State::Starting);
        let waiter = {
            let board = Arc::clone(&board);
            thread::spawn(move || board.reserve(ME, 10, later()))
        };
        while board.waiting() == 0 {
            thread::yield_now();
        }
        board.set_fault(true);
        assert_eq!(waiter.join().expect("no panic"), Err(Refused::Unavailable));
        assert_eq!(board.reserve(ME, 10, later()), Err(Refused::Unavailable));
    }

    #[test]
    fn a_process_that_becomes_ready_serves_those_who_wait() {
        let board = Arc::new(board(1, 1));
        board.set_state(0, State::Starting);
        let waiter = {
            let board = Arc::clone(&board);
            thread::spawn(move || board.reserve(ME, 10, later()))
        };
        while board.waiting() == 0 {
            thread::yield_now();
        }
        board.set_state(0, State::Ready);
        assert_eq!(waiter.join().expect("no panic").map(|lease| lease.slot), Ok(0));
    }

    #[test]
    fn a_freed_lease_goes_to_the_oldest_waiter() {
        let board = Arc::new(board(1, 1));
        let held = board.try_reserve(ME).expect("ready");
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut waiters = Vec::new();
        for number in 0..5 {
            let (shared, order) = (Arc::clone(&board), Arc::clone(&order));
            waiters.push(thread::spawn(move || {
                let lease = shared.reserve(ME, 10, later()).expect("granted");
                order.lock().expect("no panic").push(number);
                shared.release(lease);
            }));
            while board.waiting() != number + 1 {
                thread::yield_now();
            }
        }
        board.release(held);
        for waiter in waiters {
            waiter.join().expect("no panic");
        }
        assert_eq!(*order.lock().expect("no panic"), [0, 1, 2, 3, 4]);
        assert_eq!((board.in_flight(0), board.waiting()), (0, 0));
    }

    #[test]
    fn what_a_dead_child_held_is_given_back() {
        let board = board(1, 2);
        let _lost = board.try_reserve(ME).expect("ready");
        let _kept = board.try_reserve(ME + 1).expect("ready");
        assert_eq!(board.reclaim_dead(|pid| pid != ME), 1);
        assert_eq!(board.in_flight(0), 1);
        assert!(board.try_reserve(ME).is_some());
    }

    #[test]
    fn the_same_memory_can_be_mapped_again() {
        let (fd, board) = Scoreboard::create(Geometry::for_group(1, 1, 1)).expect("memfd");
        board.place(0, 1, 9);
        let other = Scoreboard::map(&fd).expect("map");
        assert_eq!((other.state(0), other.pid(0), other.geometry()), (State::Starting, 9, board.geometry()));
        let (short, _) = Mapping::create(c"other", 4).expect("memfd");
        assert!(Scoreboard::map(&short).is_err());
    }

    #[test]
    fn many_threads_never_hold_more_than_there_is_and_lose_nothing() {
        let board = Arc::new(board(2, 2));
        let (held, failed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let threads: Vec<_> = (0..12)
            .map(|_| {
                let (board, held, failed) = (Arc::clone(&board), Arc::clone(&held), Arc::clone(&failed));
                thread::spawn(move || {
                    for round in 0..2000 {
                        let Ok(lease) = board.reserve(ME, 100, later()) else {
                            failed.store(true, SeqCst);
                            return;
                        };
                        if held.fetch_add(1, SeqCst) >= 4 {
                            failed.store(true, SeqCst);
                        }
                        if round % 16 == 0 {
                            thread::yield_now();
                        }
                        held.fetch_sub(1, SeqCst);
                        board.release(lease);
                    }
                })
            })
            .collect();
        for one in threads {
            one.join().expect("no panic");
        }
        assert!(!failed.load(SeqCst));
        assert_eq!((board.in_flight(0), board.in_flight(1), board.waiting()), (0, 0, 0));
    }
}
