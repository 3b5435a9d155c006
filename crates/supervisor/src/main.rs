//! `wsgi-supervisor`: owns every daemon process of an httpd.
//!
//! httpd's parent executes it with these descriptors and tells it configurations over the control socket:
//! 0 is /dev/null; 1 and 2 are the error log; 3 the control socket; 4 the receiving end of the socket on
//! which httpd's children send connections; 5 the engine's file; 6 and 7 the store for the supervisor that comes after
//! this one; from 8 on the engines for free-threaded Python, which its arguments name. It ends when the parent says so, closes the socket or dies, and leaves no process behind.
//!
//! With the argument `--doctor` the program does something else: it looks at process groups before they are started
//! ([`doctor`]).
#![forbid(unsafe_code)]

mod decide;
mod diagnose;
mod doctor;
#[cfg(test)]
mod example;
mod handed;
mod log;
mod shell;

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use wsgi_sys::{fd, process, signal, thread};
use wsgi_wire::engines::Engines;

/// A descriptor that this program was started with.
fn given(number: i32) -> io::Result<OwnedFd> {
    fd::inherited(number).map_err(|error| io::Error::new(error.kind(), format!("descriptor {number}: {error}")))
}

/// The engines: `usual` is the descriptor of one, those of the others begin at `first`. Closes what comes after.
fn engines(usual: i32, first: i32, tags: impl Iterator<Item = String>) -> io::Result<Engines<OwnedFd>> {
    let numbered: Vec<(String, i32)> = tags.zip(first..).collect();
    fd::close_from(first + numbered.len() as i32);
    Engines { usual, free: numbered }.try_map(|number| given(*number))
}

fn prepare() -> io::Result<shell::Given> {
    let engines = engines(5, 8, std::env::args().skip(1))?;
    let (parent, children, store) = (given(3)?, given(4)?, (given(6)?, given(7)?));
    let errors = fd::duplicate(std::os::fd::AsFd::as_fd(&io::stderr()), 8)?;
    // Fails when the parent has made the session already.
    let _ = process::new_session();
    thread::set_name("wsgi-supervisor");
    if has_given_up_root() {
        // The kernel does the same to httpd's children, which change their user without executing anything.
        process::deny_inspection();
    }
    for ignored in [libc::SIGHUP, libc::SIGPIPE, libc::SIGUSR1, libc::SIGUSR2, libc::SIGQUIT, libc::SIGWINCH] {
        signal::ignore(ignored)?;
    }
    let signals = signal::receive([libc::SIGCHLD, libc::SIGTERM, libc::SIGINT])?.into_owned();
    signal::unblock_all()?;
    Ok(shell::Given { parent, children, engines, store, errors, signals })
}

/// Whether httpd's parent is root and this process is another user. Daemon processes may then run as this user as well.
fn has_given_up_root() -> bool {
    let parent = std::fs::metadata(format!("/proc/{}", std::os::unix::process::parent_id()));
    let own = wsgi_sys::user::effective_uid();
    // If /proc hides the parent, it belongs to another user (ProtectProc=).
    own != 0 && parent.map_or(true, |found| std::os::unix::fs::MetadataExt::uid(&found) != own)
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == wsgi_wire::doctor::DOCTOR) {
        return doctor::main();
    }
    match prepare() {
        Ok(given) => {
            shell::Shell::new(given).run();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wsgi-supervisor: {error}; it is started by Apache httpd's mod_wsgi, not by hand");
            ExitCode::FAILURE
        }
    }
}
