//! Looks at things as another user: forks this very program, and the fork changes root and identity, runs a function
//! and ends. Caller: the doctor.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{self, AssertUnwindSafe};

use super::spawn::{Ids, become_other};
use super::step::Step;
use crate::fd::{self, cvt};

/// A fork.
#[derive(Debug)]
pub struct Forked {
    /// Process id; it leads a session of its own.
    pub pid: i32,
    /// The pipe to which the fork writes. It is at its end when the fork has ended.
    pub output: OwnedFd,
}

/// Forks. The child changes root and identity, and runs `body` with the writing end of a pipe and with the step that
/// failed, if one did. Then the child ends, and cleans up nothing that belongs to the parent.
///
/// # Errors
/// When this process has further threads (locks that they hold would never be free in the child), or when
/// descriptors or processes are exhausted.
pub fn fork_as(
    chroot: Option<&CStr>,
    ids: Option<&Ids>,
    body: impl FnOnce(File, Result<(), (Step, io::Error)>),
) -> io::Result<Forked> {
    if fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(io::Error::other("a process with several threads cannot be forked"));
    }
    let (output, writer) = fd::pipe()?;
    // SAFETY: there is no other thread, so the child may do all that the parent could.
    let pid = cvt(unsafe { libc::fork() })?;
    if pid != 0 {
        return Ok(Forked { pid, output });
    }
    drop(output);
    let run = || {
        let _ = super::new_session();
        let changed = become_other(chroot, ids);
        body(File::from(writer), changed.map_err(|(step, errno)| (step, io::Error::from_raw_os_error(errno))));
    };
    let status = i32::from(panic::catch_unwind(AssertUnwindSafe(run)).is_err());
    // Not exit: its handlers belong to the parent.
    super::exit_now(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        let error = fork_as(None, None, |_, _| {}).expect_err("two threads at least");
        assert!(error.to_string().contains("several threads"), "{error}");
        drop(stop);
        assert!(thread.join().expect("thread").is_err());
    }
}
