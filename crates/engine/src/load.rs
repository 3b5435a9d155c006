//! What is loaded when a process starts, and what follows when that fails.
//!
//! A script to which the configuration sends requests is tried once in a process. If it fails the process says so
//! in place of "ready", answers what it gets with the first traceback, and watches the files that the failure
//! depends on: a fresh process, and not a half imported application, may try again.

use std::time::{Instant, SystemTime};

use wsgi_wire::control::FromDaemon;
use wsgi_wire::pool::{PoolConfig, Preload};

use crate::exchange::{WARN, process_log};
use crate::files::{Concern, INTERVAL, Watch};
use crate::interp::{self, Interp};
use crate::pool::Pool;
use crate::py::Gil;
use crate::{script, threads};

/// One script to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'c> {
    /// File.
    pub script: &'c str,
    /// Application group; empty is the main interpreter.
    pub group: &'c str,
    /// The application group that applications are told, where it is another than that.
    pub told: Option<&'c str>,
    /// Requests may be for it.
    serves: bool,
}

/// What to load, in order.
pub fn steps(config: &PoolConfig) -> Vec<Step<'_>> {
    let main = config.main_script.as_deref();
    let is_main = |preload: &&Preload| main == Some(&preload.script);
    let told = config.preload.iter().find(is_main).map(|preload| &*preload.group);
    let first = main.map(|script| Step { script, group: "", told, serves: true });
    let others = config.preload.iter().filter(|preload| !is_main(preload));
    let others = others.map(|Preload { script, group, serves }| Step { script, group, told: None, serves: *serves });
    first.into_iter().chain(others).collect()
}

/// Runs `body` in the interpreter of an application group, which is made now if there is none. Nothing when it
/// cannot be made; why has been logged. The thread is attached to the main one.
pub fn inside<T>(
    gil: Gil,
    main: &'static Interp,
    group: &str,
    body: impl FnOnce(Gil, &'static Interp) -> T,
) -> Option<T> {
    if group.is_empty() {
        return Some(body(gil, main));
    }
    gil.detach(|| {
        let interp = interp::of_group(group.as_bytes())?;
        Some(threads::attach(interp, |gil| body(gil, interp)))
    })
}

/// Loads everything. Where a script failed that requests may be for: the files that this depends on.
pub fn at_start(gil: Gil, main: &'static Interp, config: &PoolConfig) -> Option<Watch> {
    let begin = SystemTime::now();
    let mut failed: Option<Vec<Concern>> = None;
    for Step { script, group, told, serves } in steps(config) {
        let result = inside(gil, main, group, |gil, interp| {
            if let Some(told) = told {
                interp.report_group(gil, told.as_bytes());
            }
            if serves {
                script::load_at_start(gil, interp, script)
            } else {
                script::import(gil, interp, script);
                Ok(())
            }
        });
        if let Some(Err(concerns)) = result {
            failed.get_or_insert_default().extend(concerns);
        }
    }
    failed.map(|concerns| gil.detach(|| Watch::new(concerns, begin)))
}

/// Imports scripts into the embedded interpreters. The thread is not attached.
pub fn into_embedded(main: &'static Interp, preload: &[Preload]) {
    for Preload { script, group, .. } in preload {
        threads::attach(main, |gil| inside(gil, main, group, |gil, interp| script::import(gil, interp, script)));
    }
}

/// From now on the supervisor is told when one of the watched files changes.
pub fn watch(pool: &'static Pool, name: &str, mut watch: Watch) {
    let builder = std::thread::Builder::new().name("wsgi-files".to_owned());
    let started = builder.spawn(move || {
        while !pool.is_stopping() {
            std::thread::sleep(INTERVAL);
            if watch.look(Instant::now()) {
                pool.tell(FromDaemon::Changed);
            }
        }
    });
    if let Err(error) = started {
        let text = format!("process group \"{name}\": cannot watch the files of the failed script: {error}");
        process_log(WARN, text.as_bytes());
    }
}
