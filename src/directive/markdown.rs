//! The tables as a page for readers: `docs/directives.md` is made of it.

use std::fmt::Write;

use super::options::{OPTIONS, OptionKind};
use super::table::{Places, Row, TABLE};

/// The page: one section for each directive, and the options of `WSGIDaemonProcess` as a table.
pub fn render_markdown() -> String {
    let mut page = String::from(
        "# Directives\n\n\
         This page is generated from the module's own table. A directive or option marked *not in effect yet* is read and checked, \
         but does nothing; the error log names those that a configuration uses.\n",
    );
    for row in &TABLE {
        section(&mut page, row);
    }
    options(&mut page);
    page
}

/// One directive.
fn section(page: &mut String, row: &Row) {
    let name = row.name_str();
    let title = if name.starts_with('<') { format!("\\{name}>") } else { name.to_owned() };
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "\n## {title}\n\n{}\n\n\
         * Syntax: `{name} {}`\n* Default: {}\n* Where: {}\n* More than once: {}\n* State: {}\n",
        row.help_str(),
        row.syntax,
        row.default,
        places(row.places),
        row.merge.text(),
        state(row.in_effect),
    );
}

/// The options of `WSGIDaemonProcess`.
fn options(page: &mut String) {
    page.push_str(
        "\n## Options of WSGIDaemonProcess\n\n| Option | Value | Default | Meaning | State |\n|---|---|---|---|---|\n",
    );
    for row in &OPTIONS {
        let (kind, state) = (kind(row.kind), state(row.in_effect));
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} | {state} |", row.name, row.default, row.help);
    }
}

/// Whether something acts.
fn state(in_effect: bool) -> &'static str {
    if in_effect { "in effect" } else { "*not in effect yet*" }
}

/// The places in words.
fn places(places: Places) -> String {
    let words = [
        (Places::SERVER, "server config"),
        (Places::VHOST, "virtual host"),
        (Places::DIR, "directory, location, files"),
        (Places::FILE_INFO, ".htaccess (FileInfo)"),
        (Places::AUTH_CONFIG, ".htaccess (AuthConfig)"),
    ];
    let found: Vec<_> = words.iter().filter(|(place, _)| places.contains(*place)).map(|(_, word)| *word).collect();
    found.join(", ")
}

/// What an option takes, in words.
fn kind(kind: OptionKind) -> String {
    match kind {
        OptionKind::Integer(low, i64::MAX) => format!("number from {low}"),
        OptionKind::Integer(low, high) if high == i64::from(i32::MAX) => format!("number from {low}"),
        OptionKind::Integer(low, high) => format!("number from {low} to {high}"),
        OptionKind::ZeroOr(low, _) => format!("0 or number from {low}"),
        OptionKind::Seconds => "whole seconds".into(),
        OptionKind::Milliseconds => "whole milliseconds".into(),
        OptionKind::FractionalSeconds => "seconds, above 0".into(),
        OptionKind::Octal => "octal number".into(),
        OptionKind::Switch => "On or Off".into(),
        OptionKind::Word => "text".into(),
        OptionKind::User => "user name or #uid".into(),
        OptionKind::Group => "group name or #gid".into(),
        OptionKind::GroupList => "group names or #gids, with commas".into(),
        OptionKind::AbsolutePath => "absolute path".into(),
        OptionKind::SearchPath => "directories, with colons".into(),
        OptionKind::Environment => "NAME=value".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_directive_and_every_option() {
        let page = render_markdown();
        for row in &TABLE {
            assert!(page.contains(row.help_str()), "{}", row.name_str());
        }
        for row in &OPTIONS {
            assert!(page.contains(&format!("| `{}` |", row.name)), "{}", row.name);
        }
        assert!(page.contains("## \\<WSGIInterpreterOptions>\n"));
        assert!(page.contains("* Syntax: `WSGIScriptReloading On|Off`\n* Default: On\n"));
    }

    /// The committed page is what the table says. `UPDATE_DOCS=1 cargo test` writes it anew.
    #[test]
    fn the_committed_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/directives.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, render_markdown()).expect("docs/ is writable");
        }
        let page = std::fs::read_to_string(path).expect("docs/directives.md");
        assert!(page == render_markdown(), "docs/directives.md is stale: run UPDATE_DOCS=1 cargo test");
    }
}
