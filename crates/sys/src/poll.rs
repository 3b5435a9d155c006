//! Waiting for descriptors. Callers: the supervisor's loop, children that wait for a daemon process, the engine.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{self, PollFlags, Timespec};
use rustix::io::Errno;

/// A descriptor and what to wait for.
#[derive(Debug, Clone)]
#[repr(transparent)]
pub struct PollFd<'fd>(event::PollFd<'fd>);

impl<'fd> PollFd<'fd> {
    /// Waits for `fd` to be readable and/or writable; errors and hang-ups are always waited for.
    pub fn new(fd: BorrowedFd<'fd>, readable: bool, writable: bool) -> PollFd<'fd> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, readable);
        events.set(PollFlags::OUT, writable);
        PollFd(event::PollFd::from_borrowed_fd(fd, events))
    }

    /// There is something to read, an end of file, or an error.
    pub fn readable(&self) -> bool {
        self.0.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
    }

    /// There is room to write, or an error.
    pub fn writable(&self) -> bool {
        self.0.revents().intersects(PollFlags::OUT | PollFlags::ERR)
    }

    /// There is something, whatever it is.
    pub fn has_event(&self) -> bool {
        !self.0.revents().is_empty()
    }

    /// The other side is gone, or the descriptor is in error.
    pub fn hung_up(&self) -> bool {
        self.0.revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    }
}

/// Waits until something happens or the time is over (`None`: for ever); returns how many descriptors
/// have something. The wait never ends before its time, so that callers that look at a clock do not spin. A signal ends
/// the wait with 0.
///
/// # Errors
/// What poll says.
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    // What the system's record has no room for is for ever.
    let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
    match event::poll(raw(fds), timeout.as_ref()) {
        Err(Errno::INTR) => {
            fds.iter_mut().for_each(|fd| fd.0.clear_revents());
            Ok(0)
        }
        other => Ok(other?),
    }
}

fn raw<'s, 'fd>(fds: &'s mut [PollFd<'fd>]) -> &'s mut [event::PollFd<'fd>] {
    let (at, count) = (fds.as_mut_ptr().cast(), fds.len());
    // SAFETY: the types are the same in memory, and the slice is borrowed for as long.
    unsafe { std::slice::from_raw_parts_mut(at, count) }
}

/// Whether `fd` can be read, is at its end or in error, now or within `limit`. False too when a signal has ended the wait.
pub fn is_readable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    poll(&mut [PollFd::new(fd, true, false)], Some(limit)).is_ok_and(|count| count > 0)
}

/// As [`is_readable`], for room to write.
pub fn is_writable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    poll(&mut [PollFd::new(fd, false, true)], Some(limit)).is_ok_and(|count| count > 0)
}

/// Blocks until `fd` can be read, or a signal comes. The next read or receive tells of an error.
pub fn wait_readable(fd: BorrowedFd<'_>) {
    let _ = poll(&mut [PollFd::new(fd, true, false)], None);
}

/// As [`wait_readable`], for room to write.
pub fn wait_writable(fd: BorrowedFd<'_>) {
    let _ = poll(&mut [PollFd::new(fd, false, true)], None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn readable_after_a_write_only() {
        let (reader, writer) = crate::fd::pipe().expect("pipe");
        let mut fds = [PollFd::new(reader.as_fd(), true, false), PollFd::new(writer.as_fd(), false, true)];
        assert_eq!(poll(&mut fds, Some(Duration::ZERO)).expect("poll"), 1);
        assert!(!fds[0].readable() && fds[1].writable());
        crate::fd::write(writer.as_fd(), b"x").expect("write");
        poll(&mut fds, None).expect("poll");
        assert!(fds[0].readable() && !fds[0].hung_up());
        drop(writer);
        let mut fds = [PollFd::new(reader.as_fd(), true, false)];
        poll(&mut fds, None).expect("poll");
        assert!(fds[0].hung_up());
    }

    #[test]
    fn a_wait_lasts_as_long_as_it_must_and_no_shorter() {
        let (reader, writer) = crate::fd::pipe().expect("pipe");
        // A wait that is rounded down ends after 2 milliseconds.
        for limit in [Duration::from_micros(2900), Duration::from_micros(10)] {
            let begin = std::time::Instant::now();
            assert!(!is_readable(reader.as_fd(), limit));
            assert!(begin.elapsed() >= limit, "{:?}", begin.elapsed());
        }
        assert!(is_writable(writer.as_fd(), Duration::ZERO));
        drop(writer);
        // Not at once: a process that another test forks may still have a copy of the writing end.
        wait_readable(reader.as_fd());
        assert!(is_readable(reader.as_fd(), Duration::ZERO));
    }
}
