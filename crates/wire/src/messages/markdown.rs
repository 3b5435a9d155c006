//! `docs/errors.md`, and what must hold of the table.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{Message, Row};

const HEAD: &str = "\
# Errors and warnings

Every line of level `warn` or above that mod_wsgi writes to an error log begins with a number. Numbers below 1000 are those of
mod_wsgi 6.1, where its lines mean the same. What stands in braces differs from case to case. A Python traceback and other
lines of the same record follow a numbered line without a number of their own, and so does what applications print.

Lines of level `info` and below have no number: they tell of the life of processes and of requests. (This page is made from the table in
`crates/wire/src/messages/table.rs`: `UPDATE_DOCS=1 cargo test`.)

";

fn render() -> String {
    let mut page = HEAD.to_owned();
    for Row { message, severity, line, means, cure } in Message::ROWS {
        let (number, level) = (message.number(), severity.name());
        let _ = write!(page, "## WSGI{number:04}\n\n`{level}`: `{line}`\n\n{means} {cure}\n\n");
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// The directory of the whole workspace.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of all our sources but the table and tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["src", "crates/engine/src", "crates/supervisor/src", "crates/wire/src"].map(|name| top().join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "py") && !path.ends_with("table.rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                all.push((path, text));
            }
        }
    }
    all
}

/// The names that follow each `start` in `text`.
fn words_after<'t>(text: &'t str, start: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(start).map(move |(at, _)| {
        let rest = &text[at + start.len()..];
        &rest[..rest.find(|one: char| !one.is_ascii_alphanumeric()).unwrap_or(rest.len())]
    })
}

#[test]
fn the_committed_page_is_up_to_date() {
    let path = top().join("docs/errors.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, render()).expect("docs/ is writable");
    }
    let page = std::fs::read_to_string(path).expect("docs/errors.md");
    assert!(page == render(), "docs/errors.md is stale: run UPDATE_DOCS=1 cargo test");
}

#[test]
fn each_number_is_used_once_and_in_order() {
    let numbers: Vec<u16> = Message::ROWS.iter().map(|row| row.message.number()).collect();
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    // mod_wsgi 6.1 has 0001 to 0210.
    assert!(numbers.iter().all(|number| (1..=210).contains(number) || (1001..=1999).contains(number)), "{numbers:?}");
}

#[test]
fn each_row_has_its_sentences() {
    for row in Message::ROWS {
        for text in [row.means, row.cure] {
            let begins = text.starts_with(char::is_uppercase) || text.starts_with("httpd");
            assert!(text.ends_with('.') && begins, "{:?}: {text}", row.message);
        }
        assert!(!row.line.contains('`') && !row.line.contains("  "), "{:?}: {}", row.message, row.line);
    }
}

/// Lines with a level that comes from elsewhere, such as what applications print, pass through these files. All others log
/// through functions that take a [`Message`], or write lines without a number at level info and below.
#[test]
fn only_a_few_files_log_without_a_message() {
    const RAW: [&str; 4] = ["log_record(", "log_main(", "process_log(", "write_output("];
    const FILES: [&str; 13] = [
        "src/httpd/log.rs",
        "src/httpd/process.rs",
        "src/embedded/host.rs",
        "src/daemon/relay.rs",
        "engine/src/log.rs",
        "request/streams.rs",
        "request/types.rs",
        "daemon/warmup.rs",
        "daemon/outgoing.rs",
        "embedded/mod.rs",
        "shell/mod.rs",
        "shell/actions.rs",
        "shell/watch.rs",
    ];
    for (path, text) in sources().iter().filter(|(path, _)| !path.ends_with("messages/markdown.rs")) {
        let found = RAW.iter().find(|name| text.contains(*name) && path.extension().is_some_and(|kind| kind == "rs"));
        assert!(found.is_none() || FILES.iter().any(|file| path.ends_with(file)), "{}: {found:?}", path.display());
    }
}

#[test]
fn each_row_is_used_and_each_number_of_a_python_file_has_a_row() {
    let (mut used, mut tags) = (BTreeSet::new(), BTreeSet::new());
    for (path, text) in sources() {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if path.extension().is_some_and(|kind| kind == "py") {
            tags.extend(words_after(text, "WSGI0").map(|digits| format!("WSGI0{digits}")));
            tags.extend(words_after(text, "WSGI1").map(|digits| format!("WSGI1{digits}")));
        } else if !path.ends_with("messages/markdown.rs") {
            used.extend(words_after(text, "Message::").map(str::to_owned));
        }
    }
    for tag in tags {
        let message = Message::of_tag(&tag).unwrap_or_else(|| panic!("{tag} of a Python file has no row"));
        used.insert(format!("{message:?}"));
    }
    let unused: Vec<_> = Message::ROWS.iter().filter(|row| !used.contains(&format!("{:?}", row.message))).collect();
    assert!(unused.is_empty(), "rows that nothing uses: {unused:?}");
}
