//! The doctor: looks at every process group as its user, before anything is started, and says what is wrong
//! and what mends it. httpd executes it for `apachectl configtest` (`httpd -t`).
//!
//! For each subject (a process group, or httpd's children) a fork changes to its user and root directory, asks the
//! kernel what that user may do with the files concerned, and lets the interpreter load the engine. Nothing waits
//! longer than the examination allows: an interpreter or a network file system that hangs is a finding.

mod interpreter;
mod selinux;
mod subject;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wsgi_sys::poll::{PollFd, poll};
use wsgi_sys::process::{Forked, Ids, fork_as, kill, killpg, try_wait};
use wsgi_sys::{fd, user};
use wsgi_wire::doctor::{Examination, Finding, Subject};
use wsgi_wire::engines::Engines;

/// How many subjects the doctor looks at side by side.
const BESIDE: usize = 8;
/// Most that is read of one fork's findings, in bytes.
const MAX_FINDINGS: usize = 256 << 10;

/// Reads the examination from standard input, writes findings to standard output. Descriptor 5 is the engine, and
/// those from 6 on are the engines for free-threaded Python, which the arguments name.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mod_wsgi's doctor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let engines = crate::engines(5, 6, std::env::args().skip(2))?;
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    let all: Examination = serde_json::from_slice(&text)?;
    if all.protocol != wsgi_wire::PROTOCOL {
        let (ours, theirs) = (wsgi_wire::build::text(), all.protocol);
        return Err(io::Error::other(format!(
            "it belongs to mod_wsgi {ours}, and the module speaks protocol {theirs}: files of two builds are installed together"
        )));
    }
    let mut out = io::stdout().lock();
    for finding in examine(&all, &engines) {
        serde_json::to_writer(&mut out, &finding)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// A fork at work.
struct Working {
    subject: usize,
    fork: Forked,
    text: Vec<u8>,
    ended: bool,
}

/// All findings, in the order of the subjects.
fn examine(all: &Examination, engines: &Engines<OwnedFd>) -> Vec<Finding> {
    let deadline = Instant::now() + Duration::from_millis(all.limit_ms);
    let (mut next, mut working, mut found) = (0, Vec::<Working>::new(), Vec::new());
    while (next < all.subjects.len() || !working.is_empty()) && Instant::now() < deadline {
        while next < all.subjects.len() && working.len() < BESIDE {
            match begin(all, next, engines) {
                Ok(fork) => working.push(Working { subject: next, fork, text: Vec::new(), ended: false }),
                Err(error) => found.push(unexamined(next, format!("it could not be examined: {error}"))),
            }
            next += 1;
        }
        wait(&mut working, deadline.saturating_duration_since(Instant::now()));
        let (ended, rest): (Vec<Working>, Vec<Working>) = working.into_iter().partition(|it| it.ended);
        working = rest;
        for it in ended {
            found.extend(findings(&it));
            // This kills all that the subject's interpreter has started, too.
            end(&it.fork);
        }
    }
    let late = || format!("it could not be examined within {} s", all.limit_ms / 1000);
    for left in &working {
        found.extend(findings(left));
        found.push(unexamined(
            left.subject,
            format!("{}; is one of its files on a server that does not answer?", late()),
        ));
        // The doctor does not wait for it: a process that waits for a file server cannot even be killed.
        let _ = killpg(left.fork.pid, libc::SIGKILL);
    }
    if next < all.subjects.len() {
        let others = match all.subjects.len() - next - 1 {
            0 => String::new(),
            others => format!(", nor {others} others after it"),
        };
        found.push(unexamined(next, late() + &others));
    }
    found.sort_by_key(|finding| finding.subject);
    found
}

fn end(fork: &Forked) {
    let _ = killpg(fork.pid, libc::SIGKILL).or_else(|_| kill(fork.pid, libc::SIGKILL));
    while matches!(try_wait(fork.pid), Ok(None)) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn unexamined(subject: usize, what: String) -> Finding {
    Finding { subject, what, mend: None, well: false }
}

/// Forks for one subject.
fn begin(all: &Examination, index: usize, engines: &Engines<OwnedFd>) -> io::Result<Forked> {
    let subject = &all.subjects[index];
    let time = Duration::from_millis(all.interpreter_ms);
    let ids = ids(subject);
    // No part of an application is executed as root, whatever the configuration says.
    if user::effective_uid() == 0 && ids.as_ref().is_none_or(|ids| ids.uid == 0) {
        return Err(io::Error::other("it would run as root"));
    }
    let root = subject.group.as_ref().and_then(|group| group.chroot.clone()).map(std::ffi::CString::new).transpose()?;
    let fork = fork_as(root.as_deref(), ids.as_ref(), |out: File, changed| {
        let findings = match changed {
            Ok(()) => subject::examine(subject, engines, time),
            Err((step, error)) => vec![subject::cannot_become(subject, step, &error)],
        };
        let mut out = io::BufWriter::new(out);
        for (problem, well) in findings {
            let finding = Finding { subject: index, what: problem.what, mend: problem.mend, well };
            // If the reader is gone, nobody wants the findings.
            let _ = serde_json::to_writer(&mut out, &finding).map(|()| out.write_all(b"\n"));
        }
    })?;
    fd::set_nonblocking(fork.output.as_fd(), true)?;
    Ok(fork)
}

/// The identity to change to. Only root can change.
fn ids(subject: &Subject) -> Option<Ids> {
    let identity = subject.identity.as_ref().filter(|_| user::effective_uid() == 0)?;
    Some(Ids { uid: identity.uid, gid: identity.gid, groups: identity.groups.clone() })
}

/// Waits until a fork has written something or `time` is over, and reads what is there.
fn wait(working: &mut [Working], time: Duration) {
    let mut fds: Vec<_> = working.iter().map(|it| PollFd::new(it.fork.output.as_fd(), true, false)).collect();
    let _ = poll(&mut fds, Some(time));
    let ready: Vec<bool> = fds.iter().map(PollFd::readable).collect();
    for (it, _) in working.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
        let mut buffer = [0; 4096];
        match fd::read(it.fork.output.as_fd(), &mut buffer) {
            Ok(0) => it.ended = true,
            Ok(len) => it.text.extend_from_slice(&buffer[..len]),
            Err(error) => it.ended = error.kind() != io::ErrorKind::WouldBlock,
        }
        it.ended |= it.text.len() > MAX_FINDINGS;
    }
}

/// The findings that a fork has written. It runs as another user, so only findings about its subject count.
fn findings(working: &Working) -> Vec<Finding> {
    let lines = working.text.split(|byte| *byte == b'\n');
    let all = lines.filter_map(|line| serde_json::from_slice::<Finding>(line).ok());
    all.filter(|finding| finding.subject == working.subject).collect()
}
