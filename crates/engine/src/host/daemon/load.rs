//! What is loaded when a daemon process starts, and what follows when that fails.
//!
//! A process tries a script to which the configuration sends requests only once. If the script fails, the process says
//! so in place of "ready", answers requests with 500, and watches the files that the failure depends
//! on: a fresh process, and not a half imported application, may try again.

use std::path::Path;
use std::time::{Instant, SystemTime};

use wsgi_sys::file;
use wsgi_wire::config::{GroupConfig, Preload};
use wsgi_wire::control::FromDaemon;
use wsgi_wire::messages::Message;

use crate::host::daemon::request_threads::RequestThreads;
use crate::log;
use crate::python::interp::Interp;
use crate::python::interpreters::inside;
use crate::python::py::Gil;
use crate::request::files::{Concern, INTERVAL, Watch};
use crate::request::script;

/// One script to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'c> {
    /// File.
    pub script: &'c str,
    /// Application group; empty is the main interpreter.
    pub application_group: &'c str,
    /// The application group that `mod_wsgi.application_group` names, where it is another than that.
    pub reported_group: Option<&'c str>,
    /// Requests may be for it.
    serves: bool,
    /// Another process had it loaded, for requests.
    handed: bool,
}

/// What the configuration asks to load, in order.
pub fn steps(config: &GroupConfig) -> Vec<Step<'_>> {
    let main = config.main_script.as_deref();
    let is_main = |preload: &&Preload| main == Some(&preload.script);
    let reported_group = config.preload.iter().find(is_main).map(|preload| &*preload.application_group);
    let first = main.map(|script| Step { script, application_group: "", reported_group, serves: true, handed: false });
    let others = config.preload.iter().filter(|preload| !is_main(preload));
    let others = others.map(|entry| step(entry, false));
    first.into_iter().chain(others).collect()
}

fn step(entry: &Preload, handed: bool) -> Step<'_> {
    Step {
        script: &entry.script,
        application_group: &entry.application_group,
        reported_group: None,
        serves: entry.serves,
        handed,
    }
}

/// What to load after that, because the process before this one had it loaded. Leaves out what the configuration asks
/// to load itself, in whichever interpreter: the configuration knows better.
fn handed_steps<'c>(main: Option<&str>, preload: &[Preload], handed: &'c [Preload]) -> Vec<Step<'c>> {
    let same = |one: &Preload, other: &Preload| {
        (&one.script, &one.application_group) == (&other.script, &other.application_group)
    };
    let is_asked_for = |entry: &Preload| main == Some(&entry.script) || preload.iter().any(|it| same(it, entry));
    handed.iter().filter(|entry| !is_asked_for(entry)).map(|entry| step(entry, true)).collect()
}

/// Loads everything. If a script fails that requests may be for, returns the files that this depends on. Leaves out a
/// script that was handed on and has been removed since. Stops loading when the process must stop.
pub fn at_start(
    gil: Gil,
    main: &'static Interp,
    threads: &RequestThreads,
    config: &GroupConfig,
    handed: &[Preload],
) -> Option<Watch> {
    let begin = SystemTime::now();
    let mut failed: Option<Vec<Concern>> = None;
    let after = handed_steps(config.main_script.as_deref(), &config.preload, handed);
    for step in steps(config).into_iter().chain(after) {
        if threads.is_unwanted() {
            break;
        }
        let is_gone = step.handed && file::is_missing(Path::new(step.script));
        let result = if is_gone {
            None
        } else {
            inside(gil, main, step.application_group, |gil, interp| take(gil, interp, &step))
        };
        if let Some(Err(concerns)) = result {
            failed.get_or_insert_default().extend(concerns);
        }
    }
    failed.map(|concerns| gil.detach(|| Watch::new(concerns, begin)))
}

/// Loads one script; fails where a request may be for it.
fn take(gil: Gil, interp: &Interp, step: &Step<'_>) -> Result<(), Vec<Concern>> {
    let script = step.script;
    if let Some(group) = step.reported_group {
        interp.report_application_group(gil, group.as_bytes());
    }
    let result = if step.serves {
        script::load_at_start(gil, interp, script)
    } else {
        script::import(gil, interp, script);
        Ok(())
    };
    if result.is_ok() {
        script::was_loaded_at_start(interp, script, step.handed);
    }
    result
}

/// Tells the supervisor, from now on, when one of the watched files changes.
pub fn watch(threads: &'static RequestThreads, name: &str, mut watch: Watch) {
    let builder = std::thread::Builder::new().name("wsgi-files".to_owned());
    let started = builder.spawn(move || {
        while !threads.is_stopping() {
            std::thread::sleep(INTERVAL);
            if let Some(path) = watch.look(Instant::now()) {
                log::info(&script::changed(&path.to_string_lossy()));
                threads.tell(FromDaemon::Changed);
            }
        }
    });
    if let Err(error) = started {
        let text = format!("process group \"{name}\": cannot watch the files of the failed script: {error}");
        log::report(Message::Unwatched, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preload(script: &str, group: &str) -> Preload {
        Preload { script: script.to_owned(), application_group: group.to_owned(), serves: true }
    }

    #[test]
    fn what_the_configuration_asks_for_is_not_loaded_again() {
        let handed = [preload("/a", "www|/a"), preload("/b", "www|/b"), preload("/b", ""), preload("/c", "x")];
        let of = |main, preload: &[Preload]| -> Vec<(String, String)> {
            let steps = handed_steps(main, preload, &handed);
            assert!(steps.iter().all(|step| step.handed && step.serves && step.reported_group.is_none()));
            steps.iter().map(|step| (step.script.to_owned(), step.application_group.to_owned())).collect()
        };
        let names = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter().map(|(script, group)| ((*script).to_owned(), (*group).to_owned())).collect()
        };
        assert_eq!(of(None, &[]), names(&[("/a", "www|/a"), ("/b", "www|/b"), ("/b", ""), ("/c", "x")]));
        // One that is alone runs in the main interpreter, whatever its group was called.
        assert_eq!(of(Some("/a"), &[]), names(&[("/b", "www|/b"), ("/b", ""), ("/c", "x")]));
        assert_eq!(
            of(None, &[preload("/b", ""), preload("/c", "y")]),
            names(&[("/a", "www|/a"), ("/b", "www|/b"), ("/c", "x")])
        );
    }
}
