//! What the main interpreter tells of its garbage collector, at each interval. It is asked with the GIL, for which this may
//! wait long, so it has a thread of its own; nothing else of telemetry ever takes the GIL.
//!
//! The format has a name for other interpreters. No version of the program (1.1.0 is the newest) can show a report that has
//! one, nor anything else after it, so they are left out.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use wsgi_sys::clock;

use crate::python::interp::Interp;
use crate::python::py::{Gil, Raised, Res};
use crate::python::threads;
use crate::request::telemetry::Reporter;

/// Asks at each interval, and once more at the end.
pub(super) fn run(reporter: &'static Reporter, main: &'static Interp) {
    loop {
        let is_last = reporter.wait_for_turn(|state| state.collections_end);
        let numbers = threads::attach(main, |gil| ask(gil, main));
        if let Some((switch_interval, rest)) = numbers.split_first() {
            reporter.switch_interval_us.store(*switch_interval, Ordering::Relaxed);
            let reports = reporter.identity.collections(clock::wall_us(), rest);
            reports.into_iter().for_each(|report| reporter.send(report, false));
        }
        if is_last {
            break;
        }
    }
    threads::release();
}

/// What the interpreter tells, to which the thread is attached: its switch interval in microseconds, and the numbers that
/// [`super::reports`] knows. Nothing if it cannot.
pub(super) fn ask(gil: Gil, interp: &Interp) -> Vec<u64> {
    let told = (|| -> Res<Vec<u64>> {
        let numbers = interp.objects.collections.get(gil).call0()?;
        let numbers = numbers.as_list().ok_or(Raised)?;
        let number = |at| Ok(u64::try_from(numbers.item(at).ok_or(Raised)?.as_i64()?).unwrap_or(0));
        (0..numbers.len()).map(number).collect()
    })();
    told.unwrap_or_else(|raised| {
        drop(gil.fetch(raised));
        Vec::new()
    })
}
