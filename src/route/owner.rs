//! `script-user` and `script-group`: who must own a script.

use super::Rejection;
use crate::directive::shown;

/// Owner and mode of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

/// Who must own the script, with the name that the configuration gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership<'a> {
    /// `script-user`.
    User(u32, &'a [u8]),
    /// `script-group`.
    Group(u32, &'a [u8]),
}

/// Checks `script` and the directory that holds it; `None` is a file whose owner could not be read.
pub fn check_owner(
    wanted: Ownership<'_>,
    filename: &[u8],
    script: Option<FileOwner>,
    directory: Option<FileOwner>,
) -> Result<(), Rejection> {
    check_one(wanted, "the script", filename, script)?;
    check_one(wanted, "the directory of the script", filename, directory)
}

/// The same rule for the script and for its directory.
fn check_one(wanted: Ownership<'_>, what: &str, filename: &[u8], found: Option<FileOwner>) -> Result<(), Rejection> {
    let (option, name) = match wanted {
        Ownership::User(_, name) => ("script-user", name),
        Ownership::Group(_, name) => ("script-group", name),
    };
    let problem = match found {
        None => "its owner cannot be read".to_owned(),
        Some(found) => match problem(wanted, found) {
            Some(problem) => problem,
            None => return Ok(()),
        },
    };
    Err(Rejection::new(
        403,
        format!("{what} \"{}\" is refused by {option}={}: {problem}", shown(filename), shown(name)),
    ))
}

/// What is wrong with a file, as a clause.
fn problem(wanted: Ownership<'_>, found: FileOwner) -> Option<String> {
    const GROUP_MAY_WRITE: u32 = 0o020;
    const OTHERS_MAY_WRITE: u32 = 0o002;
    match wanted {
        Ownership::User(uid, _) if found.uid != uid => Some(format!("it belongs to user #{}", found.uid)),
        Ownership::Group(gid, _) if found.gid != gid => Some(format!("it belongs to group #{}", found.gid)),
        Ownership::User(..) if found.mode & GROUP_MAY_WRITE != 0 => Some("its group may write to it".to_owned()),
        _ if found.mode & OTHERS_MAY_WRITE != 0 => Some("every user may write to it".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Ownership<'static> = Ownership::User(1000, b"web");
    const GROUP: Ownership<'static> = Ownership::Group(1001, b"staff");

    fn refusal(wanted: Ownership<'_>, script: Option<FileOwner>, directory: Option<FileOwner>) -> Option<String> {
        let result = check_owner(wanted, b"/srv/app.wsgi", script, directory);
        result.err().map(|rejection| {
            assert_eq!(rejection.status, 403);
            rejection.text.into_owned()
        })
    }

    #[test]
    fn owner_and_mode_of_script_and_directory_are_checked() {
        let file = |uid, gid, mode| Some(FileOwner { uid, gid, mode });
        let good = file(1000, 1001, 0o100_644);
        let cases: &[(Ownership<'_>, Option<FileOwner>, &str)] = &[
            (USER, good, ""),
            (GROUP, good, ""),
            (USER, file(1, 1001, 0o644), "it belongs to user #1"),
            (GROUP, file(1000, 7, 0o644), "it belongs to group #7"),
            (USER, file(1000, 1001, 0o664), "its group may write to it"),
            (GROUP, file(1000, 1001, 0o664), ""),
            (USER, file(1000, 1001, 0o646), "every user may write to it"),
            (GROUP, file(1000, 1001, 0o666), "every user may write to it"),
            (USER, None, "its owner cannot be read"),
        ];
        for (wanted, found, problem) in cases {
            for (script, directory, what) in [(*found, good, "the script \""), (good, *found, "the directory of")] {
                let text = refusal(*wanted, script, directory).unwrap_or_default();
                assert!(text.ends_with(problem) && text.is_empty() == problem.is_empty(), "{text}");
                assert!(text.is_empty() || text.starts_with(what), "{text}");
            }
        }
    }

    #[test]
    fn the_text_names_option_and_file() {
        let text = refusal(USER, Some(FileOwner { uid: 0, gid: 0, mode: 0o644 }), None).unwrap();
        assert_eq!(text, "the script \"/srv/app.wsgi\" is refused by script-user=web: it belongs to user #0");
    }
}
