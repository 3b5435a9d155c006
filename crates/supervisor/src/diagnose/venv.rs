//! Virtual environments: whether the Python that they were made from is still there, and still the same.

use std::path::{Path, PathBuf};

use wsgi_sys::file;

use super::{Problem, quoted};

/// The root of the virtual environment that `python` belongs to.
fn root_of(python: &Path) -> Option<PathBuf> {
    let root = python.parent()?.parent()?;
    root.join("pyvenv.cfg").exists().then(|| root.to_path_buf())
}

/// Largest pyvenv.cfg that is read, bytes.
const MAX_SIZE: u64 = 64 << 10;

/// The environment's pyvenv.cfg, read with care: it belongs to its user, and the supervisor must never wait and may be
/// root.
fn settings(root: &Path) -> Option<String> {
    String::from_utf8(file::read(&root.join("pyvenv.cfg"), MAX_SIZE).ok()?).ok()
}

/// The value of `key` in a pyvenv.cfg.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(key)).map(|(_, value)| value.trim())
}

/// The command that makes the environment at `root` anew.
fn anew(root: &Path) -> String {
    format!("python3 -m venv --clear {}, and install its packages again", quoted(root))
}

/// The problem that the link `at` on the way to `path` leads to `target`, which does not exist.
pub(super) fn dangling(path: &Path, at: &str, target: &Path) -> Problem {
    let what = format!("{at} is a symbolic link to {}, which does not exist", target.display());
    match root_of(path) {
        Some(root) => Problem::with(
            format!("{what}; the Python that this virtual environment was made from is gone (removed or upgraded)"),
            anew(&root),
        ),
        None => Problem::new(what),
    }
}

/// The problem that the virtual environment of `python` names a base that does not exist.
pub fn base_is_gone(python: &Path) -> Option<Problem> {
    let root = root_of(python)?;
    let text = settings(&root)?;
    let home = value(&text, "home")?;
    (!Path::new(home).is_dir()).then(|| {
        let what = format!(
            "{} names home = {home}, which does not exist: the Python that this virtual environment was made from is gone",
            root.join("pyvenv.cfg").display()
        );
        Problem::with(what, anew(&root))
    })
}

/// The problem that another version than the one that runs now made the virtual environment of `python`, so that Python
/// does not see its packages.
pub fn version_differs(python: &Path, running: (u32, u32)) -> Option<Problem> {
    let root = root_of(python)?;
    let text = settings(&root)?;
    let made = value(&text, "version").or_else(|| value(&text, "version_info"))?;
    let mut numbers = made.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return None };
    ((major, minor) != running).then(|| {
        let what = format!(
            "the virtual environment {} was made by Python {made}, and its Python is {}.{} now, which does not see the \
             packages that were installed before",
            root.display(),
            running.0,
            running.1
        );
        Problem::with(what, anew(&root))
    })
}

/// The problem that a directory of modules is that of another version than the one that runs: compiled modules there
/// cannot be loaded, and others may not fit.
pub fn of_another_version(path: &Path, running: (u32, u32)) -> Option<Problem> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let version = |at: &usize| {
        let (major, minor) = parts[*at].strip_prefix("python")?.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let is_of_modules = |at: &usize| {
        at.checked_sub(1).is_some_and(|before| matches!(parts[before], "lib" | "lib64"))
            || parts.get(at + 1).is_some_and(|after| matches!(*after, "site-packages" | "dist-packages"))
    };
    let at = (0..parts.len()).find(|at| is_of_modules(at) && version(at).is_some())?;
    let (major, minor) = version(&at).filter(|other| *other != running)?;
    let root: Option<PathBuf> = at.checked_sub(1).map(|above| parts[..above].iter().collect());
    let instead = match root.filter(|root| root.join("pyvenv.cfg").exists()) {
        Some(root) => format!("let python-home or WSGIPythonHome name {} in its place", root.display()),
        None => format!("name the directory of Python {}.{}", running.0, running.1),
    };
    Some(Problem::new(format!(
        "{} holds modules of Python {major}.{minor}, and Python {}.{} runs here, which cannot load those that are compiled; \
         {instead}",
        path.display(),
        running.0,
        running.1
    )))
}
