//! Why a daemon process could not start, in words that say what to change: a walk along the path as the process
//! group's user would take it, a look at the virtual environment, and the well-known last words of Python.
//! The doctor asks the same questions before anything is started.

mod venv;
mod walk;

use std::path::{Path, PathBuf};

use wsgi_sys::process::{Ids, Step};
use wsgi_wire::config::GroupConfig;
use wsgi_wire::control::Exit;
use wsgi_wire::messages::Message;

use crate::decide::Ended;

pub use venv::{base_is_gone, of_another_version, version_differs};
pub use walk::{Right, Walker, quoted};

/// What is wrong, as a clause, and the command that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// A command for a shell.
    pub mend: Option<String>,
}

impl Problem {
    /// A problem that no single command ends.
    pub fn new(what: impl Into<String>) -> Problem {
        Problem { what: what.into(), mend: None }
    }

    /// A problem that `mend` ends.
    pub fn with(what: impl Into<String>, mend: impl Into<String>) -> Problem {
        Problem { what: what.into(), mend: Some(mend.into()) }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.what)?;
        self.mend.as_ref().map_or(Ok(()), |mend| write!(out, "; to mend it: {mend}"))
    }
}

/// The identity that a group's processes have.
pub fn identity(config: &GroupConfig) -> (Ids, String) {
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

/// The group's user, as the one who walks, seen from outside of the group's root directory.
pub fn walker(config: &GroupConfig) -> Walker {
    let (ids, user) = identity(config);
    let root = config.chroot.as_ref().map_or_else(|| PathBuf::from("/"), PathBuf::from);
    Walker { host: root.clone(), root, ids, user }
}

/// Why a step between fork and exec failed.
pub fn step(config: &GroupConfig, step: Step, error: &std::io::Error) -> String {
    let walker = walker(config);
    match step {
        Step::Exec => {
            let wrong = home_is_a_file(&config.python, &config.python_from, &walker.root);
            match wrong.map_or_else(|| walker.walk(Path::new(&config.python), Right::Execute), Err) {
                Err(problem) => problem.to_string(),
                Ok(()) => no_exec(config, error),
            }
        }
        Step::Directory => {
            let (home, option) = working_directory(config);
            let wrong = walker.walk(Path::new(&home), Right::Enter).err();
            let why = wrong.map_or_else(|| error.to_string(), |problem| problem.to_string());
            format!("cannot change to the directory {home} ({option}): {why}")
        }
        Step::User | Step::Group | Step::Groups => {
            format!("cannot become user \"{}\" ({}): {error}", walker.user, step.name())
        }
        Step::Chroot => {
            let root = config.chroot.as_deref().unwrap_or_default();
            format!("cannot make {root} the root directory (chroot=): {error}")
        }
        _ => format!("{}: {error}", step.name()),
    }
}

/// The problem that `python-home` or `WSGIPythonHome` names an interpreter, and not the directory of one. `python` and
/// `from`: as in [`GroupConfig`]. `root`: where the caller finds the root directory of the processes.
pub fn home_is_a_file(python: &str, from: &str, root: &Path) -> Option<Problem> {
    let home = python.strip_suffix("/bin/python3").or_else(|| python.strip_suffix("/bin/python"))?;
    let given = from.strip_suffix(home)?;
    if !root.join(home.trim_start_matches('/')).is_file() {
        return None;
    }
    // Only groups have an option that names an interpreter.
    let interpreter =
        if given == "python-home=" { format!("python={home} (for this interpreter) or ") } else { String::new() };
    let above = Path::new(home).parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent);
    let above = above.map_or_else(|| "the directory above its bin".to_owned(), |above| above.display().to_string());
    Some(Problem::new(format!(
        "{given}{home} is a file, and has to be the directory of a virtual environment or of a Python installation; write \
         {interpreter}{given}{above}"
    )))
}

/// The number of the line about a step between fork and exec that failed.
pub fn message(config: &GroupConfig, step: Step) -> Message {
    match step {
        Step::Chroot => Message::Chroot,
        Step::Group => Message::SetGroup,
        Step::Groups => Message::SetGroups,
        Step::User => Message::SetUser,
        Step::Directory if config.home.is_none() && config.in_users_home => Message::UsersHome,
        Step::Directory => Message::Home,
        _ => Message::CannotStart,
    }
}

/// The number of the line of [`went_without`].
pub fn message_without(step: Step) -> Message {
    match step {
        Step::CpuLimit => Message::CpuLimit,
        Step::DataLimit => Message::DataLimit,
        Step::AddressSpaceLimit => Message::AddressSpaceLimit,
        _ => Message::Priority,
    }
}

/// The line that says that process `pid` starts without what an option asks for.
pub fn went_without(config: &GroupConfig, pid: i32, step: Step, error: &std::io::Error) -> String {
    let option = match step {
        Step::Priority => format!("cpu-priority={}", config.cpu_priority.unwrap_or(0)),
        Step::CpuLimit => format!("cpu-time-limit={}", config.cpu_time_limit),
        Step::DataLimit => format!("memory-limit={}", config.memory_limit),
        Step::AddressSpaceLimit => format!("virtual-memory-limit={}", config.virtual_memory_limit),
        _ => step.name().to_owned(),
    };
    let why = match (step, error.raw_os_error()) {
        (Step::Priority, Some(libc::EACCES | libc::EPERM)) => {
            "; only root may raise the priority, and httpd was not started as root (or SELinux forbids it)"
        }
        (Step::Priority, _) => "",
        (_, Some(libc::EPERM)) => {
            "; it is above the hard limit that httpd itself has (ulimit -H), which takes root and CAP_SYS_RESOURCE to raise"
        }
        (_, Some(libc::EACCES)) => "; SELinux forbids it until: setsebool -P httpd_setrlimit on",
        _ => "",
    };
    let (name, place, call) = (&config.name, &config.defined_at, step.name());
    format!(
        "process group \"{name}\" (defined at {place}): process {pid} runs without {option}: {call} failed: {error}{why}"
    )
}

/// Why the system cannot execute a program that the user may execute.
pub fn no_exec(config: &GroupConfig, error: &std::io::Error) -> String {
    let python = Path::new(&config.python);
    match error.raw_os_error() {
        Some(libc::ENOEXEC) => "the file is not a program for this machine".to_owned(),
        Some(libc::ENOENT) => {
            let inside = config.chroot.as_ref().map_or(String::new(), |root| {
                format!(": the root directory is {root} (chroot=), and all that Python needs must lie in it")
            });
            format!("{} is there, but the loader or interpreter that it names is not{inside}", python.display())
        }
        Some(libc::EACCES) => format!(
            "{error}, though the file modes allow it: look at mount options (noexec), access control lists, SELinux or AppArmor"
        ),
        _ => error.to_string(),
    }
}

/// The directory in which a group's processes start, and the option that says so.
pub fn working_directory(config: &GroupConfig) -> (String, &'static str) {
    match (&config.home, &config.identity) {
        (Some(home), _) => (home.clone(), "home="),
        (None, Some(identity)) if config.in_users_home && !identity.home.is_empty() => {
            (identity.home.clone(), "the user's home directory; home= sets another")
        }
        _ => ("/".to_owned(), "the default"),
    }
}

/// Last words of a process that have a known cause.
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

/// Why a process ended before it was ready. `first` are the first lines that it wrote, `last` is the last one.
pub fn early_exit(config: &GroupConfig, ended: Ended, first: &[String], last: &str) -> String {
    let refused = [Exit::Unfit, Exit::Bootstrap].iter().any(|exit| ended == Ended::Status(*exit as i32));
    let stop = "it ended before it was ready";
    let limit = memory_limit(config);
    if refused {
        let what = if ended == Ended::Status(Exit::Unfit as i32) {
            "the engine does not fit this Python"
        } else {
            "the engine could not be set up"
        };
        let perhaps = perhaps(limit);
        return format!("{what} ({ended}){perhaps}; it wrote:\n{}\n-- end of its output", first.join("\n"));
    }
    if let Some(limit) = limit.as_ref().filter(|_| is_short_of_memory(ended, first)) {
        return format!("{stop} ({ended}): {limit}");
    }
    if let Some((_, hint)) = KNOWN.iter().find(|(words, _)| first.iter().any(|line| line.contains(words))) {
        return format!("{stop} ({ended}): {hint}");
    }
    let base = config.chroot.is_none().then(|| base_is_gone(Path::new(&config.python))).flatten();
    if let Some(wrong) = base {
        return format!("{stop} ({ended}): {wrong}");
    }
    let perhaps = perhaps(limit);
    match last {
        "" => format!("{stop} ({ended}){} and wrote nothing{perhaps}", while_loading(config, ended)),
        last => format!("{stop} ({ended}){}; its last words: {last}{perhaps}", while_loading(config, ended)),
    }
}

fn perhaps(limit: Option<String>) -> String {
    limit.map_or_else(String::new, |limit| format!(" ({limit})"))
}

/// A signal is more likely to come from what a script imports than from Python.
fn while_loading(config: &GroupConfig, ended: Ended) -> String {
    let first = config.main_script.as_ref().or_else(|| config.preload.first().map(|entry| &entry.script));
    match (first, ended) {
        (Some(script), Ended::Signal(_)) => format!(", perhaps while it loaded {script},"),
        _ => String::new(),
    }
}

/// The limit of memory that the process may have met.
fn memory_limit(config: &GroupConfig) -> Option<String> {
    let limits = [("memory-limit", config.memory_limit), ("virtual-memory-limit", config.virtual_memory_limit)];
    let (option, limit) = limits.into_iter().filter(|(_, limit)| *limit > 0).min_by_key(|(_, limit)| *limit)?;
    Some(format!("{option}={limit} bytes may be too little for Python and the application"))
}

/// Whether the process seems to have ended for lack of memory.
fn is_short_of_memory(ended: Ended, first: &[String]) -> bool {
    const WORDS: [&str; 4] = ["MemoryError", "memory allocation", "Cannot allocate memory", "failed to map segment"];
    matches!(ended, Ended::Signal(libc::SIGSEGV | libc::SIGABRT | libc::SIGKILL | libc::SIGBUS))
        || first.iter().any(|line| WORDS.iter().any(|words| line.contains(words)))
}

#[cfg(test)]
mod tests;
