//! Waiting for descriptors. Callers: the supervisor's loop, children that wait for a daemon process, the engine.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// A descriptor and what to wait for.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct PollFd<'fd> {
    raw: libc::pollfd,
    fd: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> PollFd<'fd> {
    /// Waits for `fd` to be readable and/or writable; errors and hang-ups are always waited for.
    pub fn new(fd: BorrowedFd<'fd>, readable: bool, writable: bool) -> PollFd<'fd> {
        let mut events = 0;
        if readable {
            events |= libc::POLLIN;
        }
        if writable {
            events |= libc::POLLOUT;
        }
        PollFd { raw: libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }, fd: PhantomData }
    }

    /// There is something to read, an end of file, or an error.
    pub fn readable(&self) -> bool {
        self.raw.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0
    }

    /// There is room to write, or an error.
    pub fn writable(&self) -> bool {
        self.raw.revents & (libc::POLLOUT | libc::POLLERR) != 0
    }

    /// There is something, whatever it is.
    pub fn has_event(&self) -> bool {
        self.raw.revents != 0
    }

    /// The other side is gone, or the descriptor is in error.
    pub fn hung_up(&self) -> bool {
        self.raw.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }
}

/// Waits until something happens or the time is over (`None`: for ever); returns how many descriptors
/// have something. A signal ends the wait with 0.
///
/// # Errors
/// What poll says.
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    // A wait never ends before its time: callers that look at a clock would spin. So round up.
    let timeout = timeout
        .map_or(-1, |time| libc::c_int::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX));
    // SAFETY: PollFd is a transparent pollfd; pointer and length describe the slice.
    let ready = crate::fd::cvt(unsafe { libc::poll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, timeout) });
    match ready {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            fds.iter_mut().for_each(|fd| fd.raw.revents = 0);
            Ok(0)
        }
        other => Ok(usize::try_from(other?).unwrap_or(0)),
    }
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
