//! A signal that a process sends to itself, and that does nothing but end a wait. Caller: httpd's parent, which has one
//! thread.

use std::io;
use std::mem;
use std::ptr;
use std::time::Duration;

use crate::fd::cvt;
use crate::signal;

fn own_action() -> libc::sighandler_t {
    signal::handler(signal::nothing)
}

/// Interrupts what this process waits for (poll, select or sleep, once) when `time` is over. Returns false, and does
/// nothing, if SIGALRM or its timer is in use.
///
/// # Errors
/// None in practice.
pub fn interrupt_after(time: Duration) -> io::Result<bool> {
    let mut running = timer(Duration::ZERO);
    // SAFETY: writes the timer's state to a valid place.
    cvt(unsafe { libc::getitimer(libc::ITIMER_REAL, &raw mut running) })?;
    let is_running = running.it_value.tv_sec != 0 || running.it_value.tv_usec != 0;
    if is_running || ![libc::SIG_DFL, own_action()].contains(&action()?) {
        return Ok(false);
    }
    set_action(own_action())?;
    set_timer(time)?;
    Ok(true)
}

/// Takes back all that [`interrupt_after`] has set up, so that nothing calls this code any more. For the moment before
/// this code is unloaded, and for processes that were forked.
///
/// # Errors
/// None in practice.
pub fn forget() -> io::Result<()> {
    if action()? != own_action() {
        return Ok(());
    }
    set_timer(Duration::ZERO)?;
    // This drops a signal that is pending.
    set_action(libc::SIG_IGN)?;
    set_action(libc::SIG_DFL)
}

fn timer(time: Duration) -> libc::itimerval {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut timer: libc::itimerval = unsafe { mem::zeroed() };
    timer.it_value.tv_sec = libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX);
    timer.it_value.tv_usec = time.subsec_micros() as libc::suseconds_t;
    timer
}

fn set_timer(time: Duration) -> io::Result<()> {
    let timer = timer(time);
    // SAFETY: the value lives during the call; the old one is not asked for.
    cvt(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) }).map(drop)
}

fn action() -> io::Result<libc::sighandler_t> {
    signal::action(libc::SIGALRM)
}

fn set_action(action: libc::sighandler_t) -> io::Result<()> {
    // select(2) and poll(2) end in spite of the flag.
    signal::install(libc::SIGALRM, action, libc::SA_RESTART)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// All in one, because the signal is the process's. (Which of its threads gets it is not known here.)
    #[test]
    fn it_comes_once_and_leaves_nothing() {
        let began = Instant::now();
        assert!(interrupt_after(Duration::from_secs(3_600)).expect("timer"));
        assert_eq!(action().expect("action"), own_action());
        assert!(!interrupt_after(Duration::from_millis(1)).expect("timer"), "it runs already");
        forget().expect("timer");
        assert_eq!(action().expect("action"), libc::SIG_DFL);
        assert!(interrupt_after(Duration::from_millis(5)).expect("timer"));
        let left = || {
            let mut running = timer(Duration::ZERO);
            // SAFETY: writes the timer's state to a valid place.
            unsafe { libc::getitimer(libc::ITIMER_REAL, &raw mut running) };
            running.it_value.tv_sec != 0 || running.it_value.tv_usec != 0
        };
        while left() {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
        forget().expect("timer");
        forget().expect("nothing is left to forget");
        set_action(libc::SIG_IGN).expect("action");
        assert!(!interrupt_after(Duration::from_millis(1)).expect("timer"), "somebody wants it ignored");
        set_action(libc::SIG_DFL).expect("action");
    }
}
