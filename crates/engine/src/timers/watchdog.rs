//! The thread that ends what is stuck. It never takes the GIL, nor any lock that is held while Python code runs, it never
//! waits for a reader of the log, and it goes by the monotonic clock.
//!
//! It looks after `request-timeout` with `interrupt-timeout`, `deadlock-timeout`, `startup-timeout` (of scripts that
//! requests load) and `shutdown-timeout`; [`crate::timers::stuck`] decides what follows. A process that gives up takes
//! no more requests: it closes its connections, so that children turn to another process. It waits for the requests
//! that are not stuck, then ends as if it had been told to, within `shutdown-timeout`.

use std::fmt::Write as _;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wsgi_sys::{clock, process, stream};
use wsgi_wire::config::GroupConfig;
use wsgi_wire::control::{Cause, Exit};
use wsgi_wire::frame::{self, Tag};
use wsgi_wire::messages::Message;
use wsgi_wire::response::Failure;

use crate::log;
use crate::python::interp::Interp;
use crate::python::interpreters;
use crate::python::py::runs_free;
use crate::request::first_load::FIRST_LOAD;
use crate::request::telemetry;
use crate::timers::probe::{Probe, Shown};
use crate::timers::slots::{Running, Slots};
use crate::timers::stacks::{self, Written};
use crate::timers::stuck::{Id, Limits, Overruns, Pulse, Seen};

/// Longest time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a process that gives up may take to end where `shutdown-timeout` sets no limit: waiting does not end what
/// is stuck.
const END: Duration = Duration::from_secs(5);
/// Requests that are named in one line.
const NAMED: usize = 8;
/// Stack of the thread, bytes.
const STACK: usize = 512 << 10;
/// What a deadlock is where there is no GIL: Python stops all threads now and then, and one keeps it from that.
const STANDSTILL: &str =
    "Python could not go on, as a thread in C code keeps it from stopping all threads for a moment,";

/// The process that is watched.
pub trait Process: Sync {
    /// What its request threads execute.
    fn slots(&self) -> &Slots;
    /// Asks the supervisor to replace it.
    fn retire(&self, cause: Cause);
    /// Makes it take no more requests.
    fn stop(&self);
    /// Makes it end as if it had been told to.
    fn ask_to_end(&self);
    /// Why it ends, in mod_wsgi's words.
    fn reason(&self) -> &'static str;
}

/// What other threads know of the watchdog.
#[derive(Debug)]
pub struct Watchdog {
    /// When the process must be gone.
    deadline: Mutex<Option<Duration>>,
    changed: Condvar,
}

/// Where the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// It has given up, and waits for requests that are not stuck.
    Draining {
        since: Duration,
    },
    /// It ends.
    Ending,
}

struct Watch {
    shared: &'static Watchdog,
    process: &'static dyn Process,
    probe: &'static Probe,
    name: String,
    limits: Limits,
    threads: u32,
    overruns: Overruns,
    pulse: Pulse,
    /// No thread has got the GIL for long, and the probe was asked to take it in all named interpreters.
    has_asked: bool,
    phase: Phase,
}

impl Watchdog {
    /// Starts it.
    pub fn start(
        process: &'static dyn Process,
        probe: &'static Probe,
        config: &GroupConfig,
    ) -> io::Result<&'static Watchdog> {
        let shared: &'static Watchdog =
            Box::leak(Box::new(Watchdog { deadline: Mutex::default(), changed: Condvar::new() }));
        let mut watch = Watch {
            shared,
            process,
            probe,
            name: config.name.clone(),
            limits: Limits::new(config),
            threads: config.threads,
            overruns: Overruns::default(),
            pulse: Pulse::default(),
            has_asked: false,
            phase: Phase::Serving,
        };
        let builder = std::thread::Builder::new().name("wsgi-watchdog".to_owned()).stack_size(STACK);
        builder.spawn(move || watch.run())?;
        Ok(shared)
    }

    fn deadline(&self) -> MutexGuard<'_, Option<Duration>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the process in this time at the latest, whatever it does then.
    pub fn end_within(&self, limit: Duration) {
        let end = clock::monotonic() + limit;
        let mut deadline = self.deadline();
        *deadline = Some(deadline.map_or(end, |earlier| earlier.min(end)));
        self.changed.notify_all();
    }
}

impl Watch {
    fn run(&mut self) {
        loop {
            let wait = self.look();
            let deadline = self.shared.deadline();
            let left = deadline.map(|end| end.saturating_sub(clock::monotonic()));
            if left.is_some_and(|left| left.is_zero()) {
                drop(deadline);
                self.end_now();
            }
            let unwritten = (!log::flush()).then_some(PERIOD);
            // Whoever changes the deadline does it with the lock held, so it is not missed.
            match [wait, left, unwritten].into_iter().flatten().min() {
                Some(limit) => drop(self.shared.changed.wait_timeout(deadline, limit)),
                None => drop(self.shared.changed.wait(deadline)),
            }
        }
    }

    /// Looks at everything. Returns how long there is nothing to look at.
    fn look(&mut self) -> Option<Duration> {
        let now = clock::monotonic();
        match self.phase {
            Phase::Serving if self.limits.any() => {
                let running = self.process.slots().running();
                self.look_at_gil(now, &running);
                self.look_at_loading(now, &running);
                self.look_at_requests(now, &running);
                let wait = self.overruns.wait(&self.limits, &seen(&running, now), PERIOD);
                Some(if self.phase == Phase::Serving { wait } else { Duration::ZERO })
            }
            Phase::Draining { since } => {
                let running = self.process.slots().running();
                self.look_at_requests(now, &running);
                let ages: Vec<Duration> = running.iter().map(|request| age(request, now)).collect();
                if self.limits.is_drained(&ages, now.saturating_sub(since)) {
                    self.end();
                }
                Some(PERIOD / 10)
            }
            Phase::Ending => {
                self.look_at_requests(now, &self.process.slots().running());
                Some(PERIOD / 10)
            }
            Phase::Serving => None,
        }
    }

    fn look_at_gil(&mut self, now: Duration, running: &[Running]) {
        self.probe.watch_own_gils();
        let (had, owner) = self.probe.longest_kept();
        if self.pulse.look(self.limits.deadlock.map(|limit| limit / 2), now, had).is_none() {
            self.has_asked = false;
            return;
        }
        self.probe.ask_in_named(running);
        // Until the next look there is time for an answer.
        if !std::mem::replace(&mut self.has_asked, true) {
            return;
        }
        let Some(silent) = self.pulse.look(self.limits.deadlock, now, had) else { return };
        let what = format!(
            "{} for {}, longer than deadlock-timeout={}; {}; {}",
            if runs_free() { STANDSTILL.to_owned() } else { format!("no thread could have {}", whose_gil(owner)) },
            seconds(silent),
            option(self.limits.deadlock),
            executing(running, now),
            self.ending(),
        );
        self.report(Message::Deadlock, &what);
        owner.into_iter().for_each(|owner| self.write_stacks(running, owner));
        self.give_up(Cause::DeadlockTimeout);
        self.end();
    }

    fn look_at_loading(&mut self, now: Duration, running: &[Running]) {
        if self.phase != Phase::Serving {
            return;
        }
        let Some(time) = FIRST_LOAD.overdue(self.limits.startup, now) else { return };
        let what = format!(
            "the first script has been loading for {}, longer than startup-timeout={}; {}; {}",
            seconds(time),
            option(self.limits.startup),
            executing(running, now),
            self.ending(),
        );
        self.report(Message::StartupTimeout, &what);
        self.show_stacks(Message::StacksAtEnd, running, Vec::new());
        self.give_up(Cause::StartupTimeout);
        self.end();
    }

    fn look_at_requests(&mut self, now: Duration, running: &[Running]) {
        let found = self.overruns.look(&self.limits, &seen(running, now));
        let pick = |ids: &[Id]| -> Vec<Running> {
            running.iter().filter(|request| ids.contains(&id(request))).cloned().collect()
        };
        let (interrupt, cut, lost) = (pick(&found.interrupt), pick(&found.cut), pick(&found.lost));
        self.tell(&interrupt, &cut, &lost, running, now);
        if found.begins {
            self.show_stacks(if lost.is_empty() { Message::Stacks } else { Message::StacksAtEnd }, running, interrupt);
        } else if !interrupt.is_empty() {
            self.probe.interrupt(interrupt);
        }
        if !lost.is_empty() && self.phase == Phase::Serving {
            self.give_up(Cause::RequestTimeout);
        }
        cut.iter().chain(&lost).for_each(|request| self.answer(request));
    }

    /// Says which requests have overrun, and what follows.
    fn tell(&self, interrupt: &[Running], cut: &[Running], lost: &[Running], running: &[Running], now: Duration) {
        for request in interrupt {
            let limit = option(self.limits.interrupt);
            let what = format!(
                "the process raises mod_wsgi.RequestTimeout in it, and it has interrupt-timeout={limit} to end"
            );
            self.report(Message::Interrupt, &format!("{}; {what}", self.overrun(request, now)));
        }
        for request in cut {
            let what = "its client is slow to send the body, so only this request is ended, with 504";
            self.report(Message::SlowBody, &format!("{}; {what}", self.overrun(request, now)));
        }
        let others = running.iter().filter(|request| !lost.iter().any(|other| id(other) == id(request)));
        let others = others.filter(|request| self.limits.counts(age(request, now))).count();
        for request in lost {
            let mut what = self.overrun(request, now);
            if let Some(limit) = self.limits.interrupt {
                let _ = write!(what, ", and has not ended within interrupt-timeout={} after that", limit.as_secs_f64());
            }
            what.push_str("; the client gets 504 unless its response has begun");
            if self.phase == Phase::Serving {
                what.push_str("; the supervisor replaces the process, which takes no more requests; ");
                if others > 0 {
                    let (others, limit) = (requests(others, "other "), option(self.limits.graceful));
                    let _ = write!(what, "{others} may take graceful-timeout={limit} to end; then ");
                }
                what.push_str(&self.ending());
            }
            self.report(Message::Overrun, &what);
        }
    }

    /// Which request has overrun, and what.
    fn overrun(&self, request: &Running, now: Duration) -> String {
        let mut text = format!(
            "{} has run for {}, longer than request-timeout={}",
            request,
            seconds(age(request, now)),
            option(self.limits.request)
        );
        if let Some(scaled) = self.limits.scaled.filter(|_| self.threads > 1) {
            let _ = write!(text, " allows with threads={} ({})", self.threads, seconds(scaled));
        }
        text
    }

    /// How the process ends.
    fn ending(&self) -> String {
        match self.limits.shutdown {
            Some(limit) => format!("the process ends within shutdown-timeout={}", limit.as_secs_f64()),
            None => format!("shutdown-timeout=0 sets no limit, so the process ends within {}", seconds(END)),
        }
    }

    fn report(&self, message: Message, text: &str) {
        log::report_without_waiting(message, &format!("process group \"{}\": {text}", self.name));
    }

    /// Writes the Python stacks of all threads to the log, with their GIL if it comes in time. Then makes the probe
    /// interrupt requests.
    fn show_stacks(&self, message: Message, running: &[Running], interrupt: Vec<Running>) {
        let Shown { text, silent } = self.probe.stacks(running, interrupt);
        match text.trim_end() {
            "" if silent.is_empty() => {
                self.report(message, "no thread executes Python code now, so there are no stacks")
            }
            "" => {}
            text => self.report(message, &format!("Python stacks of all threads:\n{text}")),
        }
        silent.into_iter().for_each(|owner| self.write_stacks(running, owner));
    }

    /// Writes the stacks of those that share the GIL of `owner`, without it.
    fn write_stacks(&self, running: &[Running], owner: &'static Interp) {
        let what = match owner.has_own_gil() {
            true => format!(
                "Python stacks of application group '{}', while one of its threads keeps its GIL:",
                owner.name()
            ),
            false if runs_free() => {
                "Python stacks, as far as they can be shown while Python waits for a thread that does not stop:"
                    .to_owned()
            }
            false => "Python stacks of all threads, while one of them keeps the GIL:".to_owned(),
        };
        self.report(Message::StacksAtEnd, &what);
        let main_thread = i32::try_from(std::process::id()).ok();
        let mut interps = vec![(owner, main_thread.filter(|_| owner.is_main()))];
        for request in running {
            let Some(interp) = interpreters::at(request.interp).filter(|interp| !interp.is_main()) else { continue };
            match interps.iter_mut().find(|(other, _)| std::ptr::eq(*other, interp)) {
                Some((_, thread)) => *thread = Some(request.tid),
                None if !owner.has_own_gil() && !interp.has_own_gil() => interps.push((interp, Some(request.tid))),
                None => {}
            }
        }
        match stacks::write(&interps) {
            Written::All => {}
            Written::NoThread => {
                self.report(Message::StacksAtEnd, "the stacks cannot be shown, as no request is executed there")
            }
            Written::NoRoom => self.report(
                Message::StacksAtEnd,
                "the stacks are left out, because nobody reads the log of this process now",
            ),
        }
    }

    /// The process takes no more requests, and is to be replaced.
    fn give_up(&mut self, cause: Cause) {
        self.process.retire(cause);
        self.process.stop();
        self.phase = Phase::Draining { since: clock::monotonic() };
    }

    /// Tells the child, in the place of the request's thread, that the request has failed, unless that thread has begun
    /// to respond.
    fn answer(&self, request: &Running) {
        let slot = self.process.slots().of(request.thread);
        let Some(taken) = slot.and_then(|slot| slot.take(request.serial)) else { return };
        let mut bytes = Vec::new();
        frame::put(&mut bytes, Tag::Failed, false, &[Failure::Timeout as u8]);
        // SAFETY: the connection stays open as long as `taken` lives.
        let connection = unsafe { BorrowedFd::borrow_raw(taken.fd()) };
        // If this cannot be sent, the child sees the connection end together with the process.
        let _ = stream::send_now(connection, &bytes);
        stream::shut_down(connection);
    }

    /// Makes the process end as if it were told to.
    fn end(&mut self) {
        self.phase = Phase::Ending;
        self.shared.end_within(self.limits.shutdown.unwrap_or(END));
        self.process.ask_to_end();
    }

    /// The process has not ended in time.
    fn end_now(&self) -> ! {
        let limit = match self.limits.shutdown {
            Some(limit) => format!("shutdown-timeout={}", limit.as_secs_f64()),
            None => format!("{}, and shutdown-timeout=0 sets no limit", seconds(END)),
        };
        let running = self.process.slots().running();
        telemetry::cut_off(self.process.reason(), running.len());
        let left = match self.threads {
            0 => "its import script is cut off".to_owned(),
            _ => cut_off(&running, clock::monotonic()),
        };
        let text = format!("process {} did not end within {limit}; {left}", std::process::id());
        self.report(Message::EndForced, &text);
        // Nobody may be reading what the process writes.
        if !log::flush() {
            log::has_room(PERIOD);
            log::flush();
        }
        process::exit_now(Exit::Stopped as i32);
    }
}

fn id(request: &Running) -> Id {
    (request.thread, request.serial)
}

fn age(request: &Running, now: Duration) -> Duration {
    now.saturating_sub(request.begun)
}

fn seen(running: &[Running], now: Duration) -> Vec<Seen> {
    running.iter().map(|request| Seen { id: id(request), age: age(request, now), waits: request.waits }).collect()
}

/// A time that was measured.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The value of an option, as it was given.
fn option(time: Option<Duration>) -> f64 {
    time.unwrap_or_default().as_secs_f64()
}

/// So many requests, of one kind where it is named.
fn requests(count: usize, kind: &str) -> String {
    if count == 1 { format!("1 {kind}request") } else { format!("{count} {kind}requests") }
}

/// Which GIL it is, by its owner.
fn whose_gil(owner: Option<&Interp>) -> String {
    match owner.filter(|owner| owner.has_own_gil()) {
        Some(owner) => format!("the global lock (GIL) of application group '{}'", owner.name()),
        None => "Python's global lock (GIL)".to_owned(),
    }
}

/// What a process that ends leaves undone.
fn cut_off(running: &[Running], now: Duration) -> String {
    match running.len() {
        0 => "no request is cut off".to_owned(),
        1 => format!("1 request is cut off: {}", executing(running, now)),
        many => format!("{} are cut off: {}", requests(many, ""), executing(running, now)),
    }
}

/// What is being executed, in a few words.
fn executing(running: &[Running], now: Duration) -> String {
    let each = |request: &Running| format!("{request} for {}", seconds(age(request, now)));
    let mut text = match running {
        [] => "no request is being executed".to_owned(),
        some => format!("executing {}", some.iter().take(NAMED).map(each).collect::<Vec<_>>().join(", ")),
    };
    if running.len() > NAMED {
        let _ = write!(text, " and {} more", running.len() - NAMED);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(count: u32) -> Vec<Running> {
        let one = |thread| Running {
            thread,
            serial: 1,
            begun: Duration::ZERO,
            name: "GET /x".to_owned(),
            interp: 0,
            state: 0,
            waits: false,
            ident: 0,
            tid: 0,
        };
        (1..=count).map(one).collect()
    }

    #[test]
    fn one_request_is_one() {
        assert_eq!([0, 1, 2].map(|count| requests(count, "")), ["0 requests", "1 request", "2 requests"]);
        let left = |count| cut_off(&running(count), Duration::from_secs(3));
        assert_eq!(left(0), "no request is cut off");
        assert_eq!(left(1), "1 request is cut off: executing GET /x on request thread 1 for 3.0 s");
        assert!(left(2).starts_with("2 requests are cut off: executing GET /x on request thread 1 for 3.0 s, "));
    }
}
