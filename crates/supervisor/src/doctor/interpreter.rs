//! Starts an interpreter as a daemon process would be started, up to the point where it would serve.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use wsgi_sys::poll::{PollFd, poll};
use wsgi_sys::process::{Outcome, Program, Spawned, spawn, wait};
use wsgi_sys::{fd, signal};
use wsgi_wire::boot::{self, PEAK, WELL};
use wsgi_wire::config::{GroupConfig, stack_bytes};
use wsgi_wire::engines::Engines;
use wsgi_wire::faults;

use crate::decide::Ended;
use crate::diagnose::{self, Problem};
use crate::shell::start;

/// Most that is read of an interpreter's output, in bytes.
const MAX_OUTPUT: usize = 64 << 10;
/// How many lines of the output the doctor looks at.
const MAX_LINES: usize = 20;

/// The answer of an interpreter that is well.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Version and prefix: `3.12.1 /srv/venv`.
    pub text: String,
    /// Most address space that it has taken, bytes, if that is known.
    pub peak: Option<u64>,
}

impl Answer {
    /// Major, minor and micro number.
    pub fn version(&self) -> (u32, u32, u32) {
        faults::version(&self.text)
    }
}

/// Asks the interpreter. This process already runs as the group's user.
pub fn ask(config: &GroupConfig, engines: &Engines<OwnedFd>, time: Duration) -> Result<Answer, Problem> {
    let deadline = Instant::now() + time;
    let (spawned, output) = begin(config, engines).map_err(Problem::new)?;
    let (text, timely) = read(&output, deadline);
    if let Some(error) = failed_step(config, &spawned) {
        let _ = wait(spawned.pid);
        return Err(Problem::new(error));
    }
    if !timely {
        let seconds = time.as_secs_f64();
        let line = text.lines().rfind(|line| !line.trim().is_empty());
        let last = line.map_or_else(|| "it wrote nothing".to_owned(), |line| format!("its last words: {line}"));
        return Err(Problem::new(format!("it has not answered within {seconds} s; {last}")));
    }
    let ended = wait(spawned.pid).map_or(Ended::Unknown, ending);
    judge(config, ended, &text)
}

fn ending(status: ExitStatus) -> Ended {
    let code = status.code().map(Ended::Status);
    code.or_else(|| status.signal().map(Ended::Signal)).unwrap_or(Ended::Unknown)
}

fn begin(config: &GroupConfig, engines: &Engines<OwnedFd>) -> Result<(Spawned, OwnedFd), String> {
    let failed = |error: io::Error| error.to_string();
    let (output, writer) = fd::pipe().map_err(failed)?;
    fd::set_nonblocking(output.as_fd(), true).map_err(failed)?;
    let null = File::open("/dev/null").ok();
    let null = null.as_ref().map_or(writer.as_fd(), File::as_fd);
    let _ = signal::unblock_all();
    let mut descriptors = vec![(0, null), (1, writer.as_fd()), (2, writer.as_fd())];
    descriptors.extend((4..).zip(engines.all().map(AsFd::as_fd)));
    let program = Program {
        path: start::text(&config.python, "the path of Python")?,
        arguments: start::arguments(config, &boot::probe(engines, config.free_threading))?,
        environment: start::environment(config)?,
        descriptors,
        limits: start::limits(config),
        umask: config.umask,
        ..Program::default()
    };
    Ok((spawn(&program).map_err(failed)?, output))
}

/// Why the interpreter was not executed.
fn failed_step(config: &GroupConfig, spawned: &Spawned) -> Option<String> {
    loop {
        match spawned.outcome() {
            Outcome::WentWithout(..) => {}
            Outcome::Failed(_, error) => return Some(diagnose::no_exec(config, &error)),
            Outcome::Executed | Outcome::Pending => return None,
        }
    }
}

/// The output up to its end, and whether that came in time.
fn read(output: &OwnedFd, deadline: Instant) -> (String, bool) {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    let timely = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break false;
        }
        let mut fds = [PollFd::new(output.as_fd(), true, false)];
        let _ = poll(&mut fds, Some(left));
        match fd::read(output.as_fd(), &mut buffer) {
            Ok(0) => break true,
            Ok(len) if text.len() < MAX_OUTPUT => text.extend_from_slice(&buffer[..len]),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break true,
        }
    };
    (String::from_utf8_lossy(&text).into_owned(), timely)
}

/// What the end and the output of an interpreter mean.
fn judge(config: &GroupConfig, ended: Ended, text: &str) -> Result<Answer, Problem> {
    let answer = text.lines().find_map(|line| line.strip_prefix(WELL));
    match (answer, ended) {
        (Some(answer), Ended::Status(0)) => {
            let peak = text.lines().find_map(|line| line.strip_prefix(PEAK)).and_then(kibibytes);
            return Ok(Answer { text: answer.to_owned(), peak });
        }
        (Some(_), _) => return Err(Problem::new(format!("it loads the engine, but does not end well: {ended}"))),
        (None, Ended::Status(0)) => {
            return Err(Problem::new("it ends without an error, but did not do what it was told: is it a Python?"));
        }
        _ => {}
    }
    let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    let last = lines.last().map_or("", String::as_str);
    let first = &lines[..lines.len().min(MAX_LINES)];
    let why = diagnose::early_exit(config, ended, first, last);
    Err(Problem::new(why.lines().collect::<Vec<_>>().join(" | ")))
}

/// The size in a line of proc(5)'s `status`, in bytes.
fn kibibytes(line: &str) -> Option<u64> {
    let size: u64 = line.split_once(':')?.1.trim().strip_suffix("kB")?.trim().parse().ok()?;
    size.checked_mul(1024)
}

/// Threads of ours beside the request threads: timers and the like.
const OTHER_THREADS: u64 = 4;
/// The buffer into which a request thread receives, and the memory that is mapped when the first requests come, bytes.
const BUFFER: u64 = 256 << 10;
const REST: u64 = 16 << 20;
/// glibc reserves this many bytes for the memory of each thread, until there are eight such reservations for each
/// processor. It goes on without one if it cannot reserve it, but then the next stack or large buffer fails.
const ARENA: u64 = 64 << 20;

/// How many such reservations there can be. `processors`: those that the process may use.
fn arenas(config: &GroupConfig, processors: u64) -> u64 {
    let given = config.env.iter().rev().find(|(name, _)| name == "MALLOC_ARENA_MAX");
    let most = given.and_then(|(_, value)| value.parse().ok()).filter(|most| *most > 0).unwrap_or(processors * 8);
    most.min(u64::from(config.threads) + OTHER_THREADS)
}

/// The problem that `virtual-memory-limit` does not suffice for the request threads of a process. `peak`: the bytes
/// that the process has taken before it has any request thread.
pub fn too_little_for_threads(config: &GroupConfig, peak: u64) -> Option<Problem> {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    too_little(config, peak, processors)
}

fn too_little(config: &GroupConfig, peak: u64, processors: u64) -> Option<Problem> {
    let (limit, threads, stack) = (config.virtual_memory_limit, config.threads, stack_bytes(config.stack_size));
    let stacks = u64::from(threads).saturating_mul(stack);
    let arenas = arenas(config, processors);
    let own = u64::from(threads) * BUFFER + REST;
    let total = |arenas: u64| peak.saturating_add(stacks).saturating_add(own).saturating_add(arenas * ARENA);
    let (least, safe) = (total(1), total(arenas));
    (limit > 0 && limit < safe).then(|| {
        let verdict = if limit < least { "is" } else { "may be" };
        let from = if config.stack_size.is_none() { ", the default" } else { "" };
        Problem::new(format!(
            "virtual-memory-limit={limit} {verdict} too little: Python takes {} MiB before it loads anything, the stacks of \
             threads={threads} take {} MiB (stack-size={stack}{from}), and what the C library reserves for up to {arenas} \
             of the threads {} MiB (env=MALLOC_ARENA_MAX=1 makes that 64 MiB); give at least {safe} and what the \
             application needs",
            peak >> 20,
            stacks >> 20,
            (arenas * ARENA) >> 20,
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(ended: Ended, text: &str) -> String {
        match judge(&crate::example::group(), ended, text) {
            Ok(answer) => format!("well: {} {:?}", answer.text, answer.version()),
            Err(problem) => problem.what,
        }
    }

    #[test]
    fn ends_and_outputs_are_understood() {
        let well = "noise\nmod_wsgi-doctor: 3.12.1 /srv/my venv\n";
        assert_eq!(judged(Ended::Status(0), well), "well: 3.12.1 /srv/my venv (3, 12, 1)");
        assert_eq!(judged(Ended::Signal(11), well), "it loads the engine, but does not end well: killed by SIGSEGV");
        assert!(judged(Ended::Status(0), "hello").contains("is it a Python?"));
        let old = "mod_wsgi needs CPython 3.10 or later; /usr/bin/python2 is Python 2.7";
        assert_eq!(
            judged(Ended::Status(64), old),
            format!(
                "the engine does not fit this Python (exited with status 64); it wrote: | {old} | -- end of its output"
            )
        );
        assert!(
            judged(Ended::Status(1), "ModuleNotFoundError: No module named 'encodings'").contains("standard library")
        );
        assert!(judged(Ended::Status(3), "a\n\nboom\n").ends_with("its last words: boom"));
    }

    #[test]
    fn threads_have_to_fit_the_limit_of_memory() {
        let answer = judge(
            &crate::example::group(),
            Ended::Status(0),
            "mod_wsgi-doctor: 3.12.1 /\nmod_wsgi-doctor-peak: VmPeak:\t  51200 kB\n",
        );
        let peak = answer.expect("well").peak.expect("known");
        assert_eq!(peak, 50 << 20);
        let with = |limit: u64, stack_size, env: &[(&str, &str)]| {
            let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let (virtual_memory_limit, threads) = (limit << 20, 16);
            let config = GroupConfig { virtual_memory_limit, threads, stack_size, env, ..crate::example::group() };
            too_little(&config, peak, 2).map(|problem| problem.what)
        };
        // 50 + 16 * 8 + 16 * 64 + 16 / 4 + 16
        let found = with(1_221, None, &[]).expect("too little");
        assert!(found.contains("Python takes 50 MiB before") && found.contains("threads=16 take 128 MiB"), "{found}");
        assert!(
            found.contains("(stack-size=8388608, the default)")
                && found.contains("for up to 16 of the threads 1024 MiB")
        );
        assert!(found.ends_with("give at least 1281359872 and what the application needs"), "{found}");
        assert!(found.starts_with("virtual-memory-limit=1280311296 may be too little"), "{found}");
        // 50 + 16 * 8 + 64 + 16 / 4 + 16
        assert!(with(261, None, &[]).is_some_and(|found| found.contains(" is too little")));
        assert!(with(262, None, &[]).is_some_and(|found| found.contains(" may be too little")));
        assert_eq!((with(1_222, None, &[]), with(0, None, &[])), (None, None));
        assert!(with(1_096, Some(4_096), &[]).is_some_and(|found| found.contains("(stack-size=262144)")));
        let one = [("MALLOC_ARENA_MAX", "1")];
        assert_eq!((with(262, None, &one), with(261, None, &one).is_some()), (None, true));
    }
}
