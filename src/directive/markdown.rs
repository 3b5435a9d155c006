//! The tables as a page for readers: `docs/directives.md` is made of it.

use std::fmt::Write;

use super::dropped::{DROPPED, DROPPED_OPTIONS};
use super::options::{OPTIONS, OptionKind, OptionRow};
use super::table::{Kind, Places, Row, TABLE};

/// The page: one section for each directive, and the options of `WSGIDaemonProcess` as a table.
pub fn render_markdown() -> String {
    let mut page = String::from(
        "# Directives\n\n\
         This page comes from the module's own table, which has every directive of mod_wsgi 6.1.\n",
    );
    for row in &TABLE {
        section(&mut page, row);
    }
    options(&mut page);
    dropped(&mut page);
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
         * Syntax: `{name} {}`\n* Default: {}\n* Where: {}\n* More than once: {}\n\n{}",
        row.help_str(),
        row.syntax,
        row.default,
        places(row.places),
        row.merge.text(),
        fenced(&example(row)),
    );
}

/// Lines of configuration, to be tried by a test.
fn fenced(lines: &str) -> String {
    format!("```apache\n{lines}\n```\n")
}

/// A use of the directive, where it may stand.
fn example(row: &Row) -> String {
    let name = row.name_str();
    let line = match (row.kind, name) {
        (_, "WSGIPythonWarnings") => format!("{name} ignore::DeprecationWarning"),
        (_, "WSGICallableObject") => format!("{name} app"),
        (_, "WSGIRestrictProcess") => format!("{name} site %{{GLOBAL}}"),
        (Kind::Switch | Kind::SwitchOrAuto, _) => format!("{name} On"),
        (Kind::Integer(low, _), _) => format!("{name} {low}"),
        (Kind::Seconds { zero: true }, _) => format!("{name} 2"),
        (Kind::Seconds { .. }, _) => format!("{name} 0.01"),
        (Kind::Word, _) => format!("{name} /srv/site"),
        (Kind::Group | Kind::Groups, _) => format!("{name} %{{GLOBAL}}"),
        (Kind::OneOf(words), _) => format!("{name} {}", words[0]),
        (Kind::Seed, _) => format!("{name} random"),
        (Kind::SearchPath, _) => format!("{name} /srv/site/lib:/srv/common"),
        (Kind::Headers, _) => format!("{name} X-Forwarded-For X-Forwarded-Proto"),
        (Kind::Subnets, _) => format!("{name} 10.0.0.0/8 ::1"),
        (Kind::Script, _) => format!("{name} /srv/site/decide.wsgi"),
        (Kind::Alias, _) => format!("{name} /shop /srv/site/shop.wsgi application-group=%{{GLOBAL}}"),
        (Kind::AliasMatch, _) => format!("{name} ^/sites/([a-z]+) /srv/sites/$1.wsgi"),
        (Kind::HandlerScript, _) => format!("{name} markdown /srv/site/markdown.wsgi"),
        (Kind::ImportScript, _) => {
            format!(
                "WSGIDaemonProcess site\n{name} /srv/site/warm.wsgi process-group=site application-group=%{{GLOBAL}}"
            )
        }
        (Kind::DaemonProcess, _) => format!("{name} site processes=2 threads=15 python-home=/srv/site/venv"),
        (Kind::TelemetryService, _) => format!("{name} unix:/run/mod_wsgi-telemetry/socket interval=5"),
        (Kind::TelemetryOptions, _) => format!("{name} +CaptureUserAgent"),
        (Kind::Container, _) => {
            format!("{name} application-group=site>\n    WSGIRestrictStdout On\n</WSGIInterpreterOptions>")
        }
    };
    if row.places.contains(Places::SERVER) { line } else { format!("<Directory /srv/site>\n    {line}\n</Directory>") }
}

/// A value for an option's example.
fn value(row: &OptionRow) -> String {
    match (row.kind, row.name) {
        (OptionKind::Integer(..), "processes" | "min-processes" | "max-processes" | "threads") => "4".into(),
        (OptionKind::Integer(..), "cpu-priority") => "5".into(),
        (OptionKind::Integer(..) | OptionKind::ZeroOr(..), _) => "1048576".into(),
        (OptionKind::Seconds, _) => "60".into(),
        (OptionKind::Bytes, _) => "512M".into(),
        (OptionKind::Choice(words), _) => words[words.len() - 1].into(),
        (OptionKind::Milliseconds, _) => "10".into(),
        (OptionKind::FractionalSeconds, _) => "0.01".into(),
        (OptionKind::Octal, _) => "0027".into(),
        (OptionKind::Switch, _) => "On".into(),
        (OptionKind::Text, "display-name") => "%{GROUP}".into(),
        (OptionKind::Text, "lang" | "locale") => "en_US.UTF-8".into(),
        (OptionKind::User | OptionKind::Group | OptionKind::GroupList, _) => "www-data".into(),
        (OptionKind::AbsolutePath, "warmup") => "/ready".into(),
        (OptionKind::AbsolutePath, "env-file") => "/etc/site.env".into(),
        (OptionKind::AbsolutePath, "python") => "/usr/bin/python3".into(),
        (OptionKind::AbsolutePath, "spool-directory") => "/var/tmp".into(),
        (OptionKind::Text | OptionKind::AbsolutePath, _) => "/srv/site".into(),
        (OptionKind::SearchPath, _) => "/srv/site/lib:/srv/common".into(),
        (OptionKind::Environment, _) => "TZ=Europe/Berlin".into(),
    }
}

/// The options of `WSGIDaemonProcess`.
fn options(page: &mut String) {
    page.push_str("\n## Options of WSGIDaemonProcess\n\n| Option | Value | Default | Meaning |\n|---|---|---|---|\n");
    for row in &OPTIONS {
        let kind = kind(row.kind);
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", row.name, row.default, row.help);
    }
    page.push_str("\nAn example of each option:\n\n");
    let lines: Vec<_> =
        OPTIONS.iter().map(|row| format!("WSGIDaemonProcess with-{0} {0}={1}", row.name, value(row))).collect();
    page.push_str(&fenced(&lines.join("\n")));
}

/// What older versions had.
fn dropped(page: &mut String) {
    page.push_str(
        "\n## Directives and options of older versions\n\n\
         A configuration may have these directives, and these options of WSGIDaemonProcess. They do nothing. The error log has one \
         warning for each, with file and line, and so has `apachectl configtest`. A child of httpd writes such a line about a \
         `.htaccess` file once.\n\n\
         | Name | Gone since mod_wsgi | In its place |\n|---|---|---|\n",
    );
    for row in &DROPPED {
        let _ = writeln!(page, "| `{}` | {} | {} |", row.name_str(), row.gone, row.instead);
    }
    for row in &DROPPED_OPTIONS {
        let _ = writeln!(page, "| `{}=` | {} | {} |", row.name, row.gone, row.instead);
    }
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
        OptionKind::Bytes => "bytes, or with K, M, G".into(),
        OptionKind::Choice(words) => words.join(" or "),
        OptionKind::Milliseconds => "whole milliseconds".into(),
        OptionKind::FractionalSeconds => "seconds, above 0".into(),
        OptionKind::Octal => "octal number".into(),
        OptionKind::Switch => "On or Off".into(),
        OptionKind::Text => "text".into(),
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
