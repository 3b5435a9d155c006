//! Telemetry (`WSGITelemetryService`): what this process does, in datagrams to a program outside of the server. The hosts
//! start and end it.
//!
//! One thread reports what requests have done, and sends it; it never takes the GIL. Another one asks Python for what only
//! that knows ([`gc`]). Nobody waits for them: a datagram that cannot be sent is lost.

#![forbid(unsafe_code)]

mod gc;
mod reports;
pub mod slow;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use wsgi_sys::datagram::Sender;
use wsgi_sys::{clock, process, usage, user};
use wsgi_wire::config::Telemetry;
use wsgi_wire::messages::Message;
use wsgi_wire::telemetry::Datagram;

use crate::log;
use crate::python::interp::Facts;
use crate::python::interpreters::{self, facts};
use crate::python::{py, threads, waits};
use crate::request::metrics;
use reports::{Identity, Memory};

/// The send buffer, bytes.
const ROOM: usize = 64 << 10;
/// How often a datagram is tried that finds no room. The system keeps few of them, and the program takes them one by one.
const ATTEMPTS: u32 = 50;
/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(1);
/// How often a process that ends looks whether a thread has ended.
const LOOK: Duration = Duration::from_millis(2);
/// Stack of each thread, bytes: one executes Python.
const STACK: usize = 1 << 20;

/// What the threads are told.
#[derive(Debug, Default)]
struct State {
    /// The thread that asks Python asks once more, and ends.
    collections_end: bool,
    /// The other one reports once more, and ends.
    reports_end: bool,
    /// Why the process ends, and how many requests it cuts off.
    end: (String, u64),
}

/// What the threads share.
struct Reporter {
    identity: Identity,
    sender: Sender,
    target: String,
    /// The number of the last datagram. The lock keeps datagrams in the order of their numbers.
    sequence: Mutex<u32>,
    /// The program is slow, so nothing waits for it before the next report.
    is_full: AtomicBool,
    /// The system does not let us send; that has been logged.
    is_forbidden: AtomicBool,
    switch_interval_us: AtomicU64,
    started_us: i64,
    state: Mutex<State>,
    changed: Condvar,
    /// Threads that have not ended.
    collecting: AtomicUsize,
    reporting: AtomicUsize,
}

static REPORTER: OnceLock<Reporter> = OnceLock::new();

/// Starts to report, if `config` says so. The main interpreter is set up; the thread is not attached to it.
/// `parent_pid`: httpd's parent. What goes wrong is logged, and the process serves without telemetry.
pub fn start(config: Option<&Telemetry>, parent_pid: u32) {
    let Some(config) = config else { return };
    if let Err((message, cause, consequence)) = begin(config, parent_pid) {
        log::report(message, &format!("{}telemetry to {}: {cause}; {consequence}", whose(), config.socket));
    }
}

/// How a line about this process begins.
fn whose() -> String {
    facts().map(Facts::title).unwrap_or_default()
}

fn begin(config: &Telemetry, parent_pid: u32) -> Result<(), (Message, String, &'static str)> {
    const SILENT: &str = "this process reports nothing";
    let (Some(facts), Some(main)) = (facts(), interpreters::main()) else { return Ok(()) };
    let interval = Duration::from_micros(config.interval_us);
    let threshold = Some(Duration::from_micros(config.slow_us)).filter(|threshold| !threshold.is_zero());
    let sender = Sender::open(&config.socket, ROOM)
        .map_err(|error| (Message::TelemetrySocket, format!("the socket cannot be opened: {error}"), SILENT))?;
    let (major, minor, patch) = facts.apache_version;
    let python = py::version().to_string_lossy();
    let identity = Identity {
        pid: std::process::id(),
        parent_pid,
        host_name: process::host_name(),
        process_group: facts.process_group.clone(),
        python: python.split(' ').next().unwrap_or_default().to_owned(),
        httpd: format!("Apache/{major}.{minor}.{patch}"),
        mpm: facts.httpd.mpm_name.clone(),
        interval,
        threshold,
    };
    let told = threads::attach(main, |gil| gc::ask(gil, main));
    let reporter = REPORTER.get_or_init(|| Reporter {
        identity,
        sender,
        target: config.socket.clone(),
        sequence: Mutex::new(0),
        is_full: AtomicBool::new(false),
        is_forbidden: AtomicBool::new(false),
        switch_interval_us: AtomicU64::new(told.first().copied().unwrap_or(0)),
        started_us: facts.started_us,
        state: Mutex::default(),
        changed: Condvar::new(),
        collecting: AtomicUsize::new(0),
        reporting: AtomicUsize::new(0),
    });
    metrics::start();
    waits::measure();
    if let Some(threshold) = threshold {
        let rules = slow::Rules { threshold, user_agent: config.user_agent };
        slow::start(rules, facts.threads as usize, interval);
    }
    let switch_interval = reporter.switch_interval_us.load(Ordering::Relaxed);
    reporter.send(reporter.identity.started(clock::wall_us(), switch_interval), false);
    let no_thread = |consequence| {
        move |error: io::Error| (Message::TelemetryThread, format!("a thread cannot be started: {error}"), consequence)
    };
    spawn("wsgi-telemetry", &reporter.reporting, || reporter.run()).map_err(no_thread(SILENT))?;
    spawn("wsgi-gc", &reporter.collecting, || gc::run(reporter, main))
        .map_err(no_thread("this process reports nothing of its garbage collector"))?;
    let seconds = interval.as_secs_f64();
    log::info(&format!("{}telemetry to {}: this process reports every {seconds} s", whose(), config.socket));
    Ok(())
}

fn spawn(name: &str, count: &'static AtomicUsize, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    /// Counts a thread until it has ended, in whatever way, or cannot be started.
    struct Counted(&'static AtomicUsize);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    count.fetch_add(1, Ordering::SeqCst);
    let counted = Counted(count);
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    let started = builder.spawn(move || {
        let _counted = counted;
        run();
    });
    started.map(drop)
}

impl Reporter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next report; true when it is the last one, which comes at once.
    fn wait_for_turn(&self, is_last: impl Fn(&State) -> bool) -> bool {
        let state = self.state();
        let waited = self.changed.wait_timeout_while(state, self.identity.interval, |state| !is_last(state));
        is_last(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Reports at each interval, and once more at the end.
    fn run(&self) {
        while !self.wait_for_turn(|state| state.reports_end) {
            self.report();
        }
        self.report();
        let (reason, active) = self.state().end.clone();
        self.send(self.stopped(&reason, active), false);
    }

    fn report(&self) {
        self.is_full.store(false, Ordering::Relaxed);
        let Some(interval) = metrics::interval() else { return };
        let memory = Memory { resident: usage::resident(), largest: usage::of_process().largest };
        let switch_interval = self.switch_interval_us.load(Ordering::Relaxed);
        self.send(self.identity.period(clock::wall_us(), switch_interval, &interval, memory), false);
        let Some(requests) = slow::requests() else { return };
        for slow in requests.take(clock::monotonic()) {
            self.send(self.identity.slow(clock::wall_us(), &slow), false);
        }
    }

    fn stopped(&self, reason: &str, active: u64) -> Datagram {
        let now = clock::wall_us();
        let uptime = u64::try_from(now.saturating_sub(self.started_us)).unwrap_or(0);
        self.identity.stopped(now, reason, uptime, metrics::count(), active)
    }

    /// Sends a report. With `now` the caller does not wait. A report that cannot be sent is lost: the program sees that its
    /// number is missing.
    fn send(&self, mut report: Datagram, now: bool) {
        let is_patient = !now && !self.is_full.load(Ordering::Relaxed);
        for _ in 1..if is_patient { ATTEMPTS } else { 1 } {
            if self.try_to_send(&mut report, false) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        if !self.try_to_send(&mut report, true) {
            self.is_full.store(true, Ordering::Relaxed);
        }
    }

    /// False: there is no room. If the report `is_lost` then, its number is used up.
    fn try_to_send(&self, report: &mut Datagram, is_lost: bool) -> bool {
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let number = sequence.wrapping_add(1);
        let kind = self.sender.send(report.numbered(number)).err().map(|error| error.kind());
        let has_room = kind != Some(io::ErrorKind::WouldBlock);
        if has_room || is_lost {
            *sequence = number;
        }
        drop(sequence);
        // Where there is no such socket the program does not run, and may come.
        if kind == Some(io::ErrorKind::PermissionDenied) {
            self.tell_of_rights();
        }
        has_room
    }

    fn tell_of_rights(&self) {
        if self.is_forbidden.swap(true, Ordering::Relaxed) {
            return;
        }
        let text = format!(
            "{}telemetry to {}: process {} may not write to the socket (permission denied for uid {}); its reports are lost until \
             it may; the directory must let that user in, and the socket must be writable for it (mod_wsgi-telemetry serve \
             --socket-mode, --socket-group)",
            whose(),
            self.target,
            self.identity.pid,
            user::effective_uid(),
        );
        log::report_without_waiting(Message::TelemetryForbidden, &text);
    }
}

/// The process is about to end, for this reason. `active`: requests that it executes.
pub fn stopping(reason: &str, active: usize) {
    let Some(reporter) = REPORTER.get() else { return };
    reporter.send(reporter.identity.stopping(clock::wall_us(), reason, active as u64), false);
    reporter.state().end.0 = reason.to_owned();
}

/// Reports for the last time, and ends the threads: none of them asks for the GIL any more. The thread is not attached.
/// `active`: requests that are cut off.
pub fn stop(active: usize) {
    let Some(reporter) = REPORTER.get() else { return };
    let end = |which: fn(&mut State) -> &mut bool, count: &AtomicUsize| {
        *which(&mut reporter.state()) = true;
        reporter.changed.notify_all();
        while count.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(LOOK);
        }
    };
    reporter.state().end.1 = active as u64;
    end(|state| &mut state.collections_end, &reporter.collecting);
    end(|state| &mut state.reports_end, &reporter.reporting);
}

/// The process ends at this moment, whatever runs in it. Waits for nobody.
pub fn cut_off(reason: &str, active: usize) {
    let Some(reporter) = REPORTER.get() else { return };
    if reporter.reporting.load(Ordering::SeqCst) > 0 {
        reporter.send(reporter.stopped(reason, active as u64), true);
    }
}
