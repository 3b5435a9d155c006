//! Python stacks without the GIL, for a process in which it is never let go of.
//!
//! `faulthandler` writes stacks from a signal handler. It shows the threads of one interpreter: that of the thread
//! which got the signal, from Python 3.12 on; before, always the main one. Python 3.11 and 3.12 also export the function
//! below it, which takes an interpreter and needs no signal, so that no system call is interrupted. What is left is
//! Python 3.10, where stacks in named interpreters are not shown in this case.
//!
//! Both read what running threads may change. So the watchdog only uses them when the GIL cannot be had: then one
//! thread has it, in C code, and all others wait for it.

use core::ffi::{c_char, c_int};
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::Duration;

use pyo3::ffi;
use wsgi_sys::signal;
use wsgi_wire::control::DUMP_SIGNAL_BELOW_MAX;
use wsgi_wire::messages::Message;

use crate::log;
use crate::python::interp::Interp;
use crate::python::py;
use crate::python::py::Gil;

/// Time for a signal handler to write.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes `faulthandler` write the stacks when the process gets the signal for it. The caller must call it before any
/// code of an application runs.
pub fn register(gil: Gil) {
    let number = libc::SIGRTMAX() - DUMP_SIGNAL_BELOW_MAX;
    let source = format!("import faulthandler\nfaulthandler.register({number}, file=2, all_threads=True)\n");
    let source = std::ffi::CString::new(source).unwrap_or_default();
    let done = gil.dict().and_then(|namespace| {
        namespace.set_named(c"__builtins__", &*gil.import(c"builtins")?)?;
        gil.exec(&source, c"<mod_wsgi>", &namespace)
    });
    if let Err(raised) = done {
        let text = format!(
            "signal {number} is ignored, and a process that is stuck cannot show its Python stacks: faulthandler: {}",
            gil.fetch(raised).brief(gil)
        );
        let _ = signal::ignore(number);
        gil.detach(|| log::report(Message::NoStacks, &text));
    }
}

/// `_Py_DumpTracebackThreads`, the same in 3.11 and 3.12: descriptor, interpreter, current thread's state (none).
type Dump = unsafe extern "C" fn(c_int, *mut ffi::PyInterpreterState, *mut ffi::PyThreadState) -> *const c_char;

fn dump_function() -> Option<Dump> {
    if py::version_before(3, 11) || !py::version_before(3, 13) {
        return None;
    }
    // SAFETY: a C string; looks through what is loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_Py_DumpTracebackThreads".as_ptr()) };
    // SAFETY: a function of this signature in these versions.
    (!found.is_null()).then(|| unsafe { mem::transmute::<*mut libc::c_void, Dump>(found) })
}

/// Writes the stacks of the main interpreter's threads and of those of `named` to the log. Each of the latter comes with
/// the system's number of a thread that executes something in it. The caller does not wait for room in the log; a thread
/// that gets the signal may have to. False: there is no room now, and nothing is written.
pub fn write(main: &Interp, named: &[(&Interp, i32)]) -> bool {
    if !log::has_room(Duration::ZERO) {
        return false;
    }
    if let (Some(dump), Some(end)) = (dump_function(), log::end()) {
        for interp in std::iter::once(main).chain(named.iter().map(|(interp, _)| *interp)) {
            // SAFETY: an interpreter that lives as long as the process, and a thread without a state: as faulthandler's
            // own thread calls it. What it reads holds still, as the head of this file says.
            unsafe { dump(end.as_raw_fd(), interp.state(), ptr::null_mut()) };
        }
        return true;
    }
    let number = libc::SIGRTMAX() - DUMP_SIGNAL_BELOW_MAX;
    let main_thread = i32::try_from(std::process::id()).unwrap_or(0);
    let others = named.iter().map(|(_, tid)| *tid).filter(|_| !py::version_before(3, 12));
    for thread in std::iter::once(main_thread).chain(others) {
        signal::send_to_thread(thread, number);
        // The handler ignores a signal that comes while it writes.
        std::thread::sleep(PAUSE);
    }
    true
}
