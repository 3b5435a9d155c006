//! Signals: sending, ignoring, blocking, and receiving through a pipe.
//!
//! A handler only writes the signal's number into a pipe, so that an event loop sees it as a readable
//! descriptor. Callers: the supervisor; the engine; the httpd module sends and blocks.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::fd::cvt;
use crate::forked::{self, Private};

/// The process whose signals are handled here; one that the application forks is none of ours.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// The writing end that the handler uses; -1 before [`receive`].
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Gives the signal its default action in a process that was forked from ours, and sends it again. False in our own
/// process. Async-signal-safe.
fn is_foreign(signal: libc::c_int) -> bool {
    let process = process::id();
    if process == OWNER.load(Ordering::Relaxed) {
        return false;
    }
    // SAFETY: takes numbers; may be called in a signal handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: as above. The signal arrives when the handler returns.
    unsafe { libc::kill(process as libc::pid_t, signal) };
    true
}

extern "C" fn on_signal(signal: libc::c_int) {
    if is_foreign(signal) {
        return;
    }
    // The interrupted code must not see another errno.
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: write is async-signal-safe and reads one byte; a full or closed pipe is only an error.
    let _ = unsafe { libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
    set_errno(errno);
}

extern "C" fn on_dropped_signal(signal: libc::c_int) {
    is_foreign(signal);
}

pub(crate) extern "C" fn nothing(_signal: libc::c_int) {}

fn set_errno(errno: libc::c_int) {
    // SAFETY: returns the place of this thread's errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the place is valid for the thread's life.
    unsafe { place.write(errno) };
}

pub(crate) fn handler(function: extern "C" fn(libc::c_int)) -> libc::sighandler_t {
    function as *const () as libc::sighandler_t
}

pub(crate) fn install(signal: libc::c_int, action: libc::sighandler_t, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: all fields of sigaction are integers, for which zero is a value.
    let mut new: libc::sigaction = unsafe { mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = flags;
    // SAFETY: `new` lives during the call; the action is SIG_IGN or a handler that is async-signal-safe.
    cvt(unsafe { libc::sigaction(signal, &raw const new, ptr::null_mut()) }).map(drop)
}

/// The action that the signal has.
pub(crate) fn action(signal: libc::c_int) -> io::Result<libc::sighandler_t> {
    // SAFETY: all fields of sigaction are integers, for which zero is a value.
    let mut found: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: room for the present action; nothing is changed.
    cvt(unsafe { libc::sigaction(signal, ptr::null(), &raw mut found) })?;
    Ok(found.sa_sigaction)
}

/// Ignores `signal`.
///
/// # Errors
/// For a signal that cannot be ignored.
pub fn ignore(signal: i32) -> io::Result<()> {
    install(signal, libc::SIG_IGN, libc::SA_RESTART)
}

/// Receives `signals` from now on: each arrival puts one byte, the signal's number, into a pipe. Returns the pipe's
/// reading end (non-blocking). Forked processes have neither end, and their signals have the default action. Call it
/// once in a process.
///
/// # Errors
/// When the pipe cannot be made, a signal cannot be caught, or this function was called before.
pub fn receive(signals: impl IntoIterator<Item = i32>) -> io::Result<Private> {
    let reader = forked::while_none_forks(|| {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        if PIPE.compare_exchange(-1, writer.as_raw_fd(), Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // The handler needs the writing end for the rest of the process's life.
        forked::keep_private(writer.into_raw_fd());
        io::Result::Ok(Private::new(reader))
    })?;
    OWNER.store(process::id(), Ordering::Relaxed);
    signals.into_iter().try_for_each(catch)?;
    Ok(reader)
}

/// Lets one more signal arrive at the pipe of [`receive`], or takes it back from somebody who has set another handler.
/// Handlers do not outlive exec, and no mask is changed: programs that the application starts get signals as they
/// would elsewhere.
///
/// # Errors
/// For a signal that cannot be caught.
pub fn catch(signal: i32) -> io::Result<()> {
    install(signal, handler(on_signal), libc::SA_RESTART)
}

/// Whether the signal's default action ends the process, and the signal is not how the system tells of a fault.
fn ends_process(signal: i32) -> bool {
    use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSTOP, SIGSYS, SIGTRAP};
    use libc::{SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    let is_fault = matches!(signal, SIGABRT | SIGBUS | SIGFPE | SIGILL | SIGSEGV | SIGSYS | SIGTRAP);
    let is_harmless = matches!(signal, SIGCHLD | SIGCONT | SIGTSTP | SIGTTIN | SIGTTOU | SIGURG | SIGWINCH | SIGSTOP);
    (1..=libc::SIGRTMAX()).contains(&signal) && !is_fault && !is_harmless && signal != SIGKILL
}

/// From now on the signal does nothing in this process, if it would end it and nobody handles it. True when it does
/// nothing. The handler, other than `SIG_IGN`, does not outlive exec.
pub fn drop_signal(signal: i32) -> bool {
    if !ends_process(signal) {
        return false;
    }
    match action(signal) {
        Ok(libc::SIG_DFL) => {
            let _ = OWNER.compare_exchange(0, process::id(), Ordering::Relaxed, Ordering::Relaxed);
            install(signal, handler(on_dropped_signal), libc::SA_RESTART).is_ok()
        }
        Ok(action) => action == handler(on_dropped_signal),
        Err(_) => false,
    }
}

/// Sends a signal to a thread of this process; nothing when there is none of this number.
pub fn send_to_thread(tid: i32, signal: i32) {
    // SAFETY: takes numbers.
    unsafe { libc::syscall(libc::SYS_tgkill, process::id(), tid, signal) };
}

/// Interrupts the system call in which a thread of this process waits, and nothing else.
pub fn interrupt_thread(tid: i32) {
    // Without flags, so that calls are interrupted.
    if install(libc::SIGURG, handler(nothing), 0).is_ok() {
        send_to_thread(tid, libc::SIGURG);
    }
}

/// Lets these signals through in the calling thread. Programs that the thread starts inherit that.
pub fn unblock(signals: &[i32]) {
    let mut some = set(false);
    for signal in signals {
        // SAFETY: a set that is alive.
        unsafe { libc::sigaddset(&raw mut some, *signal) };
    }
    // SAFETY: the set lives during the call; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const some, ptr::null_mut()) };
}

/// Lets every signal through in this thread.
///
/// # Errors
/// None in practice.
pub fn unblock_all() -> io::Result<()> {
    let empty = set(false);
    // SAFETY: the set lives during the call; the old mask is not asked for.
    cvt(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, ptr::null_mut()) }).map(drop)
}

/// Runs `body` while this thread receives no signal. A thread that `body` starts receives none either, from its first
/// moment on.
pub fn with_all_blocked<T>(body: impl FnOnce() -> T) -> T {
    let (full, mut before) = (set(true), set(false));
    // SAFETY: both sets live during the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const full, &raw mut before) };
    let result = body();
    // SAFETY: the set is the one that was in force.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
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
    use crate::fd;
    use std::os::fd::AsFd;

    #[test]
    fn a_received_signal_is_a_byte() {
        let pipe = receive([libc::SIGUSR2]).expect("receive");
        assert!(receive([]).is_err());
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
    #[test]
    fn only_what_would_end_the_process_is_dropped() {
        for signal in [libc::SIGALRM, libc::SIGPROF, libc::SIGHUP, libc::SIGUSR2, libc::SIGRTMIN()] {
            assert!(ends_process(signal), "{signal}");
        }
        for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGCHLD, libc::SIGWINCH, 0, -1, 1000] {
            assert!(!ends_process(signal), "{signal}");
        }
    }
}
