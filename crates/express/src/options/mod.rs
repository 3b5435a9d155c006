//! The options of `start-server` and `setup-server`: one table, from which come the command line, its help,
//! `docs/express.md` and the checks of single values. `cli.rs` reads a command line by it.

pub mod cli;
mod running;
mod serving;
mod site;

/// What a value must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The option takes no value.
    Flag,
    /// Any text without a line end.
    Text,
    /// A whole number from 0.
    Number,
    /// A number from 0, with or without a fraction.
    Decimal,
    /// A number from 0 to 1.
    Fraction,
    /// A port, from 1 to 65535.
    Port,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name without the hyphens.
    pub name: &'static str,
    /// What its values must look like.
    pub kind: Kind,
    /// The names of its values in the help: none, one or two.
    pub values: &'static [&'static str],
    /// Whether it may be given several times; all of them count.
    pub repeats: bool,
    /// Whether the help leaves it out.
    pub hidden: bool,
    /// What holds without it. Where this is no text of its own (`""`), nothing does.
    pub default: &'static str,
    /// What it writes into the generated configuration, for the documentation.
    pub writes: &'static str,
    /// What it is for.
    pub help: &'static str,
}

impl Row {
    /// The value that holds without the option: a default that is described (in brackets) is computed elsewhere.
    pub fn default_value(&self) -> Option<&'static str> {
        (!self.default.is_empty() && !self.default.starts_with('(')).then_some(self.default)
    }

    /// The default for people: a value, or a description.
    pub fn default_text(&self) -> &'static str {
        self.default.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(self.default)
    }

    const fn repeated(mut self) -> Row {
        self.repeats = true;
        self
    }

    const fn hidden(mut self) -> Row {
        self.hidden = true;
        self
    }
}

const fn flag(name: &'static str, writes: &'static str, help: &'static str) -> Row {
    Row { name, kind: Kind::Flag, values: &[], repeats: false, hidden: false, default: "", writes, help }
}

const fn value(
    name: &'static str,
    kind: Kind,
    values: &'static [&'static str],
    default: &'static str,
    writes: &'static str,
    help: &'static str,
) -> Row {
    Row { name, kind, values, repeats: false, hidden: false, default, writes, help }
}

/// The sections of the table with their titles, in the order of the help.
pub const SECTIONS: [(&str, &[Row]); 12] = [
    ("Application and Python", serving::APPLICATION),
    ("Listener, TLS, virtual host", serving::LISTENER),
    ("Capacity", serving::CAPACITY),
    ("Timeouts", serving::TIMEOUTS),
    ("Buffers and responses", serving::RESPONSES),
    ("Content", site::CONTENT),
    ("Proxies", site::PROXIES),
    ("Access", site::ACCESS),
    ("Status and telemetry", site::STATUS),
    ("Environment and users", running::ENVIRONMENT),
    ("Files and logs", running::FILES),
    ("Services and debugging", running::DEBUGGING),
];

/// All options.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(|(_, rows)| rows.iter())
}

/// The option of this name.
pub fn row(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}

/// Options of older versions of mod_wsgi-express, and what to do instead.
pub const GONE: [(&str, &str); 4] = [
    ("with-newrelic", "start the agent in the application: import newrelic.agent; newrelic.agent.initialize(FILE)"),
    (
        "with-newrelic-agent",
        "start the agent in the application: import newrelic.agent; newrelic.agent.initialize(FILE)",
    ),
    ("with-newrelic-platform", "read mod_wsgi.request_metrics() and mod_wsgi.server_metrics() in the application"),
    ("with-wdb", "use --enable-debugger"),
];

/// Options of mod_wsgi-express that are refused, each with what to do instead.
pub const REFUSED: [(&str, &str); 2] = [
    ("enable-telemetry", "start the ingester yourself and name its socket with --telemetry-service unix:/PATH"),
    ("telemetry-ui-port", "it is an argument of the ingester, which has to be started by itself"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_152_options_and_no_name_twice() {
        let names: HashSet<_> = rows().map(|row| row.name).collect();
        assert_eq!(rows().count(), 152);
        assert_eq!(names.len(), 152);
        assert!(GONE.iter().all(|(name, _)| !names.contains(name)));
        assert!(REFUSED.iter().all(|(name, _)| names.contains(name)));
    }

    #[test]
    fn each_option_says_what_it_is_for() {
        for row in rows() {
            assert!(row.help.ends_with('.'), "{}", row.name);
            assert!(!row.writes.is_empty(), "{}", row.name);
            assert_eq!(row.kind == Kind::Flag, row.values.is_empty(), "{}", row.name);
        }
    }
}
