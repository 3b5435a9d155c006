//! Exceptions whose text has a known cure that is not in the application.

#![forbid(unsafe_code)]

use crate::python::interp::Facts;

/// In which kind of interpreter an exception was raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The main one.
    Main,
    /// A sub-interpreter, which shares the GIL of the main one.
    Sub,
    /// A sub-interpreter with a GIL of its own.
    OwnGil,
}

/// Line to add to the record of an exception with this text, which ended a request or a load.
pub fn cure(text: &str, place: Place) -> Option<String> {
    if place != Place::Main && refuses_sub_interpreters(text) {
        return Some(refusal(refused_module(text), place));
    }
    system_cure(text).map(str::to_owned)
}

/// Python's words about an extension module that does not say of itself that it works in such an interpreter.
const NOT_MADE_FOR_IT: &str = " does not support loading in subinterpreters";

/// The module that Python has refused to load in a sub-interpreter, when the text is Python's own.
fn refused_module(text: &str) -> Option<&str> {
    let (before, _) = text.split_once(NOT_MADE_FOR_IT)?;
    let (_, name) = before.rsplit_once("module ")?;
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

/// What to do about a module that refuses an interpreter. Python itself refuses a module, which it then names, in an
/// interpreter with a GIL of its own only, as the others may load anything.
fn refusal(module: Option<&str>, place: Place) -> String {
    let what = match module {
        Some(name) => format!("The module {name}, which the application imports,"),
        None => "A module that the application imports".to_owned(),
    };
    match (place, module) {
        (Place::OwnGil, Some(_)) => format!(
            "{what} does not work in an interpreter with a GIL of its own: use 'WSGIPerInterpreterGIL Off' for this application \
             group or, if the module works in the main interpreter only, 'WSGIApplicationGroup %{{GLOBAL}}' for this application."
        ),
        _ => format!(
            "{what} works in the main interpreter only: use 'WSGIApplicationGroup %{{GLOBAL}}' for this application."
        ),
    }
}

/// As [`cure`], where the system is the cause.
fn system_cure(text: &str) -> Option<&'static str> {
    let has = |words: &str| text.contains(words);
    if has("[Errno 30] Read-only file system") {
        return Some(
            "The file system is read-only for httpd and its processes. If it is writable at a shell, the sandbox of httpd's \
             systemd unit makes it so (ProtectHome=, ProtectSystem=): ReadWritePaths=DIRECTORY, by 'systemctl edit', \
             opens a directory.",
        );
    }
    if has("attempt to write a readonly database") || has("unable to open database file") {
        return Some(
            "SQLite writes to the file of the database and to its directory: the user of this process must be allowed to, \
             and the sandbox of httpd's systemd unit must not forbid it (ProtectHome=, ProtectSystem=; \
             ReadWritePaths=DIRECTORY opens a directory).",
        );
    }
    if has("cannot enable executable stack") || has("failed to map segment from shared object") {
        return Some(
            "The system does not let the library be used as code: it may lie on a file system that is mounted noexec, \
             SELinux may forbid it, it may be larger than virtual-memory-limit allows, or it needs memory that is both \
             writable and executable, which MemoryDenyWriteExecute= of httpd's systemd unit denies.",
        );
    }
    None
}

/// What to say where a module was not found: which interpreter looked for it, where (`searched`), and which settings that
/// would add to it are not used.
pub fn not_found(facts: &Facts, searched: &str) -> String {
    let (python, from) = &facts.python;
    let mut text = format!("{python} looked for the module ({from}); {searched}");
    let (home, path) =
        if facts.embedded { ("WSGIPythonHome", "WSGIPythonPath") } else { ("python-home=", "python-path=") };
    let mut unset = Vec::new();
    if from.starts_with("the default") {
        unset.push(format!("{home} (a virtual environment)"));
    }
    if facts.python_path.is_empty() && facts.home.is_none() {
        let or_home = if facts.embedded { "" } else { " or home=" };
        unset.push(format!("{path}{or_home} (a directory of modules)"));
    }
    if !unset.is_empty() {
        text.extend([" Not set: ", &unset.join(", "), "."]);
    }
    text
}

/// Whether an exception's text is that of an extension module that does not work in sub-interpreters: CPython's
/// own, PyO3's and numpy's say so in different words.
fn refuses_sub_interpreters(text: &str) -> bool {
    let lower = text.to_lowercase();
    lower.contains("importerror") && (lower.contains("interpreter") || lower.contains("once per process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_have_their_cure() {
        let sub = "ImportError: PyO3 modules do not yet support subinterpreters";
        for place in [Place::Sub, Place::OwnGil] {
            let line = cure(sub, place).expect("a line");
            assert!(line.starts_with("A module") && line.contains("%{GLOBAL}") && !line.contains("GIL Off"), "{line}");
        }
        assert_eq!(cure(sub, Place::Main), None);
        let cases = [
            ("OSError: [Errno 30] Read-only file system: '/home/x'", "ProtectHome="),
            ("sqlite3.OperationalError: attempt to write a readonly database", "SQLite"),
            ("ImportError: x.so: cannot enable executable stack as shared object requires", "MemoryDenyWriteExecute="),
        ];
        for (text, word) in cases {
            assert!(cure(text, Place::Main).is_some_and(|line| line.contains(word)), "{text}");
        }
        assert_eq!(cure("ValueError: Read-only", Place::Sub), None);
    }

    #[test]
    fn what_python_refuses_with_a_gil_of_its_own_is_named() {
        let text = "ImportError: module numpy._core._multiarray_umath does not support loading in subinterpreters";
        let line = cure(text, Place::OwnGil).expect("a line");
        assert!(
            line.contains("numpy._core._multiarray_umath, ") && line.contains("WSGIPerInterpreterGIL Off"),
            "{line}"
        );
        assert_eq!(refused_module("module a b does not support loading in subinterpreters"), None);
        assert_eq!(refused_module("module  does not support loading in subinterpreters"), None);
    }
}
