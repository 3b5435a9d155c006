//! A connection to an httpd child: frames in any pieces, one exchange at a time.
//!
//! Between exchanges a connection rests in [`super::request_threads`], with what came too early. During one it belongs
//! to one request thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use wsgi_sys::forked::{self, Private};
use wsgi_sys::memory::Area;
use wsgi_sys::{poll, stream};
use wsgi_wire::frame::{self, HEADER, InputFailure, Tag};
use wsgi_wire::{AREA, PROTOCOL};

use crate::request::host::Body;
use crate::timers::slots::Slot;

/// How many bytes the connection receives at a time behind what it keeps: at least, and at most.
const PIECE: usize = 64 << 10;
const LARGE_PIECE: usize = 256 << 10;

/// What a resting connection keeps of its memory, bytes.
const KEPT: usize = 16 << 10;

/// Body frames that nobody has read yet.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Unread {
    /// The body goes on.
    open: bool,
    /// What is left of the frame that was begun.
    left: usize,
    /// That frame is the last one.
    last: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    fd: Private,
    /// Bytes that were received, and not used yet.
    early: Vec<u8>,
    greeted: bool,
    unread: Unread,
    /// Memory that both ends can reach.
    area: Option<Area>,
}

/// What the received bytes call for.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    Wait,
    /// A request: its payload is at this range of the bytes; it ends at the second number.
    Request(std::ops::Range<usize>),
    /// The connection is of no more use.
    Close,
}

impl Connection {
    /// A connection on which nothing was received.
    pub fn new(fd: Private) -> Self {
        Connection { fd, early: Vec::new(), greeted: false, unread: Unread::default(), area: None }
    }

    /// Receives what is there. The first time an area may come with it.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.greeted || self.area.is_some() {
            return stream::read_now(self.fd.as_fd(), buffer);
        }
        let (len, area) = forked::while_none_forks(|| {
            let got = stream::receive_now(self.fd.as_fd(), buffer)?;
            io::Result::Ok((got.len, got.fds.first().and_then(|file| Area::open(file, AREA).ok())))
        })?;
        self.area = area;
        self.area.iter().for_each(Area::count_one);
        Ok(len)
    }

    /// The area, to be put back after an exchange.
    pub fn area(&mut self) -> &mut Option<Area> {
        &mut self.area
    }

    /// The number of its descriptor.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The request's body has not been received whole.
    pub fn has_body(&self) -> bool {
        self.unread.open
    }

    /// Nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.early.is_empty()
    }

    /// Takes what was kept by [`Connection::keep`].
    pub fn early(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.early)
    }

    /// Keeps bytes for later.
    pub fn keep(&mut self, bytes: &[u8]) {
        self.early.extend_from_slice(bytes);
    }

    /// Whether the request at the front of what the connection keeps is not here whole.
    pub fn awaits_more(&self) -> bool {
        !self.unread.open && self.missing() > 0
    }

    /// How many bytes are missing from the frame at the front of what the connection keeps.
    fn missing(&self) -> usize {
        match frame::decode(&self.early) {
            Ok(Some(header)) => (HEADER + header.len).saturating_sub(self.early.len()),
            Ok(None) => HEADER - self.early.len(),
            Err(_) => 0,
        }
    }

    /// Gives memory back that a large request has taken. To be called before the connection rests.
    pub fn trim(&mut self) {
        if self.early.is_empty() {
            self.early.shrink_to(KEPT);
        }
    }

    /// Receives what is there, behind what the connection keeps, and returns the number of new bytes. Memory grows with
    /// what arrives, whatever length a frame announces.
    pub fn receive_more(&mut self) -> io::Result<usize> {
        let before = self.early.len();
        self.early.resize(before + self.missing().clamp(PIECE, LARGE_PIECE), 0);
        let mut early = std::mem::take(&mut self.early);
        let got = self.receive(&mut early[before..]);
        self.early = early;
        self.early.truncate(before + *got.as_ref().unwrap_or(&0));
        got
    }

    /// Goes through `bytes` from `at` on, up to and with the next request. Leaves out body frames of the exchange
    /// before, which its application did not read.
    pub fn advance(&mut self, bytes: &[u8], at: &mut usize) -> Step {
        loop {
            if self.unread.open {
                *at += self.skip(&bytes[*at..]);
            }
            let rest = &bytes[*at..];
            let header = match frame::decode(rest) {
                Err(_) => return Step::Close,
                Ok(None) => return Step::Wait,
                Ok(Some(header)) => header,
            };
            if self.unread.open {
                if !self.unread.begin(header.tag, header.last, header.len) {
                    return Step::Close;
                }
                *at += HEADER;
                continue;
            }
            let end = *at + HEADER + header.len;
            match (header.tag, self.greeted) {
                (Tag::Hello, false) | (Tag::Request, true) if bytes.len() < end => return Step::Wait,
                (Tag::Hello, false) if self.is_understood(&bytes[*at + HEADER..end]) => {
                    self.greeted = true;
                    *at = end;
                }
                (Tag::Request, true) => {
                    let payload = *at + HEADER..end;
                    *at = end;
                    self.unread = Unread { open: !header.last, left: 0, last: false };
                    return Step::Request(payload);
                }
                _ => return Step::Close,
            }
        }
    }

    /// Whether the greeting is of this version. If the child relies on an area, the process executes no request without
    /// it.
    fn is_understood(&self, greeting: &[u8]) -> bool {
        *greeting == frame::hello(PROTOCOL, self.area.is_some()) || *greeting == frame::hello(PROTOCOL, false)
    }

    /// Leaves out the rest of a body frame. Returns how many bytes of `bytes` that was.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let part = self.unread.left.min(bytes.len());
        self.unread.use_up(part);
        part
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Unread {
    /// A frame of the body begins. False when it is none.
    fn begin(&mut self, tag: Tag, last: bool, len: usize) -> bool {
        match tag {
            Tag::Body => *self = Unread { open: true, left: len, last },
            Tag::BodyAborted => *self = Unread { open: true, left: len, last: true },
            _ => return false,
        }
        self.use_up(0);
        true
    }

    /// `count` bytes of the frame are through.
    fn use_up(&mut self, count: usize) {
        self.left -= count;
        if self.left == 0 && self.last {
            self.open = false;
        }
    }
}

/// The body of the request on a connection.
pub struct Incoming<'c> {
    connection: &'c mut Connection,
    at: usize,
    failed: Option<InputFailure>,
    /// The slot, which the body tells when it waits.
    slot: &'c Slot,
}

impl<'c> Incoming<'c> {
    /// The body; what was received of it is kept in the connection.
    pub fn new(connection: &'c mut Connection, slot: &'c Slot) -> Self {
        Incoming { connection, at: 0, failed: None, slot }
    }

    /// Waits for bytes and receives them behind what there is.
    fn receive(&mut self) -> Result<(), InputFailure> {
        self.connection.early.drain(..self.at);
        self.at = 0;
        loop {
            match self.connection.receive_more() {
                Ok(0) => return Err(InputFailure::Gone),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(),
                Err(_) => return Err(InputFailure::Gone),
            }
        }
    }

    /// Waits for bytes.
    fn wait(&self) {
        self.slot.note_reading(true);
        poll::wait_readable(self.connection.as_fd());
        self.slot.note_reading(false);
    }

    /// Receives straight into `buf`, when nothing is kept; `None` when it has to wait.
    fn receive_into(&mut self, buf: &mut [u8]) -> Result<Option<usize>, InputFailure> {
        match stream::read_now(self.connection.as_fd(), buf) {
            Ok(0) => Err(InputFailure::Gone),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(_) => Err(InputFailure::Gone),
        }
    }

    fn next_frame(&mut self) -> Result<(), InputFailure> {
        loop {
            match frame::decode(&self.connection.early[self.at..]) {
                Err(_) => return Err(InputFailure::Gone),
                Ok(None) => self.receive()?,
                Ok(Some(header)) if header.tag == Tag::BodyAborted => {
                    while self.connection.early.len() - self.at < HEADER + header.len {
                        self.receive()?;
                    }
                    let cause = self.connection.early.get(self.at + HEADER).copied().unwrap_or(0);
                    self.at += HEADER + header.len;
                    self.connection.unread = Unread::default();
                    return Err(InputFailure::from_byte(cause));
                }
                Ok(Some(header)) => {
                    self.at += HEADER;
                    return match self.connection.unread.begin(header.tag, header.last, header.len) {
                        true => Ok(()),
                        false => Err(InputFailure::Gone),
                    };
                }
            }
        }
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        self.connection.early.drain(..self.at);
    }
}

impl Body for Incoming<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, InputFailure> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let result = self.read_frames(buf);
        self.failed = result.as_ref().err().copied();
        result
    }
}

impl Incoming<'_> {
    fn read_frames(&mut self, buf: &mut [u8]) -> Result<usize, InputFailure> {
        loop {
            let unread = self.connection.unread;
            if !unread.open {
                return Ok(0);
            }
            if unread.left == 0 {
                self.next_frame()?;
                continue;
            }
            let want = unread.left.min(buf.len());
            let kept = &self.connection.early[self.at..];
            let count = if kept.is_empty() && want >= 16 << 10 {
                match self.receive_into(&mut buf[..want])? {
                    Some(count) => count,
                    None => {
                        self.wait();
                        continue;
                    }
                }
            } else if kept.is_empty() {
                self.receive()?;
                continue;
            } else {
                let count = want.min(kept.len());
                buf[..count].copy_from_slice(&kept[..count]);
                self.at += count;
                count
            };
            self.connection.unread.use_up(count);
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn stream() -> (Connection, Vec<u8>) {
        let (ours, _) = UnixStream::pair().expect("a pair of sockets");
        let mut bytes = Vec::new();
        frame::put(&mut bytes, Tag::Hello, false, &frame::hello(PROTOCOL, false));
        frame::put(&mut bytes, Tag::Request, false, b"first");
        frame::put(&mut bytes, Tag::Body, false, b"unread");
        frame::put(&mut bytes, Tag::Body, true, b"unread too");
        frame::put(&mut bytes, Tag::Request, false, b"second");
        frame::put(&mut bytes, Tag::BodyAborted, false, &[1]);
        frame::put(&mut bytes, Tag::Request, true, b"third");
        (Connection::new(Private::new(ours.into())), bytes)
    }

    /// The requests that are found when the bytes arrive in pieces of this size.
    fn requests(piece: usize) -> Vec<Vec<u8>> {
        let (mut connection, bytes) = stream();
        let mut found = Vec::new();
        for part in bytes.chunks(piece) {
            connection.keep(part);
            let all = connection.early();
            let mut at = 0;
            loop {
                match connection.advance(&all, &mut at) {
                    Step::Request(range) => found.push(all[range].to_vec()),
                    Step::Wait => break connection.keep(&all[at..]),
                    Step::Close => panic!("closed"),
                }
            }
        }
        found
    }

    #[test]
    fn requests_are_found_however_the_bytes_arrive_and_unread_bodies_left_out() {
        for piece in 1..100 {
            assert_eq!(requests(piece), [&b"first"[..], b"second", b"third"], "in pieces of {piece}");
        }
    }

    #[test]
    fn a_long_head_stays_where_it_is_until_it_is_here_whole() {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        let mut connection = Connection::new(Private::new(ours.into()));
        connection.greeted = true;
        let mut bytes = Vec::new();
        frame::put(&mut bytes, Tag::Request, true, &vec![7; 1 << 20]);
        let mut receptions = 0;
        for part in bytes.chunks(30_000) {
            (&theirs).write_all(part).expect("room");
            connection.receive_more().expect("received");
            receptions += 1;
            assert_eq!(connection.awaits_more(), connection.early.len() < bytes.len());
            // Memory grows with what has arrived, not with what was announced.
            assert!(connection.early.capacity() <= 2 * (connection.early.len() + LARGE_PIECE));
        }
        assert_eq!((connection.early() == bytes, receptions), (true, 35));
        connection.keep(&bytes);
        connection.early.clear();
        connection.trim();
        assert!(connection.early.capacity() <= KEPT);
    }

    #[test]
    fn what_may_not_come_closes() {
        for (tag, payload) in [
            (Tag::Request, &b"x"[..]),
            (Tag::Hello, &[0, 0, 0, 99, 0]),
            (Tag::Hello, &frame::hello(PROTOCOL, true)),
            (Tag::Data, b""),
        ] {
            let (mut connection, _) = stream();
            let mut bytes = Vec::new();
            frame::put(&mut bytes, tag, false, payload);
            assert_eq!(connection.advance(&bytes, &mut 0), Step::Close);
        }
    }
}
