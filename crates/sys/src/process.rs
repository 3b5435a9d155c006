//! Processes: start one with exactly the given descriptors, environment, identity and limits; wait; kill; watch.
//!
//! Callers: the httpd module starts the supervisor, the supervisor starts daemon processes; the doctor
//! forks to look at things as another user.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

use crate::fd::{self, cvt};

mod fork;
mod limit;
mod spawn;
mod step;
mod title;

pub use fork::{Forked, fork_as};
pub use limit::{Limit, Resource};
pub use spawn::{Ids, Outcome, Program, Spawned, spawn};
pub use step::Step;
pub use title::{set_locale, set_title};

/// Waits for a child to end.
///
/// # Errors
/// When it is no child of this process.
pub fn wait(pid: i32) -> io::Result<ExitStatus> {
    loop {
        match wait_with(pid, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|(_, status)| status),
        }
    }
}

/// The status of a child that has ended; `None` while it runs.
///
/// # Errors
/// When it is no child of this process.
pub fn try_wait(pid: i32) -> io::Result<Option<ExitStatus>> {
    let (found, status) = wait_with(pid, libc::WNOHANG)?;
    Ok((found != 0).then_some(status))
}

/// Any child that has ended; `None` when there is none now. Only for a process in which nobody else starts children.
pub fn reap() -> Option<(i32, ExitStatus)> {
    loop {
        match wait_with(-1, libc::WNOHANG) {
            Ok((0, _)) => return None,
            Ok(found) => return Some(found),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

fn wait_with(pid: i32, flags: libc::c_int) -> io::Result<(i32, ExitStatus)> {
    let mut status = 0;
    // SAFETY: writes `status`.
    let found = cvt(unsafe { libc::waitpid(pid, &raw mut status, flags) })?;
    Ok((found, ExitStatus::from_raw(status)))
}

/// Sends a signal to one process.
///
/// # Errors
/// `InvalidInput` for a number that names more than one process; otherwise what kill says.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: takes its arguments by value and touches no memory of ours.
    cvt(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Sends a signal to every process of the group that `leader` leads.
///
/// # Errors
/// `InvalidInput` for a number that is no process id; otherwise what killpg says.
pub fn kill_group(leader: i32, signal: i32) -> io::Result<()> {
    if leader <= 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: takes its arguments by value and touches no memory of ours.
    cvt(unsafe { libc::killpg(leader, signal) }).map(drop)
}

/// Whether a process with this number exists (a zombie does).
pub fn exists(pid: i32) -> bool {
    match kill(pid, 0) {
        Ok(()) => true,
        Err(error) => error.raw_os_error() == Some(libc::EPERM),
    }
}

/// A descriptor that becomes readable when the process ends, and names that very process for ever.
///
/// # Errors
/// `Unsupported` where the system has none; otherwise what pidfd_open says.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: takes its arguments by value.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(fd::own(cvt(fd)?))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Sends a signal to the very process that a [`pidfd_open`] descriptor names.
///
/// # Errors
/// What pidfd_send_signal says.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let no_info = ptr::null::<libc::siginfo_t>();
        // SAFETY: takes numbers and a NULL.
        let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
        cvt(if done == -1 { -1 } else { 0 }).map(drop)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (pidfd, signal);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Makes this process the leader of a new session.
///
/// # Errors
/// When it leads a process group already.
pub fn new_session() -> io::Result<()> {
    // SAFETY: setsid has no arguments.
    cvt(unsafe { libc::setsid() }).map(drop)
}

/// Keeps other processes of the same user away from this process's memory and descriptors (ptrace, /proc/PID/mem,
/// /proc/PID/fd). The process then leaves no core file either.
pub fn deny_inspection() {
    #[cfg(target_os = "linux")]
    // SAFETY: PR_SET_DUMPABLE takes its argument by value.
    let _ = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Whether the system denies memory that is writable and executable (systemd's MemoryDenyWriteExecute=), as far as it
/// tells.
pub fn denies_write_execute() -> bool {
    #[cfg(target_os = "linux")]
    {
        const PR_GET_MDWE: libc::c_int = 66;
        // SAFETY: takes its arguments by value; a kernel that does not know it says so.
        unsafe { libc::prctl(PR_GET_MDWE, 0, 0, 0, 0) > 0 }
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// Ends the process now: no exit handler runs, and Python does not finalise. Async-signal-safe.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: takes its argument by value, and does not return.
    unsafe { libc::_exit(status) }
}
