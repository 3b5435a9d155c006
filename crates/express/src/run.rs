//! Runs the server in the foreground: looks whether it can start, says where it is, passes signals on, and tells why it
//! could not start.

use std::fs;
use std::io::{ErrorKind, IsTerminal};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use wsgi_sys::forked::Private;
use wsgi_sys::poll::is_readable;
use wsgi_sys::{fd, process, signal};

use crate::plan::{Mode, Plan};
use crate::problem::Problem;
use crate::scripts::START;
use crate::tree;

/// How often the start is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// For how long nothing happens while the server runs.
const LONG: Duration = Duration::from_secs(3600);

/// Runs the server until it ends; the exit status.
pub fn run(plan: &Plan) -> Result<u8, Problem> {
    check_user(plan)?;
    check_ports(plan)?;
    println!("{}", summary(plan));
    let mut command = Command::new(plan.root.join("apachectl"));
    command.args(["start", "-DFOREGROUND"]);
    let cannot = |error| {
        let cause = format!("{} cannot be executed: {error}", plan.root.join("apachectl").display());
        Problem::new(cause, "name a --server-root on a file system that allows programs")
    };
    if plan.mode == Mode::Debug {
        // The debugger needs the terminal.
        return Err(cannot(command.exec()));
    }
    tree::ask_for_start(plan)?;
    let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGWINCH, libc::SIGCHLD];
    let arrived = signal::receive(signals).map_err(|error| {
        Problem::new(format!("signals cannot be received: {error}"), "this is an error of the program")
    })?;
    // A process group of its own: the terminal's Ctrl-C comes here only, and becomes an orderly stop.
    let child = command.process_group(0).spawn().map_err(cannot)?;
    Running { plan, child, arrived, log_began: log_size(plan), stopped: false }.watch()
}

/// Says where the server is, where its logs are, and how to stop it.
pub fn summary(plan: &Plan) -> String {
    let root = plan.root.display();
    let mode = match plan.mode {
        Mode::Daemon => "daemon",
        Mode::Embedded => "embedded",
        Mode::Debug => "debug",
    };
    let requests = if plan.mode == Mode::Debug { 1 } else { plan.capacity() };
    let lines = [
        ("Server URL", plan.url()),
        ("Error log", plan.error_log()),
        ("Server root", root.to_string()),
        ("Control", format!("{root}/apachectl start|stop|restart|graceful|configtest")),
        ("Mode", format!("{mode}, {requests} request{} at once", if requests == 1 { "" } else { "s" })),
        ("Stop", format!("Ctrl-C, or {root}/apachectl stop")),
    ];
    let lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name:<12}: {value}")).collect();
    lines.join("\n")
}

/// The application never runs as root.
pub fn check_user(plan: &Plan) -> Result<(), Problem> {
    let by_environment = ["MOD_WSGI_USER", "WSGI_RUN_USER"].iter().any(|name| std::env::var_os(name).is_some());
    if plan.facts.uid == 0 && plan.user == "root" && !by_environment {
        return Err(Problem::new("the server would run the application as root", "add --user NAME --group NAME"));
    }
    Ok(())
}

fn check_ports(plan: &Plan) -> Result<(), Problem> {
    let ports = [("--port", Some(plan.given.number("port"))), ("--https-port", plan.tls.as_ref().map(|tls| tls.port))];
    for (option, port) in ports {
        let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else { continue };
        let addresses = plan.given.text("host").map_or_else(|| vec!["0.0.0.0", "::"], |host| vec![host]);
        for address in addresses {
            let address = address.trim_matches(['[', ']']);
            let Err(error) = TcpListener::bind((address, port)) else { continue };
            let problem = match error.kind() {
                ErrorKind::AddrInUse => Problem::new(
                    format!("port {port} is in use"),
                    format!("stop the program that listens there, or choose another port with {option}"),
                ),
                ErrorKind::PermissionDenied => Problem::new(
                    format!("only root may use port {port}"),
                    format!("choose one from 1024 on with {option}"),
                ),
                // A machine without IPv6.
                _ if address == "::" => continue,
                _ => Problem::new(
                    format!("the server cannot listen on {address}: {error}"),
                    "name an address of this machine with --host",
                ),
            };
            return Err(problem);
        }
    }
    Ok(())
}

fn log_path(plan: &Plan) -> PathBuf {
    plan.logs.join(plan.given.text("error-log-name").unwrap_or_default())
}

fn log_size(plan: &Plan) -> usize {
    fs::metadata(log_path(plan)).map_or(0, |found| found.len() as usize)
}

/// httpd, and what is known of its start.
struct Running<'p> {
    plan: &'p Plan,
    child: Child,
    arrived: Private,
    log_began: usize,
    stopped: bool,
}

/// What the processes have told of the application's start.
#[derive(PartialEq, Eq, Debug)]
enum Start {
    Unknown,
    Ready,
    Failed(String),
}

/// Reads the first word that a process has told.
fn start_of(text: &str) -> Start {
    match text.split_once('\n').map(|(first, _)| first) {
        Some("ready") => Start::Ready,
        Some(first) => Start::Failed(first.strip_prefix("failed ").unwrap_or(first).to_owned()),
        None => Start::Unknown,
    }
}

impl Running<'_> {
    fn watch(mut self) -> Result<u8, Problem> {
        let began = Instant::now();
        let mut is_starting = true;
        loop {
            if is_readable(self.arrived.as_fd(), if is_starting { LOOK } else { LONG }) {
                self.pass_signals_on();
            }
            if let Some(status) = self.end_of_httpd() {
                let _ = fs::remove_file(self.plan.root.join(START));
                return if is_starting && !self.stopped {
                    Err(self.did_not_start(status))
                } else {
                    Ok(exit_code(status))
                };
            }
            if is_starting && self.has_started()? {
                is_starting = false;
                let _ = fs::remove_file(self.plan.root.join(START));
                println!("Ready       : after {:.1} s", began.elapsed().as_secs_f32());
            }
        }
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The status of httpd, if it has ended.
    fn end_of_httpd(&self) -> Option<ExitStatus> {
        if std::process::id() != 1 {
            return process::try_wait(self.pid()).ok().flatten();
        }
        // The first process of a container gets the orphans, too.
        std::iter::from_fn(process::reap).find(|(pid, _)| *pid == self.pid()).map(|(_, status)| status)
    }

    fn pass_signals_on(&mut self) {
        let mut numbers = [0u8; 64];
        let Ok(count) = fd::read(self.arrived.as_fd(), &mut numbers) else { return };
        for number in numbers[..count].iter().map(|number| i32::from(*number)) {
            let passed = match number {
                libc::SIGCHLD => continue,
                libc::SIGINT | libc::SIGTERM => {
                    self.stopped = true;
                    libc::SIGTERM
                }
                // A terminal sends it when its window changes; to httpd it means a graceful stop.
                libc::SIGWINCH if std::io::stdout().is_terminal() => continue,
                libc::SIGWINCH => {
                    self.stopped = true;
                    libc::SIGWINCH
                }
                other => other,
            };
            let _ = process::kill(self.pid(), passed);
        }
    }

    /// Whether the server serves. An application that cannot be loaded ends it.
    fn has_started(&mut self) -> Result<bool, Problem> {
        if !self.plan.preloads() {
            let written = fs::read_to_string(self.plan.pid_file()).unwrap_or_default();
            return Ok(written.trim() == self.pid().to_string());
        }
        let told = fs::read_to_string(self.plan.root.join(START)).unwrap_or_default();
        match start_of(&told) {
            Start::Unknown => match self.cannot_start() {
                Some(line) => {
                    let cure =
                        format!("mend what the line names; the error log, {}, may say more", self.plan.error_log());
                    Err(self.give_up(Problem::new(line, cure)))
                }
                None => Ok(false),
            },
            Start::Ready => Ok(true),
            Start::Failed(_) if self.stopped => Ok(false),
            Start::Failed(cause) => Err(self.give_up(Problem::new(
                format!("the application {} cannot be loaded: {cause}", self.plan.application.target),
                format!(
                    "mend it, or run it with --debug-mode; the traceback is in the error log, {}",
                    self.plan.error_log()
                ),
            ))),
        }
    }

    /// Stops httpd, because of this.
    fn give_up(&self, problem: Problem) -> Problem {
        let _ = process::kill(self.pid(), libc::SIGTERM);
        let _ = process::wait(self.pid());
        let _ = fs::remove_file(self.plan.root.join(START));
        problem
    }

    /// What the error log has since the start.
    fn logged(&self) -> String {
        let log = fs::read(log_path(self.plan)).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.log_began..).unwrap_or_default()).into_owned()
    }

    /// The line of the supervisor about processes that cannot be started.
    fn cannot_start(&self) -> Option<String> {
        if self.stopped { None } else { cannot_start(&self.logged()).map(str::to_owned) }
    }

    fn did_not_start(&self, status: ExitStatus) -> Problem {
        let since = self.logged();
        let said = last_error(&since).map_or_else(|| "its message stands above".to_owned(), str::to_owned);
        Problem::new(
            format!("httpd has not started ({status}): {said}"),
            format!(
                "mend that; {}/apachectl configtest tells whether the configuration is right",
                self.plan.root.display()
            ),
        )
    }
}

/// What the supervisor says of processes that cannot be started, without what follows for the requests of a server that
/// goes on.
fn cannot_start(log: &str) -> Option<&str> {
    let line = log.lines().find(|line| line.contains("wsgi:error") && line.contains(": cannot start "))?;
    let text = line.rsplit_once("] ").map_or(line, |(_, text)| text);
    Some(text.split_once("; requests get ").map_or(text, |(cause, _)| cause))
}

/// The last line of an error log that is an error.
fn last_error(log: &str) -> Option<&str> {
    let is_error = |line: &&str| [":error]", ":crit]", ":alert]", ":emerg]"].iter().any(|level| line.contains(level));
    log.lines().rfind(is_error)
}

fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(1),
        (None, None) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_a_start_counts() {
        for (text, start) in [
            ("", Start::Unknown),
            ("rea", Start::Unknown),
            ("ready\nfailed x\n", Start::Ready),
            ("failed NameError: x\n", Start::Failed("NameError: x".to_owned())),
        ] {
            assert_eq!(start_of(text), start);
        }
    }

    #[test]
    fn why_no_process_can_be_started() {
        let log = "[x] [wsgi:error] [pid 1:tid 1] process group \"a\": cannot start /python: it ended; requests get 503 until";
        assert_eq!(cannot_start(log), Some("process group \"a\": cannot start /python: it ended"));
        assert_eq!(cannot_start("[x] [wsgi:error] [pid 1:tid 1] something else"), None);
    }

    #[test]
    fn the_last_error_of_a_log() {
        let log = "[x] [core:notice] [pid 1] a\n[x] [wsgi:error] [pid 1] b\n[x] [core:notice] c\n";
        assert!(last_error(log).unwrap().ends_with(" b"));
        assert_eq!(last_error("nothing"), None);
    }
}
