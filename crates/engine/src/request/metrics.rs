//! Metrics of requests for `mod_wsgi.request_metrics()` and `process_metrics()`, of all interpreters of the process
//! together, and for telemetry, which has them for itself where it is configured. Nothing is recorded before somebody calls
//! `start_recording_metrics()`, or telemetry starts. The adapter says when an application
//! is called and when its request is over; times come from [`super::events::Watch`].

#![forbid(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use wsgi_sys::{clock, forked, usage};
use wsgi_wire::request::Head;

use crate::python::interpreters::facts;
use crate::python::py::Gil;
use crate::python::waits;
use crate::request::events::status;
use crate::request::exchange::Exchange;
use crate::request::host::Outcome;
use crate::request::interval::{Interval, Moment, Sample};
use crate::request::recorder::Recorder;

/// That of this process, since somebody wanted it. The lock is held for moments, and nothing runs meanwhile.
static RECORDER: OnceLock<Mutex<Recorder>> = OnceLock::new();

fn now() -> Moment {
    let used = usage::of_process();
    Moment { wall_us: clock::wall_us(), monotonic: clock::monotonic(), user: used.user, system: used.system }
}

/// From now on requests are recorded (`mod_wsgi.start_recording_metrics()`).
pub fn start() {
    let facts = facts();
    let is_daemon = facts.is_some_and(|facts| !facts.embedded);
    let maximum = facts.map_or(1, |facts| facts.threads as usize);
    RECORDER.get_or_init(|| Mutex::new(Recorder::new(is_daemon, maximum, now())));
}

/// Whether requests are recorded.
pub fn is_recording() -> bool {
    RECORDER.get().is_some()
}

/// An application is about to be called. Its request is recorded from now on. `taken_us`: when the process took it, 0 in
/// embedded mode.
pub fn begin(exchange: &Exchange<'_>, taken_us: i64) {
    let Some(recorder) = RECORDER.get() else { return };
    // The warm-up has no request thread.
    if taken_us > 0 && exchange.thread_id == 0 {
        return;
    }
    exchange.watch.is_recorded.store(true, Ordering::Relaxed);
    let before =
        if taken_us > 0 { between(taken_us, exchange.watch.application_start_us.load(Ordering::Relaxed)) } else { 0 };
    recorder.lock().begin(exchange.thread_id, clock::monotonic().saturating_sub(Duration::from_micros(before)));
    if let Some(claim) = exchange.watch.claim() {
        claim.call(exchange.watch.application_start_us.load(Ordering::Relaxed), waits::mine());
    }
}

/// `times_us` of a sample whose application ran from `begin` to `end`, microseconds since the epoch; then what was waited
/// for: the GIL, the body, the client.
fn times(head: &Head<'_>, taken_us: i64, (begin, end): (i64, i64), waited: [Duration; 3]) -> [u64; 8] {
    let served = if taken_us > 0 { head.queue_start_us } else { begin };
    let [gil, input, output] = waited.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    [
        between(head.request_start_us, served),
        between(head.queue_start_us, taken_us),
        if taken_us > 0 { between(taken_us, begin) } else { 0 },
        between(begin, end),
        between(head.request_start_us, end),
        gil,
        input,
        output,
    ]
}

/// The request is over.
pub fn finish(gil: Gil, exchange: &Exchange<'_>, head: &Head<'_>, taken_us: i64, outcome: Outcome) {
    let watch = &exchange.watch;
    if !watch.is_recorded.load(Ordering::Relaxed) {
        return;
    }
    let Some(recorder) = RECORDER.get() else { return };
    let (input, output, waits) = (watch.meter.input(), watch.meter.output(), waits::mine());
    let (started, sent) = exchange.output.try_hold(gil).map_or((None, 0), |output| (output.status(), output.sent()));
    let (begin, now) = (watch.application_start_us.load(Ordering::Relaxed), clock::wall_us());
    let sample = Sample {
        status: status(outcome, started),
        times_us: times(head, taken_us, (begin, now), [waits.time, input.time, output.time]),
        waits: waits.count,
        input: (input.length, input.count),
        output: (sent, output.count),
        cpu: watch.meter.cpu().unwrap_or_default(),
    };
    recorder.lock().finish(exchange.thread_id, clock::monotonic(), &sample);
    if let Some(claim) = watch.claim() {
        claim.measure(sample);
    }
}

/// A request is over whose application was never called: its script could not be loaded, or has no such callable.
pub fn fail(exchange: &Exchange<'_>, head: &Head<'_>, taken_us: i64, outcome: Outcome) {
    let is_unserved =
        matches!(outcome, Outcome::Failed(_)) && exchange.watch.application_start_us.load(Ordering::Relaxed) == 0;
    let is_warmup = taken_us > 0 && exchange.thread_id == 0;
    let Some(recorder) = RECORDER.get().filter(|_| is_unserved && !is_warmup) else { return };
    let (now, waits) = (clock::wall_us(), waits::mine());
    let sample = Sample {
        status: status(outcome, None),
        times_us: times(head, taken_us, (now, now), [waits.time, Duration::ZERO, Duration::ZERO]),
        waits: waits.count,
        ..Sample::default()
    };
    let before = Duration::from_micros(sample.times_us[2]);
    let monotonic = clock::monotonic();
    let mut recorder = recorder.lock();
    recorder.begin(exchange.thread_id, monotonic.saturating_sub(before));
    recorder.finish(exchange.thread_id, monotonic, &sample);
    drop(recorder);
    if let Some(claim) = exchange.watch.claim() {
        claim.measure(sample);
    }
}

/// What has happened since the last call, for telemetry.
pub fn interval() -> Option<Interval> {
    RECORDER.get().map(|recorder| recorder.lock().drain(&now()))
}

/// Requests that have ended since recording began.
pub fn count() -> u64 {
    RECORDER.get().map_or(0, |recorder| recorder.lock().count())
}

/// Microseconds from one moment to another; 0 if the clock was put back.
fn between(from_us: i64, to_us: i64) -> u64 {
    u64::try_from(to_us.saturating_sub(from_us)).unwrap_or(0)
}

/// Which metrics are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// `mod_wsgi.request_metrics()`
    Requests,
    /// `mod_wsgi.process_metrics()`
    Process,
}

/// The metrics as JSON; nothing while nothing is recorded, in a process that the application has forked, and where telemetry
/// is configured, because each look ends a period.
pub fn current(wanted: Wanted) -> Option<Vec<u8>> {
    let is_for_telemetry = facts().is_some_and(|facts| facts.telemetry);
    let recorder = RECORDER.get().filter(|_| !forked::is_child() && !is_for_telemetry)?;
    let now = now();
    let mut told = match wanted {
        Wanted::Requests => recorder.lock().drain(&now).told(),
        Wanted::Process => recorder.lock().totals(&now, facts().map_or(0, |facts| facts.started_us)),
    };
    told.insert("pid".to_owned(), json!(std::process::id()));
    told.insert("memory_rss".to_owned(), json!(usage::resident()));
    told.insert("memory_max_rss".to_owned(), json!(usage::of_process().largest));
    serde_json::to_vec(&told).ok()
}
