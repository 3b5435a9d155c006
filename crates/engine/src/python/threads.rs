//! Thread states: one for each thread and interpreter, made on demand and kept for the thread's life. While a thread
//! is attached, `PyGILState_Ensure` of extensions finds the state of that interpreter ([`crate::python::gilstate`]).

use std::cell::RefCell;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;
use wsgi_sys::{forked, process};

use crate::python::gilstate::Bound;
use crate::python::interp::Interp;
use crate::python::py::{Gil, version_before};
use crate::python::waits;

/// Set when Python is being finalised, or the process ends without that: the thread states that are left then belong to
/// Python.
static ENDED: AtomicBool = AtomicBool::new(false);

/// From now on no thread gives its states back, nor writes anything when it ends.
pub fn mark_ended() {
    ENDED.store(true, Ordering::SeqCst);
}

/// Whether [`mark_ended`] was called.
pub fn is_ended() -> bool {
    ENDED.load(Ordering::SeqCst)
}

struct States(Vec<(&'static Interp, *mut ffi::PyThreadState)>);

impl Drop for States {
    fn drop(&mut self) {
        if is_ended() || forked::is_child() {
            // The process ends, perhaps by a signal in the middle of anything, so give nothing back, not even memory.
            // In a forked process Python has other states than these.
            mem::forget(mem::take(&mut self.0));
            return;
        }
        self.release();
    }
}

thread_local! {
    static STATES: RefCell<States> = const { RefCell::new(States(Vec::new())) };
}

impl States {
    fn of(&mut self, interp: &'static Interp) -> *mut ffi::PyThreadState {
        if let Some((_, state)) = self.0.iter().find(|(other, _)| ptr::eq(*other, interp)) {
            return *state;
        }
        // SAFETY: an interpreter that runs, as its record is only given out while it does.
        let state = unsafe { ffi::PyThreadState_New(interp.state()) };
        assert!(!state.is_null(), "no memory for a thread state");
        self.0.push((interp, state));
        interp.states.fetch_add(1, Ordering::SeqCst);
        state
    }

    fn release(&mut self) {
        while let Some((interp, state)) = self.0.pop() {
            if is_ended() {
                continue;
            }
            // SAFETY: a state of this thread, which is not attached.
            unsafe { ffi::PyEval_RestoreThread(state) };
            let _bound = Bound::to(state);
            // SAFETY: it is the current one.
            unsafe { ffi::PyThreadState_Clear(state) };
            // SAFETY: attached by the state, which is cleared, and nothing of the interpreter is used any more.
            unsafe { delete_current(state) };
            interp.states.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

type DeleteCurrent = unsafe extern "C" fn();

/// Deletes the thread's state, and leaves the interpreter. Where interpreters may have GILs of their own the state goes while
/// the GIL is held: whoever goes through an interpreter's states then holds that GIL, and no other lock ([`crate::timers`]).
///
/// # Safety
/// The thread is attached by `state`, which was cleared.
unsafe fn delete_current(state: *mut ffi::PyThreadState) {
    static FOUND: OnceLock<Option<DeleteCurrent>> = OnceLock::new();
    let function = FOUND.get_or_init(|| {
        if version_before(3, 12) {
            return None;
        }
        // SAFETY: a C string; looks through what is loaded.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"PyThreadState_DeleteCurrent".as_ptr()) };
        // SAFETY: the function of that name, no part of the stable ABI, has this type; null becomes `None`.
        unsafe { mem::transmute::<*mut libc::c_void, Option<DeleteCurrent>>(found) }
    });
    if let Some(function) = function {
        // SAFETY: by contract.
        return unsafe { function() };
    }
    // SAFETY: attached, by contract.
    unsafe { ffi::PyEval_SaveThread() };
    // SAFETY: cleared, and no longer the current one of any thread.
    unsafe { ffi::PyThreadState_Delete(state) };
}

/// Runs `body` attached to `interp`. The thread must not be attached. No `Gil` and no Python object leaves `body` with
/// its result, as they are not [`Send`].
pub fn attach<T: Send>(interp: &'static Interp, body: impl FnOnce(Gil) -> T) -> T {
    struct Detach;
    impl Drop for Detach {
        fn drop(&mut self) {
            // SAFETY: attached by the function around this.
            unsafe { ffi::PyEval_SaveThread() };
        }
    }
    let state = STATES.with_borrow_mut(|states| states.of(interp));
    let began = waits::begin(true);
    // SAFETY: a state of this thread; Python runs, and the thread is not attached.
    unsafe { ffi::PyEval_RestoreThread(state) };
    waits::end(began);
    let _detach = Detach;
    let _bound = Bound::to(state);
    // SAFETY: attached until `_detach` is dropped, after `body`.
    let result = body(unsafe { Gil::assume() });
    if forked::is_child() {
        // A forked process has come back here from code of the application, and nothing had looked for that before.
        process::exit_now(0);
    }
    result
}

/// This thread's state for `interp`, to which it is not attached.
pub fn fresh_state(interp: &'static Interp) -> *mut ffi::PyThreadState {
    STATES.with_borrow_mut(|states| states.of(interp))
}

/// Makes `state` this thread's state for `interp`.
pub fn adopt(interp: &'static Interp, state: *mut ffi::PyThreadState) {
    STATES.with_borrow_mut(|states| states.0.push((interp, state)));
    interp.states.fetch_add(1, Ordering::SeqCst);
}

/// Makes the current state this thread's, which stays attached.
pub fn adopt_attached(_gil: Gil, interp: &'static Interp) {
    // SAFETY: the thread is attached.
    adopt(interp, unsafe { ffi::PyThreadState_Get() });
}

/// Makes the state with which Python was initialised this thread's, and leaves the interpreter.
///
/// # Safety
/// The caller uses no `Gil` and no Python object of this thread any more.
pub unsafe fn adopt_current(_gil: Gil, interp: &'static Interp) {
    // SAFETY: the thread is attached; it is not afterwards, and the caller's `Gil` ends with this.
    adopt(interp, unsafe { ffi::PyEval_SaveThread() });
}

/// Takes this thread's state for `interp` out of the thread's record.
pub fn disown(interp: &'static Interp) -> Option<*mut ffi::PyThreadState> {
    STATES.with_borrow_mut(|states| {
        let at = states.0.iter().position(|(other, _)| ptr::eq(*other, interp))?;
        interp.states.fetch_sub(1, Ordering::SeqCst);
        Some(states.0.remove(at).1)
    })
}

/// Gives this thread's states back, but for that of the main interpreter.
pub fn release_named() {
    let main = STATES.with_borrow_mut(|states| {
        let at = states.0.iter().position(|(interp, _)| interp.is_main())?;
        Some(states.0.remove(at))
    });
    release();
    STATES.with_borrow_mut(|states| states.0.extend(main));
}

/// Gives this thread's states back, before it ends.
pub fn release() {
    STATES.with_borrow_mut(States::release);
}
