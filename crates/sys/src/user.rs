//! Users and groups by name or `#id`. Callers: directive `user=`/`group=` values, the supervisor's start.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use rustix::process::Gid;

/// Largest buffer for one entry of the user or group database.
const MAX_ENTRY: usize = 1 << 20;

/// A user of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Log-in name.
    pub name: String,
    /// Home directory.
    pub home: String,
}

/// The effective user of this process.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective group of this process.
pub fn effective_gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// The supplementary groups of this process.
pub fn current_groups() -> io::Result<Vec<u32>> {
    Ok(rustix::process::getgroups()?.into_iter().map(Gid::as_raw).collect())
}

/// `Some(id)` for `#id`, as httpd writes numeric users and groups.
fn numeric(text: &str) -> Option<u32> {
    text.strip_prefix('#').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// The user with this name, or with this number when it is written `#id`. A number without an entry is a
/// user whose name is `#id` and whose group is that of this process.
///
/// # Errors
/// When the database cannot be read. An unknown name is `Ok(None)`.
pub fn find_user(text: &str) -> io::Result<Option<User>> {
    let Some(uid) = numeric(text) else { return user_by_name(text) };
    let unknown = || User { uid, gid: effective_gid(), name: text.to_owned(), home: String::new() };
    Ok(Some(user_by_id(uid)?.unwrap_or_else(unknown)))
}

/// The user with this name.
///
/// # Errors
/// When the database cannot be read.
pub fn user_by_name(name: &str) -> io::Result<Option<User>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    passwd(|entry, buffer, found| {
        // SAFETY: all pointers are valid for the call; the buffer's length is passed with it.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
    })
}

/// The user with this number.
///
/// # Errors
/// When the database cannot be read.
pub fn user_by_id(uid: u32) -> io::Result<Option<User>> {
    passwd(|entry, buffer, found| {
        // SAFETY: all pointers are valid for the call; the buffer's length is passed with it.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
    })
}

fn passwd(
    mut call: impl FnMut(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> libc::c_int,
) -> io::Result<Option<User>> {
    let mut entry = MaybeUninit::uninit();
    let mut buffer = Vec::new();
    if !look_up(&mut buffer, &mut entry, &mut call)? {
        return Ok(None);
    }
    // SAFETY: the call has reported success and filled the entry.
    let entry = unsafe { entry.assume_init() };
    // SAFETY: the entry's strings lie in `buffer`, which is alive.
    let name = unsafe { text(entry.pw_name) };
    // SAFETY: as above.
    let home = unsafe { text(entry.pw_dir) };
    Ok(Some(User { uid: entry.pw_uid, gid: entry.pw_gid, name, home }))
}

/// The number of the group with this name, or `#id`.
///
/// # Errors
/// When the database cannot be read. An unknown name is `Ok(None)`.
pub fn find_group(name: &str) -> io::Result<Option<u32>> {
    if let Some(gid) = numeric(name) {
        return Ok(Some(gid));
    }
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let mut buffer = Vec::new();
    let found = look_up(&mut buffer, &mut entry, &mut |entry, buffer: &mut [u8], found| {
        // SAFETY: all pointers are valid for the call; the buffer's length is passed with it.
        unsafe { libc::getgrnam_r(name.as_ptr(), entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
    })?;
    // SAFETY: the call has reported success and filled the entry.
    Ok(found.then(|| unsafe { entry.assume_init() }.gr_gid))
}

/// Calls one of the `get..._r` functions with a buffer that grows as it asks for more. `false`: no entry.
fn look_up<T>(
    buffer: &mut Vec<u8>,
    entry: &mut MaybeUninit<T>,
    call: &mut impl FnMut(*mut T, &mut [u8], *mut *mut T) -> libc::c_int,
) -> io::Result<bool> {
    buffer.resize(2048, 0);
    loop {
        let mut found = ptr::null_mut();
        match call(entry.as_mut_ptr(), buffer, &raw mut found) {
            0 => return Ok(!found.is_null()),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < MAX_ENTRY => buffer.resize(buffer.len() * 2, 0),
            // Various systems say "not found" with these, as getpwnam(3) lists them.
            libc::ENOENT | libc::ESRCH => return Ok(false),
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// The groups of a user: `gid` and those that the database names for it.
///
/// # Errors
/// When the name holds a NUL, or the list does not fit the system's limit.
pub fn groups_of(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(name)?;
    let mut groups = vec![0; 64];
    for _ in 0..12 {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: `groups` has room for `count` numbers; the name is a C string.
        let result = unsafe { libc::getgrouplist(name.as_ptr(), gid as _, groups.as_mut_ptr(), &raw mut count) };
        if result >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return Ok(groups.into_iter().map(|group: libc::gid_t| group).collect());
        }
        groups.resize(groups.len() * 2, 0);
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

/// # Safety
/// `at` is NULL or a C string.
unsafe fn text(at: *const libc::c_char) -> String {
    if at.is_null() {
        return String::new();
    }
    // SAFETY: the contract above.
    unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_number() {
        let by_name = find_user("root").expect("database").expect("root");
        let by_number = find_user("#0").expect("database").expect("root");
        assert_eq!((by_name.uid, &by_name), (0, &by_number));
        assert!(groups_of("root", 0).expect("groups").contains(&0));
    }

    #[test]
    fn unknown_names_are_none_and_unknown_numbers_are_users() {
        assert_eq!(find_user("no-such-user-here").expect("database"), None);
        assert_eq!(find_user("a\0b").expect("database"), None);
        assert_eq!(find_group("no-such-group-here").expect("database"), None);
        assert_eq!(find_group("#77").expect("database"), Some(77));
        let user = find_user("#3999999").expect("database").expect("by number");
        assert_eq!((user.uid, user.name.as_str()), (3_999_999, "#3999999"));
        assert_eq!(find_user("#-1").expect("database"), None);
    }
}
