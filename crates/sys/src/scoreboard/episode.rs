//! Troubles that many requests have at the same time, in all children. One child says so in the log; the other requests
//! are counted. When no process can be started, the supervisor knows when that ends, and says then how many requests it
//! has hit.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::record::{now_word, put_text, text, time_of};
use super::{FAULT_AT, FAULT_SINCE_AT, FAULT_TEXT_AT, FAULT_TEXT_WORDS, REFUSED_AT, Scoreboard, TROUBLE_AT};
use crate::clock;

/// The words of a trouble: when a request had it last (as `now_word` gives it; 0: never), and how many requests have
/// had it since the last line in the log.
const WORDS: usize = 2;
const LAST: usize = 0;
const UNTOLD: usize = 1;

/// An episode is over when no request has had the trouble for this long, milliseconds.
const OVER: u32 = 5_000;

/// A trouble that many requests may have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Too many requests wait already.
    Full = 0,
    /// No request thread was free in time.
    Late = 1,
}

/// Why no process can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// For how long no process could be started.
    pub lasted: Duration,
    /// What the supervisor said last about the cause, cut if it is long.
    pub cause: String,
}

/// A time without a process, in which requests were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stoppage {
    /// How long it took.
    pub lasted: Duration,
    /// How many requests were refused.
    pub refused: u32,
}

impl Scoreboard {
    fn trouble(&self, trouble: Trouble, field: usize) -> &AtomicU32 {
        self.word(TROUBLE_AT + trouble as usize * WORDS + field)
    }

    /// Notes that a request has the trouble. `Some` for the first request of an episode, in whatever child: the number
    /// of requests that had the trouble before and were only counted.
    pub fn has_trouble(&self, trouble: Trouble) -> Option<u32> {
        self.has_trouble_at(trouble, now_word())
    }

    pub(super) fn has_trouble_at(&self, trouble: Trouble, now: u32) -> Option<u32> {
        let (last, untold) = (self.trouble(trouble, LAST), self.trouble(trouble, UNTOLD));
        let before = last.load(Relaxed);
        // Another child may have stored its time a moment ago, and that time may be later than ours.
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

    fn fault_text(&self) -> &[AtomicU32] {
        &self.map.words()[FAULT_TEXT_AT..FAULT_TEXT_AT + FAULT_TEXT_WORDS]
    }

    fn fault_lasted(&self) -> Duration {
        let now = clock::monotonic();
        now.saturating_sub(time_of(self.word(FAULT_SINCE_AT).load(SeqCst), now))
    }

    /// Says why no process can be started, or that one can be. While none can be started and none is ready, no request
    /// waits.
    pub fn set_fault(&self, cause: Option<&str>) {
        let Some(cause) = cause else { return self.word(FAULT_AT).store(0, SeqCst) };
        put_text(self.fault_text(), &[cause.as_bytes()]);
        if self.word(FAULT_SINCE_AT).load(SeqCst) == 0 {
            // A request that was refused a moment after the last stoppage ended belongs to no stoppage.
            self.word(REFUSED_AT).store(0, SeqCst);
            self.word(FAULT_SINCE_AT).store(now_word(), SeqCst);
        }
        self.word(FAULT_AT).store(1, SeqCst);
        self.wake_all();
    }

    /// Counts a request that is refused because no process can be started. `Some` for the first request of a stoppage,
    /// in whatever child.
    pub fn refuse(&self) -> Option<Fault> {
        let is_first = self.word(REFUSED_AT).fetch_add(1, SeqCst) == 0;
        let is_first = is_first && self.word(FAULT_AT).load(SeqCst) != 0;
        is_first.then(|| Fault { lasted: self.fault_lasted(), cause: text(self.fault_text()) })
    }

    /// A process serves. Returns, once, what there is to tell of the stoppage that [`Scoreboard::set_fault`] has begun.
    /// Until this call, another start that fails belongs to the same stoppage.
    pub fn end_stoppage(&self) -> Option<Stoppage> {
        let lasted = self.fault_lasted();
        let was_one = self.word(FAULT_SINCE_AT).swap(0, SeqCst) != 0;
        let refused = self.word(REFUSED_AT).swap(0, SeqCst);
        (was_one && refused > 0).then_some(Stoppage { lasted, refused })
    }

    #[cfg(test)]
    pub(super) fn trouble_count(&self, trouble: Trouble) -> u32 {
        self.trouble(trouble, UNTOLD).load(Relaxed)
    }
}
