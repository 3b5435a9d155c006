//! Reads and writes a connected stream socket; each call chooses whether to wait. Callers: the httpd module's exchange
//! with a daemon process.
//!
//! The socket itself stays in blocking mode: a plain request then costs one call to send and one to
//! receive, without polling in between.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::fd::{cvt, cvt_size};
use crate::socket::{self, Received};

/// Sends what fits without waiting. No SIGPIPE.
///
/// # Errors
/// What send says; a full socket is `WouldBlock`.
pub fn send_now(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the bytes are valid for the call and only read.
    cvt_size(unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Receives what is there, and the descriptors that came with it. 0 is the end of file.
///
/// # Errors
/// What recvmsg says; nothing there is `WouldBlock`.
pub fn receive_now(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    socket::try_recv_with_fds(socket, buffer)
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
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: room for the one byte that is asked for.
    unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, flags) == 0 }
}

/// How long [`receive_waiting`] waits; zero is for ever.
///
/// # Errors
/// What setsockopt says.
pub fn set_patience(socket: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    let value = libc::timeval {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: limit.subsec_micros() as libc::suseconds_t,
    };
    let size = size_of_val(&value) as libc::socklen_t;
    let at = (&raw const value).cast();
    // SAFETY: `at` points to `size` bytes that live during the call.
    cvt(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, at, size) }).map(drop)
}

/// Receives no more than what is here already; the other end gets an error at its next write. (This does not shut down
/// the other direction: a socket that is shut down both ways polls as hung up although the other end is open.)
///
/// # Errors
/// What shutdown says.
pub fn stop_receiving(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes its arguments by value.
    cvt(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RD) }).map(drop)
}
