//! `script-user` and `script-group`: who must own a script.

use wsgi_wire::messages::Message;

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
    check_one(wanted, Place::Script, filename, script)?;
    check_one(wanted, Place::Directory, filename, directory)
}

/// What is looked at.
#[derive(Clone, Copy)]
enum Place {
    Script,
    Directory,
}

/// The same rule for the script and for its directory.
fn check_one(wanted: Ownership<'_>, place: Place, filename: &[u8], found: Option<FileOwner>) -> Result<(), Rejection> {
    let (option, name) = match wanted {
        Ownership::User(_, name) => ("script-user", name),
        Ownership::Group(_, name) => ("script-group", name),
    };
    let what = match place {
        Place::Script => "the script",
        Place::Directory => "the directory of the script",
    };
    let Some((problem, words)) = problem(wanted, found) else { return Ok(()) };
    let text = format!("{what} \"{}\" is refused by {option}={}: {words}", shown(filename), shown(name));
    let text = match known(wanted, place, problem, found) {
        Some(phrase) => format!("{phrase}: {text}"),
        None => text,
    };
    Err(Rejection::new(403, message(wanted, place, problem), text))
}

/// What can be wrong with a file.
#[derive(Clone, Copy)]
enum Problem {
    Unknown,
    Owner,
    GroupMayWrite,
    OthersMayWrite,
}

/// What is wrong with a file, also as a clause.
fn problem(wanted: Ownership<'_>, found: Option<FileOwner>) -> Option<(Problem, String)> {
    const GROUP_MAY_WRITE: u32 = 0o020;
    const OTHERS_MAY_WRITE: u32 = 0o002;
    let Some(found) = found else { return Some((Problem::Unknown, "its owner cannot be read".to_owned())) };
    match wanted {
        Ownership::User(uid, _) if found.uid != uid => {
            Some((Problem::Owner, format!("it belongs to user #{}", found.uid)))
        }
        Ownership::Group(gid, _) if found.gid != gid => {
            Some((Problem::Owner, format!("it belongs to group #{}", found.gid)))
        }
        Ownership::User(..) if found.mode & GROUP_MAY_WRITE != 0 => {
            Some((Problem::GroupMayWrite, "its group may write to it".to_owned()))
        }
        _ if found.mode & OTHERS_MAY_WRITE != 0 => {
            Some((Problem::OthersMayWrite, "every user may write to it".to_owned()))
        }
        _ => None,
    }
}

/// The number of the line.
fn message(wanted: Ownership<'_>, place: Place, problem: Problem) -> Message {
    use Place::{Directory, Script};
    use Problem::{GroupMayWrite, OthersMayWrite, Owner, Unknown};
    let user = matches!(wanted, Ownership::User(..));
    match (user, place, problem) {
        (true, Script, Unknown) => Message::FileOwnerUnknown,
        (true, Script, Owner) => Message::FileOwner,
        (true, Script, GroupMayWrite) => Message::FileGroupWrites,
        (true, Script, OthersMayWrite) => Message::FileOthers,
        (true, Directory, Unknown) => Message::DirectoryOwnerUnknown,
        (true, Directory, Owner) => Message::DirectoryOwner,
        (true, Directory, GroupMayWrite) => Message::DirectoryGroupWrites,
        (true, Directory, OthersMayWrite) => Message::DirectoryOthers,
        (false, Script, Unknown) => Message::FileGroupUnknown,
        (false, Script, Owner) => Message::FileGroup,
        (false, Directory, Unknown) => Message::DirectoryGroupUnknown,
        (false, Directory, Owner) => Message::DirectoryGroup,
        (false, Script, GroupMayWrite | OthersMayWrite) => Message::FileOthersGroup,
        (false, Directory, GroupMayWrite | OthersMayWrite) => Message::DirectoryOthersGroup,
    }
}

/// The words that mod_wsgi has for it.
fn known(wanted: Ownership<'_>, place: Place, problem: Problem, found: Option<FileOwner>) -> Option<String> {
    let found = found?;
    let file = match place {
        Place::Script => "WSGI script file",
        Place::Directory => "Parent directory of WSGI script file",
    };
    let owner = match wanted {
        Ownership::User(..) => format!("owner '#{}'", found.uid),
        Ownership::Group(..) => format!("group '#{}'", found.gid),
    };
    let who = match wanted {
        Ownership::User(..) => "user",
        Ownership::Group(..) => "group",
    };
    Some(match (problem, place) {
        (Problem::Unknown, _) => return None,
        (Problem::Owner, Place::Script) => format!("{file} {owner} does not match {who} required for daemon process"),
        (Problem::Owner, Place::Directory) => {
            format!("{file} has {owner} which does not match {who} required for daemon process")
        }
        (Problem::GroupMayWrite, _) => format!("{file} is writable to group"),
        (Problem::OthersMayWrite, _) => format!("{file} is writable to world"),
    })
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
                assert!(text.is_empty() || text.contains(what), "{text}");
            }
        }
    }

    #[test]
    fn the_text_names_option_and_file() {
        let text = refusal(USER, Some(FileOwner { uid: 0, gid: 0, mode: 0o644 }), None).unwrap();
        let known = "WSGI script file owner '#0' does not match user required for daemon process";
        let rest = "the script \"/srv/app.wsgi\" is refused by script-user=web: it belongs to user #0";
        assert_eq!(text, format!("{known}: {rest}"));
    }

    #[test]
    fn each_problem_has_the_number_and_words_of_mod_wsgi() {
        let file = |uid, gid, mode| Some(FileOwner { uid, gid, mode });
        let good = file(1000, 1001, 0o100_644);
        let of = |wanted, script, directory| {
            let refused = check_owner(wanted, b"/srv/app.wsgi", script, directory).unwrap_err();
            (refused.message.number(), refused.text.into_owned())
        };
        let cases = [
            (USER, None, 162, 169, ""),
            (USER, file(1, 1001, 0o644), 164, 171, " does not match user required for daemon process: "),
            (USER, file(1000, 1001, 0o664), 166, 173, "WSGI script file is writable to group: "),
            (USER, file(1000, 1001, 0o646), 168, 172, "WSGI script file is writable to world: "),
            (GROUP, None, 153, 158, ""),
            (GROUP, file(1000, 7, 0o644), 155, 160, " does not match group required for daemon process: "),
            (GROUP, file(1000, 1001, 0o666), 157, 161, "WSGI script file is writable to world: "),
        ];
        for (wanted, wrong, of_script, of_directory, words) in cases {
            for (script, directory, number) in [(wrong, good, of_script), (good, wrong, of_directory)] {
                let (found, text) = of(wanted, script, directory);
                assert_eq!(found, number, "{text}");
                assert!(text.contains(words), "{text}");
            }
        }
    }
}
