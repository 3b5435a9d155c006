//! The interpreters of the process: the main one, and one for each application group that asks for its own. They are
//! made, found and ended here. No lock of ours is held where a GIL is taken.

use std::collections::HashMap;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use pyo3::ffi;
use wsgi_sys::{forked, process};
use wsgi_wire::messages::Message;

use crate::log;
use crate::python::gilstate::{self, Bound};
use crate::python::interp::{Facts, Interp, Made, Natives, Start, tell_of_threads};
use crate::python::own_gil;
use crate::python::py::{Exception, Gil, version_before};
use crate::python::threads;
use crate::python::unmade::{Failed, Unmade, pause_after};

/// All interpreters of the process.
struct Engine {
    facts: Facts,
    natives: Natives,
    start: Start,
    main: &'static Interp,
    named: Mutex<Named>,
    made: Condvar,
}

#[derive(Default)]
struct Named {
    all: HashMap<Vec<u8>, &'static Interp>,
    /// Groups whose interpreter could not be made.
    failed: HashMap<Vec<u8>, Failed>,
    /// One is being made; another has to wait.
    busy: bool,
}

static ENGINE: OnceLock<Engine> = OnceLock::new();

/// Sets up the main interpreter; the calling thread is attached to it.
pub fn start(gil: Gil, facts: Facts, natives: Natives) -> Result<&'static Interp, String> {
    gil.learn_whether_free().map_err(|raised| gil.fetch(raised).brief(gil))?;
    gil.detach(|| tell_of_threads(&facts));
    let built = Start::now(gil).and_then(|start| {
        let made = Made { name: "", first: ptr::null_mut(), has_own_gil: false, turns: Box::leak(Box::default()) };
        let interp = Interp::build(gil, &facts, natives, &start, made)?;
        Ok((start, interp))
    });
    let (start, interp) = built.map_err(|raised| gil.fetch(raised).brief(gil))?;
    let main: &'static Interp = Box::leak(Box::new(interp));
    let engine = Engine { facts, natives, start, main, named: Mutex::default(), made: Condvar::new() };
    ENGINE.set(engine).map_err(|_| "it was started before".to_owned())?;
    Ok(main)
}

/// The main interpreter, once it is set up.
pub fn main() -> Option<&'static Interp> {
    ENGINE.get().map(|engine| engine.main)
}

/// What configuration says, once the main interpreter is set up.
pub fn facts() -> Option<&'static Facts> {
    ENGINE.get().map(|engine| &engine.facts)
}

/// Every named interpreter.
pub fn named() -> Vec<&'static Interp> {
    let Some(engine) = ENGINE.get() else { return Vec::new() };
    engine.named.lock().unwrap_or_else(PoisonError::into_inner).all.values().copied().collect()
}

/// The interpreter whose record is at this address, if there is one.
pub fn at(address: usize) -> Option<&'static Interp> {
    main().into_iter().chain(named()).find(|interp| ptr::from_ref(*interp).addr() == address)
}

/// The interpreter of an application group, made now if there is none. The thread is not attached.
/// Nothing when it cannot be made; why has been logged. It is tried again after a pause only, as each attempt takes long
/// and is most likely to fail like the one before.
pub fn of_application_group(application_group: &[u8]) -> Option<&'static Interp> {
    let engine = ENGINE.get()?;
    if application_group.is_empty() {
        return Some(engine.main);
    }
    let mut named = engine.named.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(found) = named.all.get(application_group) {
            return Some(found);
        }
        if let Some(failed) = named.failed.get(application_group).filter(|failed| failed.is_final(Instant::now())) {
            let text = failed.refusal(application_group);
            drop(named);
            log::report(Message::InterpreterUnavailable, &text);
            return None;
        }
        if !named.busy {
            break;
        }
        named = engine.made.wait(named).unwrap_or_else(PoisonError::into_inner);
    }
    named.busy = true;
    drop(named);
    let made = panic::catch_unwind(AssertUnwindSafe(|| make(engine, &String::from_utf8_lossy(application_group))));
    let made = made.unwrap_or_else(|payload| {
        mem::forget(payload);
        Err(Unmade { is_repeatable: false, ..Unmade::new("internal error of mod_wsgi") })
    });
    let mut named = engine.named.lock().unwrap_or_else(PoisonError::into_inner);
    named.busy = false;
    let attempts = named.failed.remove(application_group).map_or(0, |failed| failed.attempts) + 1;
    let text = match &made {
        Ok(interp) => {
            named.all.insert(application_group.to_vec(), interp);
            None
        }
        Err(unmade) => {
            let again = unmade.is_repeatable.then(|| Instant::now() + pause_after(attempts));
            let failed = Failed { attempts, cause: unmade.cause.clone(), again };
            let text = failed.report(application_group, &unmade.traceback);
            named.failed.insert(application_group.to_vec(), failed);
            Some(text)
        }
    };
    engine.made.notify_all();
    drop(named);
    text.iter().for_each(|text| log::report(Message::InterpreterNotMade, text));
    made.ok()
}

fn make(engine: &'static Engine, name: &str) -> Result<&'static Interp, Unmade> {
    let has_own_gil = own_gil::is_own(&engine.facts, name);
    if has_own_gil {
        own_gil::end_alone_for_good();
    }
    threads::attach(engine.main, |gil| {
        // The main interpreter is no longer the only one that changes the environment.
        engine
            .main
            .objects
            .own_environment
            .get(gil)
            .call0()
            .map_err(|raised| Unmade::new(&gil.fetch(raised).brief(gil)))?;
        // SAFETY: attached to the main interpreter.
        let before = unsafe { ffi::PyThreadState_Get() };
        // SAFETY: as above, and fork and the like have been ended for good where they must. It leaves this thread attached
        // to the new one, or where it was.
        let state = unsafe { new_interpreter(has_own_gil) }.map_err(|cause| Unmade::new(&cause))?;
        // SAFETY: attached to the new interpreter.
        let gil = unsafe { Gil::assume() };
        gilstate::learn(state);
        let bound = Bound::to(state);
        let turns = if has_own_gil { Box::leak(Box::default()) } else { engine.main.turns() };
        let made = Made { name, first: state, has_own_gil, turns };
        let built = Interp::build(gil, &engine.facts, engine.natives, &engine.start, made);
        let built = built.map_err(|raised| {
            let exception = gil.fetch(raised);
            (exception.brief(gil), traceback(gil, &exception))
        });
        let result = match built {
            Ok(interp) => {
                // SAFETY: both states belong to this thread.
                unsafe { go_back(before) };
                Ok(&*Box::leak(Box::new(interp)))
            }
            Err((cause, traceback)) => {
                let is_repeatable = discard(gil, state, before);
                Err(Unmade { cause, traceback, is_repeatable })
            }
        };
        drop(bound);
        result
    })
}

/// Ends the interpreter to which the thread is attached by `state`, the only one that it has, and goes back to `before`.
/// While threads run in it Python would abort the process; then it stays, and the result is false.
fn discard(gil: Gil, state: *mut ffi::PyThreadState, before: *mut ffi::PyThreadState) -> bool {
    let count = gil.import(c"_thread").and_then(|module| module.getattr(c"_count")?.call0()?.as_i64());
    let is_alone = count.map_err(|raised| drop(gil.fetch(raised))) == Ok(0);
    if is_alone {
        // SAFETY: attached by the last state of the interpreter, of which nothing is used any more.
        unsafe { ffi::Py_EndInterpreter(state) };
    }
    if is_alone && !version_before(3, 12) {
        // SAFETY: a state of this thread, which is attached to nothing and holds no GIL.
        unsafe { ffi::PyEval_RestoreThread(before) };
    } else {
        // SAFETY: a state of this thread, which holds the GIL of the one interpreter or of the other.
        unsafe { go_back(before) };
    }
    is_alone
}

/// Makes an interpreter, with a GIL of its own or not; returns the thread state by which the thread is then attached to it.
///
/// # Errors
/// Why there is none; the thread is attached as before.
///
/// # Safety
/// The thread is attached to the main interpreter, and uses nothing of it until it is attached there again. Before the first
/// one with a GIL of its own [`own_gil::end_alone_for_good`] was called.
unsafe fn new_interpreter(has_own_gil: bool) -> Result<*mut ffi::PyThreadState, String> {
    if has_own_gil {
        // SAFETY: by contract.
        return unsafe { own_gil::new_interpreter() };
    }
    // SAFETY: by contract.
    let state = unsafe { ffi::Py_NewInterpreter() };
    if state.is_null() { Err("Python refuses to make one".to_owned()) } else { Ok(state) }
}

/// Leaves the interpreter to which the thread is attached for the one of `before`.
///
/// # Safety
/// The thread is attached, by another state than `before`, which is one of this thread's, too. It uses no object of the
/// interpreter that it leaves.
unsafe fn go_back(before: *mut ffi::PyThreadState) {
    if version_before(3, 12) {
        // SAFETY: by contract; there is one GIL, which the thread holds.
        unsafe { ffi::PyThreadState_Swap(before) };
        return;
    }
    // Each may have a GIL of its own.
    // SAFETY: attached, by contract.
    unsafe { ffi::PyEval_SaveThread() };
    // SAFETY: a state of this thread, which is attached to nothing.
    unsafe { ffi::PyEval_RestoreThread(before) };
}

/// Where an exception was raised, as Python shows it. Needs nothing of an interpreter but its library.
fn traceback(gil: Gil, exception: &Exception) -> String {
    let lines = gil.import(c"traceback").and_then(|module| {
        let format = module.getattr(c"format_exception")?;
        let lines = format.call(&[&exception.kind, &exception.value, &exception.traceback])?;
        gil.str("")?.getattr(c"join")?.call(&[&lines])
    });
    match lines {
        Ok(text) => text.utf8(gil).unwrap_or_default().to_owned(),
        Err(raised) => {
            drop(gil.fetch(raised));
            String::new()
        }
    }
}

/// Runs `body` in the interpreter of an application group, which is made now if there is none. Nothing when it
/// cannot be made; why has been logged. The thread is attached to the main one.
pub fn inside<T: Send>(
    gil: Gil,
    main: &'static Interp,
    application_group: &str,
    body: impl FnOnce(Gil, &'static Interp) -> T + Send,
) -> Option<T> {
    if application_group.is_empty() {
        return Some(body(gil, main));
    }
    gil.detach(|| {
        let interp = of_application_group(application_group.as_bytes())?;
        Some(threads::attach(interp, |gil| body(gil, interp)))
    })
}

/// Loads an extension module in the main interpreter, unless it was loaded there before. The thread is attached to none.
/// Whether it can be loaded is told to whoever wants it.
pub fn load_in_main(name: &str, origin: &str) {
    let Some(main) = main() else { return };
    threads::attach(main, |gil| {
        let load = main.objects.load_extension.get(gil);
        let loaded = gil.str(name).and_then(|name| load.call(&[&name, &*gil.path(origin.as_bytes())?]));
        if let Err(raised) = loaded {
            drop(gil.fetch(raised));
        }
        end_lines(gil);
    });
}

/// Runs `body` in each interpreter, the main one first. The thread is attached to none.
pub fn in_each(body: impl Fn(Gil, &'static Interp)) {
    for interp in main().into_iter().chain(named()) {
        threads::attach(interp, |gil| {
            body(gil, interp);
            ENGINE.get().into_iter().for_each(|engine| (engine.natives.flush)(gil));
        });
    }
}

/// Ends the named interpreters; true when Python may be finalised then. The thread is attached to the main one.
pub fn end_named(gil: Gil) -> bool {
    let named = named();
    // Before 3.13 the main interpreter may hold objects in the memory of one with a GIL of its own, which goes with that one
    // (seen after `import ssl`), and trips over them at its end.
    let mut may_finalise = !version_before(3, 13) || !named.iter().any(|interp| interp.has_own_gil());
    for interp in named {
        may_finalise &= gil.detach(|| end(interp));
    }
    may_finalise
}

/// Ends one interpreter, unless threads still run in it: Python would abort the process.
fn end(interp: &'static Interp) -> bool {
    let is_alone = threads::attach(interp, |gil| {
        run_exit_functions(gil, interp, "join");
        let count = interp.objects.threads.get(gil).call0().and_then(|count| count.as_i64());
        let has_none = count.map_err(|raised| drop(gil.fetch(raised))) == Ok(0);
        let is_alone = has_none && interp.states.load(Ordering::SeqCst) == 1;
        if !is_alone {
            run_exit_functions(gil, interp, "atexit");
        }
        is_alone
    });
    let Some(state) = threads::disown(interp).filter(|_| is_alone) else { return false };
    // SAFETY: a state of the interpreter, which no other thread uses: its request threads gave theirs back.
    unsafe { ffi::PyEval_RestoreThread(state) };
    let _bound = Bound::to(state);
    // SAFETY: attached; no thread uses that other state.
    unsafe { ffi::PyThreadState_Clear(interp.first) };
    // SAFETY: as above.
    unsafe { ffi::PyThreadState_Delete(interp.first) };
    // SAFETY: attached to the interpreter, which has no other state.
    unsafe { ffi::Py_EndInterpreter(state) };
    // Before 3.12 the GIL is still held now, by no thread state; from 3.12 on it is free.
    let Some(main) = main() else { return true };
    if version_before(3, 12) {
        let state = threads::fresh_state(main);
        // SAFETY: the GIL is held without a thread state, which this one becomes.
        unsafe { ffi::PyThreadState_Swap(state) };
        // SAFETY: attached by the line above.
        unsafe { ffi::PyEval_SaveThread() };
    }
    true
}

/// Ends the lines that the calling thread has left unfinished.
pub fn end_lines(gil: Gil) {
    ENGINE.get().into_iter().for_each(|engine| (engine.natives.flush)(gil));
}

/// Waits for Python's threads ("join"), runs atexit functions ("atexit"), or both (""), in the interpreter
/// that the thread is attached to.
pub fn run_exit_functions(gil: Gil, interp: &Interp, part: &str) {
    let done = gil.str(part).and_then(|part| interp.objects.finish.get(gil).call(&[&part]));
    let is_done = done.is_ok();
    if let Err(raised) = done {
        let text = gil.fetch(raised).brief(gil);
        gil.detach(|| log::report(Message::ExitFunctions, &text));
    }
    end_lines(gil);
    if forked::is_child() {
        // One of the functions has forked, and here is the forked process.
        process::exit_now(i32::from(!is_done));
    }
}
