//! Reads and writes a connected stream socket; each call chooses whether to wait. Callers: both ends of the exchange
//! between a child and a daemon process.
//!
//! The socket itself stays in blocking mode: a plain request then costs one call to send and one to
//! receive, without polling in between.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use crate::socket::{self, Received};

const SEND_NOW: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Sends what fits without waiting. No SIGPIPE.
///
/// # Errors
/// What send says; a full socket is `WouldBlock`.
pub fn send_now(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(net::send(socket, bytes, SEND_NOW)?)
}

/// Sends the start of `parts`, as much as fits without waiting. No SIGPIPE.
///
/// # Errors
/// What sendmsg says; a full socket is `WouldBlock`.
pub fn send_parts_now(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), SEND_NOW)?)
}

/// Receives what is there, and the descriptors that came with it. 0 is the end of file.
///
/// # Errors
/// What recvmsg says; nothing there is `WouldBlock`.
pub fn receive_now(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    socket::try_recv_with_fds(socket, buffer)
}

/// As [`receive_now`], for a socket beside whose bytes no descriptors come any more.
///
/// # Errors
/// What recv says; nothing there is `WouldBlock`.
pub fn read_now(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    receive(socket, buffer, RecvFlags::empty())
}

/// As [`read_now`], but what is there stays there.
///
/// # Errors
/// What recv says; nothing there is `WouldBlock`.
pub fn peek_now(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    receive(socket, buffer, RecvFlags::PEEK)
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let (_, len) = net::recv(socket, buffer, flags | RecvFlags::DONTWAIT)?;
    Ok(len)
}

/// As [`receive_now`], waiting as long as [`set_patience`] allows.
///
/// # Errors
/// What recvmsg says; when time was up, `WouldBlock`.
pub fn receive_waiting(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    socket::recv_with_fds(socket, buffer)
}

/// Whether the other end has sent its last byte and all of it has been received. It may still be reading.
pub fn has_ended(socket: BorrowedFd<'_>) -> bool {
    peek_now(socket, &mut [0]).is_ok_and(|len| len == 0)
}

/// How long [`receive_waiting`] waits; zero is for ever.
///
/// # Errors
/// What setsockopt says.
pub fn set_patience(socket: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    Ok(set_socket_timeout(socket, Timeout::Recv, Some(limit).filter(|limit| !limit.is_zero()))?)
}

/// Receives no more than what is here already; the other end gets an error at its next write. (This does not shut down
/// the other direction: a socket that is shut down both ways polls as hung up although the other end is open.)
///
/// # Errors
/// What shutdown says.
pub fn stop_receiving(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(net::shutdown(socket, Shutdown::Read)?)
}

/// Ends both directions of a connection, whose descriptor stays open. What is no longer connected needs no end.
pub fn shut_down(socket: BorrowedFd<'_>) {
    let _ = net::shutdown(socket, Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{Kind, pair};
    use std::os::fd::AsFd;

    #[test]
    fn parts_arrive_as_one_and_what_was_only_looked_at_stays() {
        let (near, far) = pair(Kind::Stream).expect("pair");
        let kind = |result: io::Result<usize>| result.expect_err("nothing is there").kind();
        let mut buffer = [0; 8];
        assert_eq!(kind(read_now(far.as_fd(), &mut buffer)), io::ErrorKind::WouldBlock);
        let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(send_parts_now(near.as_fd(), &parts).expect("sent"), 7);
        assert_eq!(peek_now(far.as_fd(), &mut buffer).expect("there"), 7);
        assert_eq!(read_now(far.as_fd(), &mut buffer).expect("there"), 7);
        assert_eq!(&buffer[..7], b"one two");
        assert!(!has_ended(far.as_fd()));
        shut_down(near.as_fd());
        shut_down(near.as_fd());
        assert!(has_ended(far.as_fd()));
        assert_eq!(kind(send_parts_now(far.as_fd(), &parts)), io::ErrorKind::BrokenPipe);
    }
}
