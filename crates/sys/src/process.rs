//! Processes: start one with exactly the given descriptors, environment, identity and limits; wait; kill; watch.
//!
//! Callers: the httpd module starts the supervisor, the supervisor starts daemon processes; the doctor
//! forks to look at things as another user.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

use rustix::io::retry_on_intr;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, WaitOptions, set_dumpable_behavior, waitpid};

use crate::fd::cvt;

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

/// The name of this machine; empty if the system does not tell.
pub fn host_name() -> String {
    let mut name = [0u8; 256];
    // SAFETY: room for a name of that length.
    let status = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let end = name.iter().position(|byte| *byte == 0).filter(|_| status == 0).unwrap_or(0);
    String::from_utf8_lossy(&name[..end]).into_owned()
}

/// Waits for a child to end.
///
/// # Errors
/// When it is no child of this process.
pub fn wait(pid: i32) -> io::Result<ExitStatus> {
    let found = wait_with(Some(named(pid)?), WaitOptions::empty())?;
    found.map(|(_, status)| status).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The status of a child that has ended; `None` while it runs.
///
/// # Errors
/// When it is no child of this process.
pub fn try_wait(pid: i32) -> io::Result<Option<ExitStatus>> {
    Ok(wait_with(Some(named(pid)?), WaitOptions::NOHANG)?.map(|(_, status)| status))
}

/// Any child that has ended; `None` when there is none now. Only for a process in which nobody else starts children.
pub fn reap() -> Option<(i32, ExitStatus)> {
    wait_with(None, WaitOptions::NOHANG).ok().flatten()
}

/// `None` for any child. `Ok(None)` when none has ended.
fn wait_with(pid: Option<Pid>, flags: WaitOptions) -> io::Result<Option<(i32, ExitStatus)>> {
    // `waitpid(None)` is something else: any child of the same process group.
    let found = retry_on_intr(|| pid.map_or_else(|| rustix::process::wait(flags), |pid| waitpid(Some(pid), flags)))?;
    Ok(found.map(|(pid, status)| (pid.as_raw_nonzero().get(), ExitStatus::from_raw(status.as_raw()))))
}

/// The process of this number.
fn named(pid: i32) -> io::Result<Pid> {
    Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidInput.into())
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

/// Sends a signal to every process of the group (killpg(2), no process group of ours) that `leader` leads.
///
/// # Errors
/// `InvalidInput` for a number that is no process id; otherwise what killpg says.
pub fn killpg(leader: i32, signal: i32) -> io::Result<()> {
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
/// `InvalidInput` for a number that is no process id; otherwise what pidfd_open says.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(named(pid)?, PidfdFlags::empty())?)
}

/// Sends a signal to the very process that a [`pidfd_open`] descriptor names.
///
/// # Errors
/// What pidfd_send_signal says.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: takes numbers and a NULL.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    cvt(if done == -1 { -1 } else { 0 }).map(drop)
}

/// Makes this process the leader of a new session. Async-signal-safe.
///
/// # Errors
/// When it leads a process group already.
pub fn new_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Keeps other processes of the same user away from this process's memory and descriptors (ptrace, /proc/PID/mem,
/// /proc/PID/fd). The process then leaves no core file either.
pub fn deny_inspection() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Whether the system denies memory that is writable and executable (systemd's MemoryDenyWriteExecute=), as far as it
/// tells.
pub fn denies_write_execute() -> bool {
    const PR_GET_MDWE: libc::c_int = 66;
    // SAFETY: takes its arguments by value; a kernel that does not know it says so.
    unsafe { libc::prctl(PR_GET_MDWE, 0, 0, 0, 0) > 0 }
}

/// Ends the process now: no exit handler runs, and Python does not finalise. Async-signal-safe.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: takes its argument by value, and does not return.
    unsafe { libc::_exit(status) }
}
