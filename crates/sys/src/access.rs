//! What this process may do with a file, as the kernel sees it: modes, access control lists, mounts.
//! Caller: the doctor.

use std::io;
use std::path::Path;

use rustix::fs::{self, Access, AtFlags};

/// Whether the effective user may use `path` in all these ways. For a directory, `execute` means to enter it.
///
/// # Errors
/// What faccessat(2) says; `InvalidInput` for a path with a NUL byte.
pub fn check(path: &Path, read: bool, execute: bool) -> io::Result<()> {
    let mut mode = Access::empty();
    mode.set(Access::READ_OK, read);
    mode.set(Access::EXEC_OK, execute);
    Ok(fs::accessat(fs::CWD, path, mode, AtFlags::EACCESS)?)
}

/// The security label of a file (SELinux: `user:role:type:level`); `None` where there is none.
pub fn label(path: &Path) -> Option<String> {
    let mut buffer = [0_u8; 256];
    let got = fs::getxattr(path, c"security.selinux", &mut buffer).ok()?;
    let text = String::from_utf8_lossy(buffer.get(..got)?).trim_end_matches('\0').to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_can_be_read_and_what_is_not_cannot() {
        assert!(check(Path::new("/bin/sh"), true, true).is_ok());
        assert_eq!(check(Path::new("/no/such/file"), true, false).expect_err("absent").kind(), io::ErrorKind::NotFound);
        assert_eq!(label(Path::new("/no/such/file")), None);
    }
}
