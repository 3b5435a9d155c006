//! Scripts: loading them as modules, noticing that they changed, finding the callable in them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use wsgi_sys::{clock, file};
use wsgi_wire::messages::{LoadFailure, Message};
use wsgi_wire::request::{DECIDE, Head, RELOAD};
use wsgi_wire::response::Failure;

use crate::log;
use crate::python::interp::Interp;
use crate::python::interpreters::facts;
use crate::python::py::{Any, Exception, Gil, Kind, Owned, Res};
use crate::python::scripts::{Broken, Found, Fresh, Slot};
use crate::request::advice;
use crate::request::files::Concern;
use crate::request::first_load::FIRST_LOAD;
use crate::request::fork;
use crate::request::host::Outcome;
use crate::request::report::{self, About, Reporter, interrupted, is_timeout, place, record_of};

/// The module of a script, loaded now if it is not yet, or if it changed. `resource` is the file that the script
/// is asked about by `reload_required`.
pub fn module<'r>(
    gil: Gil,
    interp: &Interp,
    head: &Head<'_>,
    resource: &dyn Fn() -> &'r [u8],
    reporter: Reporter<'_, '_>,
) -> Result<Owned, Outcome> {
    let mut verb = "Loading";
    loop {
        let reloads = head.flags & RELOAD != 0;
        let (module, fresh) = match interp.scripts.take_or_claim(gil, head.script, reloads) {
            Found::Loaded { module, is_first, fresh } => {
                if is_first {
                    tell_loaded(interp, head.script, Occasion::Asked);
                }
                (module, fresh)
            }
            Found::Broken(broken) => return Err(refuse(gil, head, &broken, reporter)),
            Found::Claimed => {
                let module = load(gil, interp, head.script, verb, reporter)?;
                tell_loaded(interp, head.script, Occasion::Asked);
                return Ok(module);
            }
        };
        let is_outdated = || match fresh {
            Some(Fresh { mtime_us }) => has_other_time(head, mtime_us),
            None => has_changed(gil, interp, &module, head, resource, reporter),
        };
        if !reloads || !is_outdated() {
            return Ok(module);
        }
        if let Some(announce) = ANNOUNCE.get() {
            announce(head.script, mtime_us(head.script));
            return Ok(module);
        }
        if !facts().is_some_and(|facts| facts.embedded) {
            return Err(Outcome::Stale);
        }
        verb = "Reloading";
        interp.scripts.forget(gil, head.script, &module);
    }
}

/// A function that hears of a script and its modification time, when a request finds that the script has changed.
type Announce = Box<dyn Fn(&[u8], Option<i64>) + Send + Sync>;

/// Set in processes in which old code goes on serving until another process has the new one.
static ANNOUNCE: OnceLock<Announce> = OnceLock::new();

/// From now on the process announces a script that has changed, and serves it as it is (`reload=rolling`).
pub fn announce_changes(to: Announce) {
    let _ = ANNOUNCE.set(to);
}

/// Why a script is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A request has asked for it.
    Asked,
    /// Another process had it.
    Handed,
    /// The configuration names it.
    Configured,
}

/// A function that hears of an application group, a script that is loaded in it, and why.
type Loads = Box<dyn Fn(&str, &str, Occasion) + Send + Sync>;

/// Set in processes that another process may follow.
static LOADS: OnceLock<Loads> = OnceLock::new();

/// From now on `to` hears of scripts that requests ask for, and of those that were handed on: of each when it is
/// loaded, and of the latter once more when the first request asks for it.
pub fn announce_loads(to: Loads) {
    let _ = LOADS.set(to);
}

fn tell_loaded(interp: &Interp, script: &[u8], why: Occasion) {
    // A name that is no UTF-8 cannot be handed on.
    if let (Some(tell), Ok(script)) = (LOADS.get(), std::str::from_utf8(script)) {
        tell(interp.name(), script, why);
    }
}

/// How a request ends whose script could not be loaded when the process started: the application is half imported,
/// so only another process may try again.
fn refuse(gil: Gil, head: &Head<'_>, broken: &Broken, reporter: Reporter<'_, '_>) -> Outcome {
    let may_differ = head.flags & RELOAD != 0 && broken.mtime_us != Some(head.mtime_us);
    if may_differ && mtime_us(head.script) != broken.mtime_us {
        if !broken.changed.swap(true, Ordering::Relaxed) {
            gil.detach(|| log::info(&changed(&String::from_utf8_lossy(head.script))));
        }
        return Outcome::Stale;
    }
    let ago = clock::monotonic().saturating_sub(broken.tried).as_secs();
    let (failure, brief, pid) = (broken.failure, &broken.brief, std::process::id());
    let text = format!("{brief} (process {pid} tried it {ago} s ago; the log of its process group has the traceback)");
    reporter.report(gil, failure.message(true), &text);
    Outcome::Failed(Failure::Load)
}

/// Loads a script that this thread has claimed.
fn load(gil: Gil, interp: &Interp, path: &[u8], verb: &str, reporter: Reporter<'_, '_>) -> Result<Owned, Outcome> {
    if reporter.0.is_some() {
        FIRST_LOAD.begin(clock::monotonic());
    }
    // A child loads a script again in its place, for a request that needs it, and cannot go round in circles.
    let is_early = reporter.0.is_none() && facts().is_some_and(|facts| !facts.embedded);
    let fresh = is_early.then(|| Fresh { mtime_us: mtime_us(path) });
    let result = execute(gil, interp, path, verb);
    if reporter.0.is_some() {
        FIRST_LOAD.end(result.is_ok());
    }
    match result {
        Ok(module) => Ok(keep(interp, path, module, fresh)),
        Err(raised) => {
            let exception = gil.fetch(raised);
            interp.scripts.put(path, Slot::default());
            if let Some(exchange) = reporter.0.filter(|_| is_timeout(gil, interp, &exception)) {
                interrupted(gil, exchange);
                return Err(Outcome::Failed(Failure::Timeout));
            }
            report_load(gil, interp, path, &exception, reporter);
            Err(Outcome::Failed(Failure::Load))
        }
    }
}

/// The line that says why another process tries a script that could not be loaded.
pub fn changed(path: &str) -> String {
    let group = facts().map_or("", |facts| &facts.process_group);
    format!("process group \"{group}\": {path} has changed, so a new process tries to load the script")
}

/// Logs that a script could not be loaded. Where a module was missing the record says who looked for it, and where.
fn report_load(gil: Gil, interp: &Interp, path: &[u8], exception: &Exception, reporter: Reporter<'_, '_>) {
    let failure = failure_of(gil, interp, path, exception);
    let (raised, words) = report::raised(gil, interp, path, exception);
    let head = format!("{}\n{}", cannot_load(failure, path, interp), raised.line(words));
    let record = record_of(gil, interp, &head, exception);
    let found = interp.objects.missing.get(gil).call(&[&exception.value]);
    let searched = match found {
        Ok(text) => String::from_utf8_lossy(text.as_bytes().unwrap_or_default()).into_owned(),
        Err(raised) => {
            drop(gil.fetch(raised));
            String::new()
        }
    };
    let record = match facts().filter(|_| !searched.is_empty()) {
        Some(facts) => format!("{record}\n{}", advice::not_found(facts, &searched)),
        None => record,
    };
    reporter.report(gil, failure.message(reporter.0.is_some()), &record);
}

fn cannot_load(failure: LoadFailure, path: &[u8], interp: &Interp) -> String {
    failure.text(&String::from_utf8_lossy(path), &place(interp))
}

/// How loading a script has failed.
fn failure_of(gil: Gil, interp: &Interp, path: &[u8], exception: &Exception) -> LoadFailure {
    if exception.is(Kind::SystemExit) {
        return LoadFailure::Exit;
    }
    let is_source =
        gil.path(path).and_then(|path| interp.objects.is_source.get(gil).call(&[&path, &exception.traceback])?.truth());
    match is_source {
        Ok(true) => LoadFailure::Source,
        Ok(false) => LoadFailure::Raised,
        Err(raised) => {
            drop(gil.fetch(raised));
            LoadFailure::Raised
        }
    }
}

fn keep(interp: &Interp, path: &[u8], module: Owned, fresh: Option<Fresh>) -> Owned {
    FIRST_LOAD.loaded();
    interp.scripts.put(path, Slot::loaded(module.new_ref().store(), fresh));
    module
}

/// Executes a script. `verb`: "Loading" or "Reloading", as mod_wsgi's line has it.
fn execute(gil: Gil, interp: &Interp, path: &[u8], verb: &str) -> Res<Owned> {
    let text = format!("{verb} WSGI script '{}' into {}.", String::from_utf8_lossy(path), place(interp));
    gil.detach(|| log::info(&text));
    let lower = facts().is_some_and(|facts| facts.case_insensitive);
    let (path, lower) = (gil.path(path)?, gil.bool(lower)?);
    fork::returned(gil, interp, interp.objects.load.get(gil).call(&[&path, &lower]))
}

/// Whether the file's modification time is another one than it was. httpd has looked at it a moment ago.
fn has_other_time(head: &Head<'_>, recorded: Option<i64>) -> bool {
    recorded != Some(head.mtime_us) && mtime_us(head.script) != recorded
}

/// Whether the file has changed since it was loaded, or the module asks to be loaded again.
fn has_changed<'r>(
    gil: Gil,
    interp: &Interp,
    module: &Any,
    head: &Head<'_>,
    resource: &dyn Fn() -> &'r [u8],
    reporter: Reporter<'_, '_>,
) -> bool {
    let names = &interp.objects.names;
    let Ok(namespace) = module.module_dict() else { return true };
    let recorded = match namespace.get(names.mtime.get(gil)) {
        Ok(Some(mtime)) => mtime.as_i64(),
        other => other.map(|_| -1),
    };
    let recorded = recorded.unwrap_or_else(|raised| {
        drop(gil.fetch(raised));
        -1
    });
    if has_other_time(head, Some(recorded)) {
        return true;
    }
    // A script that decides serves no resource that it could be asked about.
    if head.flags & DECIDE != 0 {
        return false;
    }
    let Ok(Some(asks)) = namespace.get(names.reload_required.get(gil)) else { return false };
    let answer = gil.path(resource()).and_then(|path| fork::returned(gil, interp, asks.call(&[&path]))?.truth());
    answer.unwrap_or_else(|raised| {
        let about = About { behind: " reload_required() has failed; the loaded script serves on.", ..About::default() };
        reporter.exception(gil, interp, head.script, about, &gil.fetch(raised));
        false
    })
}

/// The application in a module.
pub fn callable(gil: Gil, module: &Any, head: &Head<'_>, reporter: Reporter<'_, '_>) -> Result<Owned, Outcome> {
    let found = module.module_dict().and_then(|namespace| namespace.get(&*gil.latin1(head.callable)?));
    match found {
        Ok(Some(callable)) => Ok(callable),
        Ok(None) => {
            let (script, name) = (String::from_utf8_lossy(head.script), String::from_utf8_lossy(head.callable));
            let text = format!("Target WSGI script '{script}' does not contain WSGI application '{name}'.");
            reporter.report(gil, Message::CallableMissing, &text);
            Err(Outcome::Failed(Failure::Load))
        }
        Err(raised) => {
            drop(gil.fetch(raised));
            Err(Outcome::Failed(Failure::Load))
        }
    }
}

/// Notes that a script was loaded before a request has asked for it. `handed`: another process had it, so the first
/// request is told.
pub fn was_loaded_at_start(interp: &Interp, path: &str, handed: bool) {
    if interp.scripts.note_origin(path.as_bytes(), handed) {
        let why = if handed { Occasion::Handed } else { Occasion::Configured };
        tell_loaded(interp, path.as_bytes(), why);
    }
}

/// Loads a script before the first request. A failure is logged, and for good in this process: what it depends on is
/// given back.
///
/// # Errors
/// The files and directories that the failure depends on.
pub fn load_at_start(gil: Gil, interp: &Interp, path: &str) -> Result<(), Vec<Concern>> {
    let path = path.as_bytes();
    let Found::Claimed = interp.scripts.take_or_claim(gil, path, false) else { return Ok(()) };
    let mtime_us = mtime_us(path);
    let result = match execute(gil, interp, path, "Loading") {
        Ok(module) => {
            drop(keep(interp, path, module, Some(Fresh { mtime_us })));
            Ok(())
        }
        Err(raised) => {
            let exception = gil.fetch(raised);
            report_load(gil, interp, path, &exception, Reporter(None));
            let concerns = concerned(gil, interp, path, &exception);
            let failure = failure_of(gil, interp, path, &exception);
            let brief = format!("{} {}", cannot_load(failure, path, interp), exception.brief(gil).replace('\n', " "));
            let (tried, changed) = (clock::monotonic(), AtomicBool::new(false));
            interp.scripts.put(path, Slot::broken(Broken { failure, brief, tried, mtime_us, changed }));
            Err(concerns)
        }
    };
    crate::request::streams::flush_all(gil);
    result
}

fn concerned(gil: Gil, interp: &Interp, path: &[u8], exception: &Exception) -> Vec<Concern> {
    let found = gil.path(path).and_then(|path| interp.objects.concerned.get(gil).call(&[&path, &exception.value]));
    let found = found.unwrap_or_else(|raised| {
        drop(gil.fetch(raised));
        gil.none()
    });
    let items = found.as_list().map_or_else(Vec::new, |list| (0..list.len()).filter_map(|at| list.item(at)).collect());
    let mut concerns: Vec<_> = items.iter().filter_map(|item| Concern::read(item.as_bytes()?)).collect();
    if concerns.is_empty() {
        concerns.extend(Concern::read(&[b"s", path].concat()));
    }
    concerns
}

/// Executes a script on the main thread of a process that serves nothing. SystemExit ends it like any other end.
/// Another exception is logged, and the result is false.
pub fn run_service(gil: Gil, interp: &Interp, path: &str) -> bool {
    let path = path.as_bytes();
    let Found::Claimed = interp.scripts.take_or_claim(gil, path, false) else { return true };
    let done = match execute(gil, interp, path, "Loading") {
        Ok(module) => {
            drop(keep(interp, path, module, None));
            true
        }
        Err(raised) => {
            let exception = gil.fetch(raised);
            interp.scripts.put(path, Slot::default());
            let is_exit = exception.is(Kind::SystemExit);
            if !is_exit {
                report_load(gil, interp, path, &exception, Reporter(None));
            }
            is_exit
        }
    };
    crate::request::streams::flush_all(gil);
    done
}

/// Executes a script that no request runs (`WSGIImportScript`), unless it is loaded already. A failure is logged; false.
pub fn import(gil: Gil, interp: &Interp, path: &str) -> bool {
    let path = path.as_bytes();
    let done = match interp.scripts.take_or_claim(gil, path, false) {
        Found::Loaded { .. } => true,
        Found::Broken(_) => false,
        Found::Claimed => load(gil, interp, path, "Loading", Reporter(None)).is_ok(),
    };
    crate::request::streams::flush_all(gil);
    done
}

/// When the script's file was last changed.
fn mtime_us(script: &[u8]) -> Option<i64> {
    file::mtime_us(Path::new(OsStr::from_bytes(script)))
}
