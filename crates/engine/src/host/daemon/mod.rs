//! A daemon process: what its main thread does from its start to its end.
//!
//! The main thread sets up the interpreter, loads scripts, starts the request threads, and then waits
//! without the GIL for the supervisor and for signals. It returns so that Python finalises; the [`crate::timers::watchdog`]
//! ends the process if that takes longer than the shutdown timeout.

pub mod connection;
pub mod load;
mod orphan;
pub mod outgoing;
mod request_thread;
pub mod request_threads;
pub mod service;
pub mod warmup;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wsgi_sys::forked::{self, Private};
use wsgi_wire::PROTOCOL;
use wsgi_wire::config::{DaemonConfig, GroupConfig, Preload};
use wsgi_wire::control::{Cause, Exit, FromDaemon, MAX_MESSAGE, ToDaemon};

use self::request_threads::RequestThreads;
use crate::log::{self, ERROR, INFO, WARN, process_log};
use crate::python::interp::{Facts, Interp};
use crate::python::interpreters;
use crate::python::py::Gil;
use crate::python::threads;
use crate::request::server_metrics::{self, Supervisor};
use crate::request::{fork, script, types};
use crate::sys;
use crate::timers::activity::Next;
use crate::timers::probe::Probe;
use crate::timers::stacks;
use crate::timers::stuck::Limits;
use crate::timers::watchdog::Watchdog;

/// How long a supervisor may take to say that httpd is gone.
const WORD: Duration = Duration::from_secs(1);

/// How soon lines are written that the log had no room for.
const UNWRITTEN: Duration = Duration::from_secs(1);

/// Signals that are caught, as long as the process serves.
const SIGNALS: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGXCPU];

/// Serves until told to stop; the exit status of the process. The calling thread is Python's main thread.
pub fn serve(gil: Gil, control: RawFd) -> i32 {
    let served = start(gil, control).and_then(|daemon| {
        let daemon: &'static Daemon = Box::leak(Box::new(daemon));
        if daemon.config.server_metrics {
            server_metrics::by_way_of(daemon);
        }
        if daemon.config.threads == 0 {
            return Ok(service::run(gil, daemon));
        }
        if let Err(problem) = daemon.begin(gil) {
            // Python ends now, and no thread may ask for the GIL meanwhile.
            gil.detach(|| daemon.end_probe());
            return Err(problem);
        }
        gil.detach(|| daemon.run());
        Ok(daemon.finish(gil))
    });
    served.unwrap_or_else(|(exit, text)| {
        process_log(ERROR, text.as_bytes());
        // At its end Python might wait for what could not be started.
        sys::exit_now(exit as i32)
    })
}

/// A process whose interpreter runs.
pub struct Daemon {
    /// Its connections and request threads.
    pub threads: &'static RequestThreads,
    /// Its group.
    pub config: GroupConfig,
    /// Scripts of a process that it follows.
    handed: Vec<Preload>,
    parent: i32,
    /// Readable when httpd's parent has ended, where the system has that.
    parent_watch: Option<Private>,
    control: RawFd,
    signals: Private,
    /// The main interpreter.
    pub main: &'static Interp,
    probe: &'static Probe,
    watchdog: &'static Watchdog,
    /// Its script could not be loaded.
    failed: AtomicBool,
    /// A thread is in [`Daemon::serve_messages`].
    heard: AtomicBool,
}

fn unfit(text: String) -> (Exit, String) {
    (Exit::Unfit, text)
}

fn bootstrap(what: &str) -> impl Fn(io::Error) -> (Exit, String) {
    move |error| (Exit::Bootstrap, format!("{what}: {error}"))
}

/// Receives the configuration, and beside it an end of the log's pipe to which writes do not wait.
fn configuration(control: RawFd) -> Result<DaemonConfig, (Exit, String)> {
    let mut message = vec![0; MAX_MESSAGE];
    let len = loop {
        sys::wait_for(control, libc::POLLIN);
        match sys::recv_message(control, &mut message) {
            Ok((len, end)) => {
                end.into_iter().for_each(log::set_end);
                break len;
            }
            // A signal has ended the wait.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(bootstrap("cannot receive the configuration")(error)),
        }
    };
    let config = serde_json::from_slice::<DaemonConfig>(&message[..len]);
    let version = serde_json::from_slice::<serde_json::Value>(&message[..len]).ok();
    let version = version.and_then(|value| value.get("protocol")?.as_u64());
    match (config, version) {
        (Ok(config), _) if config.protocol == PROTOCOL => Ok(config),
        (_, Some(version)) if version != u64::from(PROTOCOL) => Err(unfit(format!(
            "the engine belongs to mod_wsgi {}, and its supervisor speaks protocol {version}: files of two builds are \
             installed together",
            wsgi_wire::build::text()
        ))),
        (Ok(_), _) => Err(unfit("the configuration names no version".to_owned())),
        (Err(error), _) => Err(unfit(format!("the configuration cannot be read: {error}"))),
    }
}

fn facts(config: &GroupConfig) -> Facts {
    Facts {
        process_group: config.name.clone(),
        processes: config.max_processes,
        threads: config.threads,
        multithread: config.threads != 1,
        multiprocess: config.multiprocess,
        run_once: config.threads == 1 && config.maximum_requests == 1,
        apache_version: config.apache_version,
        python: (config.python.clone(), config.python_from.clone()),
        python_path: config.python_path.clone(),
        layers: config.layers.clone(),
        keep_streams: false,
        home: config.home.clone(),
        case_insensitive: config.case_insensitive,
        embedded: false,
        switch_interval_us: config.switch_interval_us,
    }
}

fn show_title(config: &GroupConfig) {
    let group = format!("(wsgi:{})", config.name);
    match config.display_name.as_deref() {
        None => sys::set_title(&format!("{} {group}", config.python)),
        Some("%{GROUP}") => sys::set_title(&group),
        Some(name) => {
            sys::set_title(name);
            sys::set_thread_name(name);
        }
    }
}

/// Starts the timers, which from now on end what gets stuck.
fn start_timers(
    threads: &'static RequestThreads,
    config: &GroupConfig,
) -> io::Result<(&'static Probe, &'static Watchdog)> {
    let (stack_size, problem) = request_threads::stack_size(config.stack_size);
    problem.iter().for_each(|text| process_log(WARN, format!("process group \"{}\": {text}", config.name).as_bytes()));
    let probe = Probe::start(&threads.slots, Limits::new(config).deadlock, stack_size)?;
    Ok((probe, Watchdog::start(threads, probe, config)?))
}

/// `locale`: all of it, as mod_wsgi does; Python itself only sets LC_CTYPE.
fn set_locale(config: &GroupConfig) {
    let Some(locale) = &config.locale else { return };
    if !sys::set_locale(locale) {
        let text = format!(
            "process group \"{}\": locale={locale}: the system does not have this locale, so the process runs with the locale \
             of its environment; `locale -a` lists those that there are",
            config.name
        );
        process_log(WARN, text.as_bytes());
    }
}

fn start(gil: Gil, control: RawFd) -> Result<Daemon, (Exit, String)> {
    stacks::register(gil);
    let DaemonConfig { parent_pid, group: mut config, handed, .. } = gil.detach(|| configuration(control))?;
    sys::close_on_exec(control);
    forked::keep_private(control);
    fork::prepare().map_err(bootstrap("cannot prepare for processes that the application forks"))?;
    log::set_process_level(config.log_level);
    show_title(&config);
    set_locale(&config);
    let signals = sys::signal_pipe().map_err(bootstrap("cannot make a pipe"))?;
    caught(&config).for_each(sys::catch);
    let main = interpreters::start(gil, facts(&config), types::NATIVES)
        .map_err(|cause| (Exit::Bootstrap, format!("the interpreter cannot be set up: {cause}")))?;
    threads::adopt_attached(gil, main);
    let threads = RequestThreads::new(control, &config);
    let threads: &'static RequestThreads =
        Box::leak(Box::new(threads.map_err(bootstrap("cannot make an epoll descriptor"))?));
    // A service may keep Python for itself, and takes the time that it needs.
    if config.threads == 0 {
        (config.deadlock_timeout_ms, config.startup_timeout_ms) = (0, 0);
    }
    let (probe, watchdog) =
        start_timers(threads, &config).map_err(bootstrap("cannot start the threads of the timers"))?;
    Ok(Daemon {
        threads,
        config,
        handed,
        parent: parent_pid,
        parent_watch: wsgi_sys::process::pidfd_open(parent_pid).ok().map(Private::new),
        control,
        signals,
        main,
        probe,
        watchdog,
        failed: AtomicBool::new(false),
        heard: AtomicBool::new(false),
    })
}

/// From now on the process serves a request whose script has changed with the code that is loaded, and tells the
/// supervisor.
fn serve_old_code(threads: &'static RequestThreads) {
    script::announce_changes(Box::new(|script, mtime_us| threads.note_outdated(script, mtime_us)));
}

/// From now on tells the supervisor what the process that follows this one must load.
fn tell_of_scripts(threads: &'static RequestThreads) {
    script::announce_loads(Box::new(|application_group, script, why| {
        threads.tell_loaded(application_group, script, why)
    }));
}

/// Signals that the process catches. Where it runs nothing but scripts SIGTERM is Python's.
fn caught(config: &GroupConfig) -> impl Iterator<Item = i32> {
    let is_service = config.threads == 0;
    SIGNALS.into_iter().filter(move |signal| !(is_service && *signal == libc::SIGTERM))
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
    /// Loads scripts, starts the request threads, and says that requests may come.
    fn begin(&self, gil: Gil) -> Result<(), (Exit, String)> {
        let (threads, config) = (self.threads, &self.config);
        if config.rolling {
            serve_old_code(threads);
        }
        tell_of_scripts(threads);
        let failed = load::at_start(gil, self.main, threads, config, &self.handed);
        if failed.is_none() && !threads.is_unwanted() {
            warmup::run(gil, self.main, config);
        }
        // An application may have set handlers of its own while it was loaded.
        SIGNALS.into_iter().for_each(sys::catch);
        gil.detach(|| threads.start()).map_err(bootstrap("cannot start the request threads"))?;
        // Store this before telling the supervisor: another supervisor may ask.
        self.failed.store(failed.is_some(), Ordering::SeqCst);
        threads.tell(if failed.is_some() { FromDaemon::Failed } else { FromDaemon::Ready });
        if let Some(watch) = failed {
            load::watch(threads, &config.name, watch);
        }
        Ok(())
    }

    /// Serves until the process must stop. Without the GIL.
    fn run(&self) {
        let is_orphan = self.serve_messages() == Ended::Orphaned;
        if is_orphan {
            self.serve_orphaned();
        }
        self.threads.stop();
        self.bound_end();
        // Requests that are still executed can be interrupted until their end, and a kept GIL is found.
        while self.threads.running() > 0 {
            if is_orphan {
                self.end_with_parent();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.end_probe();
    }

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
            let parent = self.parent_watch.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            let fds = [self.control, self.signals.as_raw_fd(), self.threads.end_fd(), parent];
            let mut fds = fds.map(|fd| sys::interest(fd, libc::POLLIN));
            let unwritten = (!log::flush()).then_some(UNWRITTEN);
            let limit = [self.look_at_activity(), unwritten].into_iter().flatten().min();
            // An interrupted wait is a signal whose byte is there now.
            let _ = sys::poll(&mut fds, limit);
            if self.threads.is_to_end() || (fds[1].revents != 0 && self.read_signals()) {
                return Ended::Stop;
            }
            if fds[0].revents != 0 {
                if let Some(ended) = self.read_message() {
                    return ended;
                }
            } else if fds[3].revents != 0 && !self.is_spoken_to() {
                return Ended::Orphaned;
            }
        }
    }

    /// Whether the supervisor says something, when httpd is gone. A supervisor that is not gone or stopped as well says
    /// at once what to do.
    fn is_spoken_to(&self) -> bool {
        sys::is_readable(self.control, WORD)
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
                log::log_without_waiting(INFO, text.as_bytes());
                self.threads.retire(Cause::InactivityTimeout);
                None
            }
        }
    }

    /// True when one of the signals means "stop".
    fn read_signals(&self) -> bool {
        let mut bytes = [0; 16];
        let count = sys::read(self.signals.as_raw_fd(), &mut bytes).unwrap_or(0);
        let causes = bytes[..count].iter().map(|signal| self.meaning(i32::from(*signal)));
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
                    log::log_without_waiting(WARN, text.as_bytes());
                }
                Some(Cause::CpuTimeLimit)
            }
            _ => None,
        }
    }

    fn read_message(&self) -> Option<Ended> {
        let mut message = [0; 16];
        match sys::recv_message(self.control, &mut message) {
            Ok((0, None)) => return Some(Ended::Orphaned),
            Ok((len, fd)) => match (ToDaemon::decode(&message[..len]), fd) {
                (Ok(ToDaemon::Connection), Some(fd)) => self.threads.adopt(fd),
                (Ok(ToDaemon::Stop), _) => return Some(Ended::Stop),
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
                    log::log_without_waiting(WARN, text.as_bytes());
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
            log::log_without_waiting(ERROR, text.as_bytes());
        }
        self.threads.retire(Cause::NoDescriptor);
    }

    /// Ends the named interpreters; Python then finalises the main one.
    pub fn finish(&self, gil: Gil) -> i32 {
        let all_ended = interpreters::end_named(gil);
        threads::mark_ended();
        if !all_ended {
            // Python may not be finalised beside interpreters in which threads still run.
            interpreters::run_exit_functions(gil, self.main, "");
            sys::exit_now(Exit::Stopped as i32);
        }
        Exit::Stopped as i32
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
        if !sys::is_readable(self.control, limit) {
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
