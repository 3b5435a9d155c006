//! Troubles that many requests have at the same time, in all children: one of them says so in the log, and the
//! others are counted.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use super::record::now_word;
use super::{Scoreboard, TROUBLE_AT};

/// Words of a trouble: when a request had it last (as `now_word` gives it; 0: never), how many had it
/// without a word since the last line.
const WORDS: usize = 2;
const LAST: usize = 0;
const UNTOLD: usize = 1;

/// An episode is over when no request had the trouble for so long, milliseconds.
const OVER: u32 = 5_000;

/// What requests may suffer from together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Too many wait already.
    Full = 0,
    /// No request thread was free in time.
    Late = 1,
}

impl Scoreboard {
    fn trouble(&self, trouble: Trouble, field: usize) -> &AtomicU32 {
        self.word(TROUBLE_AT + trouble as usize * WORDS + field)
    }

    /// A request has the trouble. `Some` for the first one of an episode, in whatever child, with the number of
    /// those that had it before and were not told of.
    pub fn has_trouble(&self, trouble: Trouble) -> Option<u32> {
        self.has_trouble_at(trouble, now_word())
    }

    pub(super) fn has_trouble_at(&self, trouble: Trouble, now: u32) -> Option<u32> {
        let (last, untold) = (self.trouble(trouble, LAST), self.trouble(trouble, UNTOLD));
        let before = last.load(Relaxed);
        // Another child may have come a moment before us, with a later time than ours.
        let is_new = before == 0 || (OVER..u32::MAX - OVER).contains(&now.wrapping_sub(before));
        if is_new && last.compare_exchange(before, now, Relaxed, Relaxed).is_ok() {
            return Some(untold.swap(0, Relaxed));
        }
        if !is_new {
            last.store(now, Relaxed);
        }
        untold.fetch_add(1, Relaxed);
        None
    }

    #[cfg(test)]
    pub(super) fn trouble_count(&self, trouble: Trouble) -> u32 {
        self.trouble(trouble, UNTOLD).load(Relaxed)
    }
}
