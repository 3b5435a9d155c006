//! Unix sockets: pairs, and messages with descriptors beside them.
//!
//! Callers: the httpd module (control socket, connections), the supervisor, the engine.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::fd::{cvt, cvt_size, own, own_cloexec};
use crate::forked::{self, Private};

/// Most descriptors that one message may carry.
pub const MAX_FDS: usize = 8;

/// Kind of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Stream,
    /// Messages, unconnected semantics: several senders, no end of file.
    Datagram,
    /// Messages in order, with an end of file.
    SeqPacket,
}

impl Kind {
    fn raw(self) -> libc::c_int {
        match self {
            Kind::Stream => libc::SOCK_STREAM,
            Kind::Datagram => libc::SOCK_DGRAM,
            Kind::SeqPacket => libc::SOCK_SEQPACKET,
        }
    }
}

/// Two connected sockets, close-on-exec.
pub fn pair(kind: Kind) -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
    let raw_kind = kind.raw() | libc::SOCK_CLOEXEC;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
    let raw_kind = kind.raw();
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two numbers that the call writes.
    cvt(unsafe { libc::socketpair(libc::AF_UNIX, raw_kind, 0, ends.as_mut_ptr()) })?;
    Ok((own_cloexec(ends[0])?, own_cloexec(ends[1])?))
}

/// Asks for a send buffer of `bytes`; the system may give less.
///
/// # Errors
/// What setsockopt says.
pub fn set_send_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    set_buffer(fd, libc::SO_SNDBUF, bytes)
}

/// As [`set_send_buffer`], for the receive buffer. (Linux counts what is under way between Unix sockets at the sender
/// only.)
///
/// # Errors
/// What setsockopt says.
pub fn set_receive_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    set_buffer(fd, libc::SO_RCVBUF, bytes)
}

fn set_buffer(fd: BorrowedFd<'_>, option: libc::c_int, bytes: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let size = mem::size_of_val(&value) as libc::socklen_t;
    let at = (&raw const value).cast();
    // SAFETY: `at` points to `size` bytes that live during the call.
    cvt(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, at, size) }).map(drop)
}

/// Bytes that were sent and that the other end has not read. For each message the kernel adds what it needs itself.
///
/// # Errors
/// What ioctl says.
pub fn unread(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the place for the number is valid (unix(7): SIOCOUTQ, which is TIOCOUTQ).
    cvt(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Room for the control data of [`MAX_FDS`] descriptors, aligned as a header must be.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    room: [u8; 64],
}

impl Control {
    fn new() -> Control {
        Control { room: [0; 64] }
    }
}

/// A message header over one buffer and `control` bytes of control data.
fn header(vector: &mut libc::iovec, control: &mut Control, control_len: usize) -> libc::msghdr {
    // SAFETY: all fields of msghdr are integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = vector;
    message.msg_iovlen = 1;
    if control_len > 0 {
        message.msg_control = (&raw mut *control).cast();
        message.msg_controllen = control_len as _;
    }
    message
}

/// Size of the control data for `count` descriptors: with padding, and without.
fn control_size(count: usize) -> (usize, usize) {
    let bytes = (count * mem::size_of::<RawFd>()) as libc::c_uint;
    // SAFETY: CMSG_SPACE computes on its argument only.
    let space = unsafe { libc::CMSG_SPACE(bytes) };
    // SAFETY: CMSG_LEN computes on its argument only.
    let len = unsafe { libc::CMSG_LEN(bytes) };
    (space as usize, len as usize)
}

/// Sends one message with descriptors beside it. Never waits: a full socket is `WouldBlock`. No SIGPIPE.
///
/// # Errors
/// `InvalidInput` for no bytes or more than [`MAX_FDS`] descriptors; otherwise what sendmsg says.
pub fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    send(socket, bytes, fds, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
}

/// As [`send_with_fds`], but waits for room unless the socket is non-blocking.
///
/// # Errors
/// As [`send_with_fds`].
pub fn send_with_fds_waiting(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    send(socket, bytes, fds, libc::MSG_NOSIGNAL)
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: libc::c_int) -> io::Result<usize> {
    if bytes.is_empty() || fds.len() > MAX_FDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control::new();
    let (space, len) = control_size(fds.len());
    let message = header(&mut vector, &mut control, if fds.is_empty() { 0 } else { space });
    if !fds.is_empty() {
        // SAFETY: the message's control data is `control`, large enough for a header and MAX_FDS descriptors.
        let first = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: all fields of cmsghdr are integers, for which zero is a value.
        let mut content: libc::cmsghdr = unsafe { mem::zeroed() };
        content.cmsg_len = len as _;
        content.cmsg_level = libc::SOL_SOCKET;
        content.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: `first` points to the header in `control`.
        unsafe { first.write(content) };
        // SAFETY: `first` points to a header whose data lie in `control` too.
        let data = unsafe { libc::CMSG_DATA(first) }.cast::<RawFd>();
        for (index, fd) in fds.iter().enumerate() {
            // SAFETY: index < MAX_FDS, for which `control` has room.
            let at = unsafe { data.add(index) };
            // SAFETY: as above; the data may be unaligned on some systems.
            unsafe { at.write_unaligned(fd.as_raw_fd()) };
        }
    }
    loop {
        // SAFETY: `message` points to `vector` and `control`, which live during the call and are only read.
        let sent = cvt_size(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A received message.
#[derive(Debug)]
pub struct Received {
    /// Bytes written into the buffer; 0 is the end of file (or an empty message).
    pub len: usize,
    /// Descriptors that came with it, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// The message was longer than the buffer, or carried more descriptors than fit; the rest is lost.
    pub truncated: bool,
}

/// Receives one message. Waits unless the socket is non-blocking.
///
/// # Errors
/// What recvmsg says.
pub fn recv_with_fds(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    recv(socket, buffer, 0)
}

/// As [`recv_with_fds`], but never waits: nothing there is `WouldBlock`.
///
/// # Errors
/// What recvmsg says.
pub fn try_recv_with_fds(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    recv(socket, buffer, libc::MSG_DONTWAIT)
}

/// Receives one message without waiting, and the descriptor beside it if there is one. Forked processes have no copy of
/// the descriptor. 0 bytes: the other end is closed.
///
/// # Errors
/// What recvmsg says; nothing there is `WouldBlock`.
pub fn try_recv_private(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<Private>)> {
    forked::while_none_forks(|| {
        let got = try_recv_with_fds(socket, buffer)?;
        Ok((got.len, got.fds.into_iter().next().map(Private::new)))
    })
}

fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: libc::c_int) -> io::Result<Received> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control::new();
    let mut message = header(&mut vector, &mut control, control_size(MAX_FDS).0);
    let len = loop {
        // SAFETY: `message` points to `vector` (all of `buffer`) and `control`, with their true sizes.
        let got = cvt_size(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) });
        match got {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    let fds = take_fds(&message)?;
    let truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    Ok(Received { len, fds, truncated })
}

/// Owns the descriptors in a received message's control data.
fn take_fds(message: &libc::msghdr) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the control data and its length.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !at.is_null() {
        // SAFETY: `at` points to a complete header inside the control data.
        let header = unsafe { at.read_unaligned() };
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
            let data_len = (header.cmsg_len as usize).saturating_sub(control_size(0).1);
            // SAFETY: `at` points to a header whose data follow it in the control data.
            let data = unsafe { libc::CMSG_DATA(at) }.cast::<RawFd>();
            for index in 0..data_len / mem::size_of::<RawFd>() {
                // SAFETY: the header's length covers this descriptor.
                let place = unsafe { data.add(index) };
                // SAFETY: as above; the data may be unaligned on some systems.
                let number = unsafe { place.read_unaligned() };
                fds.push(own(number));
            }
        }
        // SAFETY: as for the first header.
        at = unsafe { libc::CMSG_NXTHDR(message, at) };
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
    for fd in &fds {
        crate::fd::set_cloexec(std::os::fd::AsFd::as_fd(fd), true)?;
    }
    Ok(fds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd;
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_travel_beside_a_message() {
        let (left, right) = pair(Kind::SeqPacket).expect("pair");
        let (reader, writer) = fd::pipe().expect("pipe");
        assert_eq!(unread(left.as_fd()).expect("count"), 0);
        let sent = send_with_fds(left.as_fd(), b"x", &[reader.as_fd(), writer.as_fd()]).expect("send");
        assert_eq!(sent, 1);
        assert!((1..4096).contains(&unread(left.as_fd()).expect("count")));
        drop((reader, writer));
        let mut buffer = [0; 4];
        let got = recv_with_fds(right.as_fd(), &mut buffer).expect("receive");
        assert_eq!((got.len, buffer[0], got.fds.len(), got.truncated), (1, b'x', 2, false));
        assert_eq!(unread(left.as_fd()).expect("count"), 0);
        fd::write(got.fds[1].as_fd(), b"through").expect("write");
        let mut text = [0; 16];
        assert_eq!(fd::read(got.fds[0].as_fd(), &mut text).expect("read"), 7);
        drop(left);
        assert_eq!(recv_with_fds(right.as_fd(), &mut buffer).expect("end of file").len, 0);
    }

    #[test]
    fn a_full_socket_and_an_empty_one_do_not_wait() {
        let (left, right) = pair(Kind::Datagram).expect("pair");
        let mut buffer = [0; 4];
        let error = try_recv_with_fds(right.as_fd(), &mut buffer).expect_err("empty");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let full = (0..100_000).find_map(|_| send_with_fds(left.as_fd(), b"message", &[]).err());
        assert_eq!(full.expect("fills up").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let (left, right) = pair(Kind::SeqPacket).expect("pair");
        send_with_fds(left.as_fd(), b"too long", &[]).expect("send");
        let mut buffer = [0; 4];
        assert!(recv_with_fds(right.as_fd(), &mut buffer).expect("receive").truncated);
        let many = [left.as_fd(); MAX_FDS + 1];
        assert!(send_with_fds(left.as_fd(), b"x", &many).is_err());
        assert!(send_with_fds(left.as_fd(), b"", &[]).is_err());
    }
}
