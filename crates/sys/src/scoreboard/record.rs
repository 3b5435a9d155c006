//! What the scoreboard tells people: which request each lease executes and since when, how many requests a process has
//! served, and how it ended. For log lines only: a reader may see a mixture of two texts while another process writes,
//! and nothing is decided by it.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use super::{ENDED, ENDED_TEXT, FAULT_TEXT_WORDS, Lease, SERVED, SLOT_WORDS, STATE, Scoreboard, State};
use crate::{clock, futex};

/// The words of a lease's record: when its request began (milliseconds of the monotonic clock, cut to the word, never
/// 0; 0 is "nothing"), then the text.
pub(super) const RECORD_WORDS: usize = 16;
const SINCE: usize = 0;
const TEXT: usize = 1;

/// Longest text that fits anywhere, bytes.
const LONGEST: usize = (FAULT_TEXT_WORDS - 1) * 4;

/// A request that is being executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executing {
    /// When it began, on the clock of [`clock::monotonic`].
    pub since: Duration,
    /// Method and path, cut where they are long, without control characters; empty when not known yet.
    pub what: String,
}

impl Executing {
    /// For how long it has been executed.
    pub fn age(&self) -> Duration {
        clock::monotonic().saturating_sub(self.since)
    }
}

/// The monotonic clock's milliseconds, cut to a word, never 0.
pub(super) fn now_word() -> u32 {
    word_of(clock::monotonic())
}

pub(super) fn word_of(time: Duration) -> u32 {
    // Cut on purpose: differences between two words are right for 49 days.
    (time.as_millis() as u32).max(1)
}

/// Writes `parts` one behind the other: their whole length, then as many of their bytes as there is room for.
pub(super) fn put_text(words: &[AtomicU32], parts: &[&[u8]]) {
    let [length, words @ ..] = words else { return };
    let mut buffer = [0; LONGEST];
    let room = LONGEST.min(words.len() * 4);
    let mut used = 0;
    for part in parts {
        let count = part.len().min(room - used);
        buffer[used..used + count].copy_from_slice(&part[..count]);
        used += count;
    }
    for (word, bytes) in words.iter().zip(buffer[..used.next_multiple_of(4)].chunks_exact(4)) {
        word.store(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), Relaxed);
    }
    let all: usize = parts.iter().map(|part| part.len()).sum();
    length.store(u32::try_from(all).unwrap_or(u32::MAX), Relaxed);
}

/// Reads what [`put_text`] wrote. Anything may stand there, so it is made fit for a log.
pub(super) fn text(words: &[AtomicU32]) -> String {
    let [length, words @ ..] = words else { return String::new() };
    let length = length.load(Relaxed) as usize;
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
    let is_cut = length > bytes.len();
    bytes.truncate(length);
    let text = String::from_utf8_lossy(&bytes);
    // The cut may be in the middle of a character.
    let text = if is_cut { text.trim_end_matches('\u{fffd}') } else { &text };
    let mut shown: String = text.chars().map(|one| if one.is_control() { '?' } else { one }).collect();
    if is_cut {
        shown.push_str("...");
    }
    shown
}

impl Scoreboard {
    fn record(&self, index: u32) -> &[AtomicU32] {
        let at = self.geometry.records_at() + index as usize * RECORD_WORDS;
        &self.map.words()[at..at + RECORD_WORDS]
    }

    /// Notes which request is executed with the lease from now on. Cheap: some stores to a cache line that nobody else
    /// writes to.
    pub fn begin(&self, lease: &Lease, method: &[u8], path: &[u8]) {
        let record = self.record(lease.index);
        put_text(&record[TEXT..], &[method, b" ", path]);
        record[SINCE].store(now_word(), Release);
    }

    /// Notes that no request is executed with the lease any more.
    pub(super) fn forget(&self, index: u32) {
        self.record(index)[SINCE].store(0, Relaxed);
    }

    /// The requests that the slot's process is executing, the oldest first: one entry for each lease that is held.
    pub fn executing(&self, slot: u32) -> Vec<Executing> {
        // Whole milliseconds, so that a request has the same time whenever somebody asks for it.
        let now = clock::monotonic();
        let now = now - Duration::from_nanos((now.subsec_nanos() % 1_000_000).into());
        let held = self.leases(slot).filter(|index| self.lease(*index).load(Acquire) != 0);
        let mut all: Vec<Executing> = held
            .map(|index| {
                let record = self.record(index);
                match record[SINCE].load(Acquire) {
                    0 => Executing { since: now, what: String::new() },
                    since => Executing { since: time_of(since, now), what: text(&record[TEXT..]) },
                }
            })
            .collect();
        all.sort_by_key(|one| (one.since, one.what.is_empty()));
        all
    }

    /// The request that the group has been executing for the longest time, in any process.
    pub fn oldest(&self) -> Option<Executing> {
        let taken = |slot: &u32| self.slot(*slot, STATE).load(Acquire) != State::Gone as u32;
        self.used().filter(taken).filter_map(|slot| self.executing(slot).into_iter().next()).min_by_key(|one| one.since)
    }

    /// Counts a request that the lease's process has answered.
    pub fn count_served(&self, lease: &Lease) {
        if self.epoch(lease.slot) == lease.epoch {
            self.slot(lease.slot, SERVED).fetch_add(1, Relaxed);
        }
    }

    /// How many requests the slot's process has answered.
    pub fn served(&self, slot: u32) -> u32 {
        self.slot(slot, SERVED).load(Relaxed)
    }

    /// How many requests the last processes of all slots have answered, together. This number grows when they answer
    /// requests, and falls when another process takes the place of one of them.
    pub fn served_by_all(&self) -> u64 {
        self.used().map(|slot| u64::from(self.served(slot))).sum()
    }

    fn ended_text(&self, slot: u32) -> &[AtomicU32] {
        let at = super::HEADER_WORDS + slot as usize * SLOT_WORDS;
        &self.map.words()[at + ENDED_TEXT..at + SLOT_WORDS]
    }

    /// Says how the slot's process of that epoch has ended (`killed by SIGKILL`), for the log lines of the requests
    /// that it was executing. A caller that wants to know these requests calls [`Scoreboard::executing`] before: the
    /// children that wait for this message give their leases back when it comes.
    pub fn set_ended(&self, slot: u32, epoch: u32, how: &str) {
        put_text(self.ended_text(slot), &[how.as_bytes()]);
        let word = self.slot(slot, ENDED);
        word.store(epoch, Release);
        futex::wake_all(word);
    }

    /// How the lease's process has ended, if it has. Waits at most `limit` for the supervisor to say so.
    pub fn await_end(&self, lease: &Lease, limit: Duration) -> Option<String> {
        let word = self.slot(lease.slot, ENDED);
        let until = Instant::now() + limit;
        loop {
            let known = word.load(Acquire);
            if known == lease.epoch {
                return Some(text(self.ended_text(lease.slot)));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            futex::wait(word, known, left);
        }
    }
}

/// The moment whose [`word_of`] stands in a record. A moment that is not before `now` counts as `now`.
pub(super) fn time_of(word: u32, now: Duration) -> Duration {
    let age = word_of(now).wrapping_sub(word);
    let age = if age > u32::MAX / 2 { 0 } else { age };
    now.saturating_sub(Duration::from_millis(age.into()))
}
