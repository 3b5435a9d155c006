//! The calling thread: its numbers and its name. Callers: the engine; the supervisor.

/// The calling thread's number, as Python has it (`threading.get_ident`) and as the system has it (gettid).
pub fn numbers() -> (u64, i32) {
    // SAFETY: takes nothing. Python's thread identifiers are those of pthread.
    let ident = unsafe { libc::pthread_self() };
    // SAFETY: takes nothing.
    (ident, unsafe { libc::gettid() })
}

/// Names the calling thread, as `ps` and `top` show it; 15 bytes count.
pub fn set_name(name: &str) {
    let mut text = [0u8; 16];
    let len = name.len().min(15);
    text[..len].copy_from_slice(&name.as_bytes()[..len]);
    // SAFETY: sixteen bytes, ended by NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, text.as_ptr(), 0, 0, 0) };
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
