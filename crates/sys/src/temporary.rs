//! Files without a name, for data that is too large for memory. Callers: children that keep a response for a slow
//! client.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FileType;

/// An empty file in `directory` that nobody else can open and that is gone when it is closed.
///
/// # Errors
/// What open says about the directory: it does not exist, may not be written to, or is full.
pub fn file_in(directory: &Path) -> io::Result<OwnedFd> {
    let opened = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory);
    match opened {
        Ok(file) => return Ok(file.into()),
        // The file system (or the kernel) has no such files.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {}
        Err(error) => return Err(error),
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
    Ok(rustix::fs::ftruncate(file, 0)?)
}

/// Size of a regular file in bytes; `None` if the file is not regular or the system does not tell.
pub fn regular_size(file: BorrowedFd<'_>) -> Option<u64> {
    let found = rustix::fs::fstat(file).ok()?;
    u64::try_from(found.st_size).ok().filter(|_| FileType::from_raw_mode(found.st_mode).is_file())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::fd;

    #[test]
    fn a_temporary_file_has_no_name_and_takes_bytes() {
        let directory = std::env::temp_dir().join(format!("wsgi-temporary-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a folder");
        for file in [file_in(&directory), named_and_removed(&directory)] {
            let file = file.expect("made");
            assert_eq!(fs::read_dir(&directory).expect("readable").count(), 0);
            assert_eq!(fd::write_at(file.as_fd(), b"abc", 5).expect("written"), 3);
            assert_eq!(regular_size(file.as_fd()), Some(8));
            empty(file.as_fd()).expect("emptied");
            assert_eq!(regular_size(file.as_fd()), Some(0));
        }
        fs::remove_dir(&directory).expect("empty");
        assert!(file_in(&directory).is_err());
    }
}
