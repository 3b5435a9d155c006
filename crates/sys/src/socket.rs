//! Unix sockets: pairs, and messages with descriptors beside them.
//!
//! Callers: the httpd module (control socket, connections), the supervisor, the engine.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::retry_on_intr;
use rustix::net::{self, AddressFamily, RecvFlags, ReturnFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer, SendAncillaryMessage};

use crate::fd::cvt;
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
    fn raw(self) -> SocketType {
        match self {
            Kind::Stream => SocketType::STREAM,
            Kind::Datagram => SocketType::DGRAM,
            Kind::SeqPacket => SocketType::SEQPACKET,
        }
    }
}

/// Two connected sockets, close-on-exec.
pub fn pair(kind: Kind) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(net::socketpair(AddressFamily::UNIX, kind.raw(), SocketFlags::CLOEXEC, None)?)
}

/// The descriptors of this process's sockets that accept connections; none where `/proc` cannot be read.
pub fn listening() -> Vec<RawFd> {
    let names = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).filter(|fd| is_listening(*fd)).collect()
}

fn is_listening(fd: RawFd) -> bool {
    let mut answer: libc::c_int = 0;
    let mut size = size_of_val(&answer) as libc::socklen_t;
    // SAFETY: takes a number, and places for the answer and its size. What is no socket gets an error.
    let status =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, (&raw mut answer).cast(), &raw mut size) };
    status == 0 && answer != 0
}

/// Asks for a send buffer of `bytes`; the system may give less.
///
/// # Errors
/// What setsockopt says.
pub fn set_send_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(fd, bytes)?)
}

/// As [`set_send_buffer`], for the receive buffer. (Linux counts what is under way between Unix sockets at the sender
/// only.)
///
/// # Errors
/// What setsockopt says.
pub fn set_receive_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(fd, bytes)?)
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

/// Room for the control data of [`MAX_FDS`] descriptors.
const CONTROL: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// Sends one message with descriptors beside it. Never waits: a full socket is `WouldBlock`. No SIGPIPE.
///
/// # Errors
/// `InvalidInput` for no bytes or more than [`MAX_FDS`] descriptors; otherwise what sendmsg says.
pub fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    send(socket, bytes, fds, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// As [`send_with_fds`], but waits for room unless the socket is non-blocking.
///
/// # Errors
/// As [`send_with_fds`].
pub fn send_with_fds_waiting(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    send(socket, bytes, fds, SendFlags::NOSIGNAL)
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); CONTROL];
    let mut control = SendAncillaryBuffer::new(&mut room);
    let fits = fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds));
    if bytes.is_empty() || fds.len() > MAX_FDS || !fits {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(retry_on_intr(|| net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags))?)
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
    recv(socket, buffer, RecvFlags::empty())
}

/// As [`recv_with_fds`], but never waits: nothing there is `WouldBlock`.
///
/// # Errors
/// What recvmsg says.
pub fn try_recv_with_fds(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    recv(socket, buffer, RecvFlags::DONTWAIT)
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

fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Received> {
    let mut room = [MaybeUninit::uninit(); CONTROL];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let got = retry_on_intr(|| net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags))?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    let truncated = got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    Ok(Received { len: got.bytes, fds, truncated })
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
