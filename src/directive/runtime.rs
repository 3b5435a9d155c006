//! Settings that only the main server can have.

use super::arguments::{only, options, positional, some};
use super::config::{GlobalConfig, RuntimeConfig, TelemetryService};
use super::error::Outcome;
use super::table::{Id, Kind, Row};
use super::values::{bad, integer, number, search_path, seconds, seed, shown, switch, word};
use super::words::Words;
use super::{DirectiveError, Text};

/// Reads the arguments of the directive `row` into `global`.
pub(super) fn set(row: &Row, args: &[u8], global: &mut GlobalConfig) -> Outcome {
    let name = row.name_str();
    match row.kind {
        Kind::Switch => {
            let on = switch(name, &only(row, args)?)?;
            *switch_of(row.id, global) = Some(on);
        }
        Kind::SearchPath => {
            global.interpreter_options().python_path = Some(search_path(name, &only(row, args)?)?.into());
        }
        Kind::Seconds { zero } => {
            let value = Some(seconds(name, &only(row, args)?, zero)?);
            match row.id {
                Id::SwitchInterval => global.interpreter_options().switch_interval = value,
                _ => global.runtime.slow_requests = value,
            }
        }
        Kind::Integer(low, high) => {
            global.runtime.python_optimize = Some(integer(name, &only(row, args)?, low, high, "")? as u8);
        }
        Kind::Seed => global.runtime.python_hash_seed = Some(seed(name, &only(row, args)?)?),
        Kind::OneOf(allowed) => {
            global.runtime.accept_mutex = Some(one_of(name, &only(row, args)?, allowed)?);
        }
        Kind::TelemetryService => global.runtime.telemetry_service = Some(telemetry_service(row, args)?),
        Kind::TelemetryOptions => telemetry_options(row, args, &mut global.runtime)?,
        _ => text(row, args, &mut global.runtime)?,
    }
    Ok(())
}

/// Directives that take one text.
fn text(row: &Row, args: &[u8], runtime: &mut RuntimeConfig) -> Outcome {
    let value = word(row.name_str(), &only(row, args)?)?;
    match row.id {
        Id::SocketPrefix => runtime.socket_prefix = Some(value),
        Id::PythonHome => runtime.python_home = Some(value),
        Id::PythonEggs => runtime.python_eggs = Some(value),
        // The one text that is left; a test walks the table.
        _ => runtime.python_warnings.push(value),
    }
    Ok(())
}

/// Where the value of a directive stands that takes On or Off.
fn switch_of(id: Id, global: &mut GlobalConfig) -> &mut Option<bool> {
    match id {
        Id::PerInterpreterGIL => &mut global.interpreter_options().per_interpreter_gil,
        Id::FreeThreading => &mut global.interpreter_options().free_threading,
        Id::RestrictStdin => &mut global.interpreter_options().restrict_stdin,
        Id::RestrictStdout => &mut global.interpreter_options().restrict_stdout,
        Id::RestrictSignal => &mut global.interpreter_options().restrict_signal,
        Id::SocketRotation => &mut global.runtime.socket_rotation,
        Id::RestrictEmbedded => &mut global.runtime.restrict_embedded,
        Id::DontWriteBytecode => &mut global.runtime.dont_write_bytecode,
        Id::DestroyInterpreter => &mut global.runtime.destroy_interpreter,
        Id::CaseSensitivity => &mut global.runtime.case_sensitivity,
        Id::ServerMetrics => &mut global.runtime.server_metrics,
        // The one switch that is left; a test walks the table.
        _ => &mut global.runtime.verbose_debugging,
    }
}

/// One of `allowed`, in any case; stored as the table writes it.
fn one_of(what: &str, given: &[u8], allowed: &[&str]) -> Result<Text, DirectiveError> {
    let found = allowed.iter().find(|word| word.as_bytes().eq_ignore_ascii_case(given));
    let found = found.ok_or_else(|| bad(what, given, format!("must be one of {}", allowed.join(", "))))?;
    Ok(Text::from(found.as_bytes()))
}

/// `unix:/path [interval=seconds]`.
fn telemetry_service(row: &Row, args: &[u8]) -> Result<TelemetryService, DirectiveError> {
    let mut words = Words::new(args);
    let target = positional(row, &mut words, "target")?;
    let Some(path) = target.strip_prefix(b"unix:").filter(|path| path.starts_with(b"/")) else {
        return Err(bad(row.name_str(), &target, "must be unix: and the absolute path of a socket"));
    };
    let mut service = TelemetryService { socket: Text::from(path), interval: 1.0 };
    options(row, words, &["interval"], |_, what, value| {
        let interval = number(value).filter(|interval| *interval >= 0.5);
        service.interval = interval.ok_or_else(|| bad(what, value, "must be a number of seconds from 0.5"))?;
        Ok(())
    })?;
    Ok(service)
}

/// Flags with or without signs; `All` and `None` stand for the whole set.
fn telemetry_options(row: &Row, args: &[u8], runtime: &mut RuntimeConfig) -> Outcome {
    let words = some(row, args)?;
    let signed = |word: &Vec<u8>| matches!(word.first(), Some(b'+' | b'-'));
    if words.iter().any(signed) && !words.iter().all(signed) {
        return Err(super::arguments::wrong(row, "either all flags begin with + or -, or none does"));
    }
    let mut captures = runtime.telemetry_user_agent && words.iter().all(signed);
    for word in &words {
        captures = match word.as_slice() {
            flag if flag.eq_ignore_ascii_case(b"None") => false,
            flag if flag.eq_ignore_ascii_case(b"All") => true,
            flag => match flag.strip_prefix(b"-") {
                Some(flag) if is_user_agent(flag) => false,
                None if is_user_agent(flag.strip_prefix(b"+").unwrap_or(flag)) => true,
                _ => {
                    let allowed = "must be CaptureUserAgent, which may have + or - before it, All or None";
                    return Err(bad(row.name_str(), shown(flag).as_bytes(), allowed));
                }
            },
        };
    }
    runtime.telemetry_user_agent = captures;
    Ok(())
}

/// The only flag.
fn is_user_agent(flag: &[u8]) -> bool {
    flag.eq_ignore_ascii_case(b"CaptureUserAgent")
}
