//! A daemon process: what its main thread does from its start to its end.
//!
//! The main thread sets up the interpreter, loads scripts, starts the request threads, and then waits
//! without the GIL for the supervisor and for signals. It returns so that Python finalises; the [`crate::timers::watchdog`]
//! ends the process if that takes longer than the shutdown timeout.

pub mod connection;
pub mod load;
mod main_thread;
mod orphan;
pub mod outgoing;
mod request_thread;
pub mod request_threads;
pub mod service;
mod subscribers;
pub mod warmup;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wsgi_sys::forked::Private;
use wsgi_sys::{clock, fd, poll, process, signal, socket, thread};
use wsgi_wire::PROTOCOL;
use wsgi_wire::config::{DaemonConfig, GroupConfig, Telemetry};
use wsgi_wire::control::{Exit, FromDaemon, MAX_MESSAGE};
use wsgi_wire::messages::Message;

use self::main_thread::{Daemon, Ended, serve_old_code};
use self::request_threads::RequestThreads;
use self::subscribers::{Signals, THEIRS};
use crate::log;
use crate::python::interp::Facts;
use crate::python::interpreters;
use crate::python::py::Gil;
use crate::python::threads;
use crate::request::{fork, script, server_metrics, telemetry, types};
use crate::timers::probe::Probe;
use crate::timers::stacks;
use crate::timers::stuck::Limits;
use crate::timers::watchdog::Watchdog;

/// Signals that the process obeys, as long as it serves.
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
        let parent = daemon.parent.unsigned_abs();
        gil.detach(|| telemetry::start(is_reporting(&daemon.config), parent));
        if let Err(problem) = daemon.begin(gil) {
            // Python ends now, and no thread may ask for the GIL meanwhile.
            gil.detach(|| {
                telemetry::stop(0);
                daemon.end_probe();
            });
            return Err(problem);
        }
        gil.detach(|| daemon.run());
        Ok(daemon.finish(gil, Exit::Stopped as i32))
    });
    served.unwrap_or_else(|(exit, message, text)| {
        log::report(message, &text);
        // At its end Python might wait for what could not be started.
        process::exit_now(exit as i32)
    })
}

fn unfit(text: String) -> (Exit, Message, String) {
    (Exit::Unfit, Message::NotSetUp, text)
}

fn bootstrap(what: &str) -> impl Fn(io::Error) -> (Exit, Message, String) {
    move |error| (Exit::Bootstrap, Message::NotSetUp, format!("{what}: {error}"))
}

/// Receives the configuration, and beside it an end of the log's pipe to which writes do not wait.
fn configuration(control: BorrowedFd<'_>) -> Result<DaemonConfig, (Exit, Message, String)> {
    let mut message = vec![0; MAX_MESSAGE];
    let len = loop {
        poll::wait_readable(control);
        match socket::try_recv_private(control, &mut message) {
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
        httpd: config.httpd.clone(),
        python: (config.python.clone(), config.python_from.clone()),
        free_threading: config.free_threading,
        python_path: config.python_path.clone(),
        layers: config.layers.clone(),
        keep_streams: false,
        home: config.home.clone(),
        case_insensitive: config.case_insensitive,
        embedded: false,
        started_us: clock::wall_us(),
        switch_interval_us: config.switch_interval_us,
        telemetry: is_reporting(config).is_some(),
    }
}

/// What the process reports. One that serves no requests reports nothing.
fn is_reporting(config: &GroupConfig) -> Option<&Telemetry> {
    config.telemetry.as_ref().filter(|_| config.threads > 0)
}

fn show_title(config: &GroupConfig) {
    let group = format!("(wsgi:{})", config.name);
    let title = match config.display_name.as_deref() {
        None => format!("{} {group}", config.python),
        Some("%{GROUP}") => group,
        Some(name) => {
            thread::set_name(name);
            name.to_owned()
        }
    };
    // SAFETY: Python copied its command line when it started.
    unsafe { process::set_title(&title) };
}

/// Starts the timers, which from now on end what gets stuck.
fn start_timers(
    threads: &'static RequestThreads,
    config: &GroupConfig,
) -> io::Result<(&'static Probe, &'static Watchdog)> {
    let (stack_size, problem) = request_threads::stack_size(config.stack_size);
    let report = |text: &String| log::report(Message::StackSize, &format!("process group \"{}\": {text}", config.name));
    problem.iter().for_each(report);
    let probe = Probe::start(&threads.slots, Limits::new(config).deadlock, stack_size)?;
    Ok((probe, Watchdog::start(threads, probe, config)?))
}

/// `locale`: all of it, as mod_wsgi does; Python itself only sets LC_CTYPE.
fn set_locale(config: &GroupConfig) {
    let Some(locale) = &config.locale else { return };
    // SAFETY: Python's start is over, and the threads of this process come later.
    if !unsafe { process::set_locale(locale) } {
        let text = format!(
            "process group \"{}\": locale={locale}: the system does not have this locale, so the process runs with the locale \
             of its environment; `locale -a` lists those that there are",
            config.name
        );
        log::report(Message::Locale, &text);
    }
}

fn start(gil: Gil, control: RawFd) -> Result<Daemon, (Exit, Message, String)> {
    stacks::register(gil);
    let control = fd::inherited(control).map_err(bootstrap("the socket to the supervisor"))?;
    // It stays open until the process ends, whatever happens here.
    let control: &'static Private = Box::leak(Box::new(Private::new(control)));
    let control = control.as_fd();
    let DaemonConfig { parent_pid, group: mut config, handed, .. } = gil.detach(|| configuration(control))?;
    fork::prepare().map_err(bootstrap("cannot prepare for processes that the application forks"))?;
    log::set_process_level(config.log_level);
    show_title(&config);
    set_locale(&config);
    let signals = signal::receive(caught(&config)).map_err(bootstrap("cannot receive signals"))?;
    let main = interpreters::start(gil, facts(&config), types::NATIVES).map_err(|cause| {
        (Exit::Bootstrap, Message::DaemonInterpreter, format!("the interpreter cannot be set up: {cause}"))
    })?;
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
        parent_watch: process::pidfd_open(parent_pid).ok().map(Private::new),
        control,
        signals,
        signals_for_subscribers: Signals::default(),
        main,
        probe,
        watchdog,
        failed: AtomicBool::new(false),
        heard: AtomicBool::new(false),
    })
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
    SIGNALS.into_iter().chain(THEIRS).filter(move |signal| !(is_service && *signal == libc::SIGTERM))
}

impl Daemon {
    /// Loads scripts, starts the request threads, and says that requests may come.
    fn begin(&self, gil: Gil) -> Result<(), (Exit, Message, String)> {
        let (threads, config) = (self.threads, &self.config);
        if config.rolling {
            serve_old_code(threads);
        }
        tell_of_scripts(threads);
        let failed = load::at_start(gil, self.main, threads, config, &self.handed);
        if failed.is_none() && !threads.is_unwanted() {
            warmup::run(gil, self.main, config);
        }
        // An application may have set handlers of its own while it was loaded. It may do so for the signals that are its own.
        SIGNALS.into_iter().try_for_each(signal::catch).map_err(bootstrap("cannot receive signals"))?;
        gil.detach(|| request_thread::start(threads)).map_err(bootstrap("cannot start the request threads"))?;
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
        let active = self.threads.active();
        self.tell_stopping();
        telemetry::stopping(self.threads.reason(), active);
        // Requests that are still executed can be interrupted until their end, and a kept GIL is found.
        while self.threads.running() > 0 {
            if is_orphan {
                self.end_with_parent();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        telemetry::stop(self.threads.active());
        self.end_probe();
    }
}
