//! Users and groups by name or `#id`. Callers: directive `user=`/`group=` values, the supervisor's start.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::unistd;

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

impl From<unistd::User> for User {
    fn from(found: unistd::User) -> User {
        let home = found.dir.to_string_lossy().into_owned();
        User { uid: found.uid.as_raw(), gid: found.gid.as_raw(), name: found.name, home }
    }
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
    Ok(rustix::process::getgroups()?.into_iter().map(rustix::process::Gid::as_raw).collect())
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
    Ok(look_up(|| unistd::User::from_name(name))?.map(User::from))
}

/// The user with this number.
///
/// # Errors
/// When the database cannot be read.
pub fn user_by_id(uid: u32) -> io::Result<Option<User>> {
    Ok(look_up(|| unistd::User::from_uid(uid.into()))?.map(User::from))
}

/// The number of the group with this name, or `#id`.
///
/// # Errors
/// When the database cannot be read. An unknown name is `Ok(None)`.
pub fn find_group(name: &str) -> io::Result<Option<u32>> {
    if let Some(gid) = numeric(name) {
        return Ok(Some(gid));
    }
    Ok(look_up(|| unistd::Group::from_name(name))?.map(|group| group.gid.as_raw()))
}

/// Looks into one of the databases. `None`: no entry.
fn look_up<T>(mut look: impl FnMut() -> nix::Result<Option<T>>) -> io::Result<Option<T>> {
    loop {
        match look() {
            Err(Errno::EINTR) => {}
            // Various systems say "not found" with these, as getpwnam(3) lists them.
            Err(Errno::ENOENT | Errno::ESRCH) => return Ok(None),
            other => return Ok(other?),
        }
    }
}

/// The groups of a user: `gid` and those that the database names for it.
///
/// # Errors
/// When the name holds a NUL, or the list does not fit the system's limit.
pub fn groups_of(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let groups = unistd::getgrouplist(&CString::new(name)?, gid.into())?;
    Ok(groups.into_iter().map(unistd::Gid::as_raw).collect())
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
