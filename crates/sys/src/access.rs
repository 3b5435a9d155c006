//! What this process may do with a file, as the kernel sees it: modes, access control lists, mounts.
//! Caller: the doctor.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::fd::cvt;

/// Whether the effective user may use `path` in all these ways. For a directory, `execute` means to enter it.
///
/// # Errors
/// What faccessat(2) says; `InvalidInput` for a path with a NUL byte.
pub fn check(path: &Path, read: bool, execute: bool) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mode = if read { libc::R_OK } else { 0 } | if execute { libc::X_OK } else { 0 };
    // SAFETY: the path is a C string that lives during the call.
    cvt(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) }).map(drop)
}

/// The security label of a file (SELinux: `user:role:type:level`); `None` where there is none.
pub fn label(path: &Path) -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        let mut buffer = [0_u8; 256];
        let name = c"security.selinux".as_ptr();
        // SAFETY: path and name are C strings; pointer and length describe the buffer.
        let got = unsafe { libc::getxattr(path.as_ptr(), name, buffer.as_mut_ptr().cast(), buffer.len()) };
        let text = buffer.get(..usize::try_from(got).ok()?)?;
        let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
        (!text.is_empty()).then_some(text)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
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
