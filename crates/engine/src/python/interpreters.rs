//! The interpreters of the process: the main one, and one for each application group that asks for its own. They are
//! made, found and ended here. No lock of ours is held where the GIL is taken.

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread;

use pyo3::ffi;

use crate::log::{ERROR, process_log};
use crate::python::gilstate::{self, Bound};
use crate::python::interp::{Facts, Interp, Natives};
use crate::python::py::{Gil, version_before};
use crate::python::threads;

/// All interpreters of the process.
struct Engine {
    facts: Facts,
    natives: Natives,
    main: &'static Interp,
    named: Mutex<Named>,
    made: Condvar,
}

#[derive(Default)]
struct Named {
    all: HashMap<Vec<u8>, &'static Interp>,
    /// One is being made; another has to wait.
    busy: bool,
}

static ENGINE: OnceLock<Engine> = OnceLock::new();

/// Sets up the main interpreter; the calling thread is attached to it.
pub fn start(gil: Gil, facts: Facts, natives: Natives) -> Result<&'static Interp, String> {
    let interp = Interp::build(gil, "", &facts, natives, ptr::null_mut());
    let interp = interp.map_err(|raised| gil.fetch(raised).brief(gil))?;
    let main: &'static Interp = Box::leak(Box::new(interp));
    let engine = Engine { facts, natives, main, named: Mutex::default(), made: Condvar::new() };
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
/// Nothing when it cannot be made; why has been logged.
pub fn of_group(group: &[u8]) -> Option<&'static Interp> {
    let engine = ENGINE.get()?;
    if group.is_empty() {
        return Some(engine.main);
    }
    let mut named = engine.named.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(found) = named.all.get(group) {
            return Some(found);
        }
        if !named.busy {
            break;
        }
        named = engine.made.wait(named).unwrap_or_else(PoisonError::into_inner);
    }
    named.busy = true;
    drop(named);
    let made = make(engine, &String::from_utf8_lossy(group));
    let mut named = engine.named.lock().unwrap_or_else(PoisonError::into_inner);
    named.busy = false;
    if let Ok(interp) = &made {
        named.all.insert(group.to_vec(), interp);
    }
    engine.made.notify_all();
    drop(named);
    made.map_err(|cause| {
        let group = String::from_utf8_lossy(group);
        process_log(ERROR, format!("cannot make the interpreter of application group '{group}': {cause}").as_bytes());
    })
    .ok()
}

fn make(engine: &'static Engine, name: &str) -> Result<&'static Interp, String> {
    threads::attach(engine.main, |_| {
        // SAFETY: attached to the main interpreter.
        let before = unsafe { ffi::PyThreadState_Get() };
        // SAFETY: as above. It leaves this thread attached to the new one, or where it was.
        let state = unsafe { ffi::Py_NewInterpreter() };
        if state.is_null() {
            return Err("Python refuses to make one".to_owned());
        }
        // SAFETY: attached to the new interpreter.
        let gil = unsafe { Gil::assume() };
        gilstate::learn(state);
        let bound = Bound::to(state);
        let built = Interp::build(gil, name, &engine.facts, engine.natives, state);
        let built = built.map_err(|raised| gil.fetch(raised).brief(gil));
        let result = built.map(|interp| &*Box::leak(Box::new(interp)));
        // An interpreter that could not be set up is left as it is: it is of no use, and does no harm.
        // SAFETY: both states belong to this thread.
        unsafe { ffi::PyThreadState_Swap(before) };
        drop(bound);
        result
    })
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
        let interp = of_group(group.as_bytes())?;
        Some(threads::attach(interp, |gil| body(gil, interp)))
    })
}

/// Ends the named interpreters; true when all could be. The thread is attached to the main one.
pub fn end_named(gil: Gil) -> bool {
    let mut all_ended = true;
    for interp in named() {
        all_ended &= gil.detach(|| end(interp));
    }
    all_ended
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
    // Python waits for the thread state that `threading` has for its main thread, unless that is the one
    // that ends the interpreter.
    let (last, other) =
        if interp.maker == thread::current().id() { (interp.first, state) } else { (state, interp.first) };
    // SAFETY: a state of the interpreter, which no other thread uses: its request threads gave theirs back.
    unsafe { ffi::PyEval_RestoreThread(last) };
    let _bound = Bound::to(last);
    // SAFETY: attached; no thread uses that other state.
    unsafe { ffi::PyThreadState_Clear(other) };
    // SAFETY: as above.
    unsafe { ffi::PyThreadState_Delete(other) };
    // SAFETY: attached to the interpreter, which has no other state.
    unsafe { ffi::Py_EndInterpreter(last) };
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

/// Waits for Python's threads ("join"), runs atexit functions ("atexit"), or both (""), in the interpreter
/// that the thread is attached to.
pub fn run_exit_functions(gil: Gil, interp: &Interp, part: &str) {
    let done = gil.str(part).and_then(|part| interp.objects.finish.get(gil).call(&[&part]));
    if let Err(raised) = done {
        let text = gil.fetch(raised).brief(gil);
        gil.detach(|| process_log(ERROR, text.as_bytes()));
    }
    ENGINE.get().into_iter().for_each(|engine| (engine.natives.flush)(gil));
}
