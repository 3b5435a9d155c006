//! `WSGIDaemonProcess`: read the options, check them together, and meet an earlier definition of the same name.

use std::collections::BTreeMap;

use super::arguments::{option, positional, unknown};
use super::config::GlobalConfig;
use super::dropped::{DROPPED_OPTIONS, DroppedOption};
use super::error::Outcome;
use super::group::{Access, ProcessGroup};
use super::options::{OPTIONS, OptionId, OptionKind, OptionRow, OptionValue};
use super::place::{Place, ServerKey};
use super::table::Id;
use super::values::{
    absolute_path, account, accounts, bad, bytes, choice, directories, integer, octal, shown, switch, variable, zero_or,
};
use super::words::{OptionWords, Words};
use super::{DirectiveError, Text};

/// The options of one line, by option.
type Given = BTreeMap<OptionId, OptionValue>;

/// Defines a process group, or lets one more server use an equal one that is there already.
pub fn define_process_group(args: &[u8], place: &Place<'_>, global: &mut GlobalConfig) -> Outcome {
    let row = Id::DaemonProcess.row();
    let mut words = Words::new(args);
    let name = Text::from(positional(row, &mut words, "name of the process group")?);
    if name.starts_with(b"%{") {
        return Err(bad(row.name_str(), &name, "must be a plain name, because %{...} selects groups"));
    }
    let (given, dropped) = read_options(words)?;
    global.dropped.extend(dropped.iter().map(|option| option.warning(&name, &place.defined())));
    check_combinations(&name, &given)?;
    match global.groups.iter_mut().find(|group| group.name == name) {
        None => global.groups.push(ProcessGroup::new(name, given, place)),
        Some(group) => match first_difference(&group.given, &given) {
            None => group.access.add(place.server),
            Some(difference) => {
                return Err(DirectiveError::GroupConflict {
                    name: shown(&name),
                    first: group.defined.clone(),
                    second: place.defined(),
                    difference,
                });
            }
        },
    }
    Ok(())
}

/// All options, and those that are gone. Of a repeated one the last holds, but `env` adds up.
fn read_options(words: Words<'_>) -> Result<(Given, Vec<&'static DroppedOption>), DirectiveError> {
    let row = Id::DaemonProcess.row();
    let (mut given, mut dropped) = (Given::new(), Vec::new());
    for argument in OptionWords::after(words) {
        let (name, value) = option(row, argument)?;
        if let Some(gone) = DROPPED_OPTIONS.iter().find(|gone| gone.name.as_bytes() == name) {
            dropped.push(gone);
            continue;
        }
        let Some(known) = OPTIONS.iter().find(|known| known.name.as_bytes() == name) else {
            return Err(unknown(row, &name, &OPTIONS.each_ref().map(|known| known.name)));
        };
        let value = read_value(known, &value)?;
        match (given.get_mut(&known.id), value) {
            (Some(OptionValue::Environment(all)), OptionValue::Environment(more)) => all.extend(more),
            (_, value) if asks_for_nothing(known.id, &value) => {
                given.remove(&known.id);
            }
            (_, value) => {
                given.insert(known.id, value);
            }
        }
    }
    Ok((given, dropped))
}

/// Whether an empty value is the same as no option. Variables of the environment can be empty.
fn asks_for_nothing(id: OptionId, value: &OptionValue) -> bool {
    match value {
        OptionValue::List(list) => list.is_empty(),
        OptionValue::Text(text) => text.is_empty() && matches!(id, OptionId::DisplayName | OptionId::PythonHome),
        _ => false,
    }
}

/// One value by the kind of its option.
fn read_value(row: &OptionRow, value: &[u8]) -> Result<OptionValue, DirectiveError> {
    let what = &format!("WSGIDaemonProcess {}", row.name);
    let most = i64::from(i32::MAX);
    Ok(match row.kind {
        OptionKind::Integer(low, high) => OptionValue::Integer(integer(what, value, low, high, "")?),
        OptionKind::ZeroOr(low, high) => OptionValue::Integer(zero_or(what, value, low, high)?),
        OptionKind::Bytes => OptionValue::Integer(bytes(what, value)?),
        OptionKind::Choice(allowed) => OptionValue::Text(choice(what, value, allowed)?),
        OptionKind::Seconds => OptionValue::Integer(integer(what, value, 0, most, " of seconds")?),
        OptionKind::Milliseconds => OptionValue::Integer(integer(what, value, 0, most, " of milliseconds")?),
        OptionKind::FractionalSeconds => OptionValue::Float(super::values::seconds(what, value, false)?),
        OptionKind::Octal => OptionValue::Integer(octal(what, value)?),
        OptionKind::Switch => OptionValue::Switch(switch(what, value)?),
        OptionKind::Text => OptionValue::Text(Text::from(value)),
        OptionKind::User => OptionValue::Text(account(what, value, "user")?),
        OptionKind::Group => OptionValue::Text(account(what, value, "group")?),
        OptionKind::GroupList if value.is_empty() => OptionValue::List(Vec::new()),
        OptionKind::GroupList => OptionValue::List(accounts(what, value, "group")?),
        OptionKind::AbsolutePath => OptionValue::Text(absolute_path(what, value)?),
        OptionKind::SearchPath => OptionValue::List(directories(value)),
        OptionKind::Environment => OptionValue::Environment(vec![variable(what, value)?]),
    })
}

/// What no option can see alone.
fn check_combinations(name: &Text, given: &Given) -> Outcome {
    let both = |a, b| given.contains_key(&a) && given.contains_key(&b);
    let number = |id| match given.get(&id) {
        Some(OptionValue::Integer(value)) => Some(*value),
        _ => None,
    };
    let processes = number(OptionId::Processes);
    let (least, most) = (number(OptionId::MinProcesses), number(OptionId::MaxProcesses));
    let problem = if both(OptionId::ScriptUser, OptionId::ScriptGroup) {
        "script-user and script-group exclude each other; give one of them".to_owned()
    } else if let Some((low, high)) = disorder(&[least, processes, most]) {
        format!(
            "at least {low} and at most {high} processes cannot both hold; give min-processes <= processes <= max-processes"
        )
    } else {
        return Ok(());
    };
    Err(DirectiveError::Combination { directive: format!("WSGIDaemonProcess {}", shown(name)), problem })
}

/// Two neighbours, among the numbers that are given, that are not in order.
fn disorder(numbers: &[Option<i64>]) -> Option<(i64, i64)> {
    let given: Vec<i64> = numbers.iter().copied().flatten().collect();
    given.windows(2).find(|pair| pair[0] > pair[1]).map(|pair| (pair[0], pair[1]))
}

/// The first option, in the order of the table, in which two definitions differ, with both values.
fn first_difference(first: &Given, second: &Given) -> Option<String> {
    let differs = |row: &&OptionRow| first.get(&row.id) != second.get(&row.id);
    let row = OPTIONS.iter().find(differs)?;
    let text =
        |given: &Given| given.get(&row.id).map_or("not given".to_owned(), |value| format!("{}={value}", row.name));
    let (here, there) = (text(first), text(second));
    Some(match (first.contains_key(&row.id), second.contains_key(&row.id)) {
        (true, true) => format!("{here} rather than {there}"),
        (true, false) => format!("with {here}"),
        _ => format!("without {there}"),
    })
}

impl std::fmt::Display for OptionValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OptionValue::Integer(value) => value.fmt(f),
            OptionValue::Float(value) => value.fmt(f),
            OptionValue::Switch(on) => f.write_str(if *on { "On" } else { "Off" }),
            OptionValue::Text(text) => write!(f, "\"{}\"", shown(text)),
            OptionValue::List(list) => {
                let parts: Vec<_> = list.iter().map(|part| shown(part)).collect();
                write!(f, "\"{}\"", parts.join(" "))
            }
            // The values may be secrets.
            OptionValue::Environment(all) => {
                let names: Vec<_> = all.iter().map(|(name, _)| shown(name)).collect();
                write!(f, "{}=...", names.join(","))
            }
        }
    }
}

impl Access {
    /// Lets `server` use the group as well.
    fn add(&mut self, server: ServerKey) {
        match self {
            _ if server == ServerKey::MAIN => *self = Access::Everywhere,
            Access::Everywhere => {}
            Access::Servers(servers) if servers.contains(&server) => {}
            Access::Servers(servers) => servers.push(server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u32, server: usize) -> Place<'static> {
        Place { file: b"site.conf", line, server: ServerKey(server), in_directory: false, in_htaccess: false }
    }

    fn define(global: &mut GlobalConfig, line: u32, server: usize, args: &str) -> Result<(), String> {
        define_process_group(args.as_bytes(), &place(line, server), global).map_err(|error| error.to_string())
    }

    fn group(args: &str) -> ProcessGroup {
        let mut global = GlobalConfig::default();
        define(&mut global, 1, 0, args).unwrap();
        global.groups.remove(0)
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let group = group("site");
        assert_eq!((group.processes, group.threads, group.multiprocess), (1, 15, false));
        assert_eq!((group.deadlock_timeout, group.graceful_timeout, group.shutdown_timeout), (300, 15, 5));
        assert_eq!((group.connect_timeout, group.socket_timeout, group.queue_timeout), (15, None, 0));
        assert_eq!((group.listen_backlog, group.response_flush_delay_ms, group.maximum_requests), (100, 5, 0));
        assert_eq!((group.header_buffer_size, group.response_buffer_size), (32_768, 8 << 20));
        assert_eq!(group.access, Access::Everywhere);
    }

    #[test]
    fn every_option_is_stored() {
        let plain = group("site");
        for row in &OPTIONS {
            let value = match row.kind {
                OptionKind::Integer(low, _) | OptionKind::ZeroOr(low, _) => (low + 7).to_string(),
                OptionKind::Choice(words) => words[1].into(),
                OptionKind::Bytes | OptionKind::Seconds | OptionKind::Milliseconds => "77".into(),
                OptionKind::FractionalSeconds => "0.5".into(),
                OptionKind::Switch => "On".into(),
                OptionKind::Environment => "A=b".into(),
                OptionKind::Octal => "027".into(),
                _ => "/name".into(),
            };
            let mut changed = group(&format!("site {}={value}", row.name));
            assert_eq!(changed.given.len(), 1);
            changed.given.clear();
            assert_ne!(changed, plain, "{}", row.name);
        }
    }

    #[test]
    fn values_are_typed() {
        let group = group(
            "site processes=1 umask=0027 python-path=/a:/b user=#1000 supplementary-groups=x,#5 \
             display-name=%{GROUP} env=A=1 env='B=x y' memory-limit=9000000000 socket-timeout=0",
        );
        assert!(group.multiprocess);
        assert_eq!(group.umask, Some(0o27));
        assert_eq!(group.python_path.unwrap().len(), 2);
        assert_eq!(group.supplementary_groups.unwrap().len(), 2);
        assert_eq!(group.display_name.as_deref(), Some(&b"(wsgi:site)"[..]));
        assert_eq!(group.env.len(), 2);
        assert_eq!(&*group.env[1].1, b"x y");
        assert_eq!((group.memory_limit, group.socket_timeout), (9_000_000_000, None));
    }

    #[test]
    fn empty_values_ask_for_what_holds_anyway() {
        let options = "display-name= python-home='' python-path=/a python-path=: supplementary-groups=\"\"";
        assert_eq!(group(&format!("site {options}")), group("site"));
        let group = group("site lang= locale= python-eggs=");
        for variable in [group.lang, group.locale, group.python_eggs] {
            assert_eq!(variable.as_deref(), Some(&b""[..]));
        }
    }

    #[test]
    fn options_that_are_gone_are_left_out_with_a_warning() {
        let mut global = GlobalConfig::default();
        define(&mut global, 3, 0, "site newrelic-config-file=/x threads=2 proxy-buffer-size=1 newrelic-environment=")
            .unwrap();
        assert_eq!(global.groups[0].given.len(), 1);
        let starts = ["newrelic-config-file", "proxy-buffer-size", "newrelic-environment"];
        for (line, name) in global.dropped.iter().zip(starts) {
            assert!(line.starts_with(&format!("WSGIDaemonProcess site {name}= at site.conf:3 is left out")), "{line}");
        }
        assert_eq!(global.dropped.len(), 3);
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            (
                "",
                "WSGIDaemonProcess: the name of the process group is missing; the syntax is WSGIDaemonProcess name [option=value ...]",
            ),
            ("%{GLOBAL}", "WSGIDaemonProcess \"%{GLOBAL}\": must be a plain name, because %{...} selects groups"),
            ("a processes=0", "WSGIDaemonProcess processes \"0\": must be a whole number from 1 to 4096"),
            ("a threads=65534", "WSGIDaemonProcess threads \"65534\": must be a whole number from 0 to 65533"),
            (
                "a queue-timeout=5s",
                "WSGIDaemonProcess queue-timeout \"5s\": must be a whole number of seconds from 0 to 2147483647",
            ),
            ("a home=srv", "WSGIDaemonProcess home \"srv\": must be an absolute path, which begins with /"),
            ("a env=X", "WSGIDaemonProcess env \"X\": must be NAME=value"),
            ("a thread=5", "WSGIDaemonProcess: there is no option \"thread\"; did you mean threads?"),
            (
                "a user",
                "WSGIDaemonProcess: \"user\" is not an option; options are written name=value without spaces around the equals sign",
            ),
            (
                "a script-user=x script-group=y",
                "WSGIDaemonProcess a: script-user and script-group exclude each other; give one of them",
            ),
            (
                "a processes=2 max-processes=1",
                "WSGIDaemonProcess a: at least 2 and at most 1 processes cannot both hold; give min-processes <= processes \
                 <= max-processes",
            ),
            ("a reload=never", "WSGIDaemonProcess reload \"never\": must be immediate or rolling"),
        ];
        for (args, expected) in cases {
            assert_eq!(define(&mut GlobalConfig::default(), 1, 0, args).unwrap_err(), expected);
        }
        let unknown = define(&mut GlobalConfig::default(), 1, 0, "a colour=red").unwrap_err();
        assert!(unknown.contains("the options are processes, threads, user"), "{unknown}");
    }

    #[test]
    fn an_equal_definition_lets_another_server_use_the_group() {
        let mut global = GlobalConfig::default();
        define(&mut global, 1, 1, "site threads=5 home=/srv").unwrap();
        define(&mut global, 9, 2, "site  home='/srv' threads=05").unwrap();
        define(&mut global, 9, 2, "site home=/srv threads=5").unwrap();
        assert_eq!(global.groups.len(), 1);
        assert_eq!(global.groups[0].access, Access::Servers(vec![ServerKey(1), ServerKey(2)]));
        assert_eq!(global.groups[0].defined.line, 1);
        define(&mut global, 12, 0, "site home=/srv threads=5").unwrap();
        assert_eq!(global.groups[0].access, Access::Everywhere);
    }

    #[test]
    fn a_conflicting_definition_names_both_places_and_the_option() {
        let conflict = |first: &str, second: &str| {
            let mut global = GlobalConfig::default();
            define(&mut global, 3, 1, first).unwrap();
            define(&mut global, 40, 2, second).unwrap_err()
        };
        assert_eq!(
            conflict("site home=/a threads=5", "site threads=6 home=/b"),
            "WSGIDaemonProcess site: this process group is already defined at site.conf:3 with other options (threads=5 \
             rather than threads=6) than here at site.conf:40; give it another name, or make both lines the same"
        );
        assert!(conflict("site user=a", "site").contains("(with user=\"a\")"));
        assert!(conflict("site", "site processes=1").contains("(without processes=1)"));
        assert!(!conflict("site env=KEY=secret", "site").contains("secret"));
    }
}
