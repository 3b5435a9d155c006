//! The calling thread: its numbers and its name. Callers: the engine; the supervisor.

use std::ffi::CString;

/// The calling thread's number, as Python has it (`threading.get_ident`) and as the system has it (gettid).
pub fn numbers() -> (u64, i32) {
    // SAFETY: takes nothing. Python's thread identifiers are those of pthread.
    let ident = unsafe { libc::pthread_self() };
    (ident, rustix::thread::gettid().as_raw_nonzero().get())
}

/// Names the calling thread, as `ps` and `top` show it; 15 bytes count.
pub fn set_name(name: &str) {
    if let Ok(name) = CString::new(name) {
        // The system cuts it.
        let _ = rustix::thread::set_name(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_the_name_that_it_gives_itself_as_far_as_there_is_room() {
        let thread = std::thread::spawn(|| {
            set_name("a name that is too long");
            std::fs::read_to_string(format!("/proc/self/task/{}/comm", numbers().1)).expect("there")
        });
        assert_eq!(thread.join().expect("thread"), "a name that is \n");
    }
}
