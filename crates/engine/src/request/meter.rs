//! What a request has read, written and used, for events and metrics. It measures only after [`Meter::begin`].

#![forbid(unsafe_code)]

use std::sync::OnceLock;
use std::time::Duration;

use wsgi_sys::clock::{self, ThreadTime};

use crate::python::guarded::Guarded;

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

/// The meter of a request. Used attached.
#[derive(Debug, Default)]
pub struct Meter {
    /// What the thread had used at the begin, if that is known. Set when the measuring begins.
    cpu: OnceLock<Option<ThreadTime>>,
    input: Guarded<Calls>,
    output: Guarded<Calls>,
}

/// A call that has begun, if it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Began(Option<Duration>);

impl Meter {
    /// Measures from now on, what the calling thread does.
    pub fn begin(&self) {
        let _ = self.cpu.set(clock::thread_time());
    }

    /// A call begins.
    pub fn start(&self) -> Began {
        Began(self.cpu.get().map(|_| clock::monotonic()))
    }

    /// It has read so much.
    pub fn has_read(&self, began: Began, length: usize) {
        if let Some(time) = passed(began) {
            self.input.with(|calls| *calls = calls.and(length as u64, time));
        }
    }

    /// It has written.
    pub fn has_written(&self, began: Began) {
        if let Some(time) = passed(began) {
            self.output.with(|calls| *calls = calls.and(0, time));
        }
    }

    /// Reads so far.
    pub fn input(&self) -> Calls {
        self.input.with(|calls| *calls)
    }

    /// Writes so far; their bytes are counted elsewhere.
    pub fn output(&self) -> Calls {
        self.output.with(|calls| *calls)
    }

    /// Processor time that the thread has used since [`Meter::begin`]; the same thread calls this.
    pub fn cpu(&self) -> Option<ThreadTime> {
        let (begin, now) = (self.cpu.get().copied().flatten()?, clock::thread_time()?);
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
