//! Interpreters with a GIL of their own (`WSGIPerInterpreterGIL`, Python 3.12 and later): who gets one, and how it is made.
//! [`crate::python::interpreters`] calls this.
//!
//! Two such interpreters run at the same moment, so nothing may be shared between them that the GIL would have to guard.
//! Each object of ours belongs to one interpreter ([`crate::python::interp`]), and what belongs to the process has locks
//! of its own or consists of atomics. What is left are calls of Python's that reach into all interpreters at once, such
//! as a fork or `sys._current_frames`: [`begin_alone`] allows them only while no interpreter has a GIL of its own.

#![allow(clippy::multiple_unsafe_ops_per_block)] // A call and the claim on its result are one step.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::{mem, ptr};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use pyo3::ffi;
use wsgi_wire::layers::{Layer, resolve};
use wsgi_wire::messages::Message;

use crate::log;
use crate::python::interp::Facts;
use crate::python::py::{Gil, Kind, Owned, Res, runs_free, version, version_before};

/// What becomes of `WSGIPerInterpreterGIL` for an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It shares the GIL of the main interpreter.
    Shared,
    /// It gets its own.
    Own,
    /// It was to get its own, and this Python is older than 3.12.
    TooOld,
    /// It was to get its own, and this Python runs without any (`WSGIFreeThreading`).
    FreeThreaded,
}

/// Whether an interpreter gets a GIL of its own.
const fn choose(is_wanted: bool, is_too_old: bool, runs_free: bool) -> Choice {
    match (is_wanted, runs_free, is_too_old) {
        (false, _, _) => Choice::Shared,
        (true, true, _) => Choice::FreeThreaded,
        (true, false, true) => Choice::TooOld,
        (true, false, false) => Choice::Own,
    }
}

/// Whether the interpreter of this application group, which is not the main one, gets a GIL of its own. Says once in a
/// process that this Python cannot do it.
pub fn is_own(facts: &Facts, application_group: &str) -> bool {
    let is_wanted = resolve(&facts.layers, application_group).per_interpreter_gil;
    let choice = choose(is_wanted, version_before(3, 12), runs_free());
    tell(facts, choice);
    choice == Choice::Own
}

/// Whether an interpreter of this process may get a GIL of its own.
pub fn is_possible(facts: &Facts) -> bool {
    let wants =
        |layer: &Layer| layer.per_interpreter_gil == Some(true) && layer.application_group.as_deref() != Some("");
    choose(facts.layers.iter().any(wants), version_before(3, 12), runs_free()) == Choice::Own
}

fn tell(facts: &Facts, choice: Choice) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let (message, why) = match choice {
        Choice::Shared | Choice::Own => return,
        Choice::TooOld => (
            Message::OwnGilTooOld,
            "has one GIL for all interpreters of a process; it takes Python 3.12 or later to give each its own",
        ),
        Choice::FreeThreaded => (
            Message::OwnGilFreeThreaded,
            "runs without a GIL (WSGIFreeThreading On), so threads of all interpreters run at the same time",
        ),
    };
    if TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    let version = version().to_string_lossy();
    let number = version.split(' ').next().unwrap_or_default();
    let python = &facts.python.0;
    let title = facts.title();
    let text = format!("{title}WSGIPerInterpreterGIL On is left out: Python {number} ({python}) {why}");
    log::report(message, &text);
}

/// `PyInterpreterConfig`, the same since 3.12.
#[repr(C)]
struct Config {
    use_main_obmalloc: c_int,
    allow_fork: c_int,
    allow_exec: c_int,
    allow_threads: c_int,
    allow_daemon_threads: c_int,
    check_multi_interp_extensions: c_int,
    gil: c_int,
}

/// `PyInterpreterConfig_OWN_GIL`
const OWN_GIL: c_int = 2;

/// `PyStatus`
#[repr(C)]
struct Status {
    kind: c_int,
    function: *const c_char,
    message: *const c_char,
    exit_code: c_int,
}

type NewInterpreter = unsafe extern "C" fn(*mut *mut ffi::PyThreadState, *const Config) -> Status;

/// Makes an interpreter with a GIL of its own. The calling thread is attached to another one; it is then attached to the new
/// one, by the state that this returns, and no longer to the other one. After an error it is attached as before.
///
/// # Errors
/// Python's reason.
///
/// # Safety
/// The thread is attached. The caller has called [`end_alone_for_good`], and uses no object of the other interpreter
/// until it is attached there again.
pub unsafe fn new_interpreter() -> Result<*mut ffi::PyThreadState, String> {
    // SAFETY: a C string; looks through what is loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"Py_NewInterpreterFromConfig".as_ptr()) };
    // SAFETY: the function of that name has this signature; null becomes `None`.
    let function = unsafe { mem::transmute::<*mut c_void, Option<NewInterpreter>>(found) };
    let Some(function) = function else { return Err("Python has no function for it".to_owned()) };
    // Its memory is its own, as its lock is, so every extension module has to be made for that. Threads and programs are as
    // free as in other interpreters; a fork would copy other interpreters in the middle of what they do.
    let config = Config {
        use_main_obmalloc: 0,
        allow_fork: 0,
        allow_exec: 1,
        allow_threads: 1,
        allow_daemon_threads: 1,
        check_multi_interp_extensions: 1,
        gil: OWN_GIL,
    };
    let mut state = ptr::null_mut();
    // SAFETY: attached, by contract; a place for the state, and a configuration that Python copies.
    let status = unsafe { function(&raw mut state, &raw const config) };
    if status.kind == 0 && !state.is_null() {
        return Ok(state);
    }
    if status.message.is_null() {
        return Err("Python refuses to make one with a GIL of its own".to_owned());
    }
    // SAFETY: a constant text of Python's.
    let message = unsafe { CStr::from_ptr(status.message) }.to_string_lossy();
    Err(format!("Python refuses to make one with a GIL of its own: {message}"))
}

type ThreadHead = unsafe extern "C" fn(*mut ffi::PyInterpreterState) -> *mut ffi::PyThreadState;
type ThreadNext = unsafe extern "C" fn(*mut ffi::PyThreadState) -> *mut ffi::PyThreadState;
type GetFrame = unsafe extern "C" fn(*mut ffi::PyThreadState) -> *mut ffi::PyObject;

/// What the threads of the interpreter execute to which the calling one is attached: a list of pairs, the address of a thread
/// state and its innermost frame. Unlike `sys._current_frames` it leaves other interpreters alone.
///
/// # Errors
/// No memory, or a function of Python's is missing.
pub fn frames(gil: Gil) -> Res<Owned> {
    let missing = || gil.raise(Kind::Runtime, "Python has no functions to look at its threads");
    // SAFETY: C strings; looks through what is loaded.
    let find = |name: &CStr| unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    // SAFETY: the functions of these names have these signatures; null becomes `None`.
    let (head, next, frame) = unsafe {
        (
            mem::transmute::<*mut c_void, Option<ThreadHead>>(find(c"PyInterpreterState_ThreadHead")),
            mem::transmute::<*mut c_void, Option<ThreadNext>>(find(c"PyThreadState_Next")),
            mem::transmute::<*mut c_void, Option<GetFrame>>(find(c"PyThreadState_GetFrame")),
        )
    };
    let (head, next, frame) = (head.ok_or_else(missing)?, next.ok_or_else(missing)?, frame.ok_or_else(missing)?);
    let found = gil.list()?;
    // SAFETY: the thread is attached.
    let mut state = unsafe { head(ffi::PyInterpreterState_Get()) };
    while !state.is_null() {
        // SAFETY: a state of the interpreter. It is there as long as this thread keeps the GIL, which is needed to delete one
        // (`threads` sees to our own); from 3.12 on nothing here runs code of an application, which might let go of the GIL.
        // No thread executes anything in the interpreter meanwhile. A new reference, or null without an exception.
        if let Ok(innermost) = unsafe { Owned::from_new(frame(state)) } {
            let pair = gil.list()?;
            pair.append(&*gil.int(i64::try_from(state.addr()).unwrap_or(0))?)?;
            pair.append(&innermost)?;
            found.append(&pair)?;
        }
        // SAFETY: as above.
        state = unsafe { next(state) };
    }
    Ok(found)
}

/// How many calls run that reach into all interpreters; negative when there may not be any.
static ALONE: AtomicI32 = AtomicI32::new(0);
const NEVER: i32 = -1;

/// A call begins that reaches into all interpreters. False: one has a GIL of its own, and the call must not be made.
/// [`end_alone`] follows otherwise, also in a process that was forked in between.
pub fn begin_alone() -> bool {
    ALONE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| (count >= 0).then_some(count + 1)).is_ok()
}

/// The call is over.
pub fn end_alone() {
    ALONE.fetch_sub(1, Ordering::SeqCst);
}

/// From now on no such call begins. Waits for those that run; the thread is not attached.
pub fn end_alone_for_good() {
    while ALONE.compare_exchange(0, NEVER, Ordering::SeqCst, Ordering::SeqCst).is_err_and(|count| count > 0) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_its_own_gets_it_where_python_can() {
        assert_eq!(choose(true, false, false), Choice::Own);
        assert_eq!(choose(true, true, false), Choice::TooOld);
        assert_eq!(choose(true, false, true), Choice::FreeThreaded);
        assert_eq!([choose(false, false, false), choose(false, true, true)], [Choice::Shared; 2]);
    }

    #[test]
    fn calls_into_all_interpreters_end_before_the_first_gil_of_its_own() {
        assert!(begin_alone() && begin_alone());
        end_alone();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(end_alone_for_good);
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            end_alone();
        });
        assert!(!begin_alone());
        end_alone_for_good();
        assert!(!begin_alone());
    }
}
