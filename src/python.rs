//! Where the interpreter is that a configuration means: `startup` asks for daemon processes, `embedded` for the child.

use std::path::Path;

/// Interpreters to look for when the configuration names none; the second one is named where none exists.
const SYSTEM: [&str; 3] = ["/usr/local/bin/python3", "/usr/bin/python3", "/bin/python3"];

/// The interpreter in a virtual environment or installation prefix.
pub(crate) fn of(home: &str) -> String {
    of_in("", home)
}

/// As [`of`], inside of the root directory `root` (empty: the host's). The path is as seen from inside.
pub(crate) fn of_in(root: &str, home: &str) -> String {
    let home = home.trim_end_matches('/');
    let candidates = [format!("{home}/bin/python3"), format!("{home}/bin/python")];
    found_in(root, &candidates).unwrap_or(&candidates[0]).clone()
}

/// The interpreter of the system.
pub(crate) fn of_system() -> String {
    of_system_in("")
}

/// As [`of_system`], inside of the root directory `root`.
pub(crate) fn of_system_in(root: &str) -> String {
    found_in(root, &SYSTEM).unwrap_or(&SYSTEM[1]).to_string()
}

/// The first of these that exists in a root directory. There a link is taken for what it leads to, which may be
/// another file than seen from outside.
fn found_in<'p, P: AsRef<str>>(root: &str, candidates: &'p [P]) -> Option<&'p P> {
    let exists = |path: &&P| {
        let path = format!("{}{}", root.trim_end_matches('/'), path.as_ref());
        if root.is_empty() { Path::new(&path).exists() } else { Path::new(&path).symlink_metadata().is_ok() }
    };
    candidates.iter().find(exists)
}
