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
