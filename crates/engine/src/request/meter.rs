//! What a request has read, written and used, for events and metrics. It measures only after [`Meter::begin`].

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::time::Duration;

use wsgi_sys::clock::{self, ThreadTime};

/// Calls in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// How many.
    pub count: u64,
    /// Bytes, as far as they are counted here.
    pub length: u64,
    /// How long they took.
    pub time: Duration,
}

impl Calls {
    /// With one more call.
    pub fn and(self, length: u64, time: Duration) -> Calls {
        Calls { count: self.count + 1, length: self.length + length, time: self.time + time }
    }
}

/// The meter of a request. Used with the GIL held.
#[derive(Debug, Default)]
pub struct Meter {
    is_on: Cell<bool>,
    input: Cell<Calls>,
    output: Cell<Calls>,
    cpu: Cell<Option<ThreadTime>>,
}

/// A call that has begun, if it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Began(Option<Duration>);

impl Meter {
    /// Measures from now on, what the calling thread does.
    pub fn begin(&self) {
        self.is_on.set(true);
        self.cpu.set(clock::thread_time());
    }

    /// A call begins.
    pub fn start(&self) -> Began {
        Began(self.is_on.get().then(clock::monotonic))
    }

    /// It has read so much.
    pub fn has_read(&self, began: Began, length: usize) {
        if let Some(time) = passed(began) {
            self.input.set(self.input.get().and(length as u64, time));
        }
    }

    /// It has written.
    pub fn has_written(&self, began: Began) {
        if let Some(time) = passed(began) {
            self.output.set(self.output.get().and(0, time));
        }
    }

    /// Reads so far.
    pub fn input(&self) -> Calls {
        self.input.get()
    }

    /// Writes so far; their bytes are counted elsewhere.
    pub fn output(&self) -> Calls {
        self.output.get()
    }

    /// Processor time that the thread has used since [`Meter::begin`]; the same thread calls this.
    pub fn cpu(&self) -> Option<ThreadTime> {
        let (begin, now) = (self.cpu.get()?, clock::thread_time()?);
        Some(ThreadTime { user: now.user.saturating_sub(begin.user), system: now.system.saturating_sub(begin.system) })
    }
}

fn passed(began: Began) -> Option<Duration> {
    began.0.map(|began| clock::monotonic().saturating_sub(began))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_measured_before_the_begin() {
        let meter = Meter::default();
        meter.has_read(meter.start(), 5);
        assert_eq!((meter.input(), meter.cpu()), (Calls::default(), None));
        meter.begin();
        meter.has_read(meter.start(), 5);
        meter.has_read(meter.start(), 0);
        meter.has_written(meter.start());
        assert_eq!((meter.input().count, meter.input().length), (2, 5));
        assert_eq!((meter.output().count, meter.output().length), (1, 0));
        assert!(meter.cpu().is_some());
    }
}
