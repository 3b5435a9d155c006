//! Exceptions whose text has a known cure that is not in the application.

#![forbid(unsafe_code)]

use crate::python::interp::Facts;

/// Line to add to the record of an exception with this text, which ended a request or a load.
pub fn cure(text: &str, in_main: bool) -> Option<&'static str> {
    if !in_main && refuses_sub_interpreters(text) {
        return Some(
            "A module that the application imports works in the main interpreter only: \
             use 'WSGIApplicationGroup %{GLOBAL}' for this application.",
        );
    }
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
        assert!(cure(sub, false).is_some_and(|line| line.contains("%{GLOBAL}")) && cure(sub, true).is_none());
        let cases = [
            ("OSError: [Errno 30] Read-only file system: '/home/x'", "ProtectHome="),
            ("sqlite3.OperationalError: attempt to write a readonly database", "SQLite"),
            ("ImportError: x.so: cannot enable executable stack as shared object requires", "MemoryDenyWriteExecute="),
        ];
        for (text, word) in cases {
            assert!(cure(text, true).is_some_and(|line| line.contains(word)), "{text}");
        }
        assert_eq!(cure("ValueError: Read-only", false), None);
    }
}
