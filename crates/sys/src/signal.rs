//! Signals: sending, ignoring, and receiving through a pipe.
//!
//! A handler only writes the signal's number into a pipe, so that an event loop sees it as a readable
//! descriptor. Callers: the supervisor; the httpd module sends.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::fd::{self, cvt};

/// The writing end that the handler uses; -1 before [`receive`].
static PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn handler(signal: libc::c_int) {
    // The interrupted code must not see another errno.
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: write is async-signal-safe and reads one byte; a full or closed pipe is only an error.
    let _ = unsafe { libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
    set_errno(errno);
}

#[cfg(target_os = "linux")]
fn set_errno(errno: libc::c_int) {
    // SAFETY: returns the place of this thread's errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the place is valid for the thread's life.
    unsafe { place.write(errno) };
}

/// On other systems the handler may change errno; the loop that it interrupts tolerates that.
#[cfg(not(target_os = "linux"))]
fn set_errno(_errno: libc::c_int) {}

fn install(signal: libc::c_int, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all fields of sigaction are integers, for which zero is a value.
    let mut new: libc::sigaction = unsafe { mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = libc::SA_RESTART;
    // SAFETY: `new` lives during the call; the action is SIG_IGN or a handler that is async-signal-safe.
    cvt(unsafe { libc::sigaction(signal, &raw const new, std::ptr::null_mut()) }).map(drop)
}

/// Ignores `signal`.
///
/// # Errors
/// For a signal that cannot be ignored.
pub fn ignore(signal: i32) -> io::Result<()> {
    install(signal, libc::SIG_IGN)
}

/// Receives `signals` from now on: each arrival puts one byte, the signal's number, into a pipe. Returns the pipe's
/// reading end (non-blocking). Call it once in a process.
///
/// # Errors
/// When the pipe cannot be made, a signal cannot be caught, or this function was called before.
pub fn receive(signals: &[i32]) -> io::Result<OwnedFd> {
    let (reader, writer) = fd::pipe()?;
    fd::set_nonblocking(reader.as_fd(), true)?;
    fd::set_nonblocking(writer.as_fd(), true)?;
    if PIPE.compare_exchange(-1, writer.as_raw_fd(), Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // The handler needs the writing end for the rest of the process's life.
    let _ = writer.into_raw_fd();
    for signal in signals {
        install(*signal, handler as *const () as libc::sighandler_t)?;
    }
    Ok(reader)
}

/// Lets every signal through in this thread.
///
/// # Errors
/// None in practice.
pub fn unblock_all() -> io::Result<()> {
    let empty = set(false);
    // SAFETY: the set lives during the call; the old mask is not asked for.
    cvt(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut()) }).map(drop)
}

/// Runs `body` while this thread receives no signal. A thread that `body` starts receives none either, from its first
/// moment on.
pub fn with_all_blocked<T>(body: impl FnOnce() -> T) -> T {
    let (full, mut before) = (set(true), set(false));
    // SAFETY: both sets live during the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const full, &raw mut before) };
    let result = body();
    // SAFETY: the set is the one that was in force.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    result
}

/// The set of all signals, or the empty one.
pub(crate) fn set(full: bool) -> libc::sigset_t {
    // SAFETY: a sigset_t is plain integers.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    if full {
        // SAFETY: writes the set.
        unsafe { libc::sigfillset(&raw mut set) };
    } else {
        // SAFETY: writes the set.
        unsafe { libc::sigemptyset(&raw mut set) };
    }
    set
}

/// The signal's name, such as `SIGSEGV`; `signal 35` when it has none here.
pub fn name(signal: i32) -> String {
    let known = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_received_signal_is_a_byte() {
        let pipe = receive(&[libc::SIGUSR2]).expect("receive");
        assert!(receive(&[]).is_err());
        crate::process::kill(i32::try_from(std::process::id()).expect("pid"), libc::SIGUSR2).expect("kill");
        let mut byte = [0; 4];
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let got = loop {
            match fd::read(pipe.as_fd(), &mut byte) {
                Ok(len) => break len,
                Err(_) => assert!(std::time::Instant::now() < deadline),
            }
        };
        assert_eq!((got, i32::from(byte[0])), (1, libc::SIGUSR2));
        assert_eq!(name(libc::SIGSEGV), "SIGSEGV");
        assert_eq!(name(40), "signal 40");
    }
}
