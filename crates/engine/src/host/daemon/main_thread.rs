//! A daemon process that has started: what it consists of, and how its main thread waits for messages of the supervisor
//! and for signals. The files beside this one start it (`mod.rs`) and do what is special to a process without request
//! threads (`service.rs`) and to one without a supervisor (`orphan.rs`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wsgi_sys::forked::Private;
use wsgi_sys::poll::{self, PollFd};
use wsgi_sys::{fd, process, socket};
use wsgi_wire::config::{GroupConfig, Preload};
use wsgi_wire::control::{Cause, FromDaemon, ToDaemon, stop_cause};
use wsgi_wire::messages::Message;

use crate::host::daemon::request_threads::RequestThreads;
use crate::host::daemon::subscribers::{Signals, THEIRS};
use crate::log;
use crate::python::interp::Interp;
use crate::python::interpreters;
use crate::python::py::Gil;
use crate::python::threads;
use crate::request::script;
use crate::request::server_metrics::{self, Supervisor};
use crate::timers::activity::Next;
use crate::timers::probe::Probe;
use crate::timers::watchdog::Watchdog;

/// How long a supervisor may take to say that httpd is gone.
const WORD: Duration = Duration::from_secs(1);

/// How soon lines are written that the log had no room for.
const UNWRITTEN: Duration = Duration::from_secs(1);

/// A process whose interpreter runs.
pub struct Daemon {
    /// Its connections and request threads.
    pub threads: &'static RequestThreads,
    /// Its group.
    pub config: GroupConfig,
    /// Scripts of a process that it follows.
    pub(super) handed: Vec<Preload>,
    pub(super) parent: i32,
    /// Readable when httpd's parent has ended, where the system has that.
    pub(super) parent_watch: Option<Private>,
    pub(super) control: BorrowedFd<'static>,
    pub(super) signals: Private,
    pub(super) signals_for_subscribers: Signals,
    /// The main interpreter.
    pub main: &'static Interp,
    pub(super) probe: &'static Probe,
    pub(super) watchdog: &'static Watchdog,
    /// Its script could not be loaded.
    pub(super) failed: AtomicBool,
    /// A thread is in [`Daemon::serve_messages`].
    pub(super) heard: AtomicBool,
}

/// From now on the process serves a request whose script has changed with the code that is loaded, and tells the
/// supervisor.
pub(super) fn serve_old_code(threads: &'static RequestThreads) {
    script::announce_changes(Box::new(|script, mtime_us| threads.note_outdated(script, mtime_us)));
}

/// What ended the wait for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The supervisor, or a signal, wants the process to stop.
    Stop,
    /// The supervisor is gone.
    Orphaned,
}

impl Daemon {
    /// From now on the process has `shutdown-timeout` to end; 0 is no limit.
    pub fn bound_end(&self) {
        if self.config.shutdown_timeout_ms > 0 {
            self.watchdog.end_within(Duration::from_millis(self.config.shutdown_timeout_ms));
        }
    }

    /// Waits, without the GIL, until nothing of ours asks for it beside this thread and the request threads.
    pub fn end_probe(&self) {
        self.probe.stop();
        while !self.probe.has_ended() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Hears messages until the supervisor, or a signal, ends the wait.
    pub fn serve_messages(&self) -> Ended {
        self.heard.store(true, Ordering::SeqCst);
        let ended = self.wait_for_end();
        self.heard.store(false, Ordering::SeqCst);
        ended
    }

    fn wait_for_end(&self) -> Ended {
        loop {
            let fds = [self.control, self.signals.as_fd(), self.threads.end_fd()].into_iter();
            let fds = fds.chain(self.parent_watch.as_ref().map(AsFd::as_fd));
            let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, true, false)).collect();
            let unwritten = (!log::flush()).then_some(UNWRITTEN);
            let limit = [self.look_at_activity(), unwritten].into_iter().flatten().min();
            // An interrupted wait is a signal whose byte is there now.
            let _ = poll::poll(&mut fds, limit);
            if self.threads.is_to_end() || (fds[1].has_event() && self.read_signals()) {
                return Ended::Stop;
            }
            if fds[0].has_event() {
                if let Some(ended) = self.read_message() {
                    return ended;
                }
            } else if fds.get(3).is_some_and(PollFd::has_event) && !self.is_spoken_to() {
                return Ended::Orphaned;
            }
        }
    }

    /// Whether the supervisor says something, when httpd is gone. A supervisor that is not gone or stopped as well says
    /// at once what to do.
    fn is_spoken_to(&self) -> bool {
        poll::is_readable(self.control, WORD)
    }

    /// Asks to be replaced when `inactivity-timeout` is over; else tells how long there is nothing to look at.
    fn look_at_activity(&self) -> Option<Duration> {
        if self.threads.is_retired() {
            return None;
        }
        match self.threads.activity.next() {
            Next::Never => None,
            Next::In(time) => Some(time),
            Next::Expired(limit) => {
                let (name, limit) = (&self.config.name, limit.as_secs_f64());
                let text = format!(
                    "process group \"{name}\": process {} had no request for inactivity-timeout={limit}; the supervisor replaces it",
                    std::process::id()
                );
                log::info_without_waiting(&text);
                self.threads.retire(Cause::InactivityTimeout);
                None
            }
        }
    }

    /// True when one of the signals means "stop".
    pub(super) fn read_signals(&self) -> bool {
        let mut bytes = [0; 16];
        let count = fd::read(self.signals.as_fd(), &mut bytes).unwrap_or(0);
        let (theirs, ours): (Vec<i32>, Vec<i32>) =
            bytes[..count].iter().map(|signal| i32::from(*signal)).partition(|signal| THEIRS.contains(signal));
        theirs.into_iter().for_each(|signal| self.pass_on(signal));
        let causes = ours.into_iter().map(|signal| self.meaning(signal));
        causes.fold(false, |stop, cause| match cause {
            Some(cause) => {
                self.threads.retire(cause);
                stop
            }
            None => true,
        })
    }

    /// Why a signal wants the process to be replaced; nothing when it wants it to stop.
    fn meaning(&self, signal: i32) -> Option<Cause> {
        match signal {
            libc::SIGUSR1 if self.config.eviction_timeout_ms > 0 => Some(Cause::EvictionSignal),
            libc::SIGUSR1 => Some(Cause::GracefulSignal),
            libc::SIGXCPU => {
                // It comes again with each further second.
                if !self.threads.is_retired() {
                    let (name, limit) = (&self.config.name, self.config.cpu_time_limit);
                    let text = format!(
                        "process group \"{name}\": process {} has used up its processor time, cpu-time-limit={limit} s; the \
                         supervisor replaces it",
                        std::process::id()
                    );
                    log::report_without_waiting(Message::CpuTime, &text);
                }
                Some(Cause::CpuTimeLimit)
            }
            _ => None,
        }
    }

    fn read_message(&self) -> Option<Ended> {
        let mut message = [0; 16];
        match socket::try_recv_private(self.control, &mut message) {
            Ok((0, None)) => return Some(Ended::Orphaned),
            Ok((len, fd)) => match (ToDaemon::decode(&message[..len]), fd) {
                (Ok(ToDaemon::Connection), Some(fd)) => self.threads.adopt(fd),
                (Ok(ToDaemon::Stop), _) => {
                    stop_cause(&message[..len]).into_iter().for_each(|cause| self.threads.note_cause(cause));
                    return Some(Ended::Stop);
                }
                (Ok(ToDaemon::Superseded), _) => serve_old_code(self.threads),
                (Ok(ToDaemon::TellScripts), _) => self.tell_again(),
                (Ok(ToDaemon::ServerMetrics), Some(file)) => server_metrics::arrived(file.into_owned()),
                // No descriptor was left for it; who waits for it asks again.
                (Ok(ToDaemon::ServerMetrics), None) => {}
                (Ok(ToDaemon::Connection), None) => self.out_of_descriptors(),
                _ => {
                    let text = format!(
                        "process group \"{}\": process {} ignores a message of the supervisor that it does not understand",
                        self.config.name,
                        std::process::id()
                    );
                    log::report_without_waiting(Message::UnknownMessage, &text);
                }
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => self.out_of_descriptors(),
            Err(_) => return Some(Ended::Orphaned),
        }
        None
    }

    /// Tells everything again to another supervisor, which knows neither whether the script could be loaded nor what it
    /// may hand on.
    fn tell_again(&self) {
        if self.failed.load(Ordering::SeqCst) {
            self.threads.tell(FromDaemon::Failed);
        }
        self.threads.tell_loaded_again();
    }

    /// The system has dropped a connection that came; its request goes to another process.
    fn out_of_descriptors(&self) {
        if !self.threads.is_retired() {
            let text = format!(
                "process group \"{}\": process {} has no descriptor left for a new connection (the application may forget to \
                 close files; 'ulimit -n' shows the limit); the supervisor replaces it",
                self.config.name,
                std::process::id()
            );
            log::report_without_waiting(Message::NoDescriptor, &text);
        }
        self.threads.retire(Cause::NoDescriptor);
    }

    /// Ends the named interpreters; Python then finalises the main one. With `WSGIDestroyInterpreter Off` the process ends
    /// here, with `status`.
    pub fn finish(&self, gil: Gil, status: i32) -> i32 {
        if self.config.keep_interpreters {
            threads::mark_ended();
            interpreters::end_lines(gil);
            process::exit_now(status);
        }
        let may_finalise = interpreters::end_named(gil);
        threads::mark_ended();
        if !may_finalise {
            // Such as beside interpreters in which threads still run.
            interpreters::run_exit_functions(gil, self.main, "");
            process::exit_now(status);
        }
        status
    }
}

impl Supervisor for Daemon {
    fn is_heard(&self) -> bool {
        self.heard.load(Ordering::SeqCst)
    }

    fn ask_for_metrics(&self) {
        self.threads.tell(FromDaemon::ServerMetrics);
    }

    fn take_message(&self, limit: Duration) -> bool {
        if !poll::is_readable(self.control, limit) {
            return true;
        }
        match self.read_message() {
            None => true,
            // It is for the thread that waits for it.
            Some(Ended::Stop) => {
                self.threads.ask_to_end();
                true
            }
            // That thread will find the end of file as well.
            Some(Ended::Orphaned) => false,
        }
    }
}
