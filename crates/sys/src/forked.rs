//! Keeps everything of ours out of the processes that application code forks from this one.
//!
//! A fork copies every descriptor. A copy of a connection, of an epoll set or of a wake-up would make the forked
//! process a part of the server: it would answer other clients, and the other end would not see that we have ended.
//! So each descriptor of ours is [`Private`] from the moment it exists, and [`install`] has the C library close the
//! copies in each forked process before anything else runs there. Code that could touch the server asks [`is_child`].
//!
//! A program that is executed gets none of them either, because they are close-on-exec. That covers posix_spawn and
//! vfork, too, where nothing of this runs. Callers: the engine; the httpd module.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rustix::mm::{Advice, madvise};

/// Descriptors up to this number can be private; the system allows no higher one unless `fs.nr_open` was raised.
const MOST: usize = 1 << 20;
const BITS: usize = 64;

/// This process was forked, without exec, from one that had called [`install`].
static IS_CHILD: AtomicBool = AtomicBool::new(false);
/// The private descriptors, one bit each.
static PRIVATE: [AtomicU64; MOST / BITS] = [const { AtomicU64::new(0) }; MOST / BITS];
/// One above the last word of [`PRIVATE`] that ever was not 0.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Held while a descriptor exists that [`PRIVATE`] does not know yet or does not know any more, and while the process
/// forks. In a forked process it is held by the fork itself. So it is a word that the forked process can set free, and
/// no mutex.
static LOCK: AtomicBool = AtomicBool::new(false);
/// Sockets of the program that we are a part of, which a forked process gets no copy of either.
static LISTENERS: OnceLock<Vec<Listener>> = OnceLock::new();
/// What else to do in a forked process.
static IN_CHILD: OnceLock<fn()> = OnceLock::new();

/// Whether this process was forked from the one that serves, so that it has no part in the server. One load, without
/// order: the thread that stored the value is at first the only thread of a forked process.
#[inline]
pub fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// From now on, processes that are forked from this one have no private descriptor. Each of them calls `in_child` while
/// it has only one thread, the one that forked. So `in_child` may take no lock that another thread might have held.
/// Only the first call has an effect.
///
/// # Errors
/// No memory.
pub fn install(in_child: fn()) -> io::Result<()> {
    if IN_CHILD.set(in_child).is_err() {
        return Ok(());
    }
    // SAFETY: three functions that live as long as the library, which is never unloaded.
    match unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A descriptor, and the file that it stood for. Its owner may close it at any time, and the number may then stand for a
/// file of the application.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    fd: RawFd,
    device: libc::dev_t,
    inode: libc::ino_t,
}

impl Listener {
    fn of(fd: RawFd) -> Option<Listener> {
        // SAFETY: a record of numbers, of which zeros are values.
        let mut found: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: takes a number, and a place for the answer. The call is async-signal-safe.
        let status = unsafe { libc::fstat(fd, &raw mut found) };
        (status == 0).then_some(Listener { fd, device: found.st_dev, inode: found.st_ino })
    }
}

/// From now on, forked processes have none of these sockets, on which the server listens: such a copy would keep the
/// address in use after the server has ended. Only the first call has an effect.
pub fn leave_out_listeners(sockets: Vec<RawFd>) {
    LISTENERS.get_or_init(|| sockets.into_iter().filter_map(Listener::of).collect());
}

unsafe extern "C" fn prepare() {
    lock();
}

unsafe extern "C" fn parent() {
    LOCK.store(false, Ordering::Release);
}

unsafe extern "C" fn child() {
    IS_CHILD.store(true, Ordering::Relaxed);
    let used = USED.load(Ordering::Relaxed).min(PRIVATE.len());
    for (at, word) in PRIVATE[..used].iter().enumerate() {
        let mut left = word.swap(0, Ordering::Relaxed);
        while left != 0 {
            let number = at * BITS + left.trailing_zeros() as usize;
            left &= left - 1;
            // SAFETY: takes a number. It was that of a private descriptor, and nothing in this process uses it.
            unsafe { libc::close(number as RawFd) };
        }
    }
    for listener in LISTENERS.get().into_iter().flatten() {
        if Listener::of(listener.fd).as_ref() == Some(listener) {
            // SAFETY: takes a number, which stands for the server's socket, and nothing in this process uses that.
            unsafe { libc::close(listener.fd) };
        }
    }
    LOCK.store(false, Ordering::Relaxed);
    if let Some(more) = IN_CHILD.get() {
        more();
    }
}

fn lock() {
    // The holder of the lock makes one system call that does not wait.
    while LOCK.swap(true, Ordering::Acquire) {
        std::thread::yield_now();
    }
}

/// Runs `make`, which opens descriptors without waiting and makes them [`Private`]: no fork happens in between.
pub fn while_none_forks<T>(make: impl FnOnce() -> T) -> T {
    struct Unlock;
    impl Drop for Unlock {
        fn drop(&mut self) {
            LOCK.store(false, Ordering::Release);
        }
    }
    lock();
    let _unlock = Unlock;
    make()
}

fn place(fd: RawFd) -> Option<(&'static AtomicU64, usize, u64)> {
    let number = usize::try_from(fd).ok()?;
    let at = number / BITS;
    Some((PRIVATE.get(at)?, at, 1 << (number % BITS)))
}

/// Makes a descriptor private that stays open as long as the process.
pub fn keep_private(fd: RawFd) {
    if let Some((word, at, bit)) = place(fd) {
        word.fetch_or(bit, Ordering::Relaxed);
        USED.fetch_max(at + 1, Ordering::Relaxed);
    }
}

fn forget(fd: RawFd) {
    if let Some((word, _, bit)) = place(fd) {
        word.fetch_and(!bit, Ordering::Relaxed);
    }
}

/// A descriptor of which forked processes have no copy.
#[derive(Debug)]
pub struct Private(ManuallyDrop<OwnedFd>);

impl Private {
    /// Makes `fd` private, which is close-on-exec. If there may be other threads, call it inside [`while_none_forks`],
    /// together with the call that opened `fd`.
    pub fn new(fd: OwnedFd) -> Private {
        keep_private(fd.as_raw_fd());
        Private(ManuallyDrop::new(fd))
    }

    /// Makes it an ordinary descriptor, of which forked processes have copies.
    pub fn into_owned(self) -> OwnedFd {
        let mut this = ManuallyDrop::new(self);
        forget(this.as_raw_fd());
        // SAFETY: once, as `this` is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl AsFd for Private {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Private {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if is_child() {
            // The forked process has closed it already, and its number may belong to another descriptor.
            return;
        }
        while_none_forks(|| {
            forget(self.as_raw_fd());
            // SAFETY: once, as `self` is gone after this.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        });
    }
}

/// Keeps the memory from `start` on out of forked processes.
///
/// # Safety
/// A mapping of this length that the caller has made.
pub(crate) unsafe fn leave_out(start: *mut libc::c_void, length: usize) {
    // If the system cannot do that, a forked process gets a copy of the mapping, and nothing of ours uses it there.
    // SAFETY: by contract; nothing is read or written.
    let _ = unsafe { madvise(start, length, Advice::LinuxDontFork) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::pipe;

    /// Forks. Returns what `in_child` returns in the child, as its exit status.
    fn in_forked_child(in_child: impl FnOnce() -> u8) -> i32 {
        // SAFETY: the child calls nothing that another thread of the tests may have locked, and ends by _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let status = in_child();
            // SAFETY: does not return.
            unsafe { libc::_exit(status.into()) };
        }
        let mut status = 0;
        // SAFETY: a place for the status.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert!(libc::WIFEXITED(status));
        libc::WEXITSTATUS(status)
    }

    fn is_open(fd: RawFd) -> bool {
        // SAFETY: takes numbers.
        unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
    }

    #[test]
    fn a_forked_process_has_no_private_descriptor_and_closes_nothing_that_takes_its_number() {
        install(|| ()).expect("installed");
        let (reader, writer) =
            while_none_forks(|| pipe().map(|(read, write)| (Private::new(read), write))).expect("pipe");
        let (gone, _other) = pipe().expect("pipe");
        let gone = Private::new(gone);
        let number = gone.as_raw_fd();
        drop(gone);
        assert!(!is_open(number) && !is_child());
        let private = reader.as_raw_fd();
        let found = in_forked_child(|| {
            let is_right = is_child() && !is_open(private) && is_open(writer.as_raw_fd());
            // SAFETY: takes numbers.
            let taken = unsafe { libc::dup2(writer.as_raw_fd(), private) } == private;
            drop(reader);
            u8::from(is_right && taken && is_open(private))
        });
        assert_eq!(found, 1);
    }

    #[test]
    fn a_forked_process_does_not_listen() {
        install(|| ()).expect("installed");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        leave_out_listeners(crate::socket::listening());
        let (number, reused) = (listener.as_raw_fd(), gone.as_raw_fd());
        let (_reader, writer) = pipe().expect("pipe");
        // SAFETY: takes numbers; the listener's descriptor becomes one of the pipe, and `gone` closes it.
        assert_eq!(unsafe { libc::dup2(writer.as_raw_fd(), reused) }, reused);
        assert_eq!(in_forked_child(|| u8::from(!is_open(number) && is_open(reused))), 1);
        assert!(is_open(number));
    }

    #[test]
    fn an_area_is_not_in_a_forked_process() {
        let (file, _) = crate::memory::Area::create(c"test", 4096).expect("made");
        let area = crate::memory::Area::open(&file, 4096).expect("mapped");
        let start = area.start().addr();
        let found = in_forked_child(|| {
            let mut there = 0;
            // SAFETY: an address is only asked about, and there is room for a page's answer.
            let status = unsafe { libc::mincore(std::ptr::with_exposed_provenance_mut(start), 1, &mut there) };
            u8::from(status == -1)
        });
        assert_eq!(found, 1);
    }
}
