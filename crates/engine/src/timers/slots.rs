//! What each request thread executes, for the timers of the process. The request thread writes it, and the watchdog
//! reads it, without a lock that one of them could keep from the other.
//!
//! A [`Slot`] also decides who may write to the connection. The watchdog may end an exchange in the request thread's
//! place, as long as the request thread has sent nothing of a response and is not about to. From then on the request
//! thread finds that nobody listens any more.

#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

use crate::python::guarded::OneByOne;

/// Longest name of a request that is kept, bytes; a longer one is cut.
const NAME: usize = 96;

/// Where an exchange is, in the lower bits of [`Slot::word`]; above them stands the exchange's number.
const FREE: u64 = 0;
/// Nothing of a response has been sent, and the connection is between two frames.
const QUIET: u64 = 1;
/// The request thread sends, or has sent.
const BUSY: u64 = 2;
/// The watchdog is ending the exchange; the descriptor may not be closed meanwhile.
const TAKING: u64 = 3;
/// The watchdog has ended the exchange; nobody listens any more.
const TAKEN: u64 = 4;
const STATE: u64 = 7;
const SHIFT: u32 = 3;
/// Of [`Slot::target`]: an exception was raised.
const RAISED: u64 = 1;

/// One request thread.
#[derive(Debug, Default)]
pub struct Slot {
    word: AtomicU64,
    /// Microseconds of the monotonic clock.
    begun_us: AtomicU64,
    fd: AtomicI32,
    name: [AtomicU64; NAME / 8],
    /// Address of the interpreter's record; 0 until it is known.
    interp: AtomicUsize,
    /// Address of the thread's state for that interpreter.
    state: AtomicUsize,
    /// The thread as Python and as the system number it.
    ident: AtomicU64,
    tid: AtomicI32,
    /// The thread waits for more of the request's body.
    reading: AtomicBool,
    /// The exchange that an exception reaches which is raised in the thread now: its number, and in the lowest bit whether
    /// one was raised; 0 when there is none. Only a thread that is attached to the exchange's interpreter puts that exchange
    /// here; only one that `raising` lets through, too, marks it or takes it away.
    target: AtomicU64,
    /// Who raises an exception in the thread, or takes it back.
    pub raising: OneByOne,
}

/// A request that is being executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Number of the request thread, from 1.
    pub thread: u32,
    /// Number of the exchange among those of the thread.
    pub serial: u64,
    /// When the process got it, by the monotonic clock.
    pub begun: Duration,
    /// Method and path, without what cannot be printed.
    pub name: String,
    /// Address of the interpreter's record; 0 until it is known.
    pub interp: usize,
    /// Address of the thread's state for that interpreter; only for comparison.
    pub state: usize,
    /// It waits for more of its body, and has not begun to respond.
    pub waits: bool,
    /// The thread's number for Python.
    pub ident: u64,
    /// The thread's number for the system.
    pub tid: i32,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on request thread {}", self.name, self.thread)
    }
}

/// The exchange of a slot, from its request to its end.
#[derive(Debug)]
pub struct Open<'s>(&'s Slot);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// An exchange that the watchdog ends.
#[derive(Debug)]
pub struct Taken<'s>(&'s Slot);

impl Taken<'_> {
    /// The connection, which stays open as long as this lives.
    pub fn fd(&self) -> RawFd {
        self.0.fd.load(Ordering::Relaxed)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let word = self.0.word.load(Ordering::Relaxed);
        self.0.word.store(word & !STATE | TAKEN, Ordering::Release);
    }
}

/// What is kept of a request's name: its method and its path up to the query, as 8-byte pieces.
fn packed(method: &[u8], path: &[u8]) -> [u64; NAME / 8] {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut text = [0u8; NAME];
    let mut used = 0;
    for part in [method, b" ", path] {
        let count = part.len().min(NAME - used);
        text[used..used + count].copy_from_slice(&part[..count]);
        used += count;
    }
    let mut pieces = [0; NAME / 8];
    for (piece, bytes) in pieces.iter_mut().zip(text.chunks_exact(8)) {
        *piece = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    }
    pieces
}

/// The name in such pieces.
fn unpacked(pieces: &[u64]) -> String {
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_ne_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut name: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if end == NAME {
        name.push_str("...");
    }
    name
}

impl Slot {
    /// Notes the numbers of the request thread that the slot stands for.
    pub fn adopt(&self, ident: u64, tid: i32) {
        self.ident.store(ident, Ordering::Relaxed);
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// A request begins.
    pub fn open(&self, fd: RawFd, begun: Duration, method: &[u8], path: &[u8]) -> Open<'_> {
        let word = self.word.load(Ordering::Relaxed);
        // A reader that has read the word before must see it changed if it reads anything of what follows.
        fence(Ordering::Release);
        self.begun_us.store(u64::try_from(begun.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.fd.store(fd, Ordering::Relaxed);
        self.interp.store(0, Ordering::Relaxed);
        self.state.store(0, Ordering::Relaxed);
        for (place, piece) in self.name.iter().zip(packed(method, path)) {
            place.store(piece, Ordering::Relaxed);
        }
        self.word.store(((word >> SHIFT) + 1) << SHIFT | QUIET, Ordering::Release);
        Open(self)
    }

    /// The exchange is over: its connection may be used for another one, or closed.
    fn close(&self) {
        loop {
            let word = self.word.load(Ordering::Acquire);
            if word & STATE == TAKING {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let free = word & !STATE | FREE;
            if self.word.compare_exchange(word, free, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// The request thread begins, or ends, to wait for more of the request's body.
    pub fn note_reading(&self, is_reading: bool) {
        self.reading.store(is_reading, Ordering::Relaxed);
    }

    /// The request thread is about to send. False when the exchange has been ended.
    pub fn begin_send(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        match word & STATE {
            QUIET => {
                let busy = word & !STATE | BUSY;
                self.word.compare_exchange(word, busy, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
            TAKING | TAKEN => false,
            _ => true,
        }
    }

    /// The request thread has sent. `is_quiet`: it has sent nothing of a response, and whole frames only.
    pub fn end_send(&self, is_quiet: bool) {
        let word = self.word.load(Ordering::Relaxed);
        if is_quiet && word & STATE == BUSY {
            self.word.store(word & !STATE | QUIET, Ordering::Release);
        }
    }

    /// The watchdog has ended the exchange.
    pub fn is_taken(&self) -> bool {
        matches!(self.word.load(Ordering::Acquire) & STATE, TAKING | TAKEN)
    }

    /// Ends exchange `serial` in its thread's place. `None` when the exchange is over, or has begun a response.
    pub fn take(&self, serial: u64) -> Option<Taken<'_>> {
        let (quiet, taking) = (serial << SHIFT | QUIET, serial << SHIFT | TAKING);
        let taken = self.word.compare_exchange(quiet, taking, Ordering::AcqRel, Ordering::Relaxed);
        taken.is_ok().then(|| Taken(self))
    }

    /// What the thread executes. `thread` is its number.
    pub fn running(&self, thread: u32) -> Option<Running> {
        let before = self.word.load(Ordering::Acquire);
        let pieces = self.name.each_ref().map(|piece| piece.load(Ordering::Relaxed));
        let begun = Duration::from_micros(self.begun_us.load(Ordering::Relaxed));
        let interp = self.interp.load(Ordering::Relaxed);
        let state = self.state.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let after = self.word.load(Ordering::Relaxed);
        if before & STATE == FREE || after & STATE == FREE || before >> SHIFT != after >> SHIFT {
            return None;
        }
        Some(Running {
            thread,
            serial: before >> SHIFT,
            begun,
            name: unpacked(&pieces),
            interp,
            state,
            waits: before & STATE == QUIET && self.reading.load(Ordering::Relaxed),
            ident: self.ident.load(Ordering::Relaxed),
            tid: self.tid.load(Ordering::Relaxed),
        })
    }

    /// The application's code begins to run (attached): the addresses of the interpreter's record and of the thread's state.
    pub fn enter(&self, interp: usize, state: usize) {
        self.interp.store(interp, Ordering::Relaxed);
        self.state.store(state, Ordering::Relaxed);
        let serial = self.word.load(Ordering::Relaxed) >> SHIFT;
        self.target.store(serial << 1, Ordering::Relaxed);
    }

    /// The application's code has ended (attached). True when an exception was raised in the thread meanwhile; it may
    /// not have arrived yet.
    pub fn leave(&self) -> bool {
        self.target.swap(0, Ordering::Relaxed) & RAISED != 0
    }

    /// Notes that an exception is about to be raised in the thread (attached to the interpreter of exchange `serial`).
    /// False when that exchange cannot get it; the thread may be in another interpreter by now. True means that its code
    /// does not end before the caller lets the next one through `raising`.
    pub fn interrupt(&self, serial: u64) -> bool {
        let (quiet, raised) = (serial << 1, serial << 1 | RAISED);
        match self.target.compare_exchange(quiet, raised, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(found) => found == raised,
        }
    }
}

/// One slot for each request thread of the process.
#[derive(Debug)]
pub struct Slots(Vec<Slot>);

impl Slots {
    /// `count` slots, in which nothing is executed.
    pub fn new(count: u32) -> Slots {
        Slots((0..count).map(|_| Slot::default()).collect())
    }

    /// The slot of a request thread, by its number from 1.
    pub fn of(&self, thread: u32) -> Option<&Slot> {
        self.0.get(usize::try_from(thread).ok()?.checked_sub(1)?)
    }

    /// All of them, with the numbers of their request threads.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (1..).zip(&self.0)
    }

    /// What the request threads execute, the oldest first.
    pub fn running(&self) -> Vec<Running> {
        let mut found: Vec<_> = self.numbered().filter_map(|(thread, slot)| slot.running(thread)).collect();
        found.sort_by_key(|running| running.begun);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(slot: &Slot) -> u64 {
        slot.running(1).map_or(0, |running| running.serial)
    }

    #[test]
    fn a_request_is_seen_from_its_begin_to_its_end() {
        let slot = Slot::default();
        assert_eq!(slot.running(1), None);
        let open = slot.open(7, Duration::from_secs(5), b"GET", b"/a/b?secret=1");
        let running = slot.running(3).expect("a request");
        assert_eq!((running.thread, running.name.as_str()), (3, "GET /a/b"));
        assert_eq!(running.begun, Duration::from_secs(5));
        drop(open);
        assert_eq!(slot.running(3), None);
    }

    #[test]
    fn names_are_cut_and_printable() {
        assert_eq!(unpacked(&packed(b"GET", b"/\n\x7f")), "GET /??");
        let long = unpacked(&packed(b"GET", &b"/x".repeat(100)));
        assert_eq!((long.len(), long.ends_with("...")), (NAME + 3, true));
    }

    #[test]
    fn the_watchdog_ends_what_has_sent_nothing_and_only_that_exchange() {
        let slot = Slot::default();
        let open = slot.open(7, Duration::ZERO, b"GET", b"/");
        let number = serial(&slot);
        assert!(slot.take(number + 1).is_none());
        assert!(slot.begin_send());
        assert!(slot.take(number).is_none(), "it is sending");
        slot.end_send(true);
        assert_eq!(slot.take(number).map(|taken| taken.fd()), Some(7));
        assert!(!slot.begin_send(), "nobody listens any more");
        assert!(slot.take(number).is_none(), "once");
        drop(open);
        let _open = slot.open(7, Duration::ZERO, b"GET", b"/");
        assert!(slot.begin_send());
        slot.end_send(false);
        assert!(slot.take(serial(&slot)).is_none(), "a response was begun");
        assert!(slot.begin_send());
    }

    #[test]
    fn the_end_of_an_exchange_waits_for_the_watchdog() {
        let slot = Slot::default();
        let open = slot.open(7, Duration::ZERO, b"GET", b"/");
        let taken = slot.take(serial(&slot)).expect("quiet");
        std::thread::scope(|scope| {
            let closing = scope.spawn(move || drop(open));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!closing.is_finished());
            drop(taken);
        });
        assert_eq!(slot.running(1), None);
    }

    #[test]
    fn only_the_request_that_is_meant_is_interrupted() {
        let slot = Slot::default();
        let open = slot.open(7, Duration::ZERO, b"GET", b"/");
        let number = serial(&slot);
        assert!(!slot.interrupt(number), "its code does not run yet");
        slot.enter(1, 2);
        assert!(!slot.interrupt(number + 1));
        assert!(slot.interrupt(number));
        assert!(slot.leave());
        assert!(!slot.interrupt(number), "its code has ended");
        drop(open);
        let _open = slot.open(7, Duration::ZERO, b"GET", b"/");
        slot.enter(1, 2);
        assert!(!slot.leave());
    }
}
