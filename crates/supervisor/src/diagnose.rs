//! Why a daemon process could not start, in words that say what to change: a walk along the path as the
//! pool's user would take it, a look at the virtual environment, and the well-known last words of Python.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use wsgi_sys::process::{Ids, Step};
use wsgi_wire::control::Exit;
use wsgi_wire::pool::PoolConfig;

use crate::decide::Ended;

/// Most links that are followed, as in the kernel.
const MAX_LINKS: u32 = 40;

/// A right to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Reading.
    Read = 4,
    /// Executing; of a directory: reaching what is in it.
    Execute = 1,
}

/// Whether the mode bits give `ids` the right. Access control lists are not looked at.
fn allows(found: &Metadata, ids: &Ids, right: Right) -> bool {
    let shift = if found.uid() == ids.uid {
        6
    } else if found.gid() == ids.gid || ids.groups.contains(&found.gid()) {
        3
    } else {
        0
    };
    (found.mode() >> shift) & (right as u32) != 0
}

fn owner(found: &Metadata) -> String {
    format!("owner {}, group {}, mode {:04o}", found.uid(), found.gid(), found.mode() & 0o7777)
}

/// Walks `path` as `ids` would; says what stops at which component. `user` is the name for the message.
pub fn walk(path: &Path, ids: &Ids, user: &str, right: Right) -> Result<(), String> {
    let mut links = 0;
    let mut at = PathBuf::from("/");
    let mut left: Vec<PathBuf> = parts(path);
    while let Some(part) = left.pop() {
        let here = fs::symlink_metadata(&at).map_err(|error| format!("{}: {error}", at.display()))?;
        if !here.is_dir() {
            return Err(format!("{} is not a directory", at.display()));
        }
        if !allows(&here, ids, Right::Execute) {
            let place = at.display();
            return Err(format!("user \"{user}\" may not enter the directory {place} ({})", owner(&here)));
        }
        if part.as_os_str() == ".." {
            at.pop();
            continue;
        }
        let next = at.join(part);
        let found = fs::symlink_metadata(&next).map_err(|error| missing(&next, path, &error))?;
        if !found.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(format!("{} leads through too many symbolic links", path.display()));
        }
        let target = fs::read_link(&next).map_err(|error| format!("{}: {error}", next.display()))?;
        if !at.join(&target).exists()
            && fs::metadata(&next).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            let (next, target) = (next.display(), target.display());
            return Err(format!("{next} is a symbolic link to {target}, which does not exist{}", base_gone(path)));
        }
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(parts(&target));
    }
    let found = fs::symlink_metadata(&at).map_err(|error| missing(&at, path, &error))?;
    if found.is_dir() && right == Right::Execute {
        return Err(format!("{} is a directory, not a program", at.display()));
    }
    if !allows(&found, ids, right) {
        let (verb, place) = (if right == Right::Read { "read" } else { "execute" }, at.display());
        return Err(format!("user \"{user}\" may not {verb} {place} ({})", owner(&found)));
    }
    Ok(())
}

/// The components, last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let normal = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut parts: Vec<PathBuf> = normal.collect();
    parts.reverse();
    parts
}

fn missing(at: &Path, whole: &Path, error: &std::io::Error) -> String {
    let tried = if at == whole { String::new() } else { format!(", on the way to {}", whole.display()) };
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("{} does not exist{tried}", at.display()),
        _ => format!("{}: {error}{tried}", at.display()),
    }
}

fn base_gone(path: &Path) -> &'static str {
    match path.parent().and_then(Path::parent).map(|root| root.join("pyvenv.cfg").exists()) {
        Some(true) => {
            "; the Python that this virtual environment was made from is gone (removed or upgraded): make the environment anew"
        }
        _ => "",
    }
}

/// What is wrong with the virtual environment around `python`, if it is in one and something is.
fn environment(python: &Path) -> Option<String> {
    let file = python.parent()?.parent()?.join("pyvenv.cfg");
    let text = fs::read_to_string(&file).ok()?;
    let home = text.lines().find_map(|line| line.split_once('=').filter(|(key, _)| key.trim() == "home"))?.1.trim();
    (!Path::new(home).is_dir()).then(|| {
        format!(
            "{} names home = {home}, which does not exist: the Python that this virtual environment was made from is gone; make the environment anew",
            file.display()
        )
    })
}

/// The identity that a pool's processes have.
pub fn identity(config: &PoolConfig) -> (Ids, String) {
    match &config.identity {
        Some(found) => (Ids { uid: found.uid, gid: found.gid, groups: found.groups.clone() }, found.name.clone()),
        None => {
            let uid = wsgi_sys::user::effective_uid();
            let groups = wsgi_sys::user::current_groups().unwrap_or_default();
            let name = wsgi_sys::user::user_by_id(uid).ok().flatten().map_or(format!("#{uid}"), |user| user.name);
            (Ids { uid, gid: wsgi_sys::user::effective_gid(), groups }, name)
        }
    }
}

/// Why a step between fork and exec failed.
pub fn step(config: &PoolConfig, step: Step, error: &std::io::Error) -> String {
    let (ids, user) = identity(config);
    match step {
        Step::Exec => {
            let python = Path::new(&config.python);
            let wrong = walk(python, &ids, &user, Right::Execute);
            wrong.err().unwrap_or_else(|| no_exec(python, error))
        }
        Step::Directory => {
            let (home, option) = working_directory(config);
            let wrong = walk(Path::new(&home), &ids, &user, Right::Read).err();
            let why = wrong.unwrap_or_else(|| error.to_string());
            format!("cannot change to the directory {home} ({option}): {why}")
        }
        Step::User | Step::Group | Step::Groups => {
            format!("cannot become user \"{user}\" ({}): {error}", step.name())
        }
        Step::Session | Step::Descriptors => format!("{}: {error}", step.name()),
    }
}

fn no_exec(python: &Path, error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOEXEC) => "the file is not a program for this machine".to_owned(),
        Some(libc::ENOENT) => {
            format!("{} is there, but the loader or interpreter that it names is not", python.display())
        }
        Some(libc::EACCES) => format!(
            "{error}, though the file modes allow it: look at mount options (noexec), access control lists, SELinux or AppArmor"
        ),
        _ => error.to_string(),
    }
}

/// Where a pool's processes start, and what says so.
pub fn working_directory(config: &PoolConfig) -> (String, &'static str) {
    match (&config.home, &config.identity) {
        (Some(home), _) => (home.clone(), "home="),
        (None, Some(identity)) if config.in_users_home && !identity.home.is_empty() => {
            (identity.home.clone(), "the user's home directory; home= sets another")
        }
        _ => ("/".to_owned(), "the default"),
    }
}

/// Last words that have a known cause.
const KNOWN: [(&str, &str); 6] = [
    (
        "No module named 'encodings'",
        "Python does not find its standard library: python-home is not the root of a Python, or the virtual environment's Python was removed or upgraded (make the environment anew), or the user may not read it",
    ),
    (
        "error while loading shared libraries",
        "a shared library that this Python is linked with is not found: install it, or set env=LD_LIBRARY_PATH=...",
    ),
    (
        "failed to get the Python codec of the filesystem encoding",
        "Python does not find its standard library: check python-home and that the user may read it",
    ),
    ("cannot execute binary file", "the file is not a program for this machine"),
    ("GLIBC_", "this Python was built for a newer system"),
    ("Exec format error", "the file is not a program for this machine"),
];

/// Why a process ended before it was ready. `said` are the first lines that it wrote.
pub fn early_exit(config: &PoolConfig, ended: Ended, said: &[String], last: &str) -> String {
    let refused = [Exit::Unfit, Exit::Bootstrap].iter().any(|exit| ended == Ended::Status(*exit as i32));
    let stop = "it ended before it was ready";
    if refused {
        let what = if ended == Ended::Status(Exit::Unfit as i32) {
            "the engine does not fit this Python"
        } else {
            "the engine could not be loaded"
        };
        return format!("{what} ({ended}); it wrote:\n{}\n-- end of its output", said.join("\n"));
    }
    if let Some((_, hint)) = KNOWN.iter().find(|(words, _)| said.iter().any(|line| line.contains(words))) {
        return format!("{stop} ({ended}): {hint}");
    }
    if let Some(wrong) = environment(Path::new(&config.python)) {
        return format!("{stop} ({ended}): {wrong}");
    }
    match last {
        "" => format!("{stop} ({ended}) and wrote nothing"),
        last => format!("{stop} ({ended}); its last words: {last}"),
    }
}

#[cfg(test)]
mod tests;
