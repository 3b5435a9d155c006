//! Files without a name: on disk for what is too much for memory, in memory for what is handed to another
//! process. Callers: children that keep a response for a slow client, the engine.

use std::ffi::CStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fd::{self, cvt};

/// An empty file in `directory` that nobody else can open and that is gone when it is closed.
///
/// # Errors
/// What open says, of the directory: it does not exist, may not be written, is full.
pub fn file_in(directory: &Path) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        let opened =
            OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory);
        match opened {
            Ok(file) => return Ok(file.into()),
            // A file system (or kernel) that has no such files.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {}
            Err(error) => return Err(error),
        }
    }
    named_and_removed(directory)
}

fn named_and_removed(directory: &Path) -> io::Result<OwnedFd> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("mod_wsgi.{}.{number}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file.into());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives the space of the file back: its length becomes 0.
///
/// # Errors
/// What ftruncate says.
pub fn empty(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes its arguments by value.
    cvt(unsafe { libc::ftruncate(file.as_raw_fd(), 0) }).map(drop)
}

/// A file in memory that holds `parts` one behind the other and can never change.
///
/// # Errors
/// When there is no memory, or the system has no such files.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub fn sealed<'p>(name: &CStr, parts: impl Iterator<Item = &'p [u8]>) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a C string that lives during the call.
    let file = cvt(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) })?;
    let file = fd::own(file);
    for mut part in parts {
        while !part.is_empty() {
            part = &part[fd::write(file.as_fd(), part)?..];
        }
    }
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: F_ADD_SEALS takes its argument by value.
    cvt(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(file)
}

/// As above, where the system has none.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub fn sealed<'p>(_name: &CStr, _parts: impl Iterator<Item = &'p [u8]>) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the file can never become shorter, whoever has it open.
pub fn cannot_shrink(file: BorrowedFd<'_>) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    {
        // SAFETY: F_GET_SEALS touches no memory of ours; a file without seals is an error.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        seals >= 0 && seals & libc::F_SEAL_SHRINK != 0
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    {
        let _ = file;
        false
    }
}

/// Size of a regular file in bytes; `None` for what is none, or cannot be asked.
pub fn regular_size(file: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: a stat record of zeroes is valid.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the record lives during the call.
    cvt(unsafe { libc::fstat(file.as_raw_fd(), &raw mut found) }).ok()?;
    let regular = found.st_mode & libc::S_IFMT == libc::S_IFREG;
    u64::try_from(found.st_size).ok().filter(|_| regular)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_has_no_name_and_takes_bytes() {
        let directory = std::env::temp_dir().join(format!("wsgi-temporary-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a folder");
        for file in [file_in(&directory), named_and_removed(&directory)] {
            let file = file.expect("made");
            assert_eq!(fs::read_dir(&directory).expect("readable").count(), 0);
            assert_eq!(fd::write_at(file.as_fd(), b"abc", 5).expect("written"), 3);
            assert_eq!(regular_size(file.as_fd()), Some(8));
            assert!(!cannot_shrink(file.as_fd()));
            empty(file.as_fd()).expect("emptied");
            assert_eq!(regular_size(file.as_fd()), Some(0));
        }
        fs::remove_dir(&directory).expect("empty");
        assert!(file_in(&directory).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_sealed_file_holds_its_parts_for_good() {
        let file = sealed(c"test", [&b"one "[..], b"", b"two"].into_iter()).expect("made");
        let mut text = [0; 16];
        assert_eq!(fd::read_at(file.as_fd(), &mut text, 0).expect("read"), 7);
        assert_eq!(&text[..7], b"one two");
        assert!(cannot_shrink(file.as_fd()) && empty(file.as_fd()).is_err());
    }
}
