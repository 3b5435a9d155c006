//! Descriptors: flags, pipes, memory files, the descriptors that a process was started with.
//!
//! Everything made here is close-on-exec. Callers: the httpd module, the supervisor, the engine.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use rustix::io::{FdFlags, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, getrlimit};

/// Turns the result of a libc call into a [`io::Result`]: -1 is `errno`.
pub fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Sets or clears close-on-exec.
pub fn set_cloexec(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, if on { FdFlags::CLOEXEC } else { FdFlags::empty() })?)
}

/// Sets or clears O_NONBLOCK. The flag belongs to the open file: every process that shares it is affected.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(fd)?;
    flags.set(OFlags::NONBLOCK, on);
    Ok(rustix::fs::fcntl_setfl(fd, flags)?)
}

/// A duplicate whose number is at least `least`, close-on-exec.
pub fn duplicate(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, least)?)
}

/// Makes standard output and standard error copies of `fd`.
pub fn replace_output(fd: BorrowedFd<'_>) -> io::Result<()> {
    rustix::stdio::dup2_stdout(fd)?;
    Ok(rustix::stdio::dup2_stderr(fd)?)
}

/// A pipe: reading end, writing end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// Opens the file behind `fd` anew, to write to it without waiting: O_NONBLOCK belongs to the open file, and others may
/// share that of `fd`.
///
/// # Errors
/// What open(2) says; there may be no /proc.
pub fn reopen_to_write(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).map(OwnedFd::from)
}

/// A file in memory without a name in the file system.
pub fn memfd(name: &CStr) -> io::Result<OwnedFd> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)?)
}

/// Whether this descriptor may be used to read. It may not if it was opened for writing only, or as a mere place
/// (`O_PATH`): its owner may have got a place without the right to read.
pub fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let Ok(flags) = rustix::fs::fcntl_getfl(fd) else { return false };
    let mode = flags & OFlags::RWMODE;
    !flags.contains(OFlags::PATH) && (mode == OFlags::RDONLY || mode == OFlags::RDWR)
}

/// Reads once.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(fd, buffer)?)
}

/// Writes once. Async-signal-safe.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(fd, bytes)?)
}

/// Reads once at `offset`, without moving the file's position. A signal does not end the wait for a slow file system.
pub fn read_at(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::pread(fd, &mut *buffer, offset))?)
}

/// Writes once at `offset`, without moving the file's position.
pub fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pwrite(fd, bytes, offset)?)
}

/// Which file a descriptor names: device and inode. Nothing when it is closed.
pub fn identity(fd: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let found = rustix::fs::fstat(fd).ok()?;
    Some((found.st_dev as u64, found.st_ino as u64))
}

/// Closes every descriptor from `first` on. For the start of a program, before it owns any of these.
pub fn close_from(first: RawFd) {
    let first = first.max(3);
    // SAFETY: takes its arguments by value; the caller owns no descriptor in the range.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if done == 0 {
        return;
    }
    for fd in first..highest() {
        // SAFETY: as above; a number that is not open is only an error.
        let _ = unsafe { libc::close(fd) };
    }
}

/// One above the highest possible descriptor, within reason.
pub(crate) fn highest() -> RawFd {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    RawFd::try_from(limit.clamp(256, 65_536)).unwrap_or(65_536)
}

/// Which numbers [`inherited`] has given away.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Takes a descriptor (0..=63) that this process was started with; each one only once. Call it at the start of a
/// program, before anything else could have opened that number. The descriptor becomes close-on-exec.
///
/// # Errors
/// When it is not open, was taken before, or its number is out of range.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    let invalid = || io::Error::from_raw_os_error(libc::EBADF);
    let bit = 1u64.checked_shl(u32::try_from(number).map_err(|_| invalid())?).ok_or_else(invalid)?;
    // SAFETY: F_GETFD touches no memory of ours; a number that is not open is an error.
    cvt(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if TAKEN.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return Err(invalid());
    }
    let fd = own(number);
    set_cloexec(fd.as_fd(), true)?;
    Ok(fd)
}

/// Owns a number that a libc call has just returned.
pub(crate) fn own(number: RawFd) -> OwnedFd {
    // SAFETY: every caller passes a descriptor that a call has just opened for it alone.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_carries_bytes() {
        let (reader, writer) = pipe().expect("pipe");
        assert_eq!(write(writer.as_fd(), b"abc").expect("write"), 3);
        let mut buffer = [0; 8];
        assert_eq!(read(reader.as_fd(), &mut buffer).expect("read"), 3);
        set_nonblocking(reader.as_fd(), true).expect("nonblocking");
        let error = read(reader.as_fd(), &mut buffer).expect_err("empty");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_was_not_opened_for_reading_is_not_readable() {
        use std::os::unix::fs::OpenOptionsExt;
        let path = std::env::temp_dir().join(format!("wsgi-readable-{}", std::process::id()));
        std::fs::write(&path, "text").expect("written");
        let opened = |options: &mut std::fs::OpenOptions| is_readable(options.open(&path).expect("opened").as_fd());
        let options = std::fs::File::options;
        assert!(opened(options().read(true)) && opened(options().read(true).write(true)));
        assert!(!opened(options().write(true)) && !opened(options().append(true)));
        assert!(!opened(options().read(true).custom_flags(libc::O_PATH)));
        let (reader, writer) = pipe().expect("pipe");
        assert!(is_readable(reader.as_fd()) && !is_readable(writer.as_fd()));
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn an_inherited_descriptor_is_given_once() {
        let (reader, _writer) = pipe().expect("pipe");
        let high = duplicate(reader.as_fd(), 40).expect("duplicate");
        let number = std::os::fd::IntoRawFd::into_raw_fd(high);
        let taken = inherited(number).expect("first");
        assert!(inherited(number).is_err());
        drop(taken);
        assert!(inherited(63).is_err());
        assert!(inherited(64).is_err());
    }
}
