//! Which thread state `PyGILState_Ensure` finds on a thread that has states for several interpreters.
//!
//! C code that calls back into Python (ctypes, Cython's `with gil`) asks for the thread's one state. From 3.12 on
//! Python answers with the state to which the thread was attached last. 3.10 and 3.11 keep the first state that the
//! thread ever had: a callback in another interpreter then runs in the wrong one, or waits for ever for the GIL that
//! its own thread holds. These versions keep the state under a key of pthread, and the C API cannot change it.
//! [`learn`] finds the key by trial, once in a process that makes a second interpreter. [`Bound`] then sets the state
//! whenever a thread changes interpreter. Where there is only the main interpreter, the key stays unknown, and this
//! module does nothing.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::ffi;

use crate::python::py::version_before;

/// No key is known: Python does it by itself, there is one interpreter only, or the key was not found.
const UNKNOWN: u32 = u32::MAX;
static KEY: AtomicU32 = AtomicU32::new(UNKNOWN);

/// A thread state of Python's.
pub type State = *mut ffi::PyThreadState;

/// What `PyGILState_Ensure` finds in this thread now.
fn bound() -> State {
    // SAFETY: takes nothing; reads what belongs to this thread.
    unsafe { ffi::PyGILState_GetThisThreadState() }
}

/// This thread's value of a key.
fn value(key: u32) -> State {
    // SAFETY: takes a number below the limit; the value of a key that does not exist is null.
    unsafe { libc::pthread_getspecific(key) }.cast()
}

/// Gives this thread another value of `key`, whose present value is the state that Python finds. False if Python does
/// not look at this key: then nothing has changed.
fn try_key(key: u32, state: State) -> bool {
    let before = value(key);
    // SAFETY: takes a number and a pointer that nobody follows before it is known whose it is.
    if unsafe { libc::pthread_setspecific(key, state.cast()) } != 0 {
        return false;
    }
    if bound() == state {
        return true;
    }
    // SAFETY: as above; the value that it had.
    unsafe { libc::pthread_setspecific(key, before.cast()) };
    false
}

/// Finds the key, on a Python that needs that. The calling thread is attached; `other` is a state of its own that
/// Python does not find yet.
pub fn learn(other: State) {
    let before = bound();
    if KEY.load(Ordering::Relaxed) != UNKNOWN || !version_before(3, 12) || before.is_null() || before == other {
        return;
    }
    // SAFETY: takes a number.
    let keys = unsafe { libc::sysconf(libc::_SC_THREAD_KEYS_MAX) };
    let found = (0..u32::try_from(keys).unwrap_or(0)).find(|key| value(*key) == before && try_key(*key, other));
    if let Some(key) = found {
        try_key(key, before);
        KEY.store(key, Ordering::Relaxed);
    }
}

/// Makes `PyGILState_Ensure` find `state`, a state of this thread, from now on. Returns what it found before; null, if
/// that was nothing or the same.
fn bind(state: State) -> State {
    let key = KEY.load(Ordering::Relaxed);
    if key == UNKNOWN {
        return ptr::null_mut();
    }
    let before = bound();
    // In a forked child Python makes a new key.
    if before == state || value(key) != before || !try_key(key, state) {
        return ptr::null_mut();
    }
    before
}

/// While it lives, `PyGILState_Ensure` finds a certain state in this thread; then the one before it again, which
/// belongs to the interpreter that the thread goes back to.
pub struct Bound {
    before: State,
}

impl Bound {
    /// Makes `PyGILState_Ensure` find `state`, a state of this thread.
    pub fn to(state: State) -> Bound {
        Bound { before: bind(state) }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if !self.before.is_null() {
            bind(self.before);
        }
    }
}
