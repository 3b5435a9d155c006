//! Reads a command line by the table: which command, which options with which values. Pure; `main.rs` calls it.

use std::collections::BTreeMap;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{GONE, Kind, REFUSED, Row, SECTIONS, row, rows};

/// The commands that take the options of the table.
pub const SERVER_COMMANDS: [(&str, &str); 2] = [
    ("start-server", "Write the configuration of a server for an application, and run the server"),
    ("setup-server", "Write the configuration of a server, and how to start it; run nothing"),
];

/// The options that were given.
#[derive(Clone, Default, Debug)]
pub struct Given {
    /// The argument that names the application.
    pub entry: Option<String>,
    values: BTreeMap<&'static str, Vec<Vec<String>>>,
    /// Options of older versions that were given.
    pub gone: Vec<&'static str>,
}

impl Given {
    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The value that was given, the last of several.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(|all| all.last()).and_then(|values| values.first()).map(String::as_str)
    }

    /// The value that was given, else the default of the table.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given(name).or_else(|| row(name).and_then(Row::default_value))
    }

    /// The number that was given, else the default of the table. The table has checked that it is one.
    pub fn number(&self, name: &str) -> u64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// The number with a fraction that was given.
    pub fn decimal(&self, name: &str) -> Option<f64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// All values of an option that may be given several times.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.values.get(name).into_iter().flatten().filter_map(|values| values.first()).map(String::as_str).collect()
    }

    /// All pairs of values of an option that takes two.
    pub fn pairs(&self, name: &str) -> Vec<(&str, &str)> {
        let all = self.values.get(name).into_iter().flatten();
        all.filter_map(|values| Some((values.first()?.as_str(), values.get(1)?.as_str()))).collect()
    }
}

/// The whole command line.
pub fn command() -> Command {
    let mut command = Command::new("mod_wsgi-express")
        .about("Runs Python WSGI applications with Apache httpd and mod_wsgi, without a configuration of your own")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true);
    for (name, about) in SERVER_COMMANDS {
        command = command.subcommand(server_command(name, about));
    }
    command
        .subcommand(
            Command::new("module-config").about("Print the lines that load the module into an httpd of your own"),
        )
        .subcommand(Command::new("module-location").about("Print the path of the module"))
        .subcommand(
            Command::new("install-module")
                .about("Copy the module into httpd's directory of modules, and print the lines that load it")
                .arg(
                    Arg::new("modules-directory")
                        .long("modules-directory")
                        .value_name("DIR")
                        .help("Directory to copy to, in place of httpd's own"),
                ),
        )
}

fn server_command(name: &'static str, about: &'static str) -> Command {
    let mut command = Command::new(name)
        .about(about)
        .infer_long_args(true)
        .args_override_self(true)
        .disable_help_flag(true)
        .next_line_help(true)
        .arg(Arg::new("entry").value_name("APPLICATION").help(
            "A .wsgi file, a module (package.module:application, or :factory()), a Paste .ini file, or a directory of static files",
        ))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help("Print this help."));
    for (title, section) in SECTIONS {
        command = command.next_help_heading(title);
        for row in section {
            command = command.arg(argument(row));
        }
    }
    for (name, _) in GONE {
        command = command.arg(Arg::new(name).long(name).hide(true).action(ArgAction::SetTrue));
    }
    command
}

fn argument(row: &'static Row) -> Arg {
    let arg = Arg::new(row.name).long(row.name).hide(row.hidden);
    let help =
        if row.default.is_empty() { row.help.to_owned() } else { format!("{} [{}]", row.help, row.default_text()) };
    let arg = arg.help(help);
    if row.kind == Kind::Flag {
        return arg.action(ArgAction::SetTrue);
    }
    let kind = row.kind;
    arg.action(if row.repeats { ArgAction::Append } else { ArgAction::Set })
        .num_args(row.values.len())
        .value_names(row.values.iter().copied())
        .allow_hyphen_values(true)
        .value_parser(ValueParser::new(move |text: &str| check(kind, text).map(|()| text.to_owned())))
}

/// Whether a value is what the option wants; otherwise what is allowed.
fn check(kind: Kind, text: &str) -> Result<(), &'static str> {
    let number = text.parse::<u64>();
    let decimal = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    match kind {
        _ if text.contains(['\n', '\r', '\0']) => Err("it has a line end, which no directive may have"),
        Kind::Number if number.is_err() => Err("allowed is a whole number from 0"),
        Kind::Port if !number.is_ok_and(|port| (1..=65535).contains(&port)) => {
            Err("allowed is a port, from 1 to 65535")
        }
        Kind::Decimal if decimal.is_none() => Err("allowed is a number from 0"),
        Kind::Fraction if !decimal.is_some_and(|part| part <= 1.0) => Err("allowed is a number from 0 to 1"),
        _ => Ok(()),
    }
}

/// Puts the arguments into the form that the table expects: variables are replaced, and the first of two values may
/// follow `=`.
pub fn normalize(
    arguments: impl IntoIterator<Item = String>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    for argument in arguments {
        let argument = expand(&argument, variable);
        match argument.strip_prefix("--").and_then(|rest| rest.split_once('=')) {
            Some((name, value)) if takes_two(name) => found.extend([format!("--{name}"), value.to_owned()]),
            _ => found.push(argument),
        }
    }
    found
}

/// Whether this name, or the only one that begins with it, takes two values.
fn takes_two(name: &str) -> bool {
    let mut candidates = rows().filter(|row| row.name.starts_with(name));
    let first = row(name).or_else(|| candidates.next());
    first.is_some_and(|row| row.values.len() == 2) && (row(name).is_some() || candidates.next().is_none())
}

/// Replaces `$NAME` and `${NAME}`; what is not set stays as it is.
fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, whole) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, name.len() + 3),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (&after[..end], end + 1)
            }
        };
        match variable(name).filter(|_| !name.is_empty()) {
            Some(value) => result.push_str(&value),
            None => result.push_str(&rest[at..at + whole]),
        }
        rest = &rest[at + whole..];
    }
    result + rest
}

/// The options of a server command. An error names an option that is refused, with what to do instead.
pub fn given(matches: &ArgMatches) -> Result<Given, String> {
    let mut found = Given { entry: matches.get_one::<String>("entry").cloned(), ..Given::default() };
    for row in rows() {
        let values: Vec<Vec<String>> = match row.kind {
            Kind::Flag if matches.get_flag(row.name) => vec![Vec::new()],
            Kind::Flag => continue,
            _ => match matches.get_occurrences::<String>(row.name) {
                Some(occurrences) => occurrences.map(|values| values.cloned().collect()).collect(),
                None => continue,
            },
        };
        if let Some((name, instead)) = REFUSED.iter().find(|(name, _)| *name == row.name) {
            return Err(format!("--{name} is not implemented; {instead}"));
        }
        found.values.insert(row.name, values);
    }
    found.gone = GONE.iter().map(|(name, _)| *name).filter(|name| matches.get_flag(name)).collect();
    Ok(found)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The options of this command line, for tests of what is made of them.
    pub fn parsed(line: &[&str]) -> Given {
        try_parsed(line).unwrap()
    }

    fn try_parsed(line: &[&str]) -> Result<Given, String> {
        let line = normalize(line.iter().map(|word| (*word).to_owned()), &|_| None);
        let words = ["mod_wsgi-express".to_owned(), "start-server".to_owned()].into_iter().chain(line);
        let matches = command().try_get_matches_from(words).map_err(|error| error.to_string())?;
        given(matches.subcommand().unwrap().1)
    }

    #[test]
    fn clap_accepts_the_table() {
        command().debug_assert();
    }

    #[test]
    fn defaults_come_from_the_table() {
        let given = parsed(&["app.wsgi"]);
        assert_eq!(given.entry.as_deref(), Some("app.wsgi"));
        assert_eq!(given.number("port"), 8000);
        assert_eq!(given.given("port"), None);
        assert_eq!(given.text("user"), None);
        assert!(!given.has("processes"));
    }

    #[test]
    fn options_may_be_shortened_and_stand_anywhere() {
        let given =
            parsed(&["--port", "81", "app.wsgi", "--reload-on-change", "--include=a.conf", "--include", "b.conf"]);
        assert!(given.has("reload-on-changes"));
        assert_eq!(given.number("port"), 81);
        assert_eq!(given.all("include-file"), ["a.conf", "b.conf"]);
        assert_eq!(parsed(&["--envvars", "x"]).text("envvars-script"), Some("x"));
        assert!(parsed(&["--host", "::1"]).has("host"));
        assert!(try_parsed(&["--max", "1"]).is_err());
    }

    #[test]
    fn options_with_two_values() {
        let given = parsed(&["--url-alias", "/a", "x", "--url-alias=/b", "y", "--seten=K", "-v"]);
        assert_eq!(given.pairs("url-alias"), [("/a", "x"), ("/b", "y")]);
        assert_eq!(given.pairs("setenv"), [("K", "-v")]);
        assert!(try_parsed(&["--url-alias", "/a"]).is_err());
    }

    #[test]
    fn the_last_of_an_option_that_does_not_repeat_counts() {
        assert_eq!(parsed(&["--port", "1", "--port", "2", "--http2", "--http2"]).number("port"), 2);
    }

    #[test]
    fn a_value_that_is_not_allowed_is_named_with_what_is() {
        for (line, allowed) in [
            (["--port", "0"], "from 1 to 65535"),
            (["--threads", "-1"], "a whole number from 0"),
            (["--initial-workers", "1.5"], "from 0 to 1"),
            (["--switch-interval", "x"], "a number from 0"),
            (["--host", "a\nb"], "line end"),
        ] {
            let error = try_parsed(&line).unwrap_err();
            assert!(error.contains(line[0]) && error.contains(allowed), "{error}");
        }
    }

    #[test]
    fn options_of_older_versions_are_known() {
        let given = parsed(&["--with-newrelic", "app.wsgi", "--with-wdb"]);
        assert_eq!(given.gone, ["with-newrelic", "with-wdb"]);
        assert!(try_parsed(&["--nonsense"]).unwrap_err().contains("--nonsense"));
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        assert!(try_parsed(&["--enable-telemetry"]).unwrap_err().contains("--enable-telemetry is not implemented"));
    }

    #[test]
    fn variables_are_replaced() {
        let variable = |name: &str| (name == "PORT").then(|| "81".to_owned());
        for (text, result) in [
            ("$PORT", "81"),
            ("a${PORT}b$", "a81b$"),
            ("$NONE/${NONE}", "$NONE/${NONE}"),
            ("$PORTS", "$PORTS"),
            ("$$PORT", "$81"),
        ] {
            assert_eq!(expand(text, &variable), result);
        }
    }
}
