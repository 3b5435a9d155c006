//! Descriptors: flags, pipes, memory files, the descriptors that a process was started with.
//!
//! Everything made here is close-on-exec. Callers: the httpd module, the supervisor, the engine.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Turns the result of a libc call into a [`io::Result`]: -1 is `errno`.
pub fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// As [`cvt`], for calls that return a size.
pub fn cvt_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Calls again what a signal has interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Sets or clears close-on-exec.
pub fn set_cloexec(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let flags = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: F_SETFD takes its argument by value and touches no memory of ours.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags) }).map(drop)
}

/// Sets or clears O_NONBLOCK. The flag belongs to the open file: every process that shares it is affected.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    // SAFETY: F_GETFL touches no memory of ours.
    let old = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    let new = if on { old | libc::O_NONBLOCK } else { old & !libc::O_NONBLOCK };
    // SAFETY: F_SETFL takes its argument by value and touches no memory of ours.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, new) }).map(drop)
}

/// A duplicate whose number is at least `least`, close-on-exec.
pub fn duplicate(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes its argument by value and touches no memory of ours.
    let new = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) })?;
    Ok(own(new))
}

/// Makes standard output and standard error copies of `fd`.
pub fn replace_output(fd: BorrowedFd<'_>) -> io::Result<()> {
    for number in [1, 2] {
        // SAFETY: takes its arguments by value; nothing owns the numbers of the standard streams.
        cvt(unsafe { libc::dup2(fd.as_raw_fd(), number) })?;
    }
    Ok(())
}

/// A pipe: reading end, writing end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two numbers that the call writes.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the array has room for the two numbers that the call writes.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
    cvt(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    Ok((own_cloexec(ends[0])?, own_cloexec(ends[1])?))
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
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub fn memfd(name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a C string that lives during the call.
    let fd = cvt(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })?;
    Ok(own(fd))
}

/// Whether this descriptor may be used to read. It may not if it was opened for writing only, or as a mere place
/// (`O_PATH`): its owner may have got a place without the right to read.
pub fn is_readable(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GETFL touches no memory of ours.
    let Ok(flags) = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }) else { return false };
    #[cfg(target_os = "linux")]
    if flags & libc::O_PATH != 0 {
        return false;
    }
    matches!(flags & libc::O_ACCMODE, libc::O_RDONLY | libc::O_RDWR)
}

/// Reads once.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the call writes at most `buffer.len()` bytes, into `buffer`.
    cvt_size(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// Writes once.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the call reads at most `bytes.len()` bytes, from `bytes`.
    cvt_size(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
}

/// Reads once at `offset`, without moving the file's position. A signal does not end the wait for a slow file system.
pub fn read_at(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    retry(|| {
        // SAFETY: the call writes at most `buffer.len()` bytes, into `buffer`.
        cvt_size(unsafe { libc::pread(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), offset) })
    })
}

/// Writes once at `offset`, without moving the file's position.
pub fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the call reads at most `bytes.len()` bytes, from `bytes`.
    cvt_size(unsafe { libc::pwrite(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), offset) })
}

/// Which file a descriptor names: device and inode. Nothing when it is closed.
pub fn identity(fd: BorrowedFd<'_>) -> Option<(u64, u64)> {
    // SAFETY: all zero is a valid record.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the record is alive.
    cvt(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut found) }).ok()?;
    Some((found.st_dev, found.st_ino))
}

/// Closes every descriptor from `first` on. For the start of a program, before it owns any of these.
pub fn close_from(first: RawFd) {
    let first = first.max(3);
    #[cfg(target_os = "linux")]
    {
        // SAFETY: takes its arguments by value; the caller owns no descriptor in the range.
        let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
        if done == 0 {
            return;
        }
    }
    for fd in first..highest() {
        // SAFETY: as above; a number that is not open is only an error.
        let _ = unsafe { libc::close(fd) };
    }
}

/// One above the highest possible descriptor, within reason.
pub(crate) fn highest() -> RawFd {
    // SAFETY: sysconf takes its argument by value and touches no memory of ours.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
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
    own_cloexec(number)
}

/// Owns a number that a libc call has just returned.
pub(crate) fn own(number: RawFd) -> OwnedFd {
    // SAFETY: every caller passes a descriptor that a call has just opened for it alone.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// As [`own`], and sets close-on-exec.
pub(crate) fn own_cloexec(number: RawFd) -> io::Result<OwnedFd> {
    let fd = own(number);
    set_cloexec(std::os::fd::AsFd::as_fd(&fd), true)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

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
    #[cfg(target_os = "linux")]
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
