//! Events of a request for the subscribers of `mod_wsgi.subscribe_events`, and the request's dict, `mod_wsgi.request_data()`.
//! The adapter calls this at each step. While nobody has subscribed, a step costs a look at the length of a list.

#![forbid(unsafe_code)]

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use wsgi_sys::clock;
use wsgi_wire::request::{Head, Key, Variables};
use wsgi_wire::response::Failure;

use crate::python::events::report_undelivered;
use crate::python::guarded::Guarded;
use crate::python::interp::Interp;
use crate::python::interpreters::facts;
use crate::python::py::{Any, Exception, Gil, Kind, Owned, Raised, Res, Stored};
use crate::python::waits;
use crate::request::adapter::numbers;
use crate::request::exchange::Exchange;
use crate::request::fork;
use crate::request::host::Outcome;
use crate::request::meter::Meter;
use crate::request::metrics;
use crate::request::report::is_timeout;
use crate::request::telemetry::slow::Claim;

/// What events need to know of a request. A part of its exchange, used attached.
pub struct Watch<'a> {
    /// Set before any other thread can come to it.
    served: OnceCell<Served<'a>>,
    /// `mod_wsgi.request_data()`, once somebody wants it. Taken out before the thread leaves Python.
    data: Guarded<Option<Stored>>,
    /// The dict is given back: code that runs meanwhile, and after it, gets none.
    is_over: AtomicBool,
    /// When the application was called, microseconds since the epoch.
    pub application_start_us: AtomicI64,
    /// What the request has used.
    pub meter: Meter,
    /// It is in the metrics.
    pub is_recorded: AtomicBool,
    /// It is told of if it is slow. Set before any other thread can come to it.
    claim: OnceCell<&'a Claim<'static>>,
}

struct Served<'a> {
    interp: &'static Interp,
    variables: Variables<'a>,
}

impl<'a> Watch<'a> {
    /// Of a request of which nothing is known yet.
    pub fn new() -> Watch<'a> {
        Watch {
            served: OnceCell::new(),
            data: Guarded::new(None),
            is_over: AtomicBool::new(false),
            application_start_us: AtomicI64::new(0),
            meter: Meter::default(),
            is_recorded: AtomicBool::new(false),
            claim: OnceCell::new(),
        }
    }

    /// The request is told of, by this claim, if it is slow. Called before anything leads to the exchange.
    pub fn note(&self, claim: Option<&'a Claim<'static>>) {
        claim.into_iter().for_each(|claim| {
            let _ = self.claim.set(claim);
        });
    }

    /// What tells of the request if it is slow.
    pub fn claim(&self) -> Option<&'a Claim<'static>> {
        self.claim.get().copied()
    }

    /// The request runs in `interp`.
    pub fn begin(&self, interp: &'static Interp, variables: Variables<'a>) {
        let _ = self.served.set(Served { interp, variables });
    }

    /// httpd's log id of the request, if it has one.
    fn id(&self, gil: Gil) -> Res<Option<Owned>> {
        let variables = self.served.get().into_iter().flat_map(|served| served.variables.clone().flatten());
        let is_it = |key: &Key<'_>| matches!(key, Key::Known(number) if usize::from(*number) == numbers::REQUEST_ID);
        variables.filter(|(key, _)| is_it(key)).last().map(|(_, id)| gil.latin1(id)).transpose()
    }

    /// The request's dict, made now if there is none.
    ///
    /// # Errors
    /// No memory, or the request is over.
    pub fn data(&self, gil: Gil) -> Res<Owned> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(no_request(gil));
        }
        let known = || self.data.with(|data| data.as_ref().map(|data| data.get(gil).new_ref()));
        if let Some(data) = known() {
            return Ok(data);
        }
        // Making an object may run code of the application, which may ask for the dict.
        let (made, id) = (gil.dict()?, self.id(gil)?);
        let kept = made.new_ref();
        let data = self.data.with(|data| data.get_or_insert_with(|| kept.store()).get(gil).new_ref());
        if !data.is(&made) {
            return Ok(data);
        }
        if let (Some(id), Some(served)) = (id, self.served.get()) {
            let active = served.interp.objects.events.active.get(gil);
            // A subrequest has the id of its request, which stays there.
            if active.get(&id)?.is_none() {
                active.set(&id, &made)?;
            }
        }
        Ok(made)
    }

    /// The request is over: nothing of Python's is left here.
    pub fn end(&self, gil: Gil) {
        self.is_over.store(true, Ordering::Relaxed);
        let Some(data) = self.data.with(Option::take).map(|data| data.release(gil)) else { return };
        let Some(served) = self.served.get() else { return };
        let active = served.interp.objects.events.active.get(gil);
        let removed = self.id(gil).and_then(|id| match id {
            Some(id) if active.get(&id)?.is_some_and(|found| found.is(&data)) => active.remove(&id),
            _ => Ok(()),
        });
        if let Err(raised) = removed {
            drop(gil.fetch(raised));
        }
    }
}

/// The calling thread executes no request.
pub fn no_request(gil: Gil) -> Raised {
    gil.raise(Kind::Runtime, "no active request for thread")
}

/// Seconds, as Python has times.
fn seconds(gil: Gil, time: Duration) -> Res<Owned> {
    gil.float(time.as_secs_f64())
}

fn epoch(gil: Gil, us: i64) -> Res<Owned> {
    gil.float(us as f64 / 1e6)
}

fn or_none(gil: Gil, value: Option<Owned>) -> Owned {
    value.unwrap_or_else(|| gil.none())
}

/// The application is about to be called. A subscriber may put another one in its place.
///
/// # Errors
/// A subscriber was interrupted by RequestTimeout.
pub fn begin(
    gil: Gil,
    interp: &Interp,
    exchange: &Exchange<'_>,
    (environ, taken_us): (&Any, i64),
    application: &Any,
) -> Res<Option<Owned>> {
    let (watch, events) = (&exchange.watch, &interp.objects.events);
    let (are_heard, is_recording) = (events.are_heard(gil), metrics::is_recording());
    if are_heard || is_recording {
        waits::measure();
        watch.meter.begin();
        metrics::begin(exchange, taken_us);
    }
    if !are_heard {
        if events.are_looked_for(gil) {
            drop(watch.data(gil)?);
        }
        return Ok(None);
    }
    let (data, id) = (watch.data(gil)?, or_none(gil, watch.id(gil)?));
    let thread_id = gil.int(exchange.thread_id.into())?;
    let is_daemon = gil.bool(facts().is_some_and(|facts| !facts.embedded))?;
    let arguments: [&Any; 6] = [&id, environ, application, &data, &thread_id, &is_daemon];
    fork::returned(gil, interp, events.started.get(gil).call(&arguments)).map(Some)
}

/// `start_response` was called, in its place.
///
/// # Errors
/// As [`begin`].
pub fn response_started(
    gil: Gil,
    exchange: &Exchange<'_>,
    status: &Any,
    headers: &Any,
    exc_info: Option<&Any>,
) -> Res<()> {
    let Some(Served { interp, .. }) = exchange.watch.served.get() else { return Ok(()) };
    let events = &interp.objects.events;
    if !events.are_heard(gil) {
        return Ok(());
    }
    let (data, id) = (exchange.watch.data(gil)?, or_none(gil, exchange.watch.id(gil)?));
    let none = gil.none();
    let arguments: [&Any; 5] = [&id, status, headers, exc_info.unwrap_or(&none), &data];
    fork::returned(gil, interp, events.responding.get(gil).call(&arguments)).map(drop)
}

/// An exception of the application is being logged.
pub fn raised(gil: Gil, interp: &Interp, exchange: &Exchange<'_>, exception: &Exception) {
    let events = &interp.objects.events;
    if !events.are_heard(gil) {
        return;
    }
    let told = (|| {
        let (data, id) = (exchange.watch.data(gil)?, or_none(gil, exchange.watch.id(gil)?));
        let arguments: [&Any; 5] = [&id, &exception.kind, &exception.value, &exception.traceback, &data];
        fork::returned(gil, interp, events.raised.get(gil).call(&arguments))
    })();
    settle(gil, interp, told);
}

/// What the application returned is closed, and the response is complete or has failed.
pub fn finished(
    gil: Gil,
    interp: &Interp,
    exchange: &Exchange<'_>,
    (head, taken_us): (&Head<'_>, i64),
    outcome: Outcome,
) {
    let events = &interp.objects.events;
    if !events.are_heard(gil) {
        return;
    }
    let told = (|| {
        let (data, id) = (exchange.watch.data(gil)?, or_none(gil, exchange.watch.id(gil)?));
        let measured = measured(gil, exchange, head, taken_us, outcome)?;
        fork::returned(gil, interp, events.finished.get(gil).call_named(&[&id, &data], &measured))
    })();
    settle(gil, interp, told);
}

/// The keys of `request_finished` that are measured.
fn measured(gil: Gil, exchange: &Exchange<'_>, head: &Head<'_>, taken_us: i64, outcome: Outcome) -> Res<Owned> {
    let (watch, now) = (&exchange.watch, clock::wall_us());
    let (input, output, waits) = (watch.meter.input(), watch.meter.output(), waits::mine());
    let (started, sent) = exchange.output.try_hold(gil).map_or((None, 0), |output| (output.status(), output.sent()));
    let count = |number: u64| gil.int(i64::try_from(number).unwrap_or(i64::MAX));
    let begun = watch.application_start_us.load(Ordering::Relaxed);
    let found = gil.dict()?;
    found.set_named(c"thread_id", &*gil.int(exchange.thread_id.into())?)?;
    let variables = watch.served.get().map(|served| served.variables.clone());
    let pid = variables.map_or(0, server_pid);
    found.set_named(c"server_pid", &*gil.int(pid)?)?;
    found.set_named(c"request_start", &*epoch(gil, head.request_start_us)?)?;
    found.set_named(c"queue_start", &*epoch(gil, head.queue_start_us)?)?;
    found.set_named(c"daemon_start", &*epoch(gil, taken_us)?)?;
    found.set_named(c"application_start", &*epoch(gil, begun)?)?;
    found.set_named(c"application_finish", &*epoch(gil, now)?)?;
    found.set_named(c"application_time", &*epoch(gil, now.saturating_sub(begun).max(0))?)?;
    found.set_named(c"input_reads", &*count(input.count)?)?;
    found.set_named(c"input_length", &*count(input.length)?)?;
    found.set_named(c"input_time", &*seconds(gil, input.time)?)?;
    found.set_named(c"output_length", &*count(sent)?)?;
    found.set_named(c"output_writes", &*count(output.count)?)?;
    found.set_named(c"output_time", &*seconds(gil, output.time)?)?;
    found.set_named(c"status", &*gil.int(status(outcome, started).into())?)?;
    if let Some(cpu) = watch.meter.cpu() {
        found.set_named(c"cpu_user_time", &*seconds(gil, cpu.user)?)?;
        found.set_named(c"cpu_system_time", &*seconds(gil, cpu.system)?)?;
        found.set_named(c"cpu_time", &*seconds(gil, cpu.user + cpu.system)?)?;
    }
    found.set_named(c"gil_wait_time", &*seconds(gil, waits.time)?)?;
    found.set_named(c"gil_wait_count", &*gil.int(waits.count.into())?)?;
    Ok(found)
}

/// The child that has sent the request.
fn server_pid(variables: Variables<'_>) -> i64 {
    let is_it = |key: &Key<'_>| matches!(key, Key::Known(number) if usize::from(*number) == numbers::SERVER_PID);
    let found = variables.flatten().filter(|(key, _)| is_it(key)).last();
    found.and_then(|(_, pid)| std::str::from_utf8(pid).ok()?.parse().ok()).unwrap_or(0)
}

/// The status for subscribers: that of `start_response`, unless the request ran out of time.
pub fn status(outcome: Outcome, started: Option<u16>) -> u16 {
    match (outcome, started) {
        (Outcome::Failed(Failure::Timeout), _) => 504,
        (_, Some(status)) => status,
        (_, None) => 500,
    }
}

/// What is left after an event of a request that is over. A RequestTimeout has missed what it was for.
fn settle(gil: Gil, interp: &Interp, told: Res<Owned>) {
    let Err(raised) = told else { return };
    let exception = gil.fetch(raised);
    if !is_timeout(gil, interp, &exception) {
        report_undelivered(gil, &exception);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_that_of_start_response_but_for_a_timeout() {
        let failed = Outcome::Failed(Failure::Application);
        assert_eq!(status(Outcome::Complete, Some(201)), 201);
        assert_eq!(status(failed, Some(201)), 201);
        assert_eq!(status(failed, None), 500);
        assert_eq!(status(Outcome::Failed(Failure::Timeout), Some(200)), 504);
    }
}
