//! libc in safe functions, as far as a daemon process needs it: sockets, epoll, signals, the process title.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use wsgi_sys::forked::{self, Private};

/// A descriptor number is at least 0, else `errno` tells why.
fn check(status: isize) -> io::Result<usize> {
    usize::try_from(status).map_err(|_| io::Error::last_os_error())
}

/// The descriptor that `open` has made just now, or -1; forked processes have no copy of it.
fn private(open: impl FnOnce() -> RawFd) -> io::Result<Private> {
    forked::while_none_forks(|| {
        let fd = open();
        check(fd as isize)?;
        // SAFETY: made just now.
        Ok(Private::new(unsafe { OwnedFd::from_raw_fd(fd) }))
    })
}

/// Sets every category of the locale. False: the system does not have it, and nothing has changed. To be called
/// before there are threads.
pub fn set_locale(name: &str) -> bool {
    let Ok(name) = std::ffi::CString::new(name) else { return false };
    // SAFETY: a C string that lives during the call; no other thread uses the locale.
    !unsafe { libc::setlocale(libc::LC_ALL, name.as_ptr()) }.is_null()
}

/// Receives what is there into `buf`. 0 is the end; `WouldBlock` when nothing is there.
pub fn recv(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    receive(fd, buf, 0)
}

/// As [`recv`], but what is there stays there.
pub fn peek(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    receive(fd, buf, libc::MSG_PEEK)
}

fn receive(fd: RawFd, buf: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    loop {
        // SAFETY: the memory is that of a slice.
        let got = check(unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), libc::MSG_DONTWAIT | flags) });
        match got {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Sends the start of `parts`, as much as the socket takes now. No SIGPIPE.
pub fn send(fd: RawFd, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all zero is a valid, empty message header.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len();
    loop {
        // SAFETY: an `IoSlice` is an `iovec` by its documentation; the slices are alive.
        let sent = check(unsafe { libc::sendmsg(fd, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Waits until one of `fds` has one of its events, at most `timeout`; how many have.
pub fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let limit = timeout.map_or(-1, |time| i32::try_from(time.as_millis()).unwrap_or(i32::MAX));
    let count = libc::nfds_t::try_from(fds.len()).unwrap_or(0);
    // SAFETY: the records are those of a slice.
    check(unsafe { libc::poll(fds.as_mut_ptr(), count, limit) } as isize)
}

/// A record for [`poll`].
pub fn interest(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

/// Blocks until `fd` has one of `events`.
pub fn wait_for(fd: RawFd, events: i16) {
    // An error shows up at the next send or receive, so none is reported here.
    let _ = poll(&mut [interest(fd, events)], None);
}

/// Whether `fd` can be read, or is at its end, within `limit`.
pub fn is_readable(fd: RawFd, limit: Duration) -> bool {
    let mut fds = [interest(fd, libc::POLLIN)];
    let _ = poll(&mut fds, Some(limit));
    fds[0].revents != 0
}

/// Receives one message, and the descriptor beside it if there is one. 0 bytes: the other end is closed. Does not wait:
/// another thread may have taken what was there.
pub fn recv_message(fd: RawFd, buf: &mut [u8]) -> io::Result<(usize, Option<Private>)> {
    forked::while_none_forks(|| receive_message(fd, buf))
}

fn receive_message(fd: RawFd, buf: &mut [u8]) -> io::Result<(usize, Option<Private>)> {
    let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let mut control = [0u64; 8];
    // SAFETY: all zero is a valid, empty message header.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of_val(&control);
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: all memory that the header names is alive and has the lengths it names.
    let got = check(unsafe { libc::recvmsg(fd, &mut message, flags) })?;
    // SAFETY: the header as the kernel filled it.
    let first = unsafe { libc::CMSG_FIRSTHDR(&message) };
    // SAFETY: null, or a record inside `control`.
    let Some(record) = (unsafe { first.as_ref() }) else { return Ok((got, None)) };
    if record.cmsg_level != libc::SOL_SOCKET || record.cmsg_type != libc::SCM_RIGHTS {
        return Ok((got, None));
    }
    // SAFETY: a record of this type holds at least one descriptor.
    let data = unsafe { libc::CMSG_DATA(record) };
    // SAFETY: its bytes need no alignment here.
    let passed = unsafe { ptr::read_unaligned(data.cast::<RawFd>()) };
    // SAFETY: the kernel made this descriptor for us just now.
    Ok((got, Some(Private::new(unsafe { OwnedFd::from_raw_fd(passed) }))))
}

/// An epoll descriptor whose entries are numbered by their descriptors.
#[derive(Debug)]
pub struct Epoll(Private);

impl Epoll {
    /// A new one, closed on exec.
    pub fn new() -> io::Result<Epoll> {
        private(|| {
            // SAFETY: takes a flag.
            unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }
        })
        .map(Epoll)
    }

    fn control(&self, operation: i32, fd: RawFd, events: i32) -> io::Result<()> {
        let (events, number) = (u32::try_from(events).unwrap_or(0), u64::try_from(fd).unwrap_or(0));
        let mut event = libc::epoll_event { events, u64: number };
        // SAFETY: the record is alive; the kernel copies it.
        let status = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &mut event) };
        check(status as isize).map(drop)
    }

    /// Adds a connection: it is reported once when readable.
    pub fn add_once(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT)
    }

    /// Lets it be reported once more.
    pub fn rearm(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT)
    }

    /// Adds a descriptor that is reported to every waiting thread, always.
    pub fn add_always(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN)
    }

    /// Waits for one event.
    pub fn wait(&self) -> io::Result<RawFd> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        loop {
            // SAFETY: room for the one event that is asked for.
            let got = check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), &mut event, 1, -1) } as isize);
            match got {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(0) => {}
                Ok(_) => return Ok(RawFd::try_from(event.u64).unwrap_or(-1)),
            }
        }
    }
}

/// A counter that makes its descriptor readable.
#[derive(Debug)]
pub struct Event(Private);

impl Event {
    /// A new one, closed on exec.
    pub fn new() -> io::Result<Event> {
        private(|| {
            // SAFETY: takes numbers.
            unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }
        })
        .map(Event)
    }

    /// Makes it readable, for good.
    pub fn set(&self) {
        // The only failure is a full counter, which is readable too.
        let _ = write(self.0.as_raw_fd(), &1u64.to_ne_bytes());
    }

    /// Its descriptor.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Which file a descriptor names: device and inode. Nothing when it is closed.
pub fn identity(fd: RawFd) -> Option<(u64, u64)> {
    // SAFETY: all zero is a valid record.
    let mut found: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: the record is alive.
    let status = unsafe { libc::fstat(fd, &mut found) };
    (status == 0).then_some((found.st_dev, found.st_ino))
}

/// Writes once.
pub fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the memory is that of a slice.
    check(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

/// Writes the lines of a record to standard error, which processes that the application has forked write to as well: each
/// line whole, several together. Nobody can be told of a failure.
pub fn log_record(level: u8, text: &[u8]) {
    let mut lines = Vec::with_capacity(text.len() + 16);
    wsgi_wire::output::put(&mut lines, level, text);
    wsgi_wire::output::writes(&lines).for_each(write_all);
}

fn write_all(mut rest: &[u8]) {
    while !rest.is_empty() {
        match write(2, rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for(2, libc::POLLOUT),
            Err(_) => return,
        }
    }
}

/// Reads once.
pub fn read(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the memory is that of a slice.
    check(unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) })
}

/// Keeps the descriptor from programs that the application starts.
pub fn close_on_exec(fd: RawFd) {
    // SAFETY: takes numbers.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// Reads at `offset`.
pub fn pread(fd: RawFd, buf: &mut [u8], offset: i64) -> io::Result<usize> {
    loop {
        // SAFETY: the memory is that of a slice.
        match check(unsafe { libc::pread(fd, buf.as_mut_ptr().cast(), buf.len(), offset) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Modification time of a file in microseconds since the epoch.
pub fn mtime_us(path: &[u8]) -> Option<i64> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(std::ffi::OsStr::from_bytes(path)).ok()?;
    Some(found.mtime() * 1_000_000 + found.mtime_nsec() / 1000)
}

/// Whether there is certainly no such file.
pub fn is_missing(path: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let found = std::fs::metadata(std::ffi::OsStr::from_bytes(path));
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Ends both directions of a connection, whose descriptor stays open.
pub fn shutdown(fd: RawFd) {
    // SAFETY: takes numbers. What is no longer connected needs no end.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Sends a signal to a thread of this process; nothing when there is none of this number.
pub fn signal_thread(tid: i32, signal: i32) {
    // SAFETY: takes nothing.
    let process = unsafe { libc::getpid() };
    // SAFETY: takes numbers.
    unsafe { libc::syscall(libc::SYS_tgkill, process, tid, signal) };
}

/// The calling thread, as Python and as the system number it.
pub fn this_thread() -> (u64, i32) {
    // SAFETY: takes nothing. Python's thread identifiers are those of pthread.
    let ident = unsafe { libc::pthread_self() };
    // SAFETY: takes nothing.
    (ident, unsafe { libc::gettid() })
}

/// From now on the signal does nothing.
pub fn ignore(signal: i32) {
    // SAFETY: takes numbers.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Whether a process with this number exists.
pub fn process_exists(pid: i32) -> bool {
    // SAFETY: signal 0 is only a question.
    let status = unsafe { libc::kill(pid, 0) };
    status == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Interrupts the system call in which a thread of this process waits, and nothing else.
pub fn nudge(thread: i32) {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all zero is a valid record: no flags, so that calls are interrupted, and an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: a handler of the right kind that lives as long as the process.
    unsafe { libc::sigaction(libc::SIGURG, &action, ptr::null_mut()) };
    signal_thread(thread, libc::SIGURG);
}

/// Ends the process now, without Python.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

/// The process whose signals are caught; one that the application forks is none of ours.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Where the signal handler writes.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

/// In a process that the application forked, the signal gets its default action. False in our own process.
fn is_foreign(number: libc::c_int) -> bool {
    // SAFETY: takes nothing.
    let process = unsafe { libc::getpid() };
    if process == OWNER.load(Ordering::Relaxed) {
        return false;
    }
    // SAFETY: takes numbers; may be called in a signal handler.
    unsafe { libc::signal(number, libc::SIG_DFL) };
    // SAFETY: as above. The signal arrives when the handler returns.
    unsafe { libc::kill(process, number) };
    true
}

extern "C" fn on_signal(number: libc::c_int) {
    if is_foreign(number) {
        return;
    }
    let byte = number as u8;
    // SAFETY: this thread's errno, which the interrupted code may be about to read.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above; it is alive as long as the thread.
    let Some(errno) = (unsafe { place.as_mut() }) else { return };
    let kept = *errno;
    // SAFETY: a byte that is alive; `write` may be called in a signal handler.
    unsafe { libc::write(SIGNAL_PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
    *errno = kept;
}

extern "C" fn on_dropped_signal(number: libc::c_int) {
    is_foreign(number);
}

/// Whether the signal's default action ends the process, and the signal is not how the system tells of a fault.
fn ends_process(signal: i32) -> bool {
    use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSTOP, SIGSYS, SIGTRAP};
    use libc::{SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    let is_fault = matches!(signal, SIGABRT | SIGBUS | SIGFPE | SIGILL | SIGSEGV | SIGSYS | SIGTRAP);
    let is_harmless = matches!(signal, SIGCHLD | SIGCONT | SIGTSTP | SIGTTIN | SIGTTOU | SIGURG | SIGWINCH | SIGSTOP);
    (1..=libc::SIGRTMAX()).contains(&signal) && !is_fault && !is_harmless && signal != SIGKILL
}

/// From now on the signal does nothing in this process, if it would end it and nobody handles it. True when it does
/// nothing. The handler, other than `SIG_IGN`, does not outlive exec.
pub fn drop_signal(signal: i32) -> bool {
    if !ends_process(signal) {
        return false;
    }
    let handler = on_dropped_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: all zero is a valid record: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: room for the present action; nothing is changed.
    unsafe { libc::sigaction(signal, ptr::null(), &mut action) };
    if action.sa_sigaction != libc::SIG_DFL {
        return action.sa_sigaction == handler;
    }
    // SAFETY: takes nothing.
    let process = unsafe { libc::getpid() };
    let _ = OWNER.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed);
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: a handler of the right kind that lives as long as the process.
    unsafe { libc::sigaction(signal, &action, ptr::null_mut()) == 0 }
}

/// Makes the pipe of [`catch`]; the end to read from, non-blocking.
pub fn signal_pipe() -> io::Result<Private> {
    let mut ends = [-1; 2];
    let read_end = private(|| {
        // SAFETY: room for two descriptors.
        let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
        if made == 0 {
            forked::keep_private(ends[1]);
        }
        ends[0]
    })?;
    SIGNAL_PIPE.store(ends[1], Ordering::Relaxed);
    // SAFETY: takes nothing.
    OWNER.store(unsafe { libc::getpid() }, Ordering::Relaxed);
    Ok(read_end)
}

/// From now on the signal's number arrives as a byte on the pipe. Handlers do not outlive exec, and no
/// mask is changed: programs that the application starts get signals as they would elsewhere.
pub fn catch(signal: i32) {
    // SAFETY: all zero is a valid record: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: a handler of the right kind that lives as long as the process.
    unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
}

/// Blocks every signal in the calling thread (embedded mode: they belong to httpd).
pub fn block_signals() {
    // SAFETY: all zero is a valid set, filled by the next call.
    let mut all: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: a set that is alive.
    unsafe { libc::sigfillset(&mut all) };
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &all, ptr::null_mut()) };
}

/// In a worker thread of httpd, which blocks all signals: unblocks what the programs need that an application starts there,
/// as they inherit the mask. Without SIGCHLD the forkserver of multiprocessing never learns that a process has ended,
/// and without SIGTERM nothing ends by `terminate()`. This process hardly notices: the system hands SIGTERM to its
/// main thread, if that does not block it, and SIGCHLD does nothing.
pub fn unblock_for_programs() {
    // SAFETY: all zero is a valid set, filled by the next calls.
    let mut some: libc::sigset_t = unsafe { mem::zeroed() };
    for signal in [libc::SIGCHLD, libc::SIGTERM] {
        // SAFETY: a set that is alive.
        unsafe { libc::sigaddset(&mut some, signal) };
    }
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &some, ptr::null_mut()) };
}

/// Shows `title` in place of the command line. Cut to the room that the command line takes.
pub fn set_title(title: &str) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // Fields are counted behind the last ')', which ends the second one (the name).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<usize>().ok());
    let (Some(start), Some(end)) = (field(48), field(49)) else { return };
    if start == 0 || end <= start + 1 {
        return;
    }
    let room = end - start;
    let shown = title.len().min(room - 1);
    let area = ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the kernel says that our argument strings lie there; they are writable, and Python has copied them.
    unsafe { ptr::write_bytes(area, 0, room) };
    // SAFETY: as above, and `shown` is less than the room.
    unsafe { ptr::copy_nonoverlapping(title.as_ptr(), area, shown) };
}

/// Names the calling thread, as `top` shows it.
pub fn set_thread_name(name: &str) {
    let mut text = [0u8; 16];
    let len = name.len().min(15);
    text[..len].copy_from_slice(&name.as_bytes()[..len]);
    // SAFETY: sixteen bytes, ended by NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, text.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_end_the_process_is_dropped() {
        for signal in [libc::SIGALRM, libc::SIGPROF, libc::SIGHUP, libc::SIGUSR2, libc::SIGRTMIN()] {
            assert!(ends_process(signal), "{signal}");
        }
        for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGCHLD, libc::SIGWINCH, 0, -1, 1000] {
            assert!(!ends_process(signal), "{signal}");
        }
    }
}
