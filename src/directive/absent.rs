//! Directives that mod_wsgi acts on and this version does not. Each is an error: what a configuration relies on is
//! there, or httpd says that it is not. Callers: `apply`, and the page of directives.

use super::DirectiveError;
use super::config::GlobalConfig;
use super::error::Outcome;
use super::table::{Id, Row};

/// What this version offers to someone who uses a directive that it lacks.
pub(super) struct Absent {
    /// The value that asks for what holds without the directive, if there is one. It is accepted.
    pub(super) accepted: Option<&'static str>,
    /// What to use in its place, as a sentence's end.
    pub(super) instead: &'static str,
}

/// What is said about `id`; `None` for directives that are in effect.
pub(super) fn absent(id: Id) -> Option<Absent> {
    let (accepted, instead) = match id {
        Id::PerInterpreterGIL => (Some("Off"), "use a process group for each application"),
        Id::TelemetryService => {
            (None, "remove the line; mod_wsgi.request_metrics() and server_metrics() tell what it would")
        }
        Id::SlowRequests => (Some("0"), "remove the line; %D in a LogFormat tells how long each request took"),
        Id::TelemetryOptions => (Some("None"), "remove the line"),
        _ => return None,
    };
    Some(Absent { accepted, instead })
}

/// Refuses the directive of `row`, which has just been stored in `global`, if this version lacks it and its value asks
/// for something. In a directory section or a `.htaccess` file the value always does, and there is no `global`.
pub(super) fn check(row: &Row, global: Option<&mut GlobalConfig>) -> Outcome {
    let Some(absent) = absent(row.id) else { return Ok(()) };
    if global.is_some_and(|global| asks_for_nothing(row.id, global)) {
        return Ok(());
    }
    Err(DirectiveError::Absent { directive: row.name_str(), instead: absent.instead })
}

/// Whether the value that was stored asks for what holds anyway.
fn asks_for_nothing(id: Id, global: &mut GlobalConfig) -> bool {
    match id {
        Id::PerInterpreterGIL => global.interpreter_options().per_interpreter_gil == Some(false),
        Id::SlowRequests => global.runtime.slow_requests == Some(0.0),
        Id::TelemetryOptions => !global.runtime.telemetry_user_agent,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::TABLE;
    use super::*;

    #[test]
    fn the_table_and_this_list_agree() {
        for row in &TABLE {
            assert_eq!(absent(row.id).is_none(), row.in_effect, "{}", row.name_str());
        }
    }
}
