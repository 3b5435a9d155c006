//! Examines one subject (a process group, or httpd's children), in a fork that has become the subject's user.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use wsgi_sys::process::{Ids, Step};
use wsgi_sys::{access, user};
use wsgi_wire::config::GroupConfig;
use wsgi_wire::doctor::{Embedded, Mount, Subject};
use wsgi_wire::engines::{self, Engines};
use wsgi_wire::{faults, libpython};

use super::{interpreter, selinux};
use crate::diagnose::{self, Problem, Right, Walker};

/// A problem; or, with `true`, that the interpreter is well, and which one it is.
pub type Report = (Problem, bool);

/// The problem that the fork could not become the subject's user.
pub fn cannot_become(subject: &Subject, step: Step, error: &io::Error) -> Report {
    let what = match &subject.group {
        Some(config) => diagnose::step(config, step, error),
        None => format!("cannot become httpd's User ({}): {error}", step.name()),
    };
    (Problem::new(what), false)
}

/// Looks at everything. `time`: how long the interpreter may take to answer.
pub fn examine(subject: &Subject, engines: &Engines<OwnedFd>, time: Duration) -> Vec<Report> {
    let walker = walker(subject);
    let mut problems = Vec::new();
    let mut well = None;
    if let Some(config) = &subject.group {
        problems.extend(directories(config, &walker));
        match python(config, subject.sub_interpreters, &walker, engines, time) {
            Ok((runs, version)) => {
                well = Some(runs);
                problems.extend(of_another_version(search_path(config), version));
            }
            Err(found) => problems.extend(found),
        }
    }
    let of_children =
        subject.embedded.as_ref().map(|python| embedded(python, subject.sub_interpreters, &walker, engines));
    problems.extend(of_children.unwrap_or_default());
    problems.extend(subject.scripts.iter().filter_map(|mount| script(mount, &walker, subject.group.is_some())));
    let wrong = problems.into_iter().map(|problem| (problem, false));
    wrong.chain(well.map(|runs| (Problem::new(runs), true))).collect()
}

/// The walker as the fork sees paths: the fork has changed its root directory already.
fn walker(subject: &Subject) -> Walker {
    let ids = match &subject.identity {
        Some(found) if found.uid == user::effective_uid() => {
            Ids { uid: found.uid, gid: found.gid, groups: found.groups.clone() }
        }
        _ => Ids {
            uid: user::effective_uid(),
            gid: user::effective_gid(),
            groups: user::current_groups().unwrap_or_default(),
        },
    };
    let known = subject.identity.as_ref().filter(|found| found.uid == ids.uid).map(|found| found.name.clone());
    let user = known
        .or_else(|| user::user_by_id(ids.uid).ok().flatten().map(|found| found.name))
        .unwrap_or_else(|| format!("#{}", ids.uid));
    let chroot = subject.group.as_ref().and_then(|group| group.chroot.as_ref());
    Walker { root: PathBuf::from("/"), host: chroot.map_or_else(|| PathBuf::from("/"), PathBuf::from), ids, user }
}

/// Whether the user may use `path` in this way: the kernel decides, the walk explains.
fn look(path: &Path, right: Right, walker: &Walker) -> Result<(), Problem> {
    let (read, execute) = (matches!(right, Right::Read | Right::List), right != Right::Read);
    let walked = walker.walk(path, right);
    match (access::check(path, read, execute), walked) {
        (Err(_), Err(problem)) => Err(problem),
        (Err(error), Ok(())) => Err(Problem::new(format!(
            "user \"{}\" may not use {}, though the file modes allow it ({error}): look at access control lists, mount \
             options, SELinux or AppArmor",
            walker.user,
            walker.of_path(path)
        ))),
        // An access control list may allow what the modes do not. But a directory never is a file.
        (Ok(()), Err(problem)) if path.is_dir() != matches!(right, Right::Enter | Right::List) => Err(problem),
        (Ok(()), _) => Ok(()),
    }?;
    selinux::advice(path).map_or(Ok(()), Err)
}

fn prefixed(what: &str, problem: Problem) -> Problem {
    Problem { what: format!("{what}: {}", problem.what), mend: problem.mend }
}

/// The working directory and `python-path`.
fn directories(config: &GroupConfig, walker: &Walker) -> Vec<Problem> {
    let (home, option) = diagnose::working_directory(config);
    let problem = look(Path::new(&home), Right::Enter, walker).err();
    let problem = problem.map(|problem| prefixed(&format!("the working directory ({option})"), problem));
    problem.into_iter().chain(unusable(search_path(config), walker)).collect()
}

/// An entry of `sys.path`, and the option or directive that names it.
type Entry<'c> = (&'static str, &'c str);

/// What the configuration puts before `sys.path` of a group.
fn search_path(config: &GroupConfig) -> impl Iterator<Item = Entry<'_>> {
    let of_layers = config.layers.iter().flat_map(|layer| &layer.python_path);
    config
        .python_path
        .iter()
        .map(|entry| ("python-path", entry.as_str()))
        .chain(of_layers.map(|entry| ("WSGIPythonPath", entry.as_str())))
}

/// Entries of `sys.path` that the user cannot use.
fn unusable<'c>(path: impl Iterator<Item = Entry<'c>>, walker: &Walker) -> Vec<Problem> {
    let problem = |(option, entry): Entry<'_>| {
        let path = Path::new(entry);
        // sys.path may name an archive as well.
        let right = if path.is_file() { Right::Read } else { Right::List };
        look(path, right, walker).err().map(|problem| prefixed(option, problem))
    };
    path.filter_map(problem).collect()
}

/// Entries of `sys.path` that belong to another Python than the one that runs.
fn of_another_version<'c>(path: impl Iterator<Item = Entry<'c>>, running: (u32, u32)) -> Vec<Problem> {
    let problem = |(option, entry): Entry<'_>| {
        diagnose::of_another_version(Path::new(entry), running).map(|problem| prefixed(option, problem))
    };
    path.filter_map(problem).collect()
}

/// Examines a script. Children of httpd (`!executes`) only need to find it.
fn script(mount: &Mount, walker: &Walker, executes: bool) -> Option<Problem> {
    let path = Path::new(&mount.path);
    let problem = if executes {
        look(path, Right::Read, walker).err()
    } else {
        let found = std::fs::metadata(path).err();
        found.map(|error| {
            let directory = path.parent().unwrap_or(path);
            let closed = look(directory, Right::Enter, walker).err();
            closed.unwrap_or_else(|| match error.kind() {
                io::ErrorKind::NotFound => Problem::new(format!("{} does not exist", walker.of_path(path))),
                _ => Problem::new(format!("{}: {error}", walker.of_path(path))),
            })
        })
    };
    problem.map(|problem| prefixed(&mount.from, problem))
}

/// What the interpreter is, with its version, or what keeps it from running.
fn python(
    config: &GroupConfig,
    sub_interpreters: bool,
    walker: &Walker,
    engines: &Engines<OwnedFd>,
    time: Duration,
) -> Result<(String, (u32, u32)), Option<Problem>> {
    let path = Path::new(&config.python);
    let named = |problem: Problem| {
        let from = &config.python_from;
        Some(prefixed(&format!("cannot run {} ({from})", config.python), problem))
    };
    if let Some(problem) = diagnose::home_is_a_file(&config.python, &config.python_from, Path::new("/")) {
        return Err(Some(problem));
    }
    look(path, Right::Execute, walker).map_err(|problem| named(missing_environment(path, problem)))?;
    if let Some(problem) = diagnose::base_is_gone(path) {
        return Err(named(problem));
    }
    let answer = interpreter::ask(config, engines, time).map_err(named)?;
    if let Some(problem) = answer.peak.and_then(|peak| interpreter::too_little_for_threads(config, peak)) {
        return Err(Some(problem));
    }
    let (major, minor, _) = answer.version();
    match diagnose::version_differs(path, (major, minor)) {
        Some(problem) => Err(Some(problem)),
        None if sub_interpreters && faults::has_wrong_str(answer.version()) => {
            Err(Some(Problem::new(faults::wrong_str(&format!("Python {}", answer.text)))))
        }
        None => {
            let runs = format!("{} ({}) is Python {}", config.python, config.python_from, answer.text);
            Ok((runs, (major, minor)))
        }
    }
}

/// What is wrong with the Python of embedded mode, and with the directories in which it looks for modules.
fn embedded(embedded: &Embedded, sub_interpreters: bool, walker: &Walker, engines: &Engines<OwnedFd>) -> Vec<Problem> {
    let Embedded { python, from, path } = embedded;
    let entries = || path.iter().map(|entry| ("WSGIPythonPath", entry.as_str()));
    let mut problems = unusable(entries(), walker);
    match embedded_version(python, from, walker, engines) {
        Ok(version) => {
            problems.extend(version.map(|it| of_another_version(entries(), it)).unwrap_or_default());
            problems.extend(if sub_interpreters { faulty(python) } else { None });
        }
        Err(problem) => problems.insert(0, problem),
    }
    problems
}

/// The version of embedded Python, or what keeps httpd's children from starting it.
fn embedded_version(
    python: &str,
    from: &str,
    walker: &Walker,
    engines: &Engines<OwnedFd>,
) -> Result<Option<(u32, u32)>, Problem> {
    let path = Path::new(python);
    let named = |problem| prefixed(&format!("embedded mode cannot start {python} ({from})"), problem);
    if let Some(problem) = diagnose::home_is_a_file(python, from, Path::new("/")) {
        return Err(problem);
    }
    look(path, Right::Execute, walker).map_err(|problem| named(missing_environment(path, problem)))?;
    if let Some(problem) = diagnose::base_is_gone(path) {
        return Err(named(problem));
    }
    let answered = Command::new(python).args(libpython::ARGUMENTS).stdin(Stdio::null()).output();
    let version = libpython::version(&answered);
    let found = libpython::library(python, answered, Path::is_file).map_err(|why| named(Problem::new(why)))?;
    if let Some(tag) = found.tag.filter(|tag| engines.of(Some(tag)).is_none()) {
        return Err(named(Problem::new(engines::missing(python, &tag))));
    }
    match version.and_then(|version| diagnose::version_differs(path, version)) {
        Some(problem) => Err(problem),
        None => Ok(version),
    }
}

/// The problem that sub-interpreters of this Python do not work as they should.
fn faulty(python: &str) -> Option<Problem> {
    let told = Command::new(python).args(["-I", "-V"]).stdin(Stdio::null()).output().ok()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let version = told.trim().strip_prefix("Python ")?;
    let is_faulty = faults::has_wrong_str(faults::version(version));
    is_faulty.then(|| Problem::new(faults::wrong_str(&format!("Python {version} ({python})"))))
}

/// If a virtual environment was never made, or has no interpreter, the problem gets the command that makes it.
fn missing_environment(python: &Path, problem: Problem) -> Problem {
    let root = python.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent);
    let Some(root) = root.filter(|root| !python.exists() && problem.mend.is_none() && *root != Path::new("/usr"))
    else {
        return problem;
    };
    let lost = problem.what.contains("does not exist");
    if lost && (!root.exists() || root.join("pyvenv.cfg").exists()) {
        let mend = format!("python3 -m venv {}", diagnose::quoted(root));
        return Problem::with(problem.what, mend);
    }
    problem
}
