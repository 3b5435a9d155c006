//! The environment of a group's processes: httpd's, the file of `env-file=`, what options put there, `env=`.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use wsgi_sys::file;

use super::text::{shown, utf8};
use crate::directive::{HashSeed, ProcessGroup, Text, parse_env_file};

/// Variables of httpd's environment that speak to httpd only.
const NOT_INHERITED: [&str; 8] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "MAINPID",
    "INVOCATION_ID",
];

/// Variables that say which encoding Python uses.
const ENCODING: [&str; 5] = ["LANG", "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONIOENCODING"];

/// The variable of `WSGIPythonHashSeed`; Python takes it from nowhere else.
const HASH_SEED: &str = "PYTHONHASHSEED";

/// Largest `env-file`, bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a process starts with.
pub(super) struct Environment {
    /// All variables.
    pub(super) variables: Vec<(String, String)>,
    /// The names of those that the group's own settings set.
    pub(super) own: Vec<String>,
}

impl Environment {
    /// Whether the group's own settings set the variable.
    pub(super) fn sets(&self, name: &str) -> bool {
        self.own.iter().any(|set| set == name)
    }

    /// Whether Python runs in UTF-8 mode: yes, if the group's own settings give no variable of [`ENCODING`] a value.
    pub(super) fn utf8_mode(&self) -> bool {
        let speaks = |(name, value): &(String, String)| ENCODING.contains(&name.as_str()) && !value.is_empty();
        !self.variables.iter().any(|variable| speaks(variable) && self.sets(&variable.0))
    }
}

/// The environment. If several sources set one name, the source that stands last in this list wins: httpd's own
/// environment; `WSGIPythonHashSeed`; `env-file`; `lang`, `locale` and `python-eggs`; `env`.
///
/// # Errors
/// A sentence; it never shows a value.
pub(super) fn of(group: &ProcessGroup, seed: Option<HashSeed>) -> Result<Environment, String> {
    let mut all = inherited();
    if let Some(seed) = seed {
        all.retain(|(known, _)| known != HASH_SEED);
        all.push((HASH_SEED.to_owned(), seed.to_string()));
    }
    let mut own = Vec::new();
    let mut set = |name: String, value: String| {
        own.push(name.clone());
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    };
    if let Some(path) = &group.env_file {
        let path = Path::new(OsStr::from_bytes(path));
        for (name, value) in from_file(path)? {
            let value = String::from_utf8(value.to_vec());
            let value = value.map_err(|_| format!("env-file={}: {} must be UTF-8", path.display(), shown(&name)))?;
            set(shown(&name), value);
        }
    }
    let options = [
        ("LANG", &group.lang, "lang"),
        ("LC_ALL", &group.locale, "locale"),
        ("PYTHON_EGG_CACHE", &group.python_eggs, "python-eggs"),
    ];
    for (name, value, option) in options {
        if let Some(value) = value {
            set(name.to_owned(), utf8(value, option)?);
        }
    }
    for (name, value) in &group.env {
        let value = String::from_utf8(value.to_vec()).map_err(|_| format!("env={}=...: must be UTF-8", shown(name)))?;
        set(utf8(name, "env")?, value);
    }
    Ok(Environment { variables: all, own })
}

fn inherited() -> Vec<(String, String)> {
    let text = |part: std::ffi::OsString| String::from_utf8(part.into_vec()).ok();
    let all = std::env::vars_os().filter_map(|(name, value)| text(name).zip(text(value)));
    all.filter(|(name, _)| !NOT_INHERITED.contains(&name.as_str())).collect()
}

fn from_file(path: &Path) -> Result<Vec<(Text, Text)>, String> {
    let shown = path.display();
    let text =
        file::read_owned(path, MAX_FILE).map_err(|error| format!("env-file={shown}: it cannot be read: {error}"))?;
    parse_env_file(&text)
        .map_err(|bad| format!("env-file={shown}: line {}: {} ({shown}:{})", bad.line, bad.problem, bad.line))
}
