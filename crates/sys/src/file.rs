//! Files by their path. Reads those that somebody else may have put in place, with rights that this person lacks:
//! reading never waits, touches no device, and stops at a size. Callers: httpd's parent (`env-file`), the supervisor
//! (`pyvenv.cfg`); the engine, which watches scripts.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::user;
use crate::walk::{Step, Stop, walk};

/// Reads all of a regular file of at most `most` bytes.
///
/// # Errors
/// What open and read say; `InvalidInput` for what is no regular file, `FileTooLarge` for a larger one.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    all(&open(path)?, most)
}

/// As [`read`]. Root follows a symbolic link only if it belongs to root or to the owner of the file, as httpd does by
/// `SymLinksIfOwnerMatch`. Otherwise anybody who may write to a directory on the way could lead root to somebody else's
/// secrets.
///
/// # Errors
/// As [`read`]; `PermissionDenied` for a link of somebody else.
pub fn read_owned(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if user::effective_uid() == 0 {
        check_links(path, &file.metadata()?)?;
    }
    all(&file, most)
}

/// Time of the last change of a file's content in microseconds since the epoch. Nothing when the system does not tell.
pub fn mtime_us(path: &Path) -> Option<i64> {
    let found = fs::metadata(path).ok()?;
    Some(found.mtime() * 1_000_000 + found.mtime_nsec() / 1000)
}

/// Whether there is certainly no such file.
pub fn is_missing(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn open(path: &Path) -> io::Result<File> {
    // Open it as a mere place first: opening a pipe would wait, and a device would notice.
    let place = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
    check_regular(&place)?;
    match File::open(format!("/proc/self/fd/{}", place.as_raw_fd())) {
        // This root directory has no /proc, or this process has changed its user and may not use it.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
        other => return other,
    }
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    check_regular(&file)?;
    Ok(file)
}

fn check_regular(file: &File) -> io::Result<()> {
    let is_regular = file.metadata()?.is_file();
    is_regular.then_some(()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

fn all(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let text = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Checks that every link on the way to the opened file `found` belongs to root or to the owner of that file.
fn check_links(path: &Path, found: &Metadata) -> io::Result<()> {
    let walked = walk(Path::new("/"), path, |step| match step {
        Step::Follow { link, found: here, .. } if here.uid() != 0 && here.uid() != found.uid() => {
            let (link, owner, other) = (link.display(), here.uid(), found.uid());
            let text = format!(
                "the symbolic link {link} belongs to user id {owner} and the file that it leads to to user id {other}; \
                 root follows no such link: name the file itself"
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
        }
        Step::Enter(_) | Step::Follow { .. } => Ok(()),
    });
    let at = walked.map_err(|stop| match stop {
        Stop::At(_, error) | Stop::Refused(error) => error,
        Stop::TooManyLinks => io::Error::from_raw_os_error(libc::ELOOP),
    })?;
    // The path may have led to another file when the file was opened.
    let here = fs::symlink_metadata(&at)?;
    let same = (here.dev(), here.ino()) == (found.dev(), found.ino());
    same.then_some(()).ok_or_else(|| io::Error::other("it was replaced while it was read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{lchown, symlink};
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("wsgi-file-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("real")).expect("folder");
            let folder = Folder(path);
            fs::write(folder.at("real/file"), "text").expect("file");
            folder
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn kind(read: io::Result<Vec<u8>>) -> io::ErrorKind {
        read.expect_err("refused").kind()
    }

    #[test]
    fn only_small_regular_files_are_read_and_nothing_is_waited_for() {
        let folder = Folder::new("kinds");
        let pipe = CString::new(folder.at("pipe").as_os_str().as_bytes()).expect("no NUL");
        // SAFETY: a C string that lives during the call.
        crate::fd::cvt(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }).expect("mkfifo");
        symlink("/dev/zero", folder.at("device")).expect("link");
        assert_eq!(read(&folder.at("real/file"), 4).expect("four bytes"), b"text");
        assert_eq!(kind(read(&folder.at("real/file"), 3)), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(read(&folder.at("none"), 9)), io::ErrorKind::NotFound);
        for other in ["pipe", "device", "real"] {
            assert_eq!(kind(read(&folder.at(other), 9)), io::ErrorKind::InvalidInput, "{other}");
        }
    }

    #[test]
    fn root_follows_links_of_root_and_of_the_owner() {
        let folder = Folder::new("links");
        symlink("real", folder.at("way")).expect("link");
        symlink("../way/file", folder.at("real/link")).expect("link");
        let file = folder.at("way/link");
        assert_eq!(read_owned(&file, 9).expect("own links"), b"text");
        if user::effective_uid() != 0 {
            return;
        }
        let give = |name: &str| lchown(folder.at(name), Some(4_000_000), None).expect("lchown");
        give("way");
        let refused = read_owned(&file, 9).expect_err("a link of somebody else");
        assert!(
            refused.kind() == io::ErrorKind::PermissionDenied && refused.to_string().contains("4000000"),
            "{refused}"
        );
        assert_eq!(read(&file, 9).expect("any link"), b"text");
        give("real/file");
        assert_eq!(read_owned(&file, 9).expect("the owner's link"), b"text");
    }
}
