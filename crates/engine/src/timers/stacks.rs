//! Python stacks without the GIL, for a process in which it is never let go of.
//!
//! `faulthandler` writes stacks from a signal handler. It shows the threads of one interpreter: that of the thread
//! which got the signal, from Python 3.12 on; before, always the main one. Python 3.11 and 3.12 also export the function
//! below it, which takes an interpreter and needs no signal, so that no system call is interrupted. What is left is
//! Python 3.10, where stacks in named interpreters are not shown in this case.
//!
//! Both read what running threads may change. So the watchdog only uses them when a GIL cannot be had, and for interpreters
//! that share it: then one thread has it, in C code, and all others wait for it.

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

/// What has become of stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// They are in the log.
    All,
    /// There is no room in the log now, and nothing is written.
    NoRoom,
    /// No thread is known that could write them.
    NoThread,
}

/// Writes the stacks of these interpreters' threads to the log. Each comes with the system's number of a thread that executes
/// something in it, as far as one is known. They share one GIL. The caller does not wait for room in the log; a thread that
/// gets the signal may have to.
pub fn write(interps: &[(&Interp, Option<i32>)]) -> Written {
    if !log::has_room(Duration::ZERO) {
        return Written::NoRoom;
    }
    if let (Some(dump), Some(end)) = (dump_function(), log::end()) {
        for (interp, _) in interps {
            // SAFETY: an interpreter that lives as long as the process, and a thread without a state: as faulthandler's
            // own thread calls it. What it reads holds still, as the head of this file says.
            unsafe { dump(end.as_raw_fd(), interp.state(), ptr::null_mut()) };
        }
        return Written::All;
    }
    let number = libc::SIGRTMAX() - DUMP_SIGNAL_BELOW_MAX;
    let can_show = |interp: &Interp| interp.is_main() || !py::version_before(3, 12);
    let threads = interps.iter().filter(|(interp, _)| can_show(interp)).filter_map(|(_, thread)| *thread);
    let mut written = Written::NoThread;
    for thread in threads {
        signal::send_to_thread(thread, number);
        // The handler ignores a signal that comes while it writes.
        std::thread::sleep(PAUSE);
        written = Written::All;
    }
    written
}
