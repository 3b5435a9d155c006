//! What the request threads of a daemon process wait for: an epoll set of connections, and events that wake them.
//! Caller: the engine. Forked processes have no copy of these descriptors.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::event::epoll::{self, CreateFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::fd::{self, cvt};
use crate::forked::{self, Private};

/// An epoll set whose entries are numbered by their descriptors.
#[derive(Debug)]
pub struct Epoll(Private);

impl Epoll {
    /// A new one.
    ///
    /// # Errors
    /// What epoll_create1 says.
    pub fn new() -> io::Result<Epoll> {
        forked::while_none_forks(|| Ok(Epoll(Private::new(epoll::create(CreateFlags::CLOEXEC)?))))
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, events: libc::c_int) -> io::Result<()> {
        let (events, number) = (u32::try_from(events).unwrap_or(0), u64::try_from(fd).unwrap_or(0));
        let mut event = libc::epoll_event { events, u64: number };
        // Not rustix's: another thread may have closed the descriptor, so that it cannot be borrowed. The kernel then
        // says so.
        // SAFETY: the record is alive; the kernel copies it.
        cvt(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) }).map(drop)
    }

    /// Adds a connection: it is reported once when readable.
    ///
    /// # Errors
    /// What epoll_ctl says.
    pub fn add_once(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT)
    }

    /// Lets it be reported once more.
    ///
    /// # Errors
    /// What epoll_ctl says.
    pub fn rearm(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT)
    }

    /// Adds a descriptor that is reported to every waiting thread, always.
    ///
    /// # Errors
    /// What epoll_ctl says.
    pub fn add_always(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN)
    }

    /// Waits for one event; the number of its descriptor. Signals do not end the wait.
    ///
    /// # Errors
    /// What epoll_wait says.
    pub fn wait(&self) -> io::Result<RawFd> {
        let mut event = [MaybeUninit::uninit()];
        loop {
            match epoll::wait(&self.0, &mut event, None) {
                Err(Errno::INTR) => {}
                other => {
                    if let Some(event) = other?.0.first() {
                        return Ok(RawFd::try_from(event.data.u64()).unwrap_or(-1));
                    }
                }
            }
        }
    }
}

/// A counter that makes its descriptor readable.
#[derive(Debug)]
pub struct Event(Private);

impl Event {
    /// A new one, which is not readable.
    ///
    /// # Errors
    /// What eventfd says.
    pub fn new() -> io::Result<Event> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        forked::while_none_forks(|| Ok(Event(Private::new(eventfd(0, flags)?))))
    }

    /// Makes it readable, for good.
    pub fn set(&self) {
        // The only failure is a full counter, which is readable too.
        let _ = fd::write(self.0.as_fd(), &1u64.to_ne_bytes());
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{Kind, pair};

    #[test]
    fn a_connection_is_reported_once_until_it_is_rearmed_and_an_event_always() {
        let (set, event) = (Epoll::new().expect("set"), Event::new().expect("event"));
        let (near, far) = pair(Kind::Stream).expect("pair");
        let near = near.as_raw_fd();
        set.add_once(near).expect("added");
        fd::write(far.as_fd(), b"x").expect("written");
        assert_eq!(set.wait().expect("event"), near);
        let wake = event.as_fd().as_raw_fd();
        set.add_always(wake).expect("added");
        event.set();
        event.set();
        assert_eq!([set.wait().expect("event"), set.wait().expect("event")], [wake, wake]);
        set.rearm(near).expect("rearmed");
        assert!((0..2).any(|_| set.wait().expect("event") == near));
        assert!(set.add_once(-1).is_err());
    }
}
