//! A connection to an httpd child: frames in any pieces, one exchange at a time.
//!
//! Between exchanges a connection rests in the pool, with what came too early. During one it belongs to
//! one request thread.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use wsgi_sys::memory::Area;
use wsgi_wire::frame::{self, HEADER, InputFailure, LAST, Tag, WHOLE};
use wsgi_wire::response::{FilePart, LogRecord};
use wsgi_wire::{AREA, MAX_PAYLOAD, PROTOCOL};

use crate::exchange::{Body, Gone, Outcome, Sink};
use crate::sys;

/// Longest payload of a Data frame.
const MAX_DATA: usize = 1 << 20;

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
    fd: OwnedFd,
    /// Received, and not yet used.
    early: Vec<u8>,
    greeted: bool,
    unread: Unread,
    /// What both ends can reach.
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
    pub fn new(fd: OwnedFd) -> Self {
        Connection { fd, early: Vec::new(), greeted: false, unread: Unread::default(), area: None }
    }

    /// Receives what is there. The first time an area may come with it.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.greeted || self.area.is_some() {
            return sys::recv(self.fd(), buffer);
        }
        let got = wsgi_sys::socket::try_recv_with_fds(self.fd.as_fd(), buffer)?;
        self.area = got.fds.first().and_then(|file| Area::open(file, AREA).ok());
        Ok(got.len)
    }

    /// The area, to be put back after an exchange.
    pub fn area(&mut self) -> &mut Option<Area> {
        &mut self.area
    }

    /// Its descriptor.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The request's body has not been received whole.
    pub fn has_body(&self) -> bool {
        self.unread.open
    }

    /// Takes what was kept by [`Connection::keep`].
    pub fn early(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.early)
    }

    /// Keeps bytes for later.
    pub fn keep(&mut self, bytes: &[u8]) {
        self.early.extend_from_slice(bytes);
    }

    /// Receives what is there behind what was kept; the number of new bytes.
    pub fn receive_more(&mut self) -> io::Result<usize> {
        let before = self.early.len();
        self.early.resize(before + (64 << 10), 0);
        let mut early = std::mem::take(&mut self.early);
        let got = self.receive(&mut early[before..]);
        self.early = early;
        self.early.truncate(before + *got.as_ref().unwrap_or(&0));
        got
    }

    /// Goes through `bytes` from `at` on, up to and with the next request. Body frames of the exchange
    /// before, which its application did not read, are left out.
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
                (Tag::Hello, false) if bytes[*at + HEADER..end] == PROTOCOL.to_be_bytes() => {
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

    /// Leaves out the rest of a body frame; how much of `bytes` it was.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let part = self.unread.left.min(bytes.len());
        self.unread.use_up(part);
        part
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
}

impl<'c> Incoming<'c> {
    /// The body; what was received of it is kept in the connection.
    pub fn new(connection: &'c mut Connection) -> Self {
        Incoming { connection, at: 0, failed: None }
    }

    /// Waits for bytes and receives them behind what there is.
    fn receive(&mut self) -> Result<(), InputFailure> {
        self.connection.early.drain(..self.at);
        self.at = 0;
        loop {
            match self.connection.receive_more() {
                Ok(0) => return Err(InputFailure::Gone),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sys::wait_for(self.connection.fd(), libc::POLLIN);
                }
                Err(_) => return Err(InputFailure::Gone),
            }
        }
    }

    /// Receives straight into `buf`, when nothing is kept; `None` when it has to wait.
    fn receive_into(&mut self, buf: &mut [u8]) -> Result<Option<usize>, InputFailure> {
        match sys::recv(self.connection.fd(), buf) {
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
                        sys::wait_for(self.connection.fd(), libc::POLLIN);
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

/// The response on a connection: frames are gathered, and sent together.
pub struct Outgoing<'c> {
    fd: RawFd,
    out: &'c mut Vec<u8>,
    /// Where the last frame that may carry LAST stands in `out`.
    last_at: Option<usize>,
    /// Where the head stands in `out`, until any of it is sent.
    head_at: Option<usize>,
    /// The rest of the body; it goes out with the end, because no line for the log may follow it.
    file: Option<(OwnedFd, FilePart)>,
    /// Where the rest of the body may be put, and how much of it was.
    area: Option<Area>,
    shared: Option<usize>,
    gone: bool,
}

impl<'c> Outgoing<'c> {
    /// A response for which nothing was sent. `out` is memory to be used.
    pub fn new(fd: RawFd, out: &'c mut Vec<u8>, area: Option<Area>) -> Self {
        out.clear();
        Outgoing { fd, out, last_at: None, head_at: None, file: None, area, shared: None, gone: false }
    }

    fn put(&mut self, tag: Tag, payload: &[u8]) {
        let at = self.out.len();
        frame::put(self.out, tag, false, payload);
        self.last_at = matches!(tag, Tag::Head | Tag::Data).then_some(at);
    }

    /// Sends all of `out` and `bytes`, which no frame header is put before. False when it has to wait; what
    /// was not sent is then in `out`.
    fn push(&mut self, bytes: &[u8]) -> Result<bool, Gone> {
        if self.gone {
            return Err(Gone);
        }
        self.head_at = None;
        let total = self.out.len() + bytes.len();
        let sent = match sys::send(self.fd, &[IoSlice::new(self.out), IoSlice::new(bytes)]) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.gone = true;
                return Err(Gone);
            }
        };
        self.last_at = None;
        let of_out = sent.min(self.out.len());
        self.out.drain(..of_out);
        self.out.extend_from_slice(&bytes[sent - of_out..]);
        Ok(sent == total)
    }

    /// Gives the area back.
    pub fn into_area(self) -> Option<Area> {
        self.area
    }

    /// Sends all of `out` with a descriptor beside its first byte.
    fn push_with(&mut self, file: &OwnedFd) -> Result<(), Gone> {
        while !self.gone && !self.out.is_empty() {
            // SAFETY: the connection keeps its descriptor open for the time of the exchange.
            let socket = unsafe { BorrowedFd::borrow_raw(self.fd) };
            match wsgi_sys::socket::send_with_fds(socket, self.out, &[file.as_fd()]) {
                Ok(sent) => {
                    self.out.drain(..sent);
                    return self.drain();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sys::wait_for(self.fd, libc::POLLOUT),
                Err(_) => self.gone = true,
            }
        }
        Err(Gone)
    }

    fn drain(&mut self) -> Result<(), Gone> {
        while !self.out.is_empty() && !self.push(&[])? {
            sys::wait_for(self.fd, libc::POLLOUT);
        }
        Ok(())
    }
}

impl Sink for Outgoing<'_> {
    fn head(&mut self, payload: &[u8]) {
        // `start_response` has refused longer ones.
        self.head_at = Some(self.out.len());
        self.put(Tag::Head, payload);
    }

    fn keep(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(MAX_DATA) {
            self.put(Tag::Data, part);
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        for part in bytes.chunks(MAX_DATA) {
            self.out.extend_from_slice(&frame::header(Tag::Data, false, part.len()));
            if !self.push(part)? {
                sys::wait_for(self.fd, libc::POLLOUT);
                self.drain()?;
            }
        }
        self.drain()
    }

    fn try_send(&mut self, bytes: &[u8]) -> Option<Result<bool, Gone>> {
        if bytes.len() > 16 << 10 || self.out.len() > 16 << 10 {
            return None;
        }
        self.out.extend_from_slice(&frame::header(Tag::Data, false, bytes.len()));
        Some(self.push(bytes))
    }

    fn file(&mut self, file: OwnedFd, part: FilePart) -> Result<(), Gone> {
        self.file = Some((file, part));
        Ok(())
    }

    fn share(&mut self, parts: &[&[u8]], total: usize) -> bool {
        let Some(area) = self.area.as_mut().filter(|area| total <= area.length()) else { return false };
        self.shared = Some(area.write(parts.iter().copied()));
        true
    }

    fn confirm(&mut self) {
        self.put(Tag::Continue, &[]);
        // What does not go at once goes with the response; a failure shows up there too.
        let _ = self.push(&[]);
    }

    fn log(&mut self, level: u8, text: &[u8], now: bool) {
        let text = &text[..text.len().min(MAX_PAYLOAD - 1)];
        self.out.extend_from_slice(&frame::header(Tag::Log, false, 1 + text.len()));
        LogRecord { level, text }.encode(self.out);
        // Nothing may follow LAST, so a frame before this one can no more carry it.
        self.last_at = None;
        if now {
            let _ = self.push(&[]);
        }
    }

    fn end(&mut self, outcome: Outcome) -> Result<(), Gone> {
        if let (Outcome::Complete, Some(at)) = (outcome, self.head_at.take()) {
            self.out[at + 1] |= WHOLE;
        }
        if let (Outcome::Complete, Some((file, part))) = (outcome, self.file.take()) {
            frame::put(self.out, Tag::File, true, &part.encode());
            return self.push_with(&file);
        }
        if let (Outcome::Complete, Some(length)) = (outcome, self.shared.take()) {
            let part = FilePart { offset: 0, length: length as u64 };
            frame::put(self.out, Tag::Shared, true, &part.encode());
            return self.drain();
        }
        match (outcome, self.last_at.take()) {
            (Outcome::Complete, Some(at)) => self.out[at + 1] |= LAST,
            (Outcome::Complete, None) => frame::put(self.out, Tag::Data, true, &[]),
            (Outcome::Stale, _) => frame::put(self.out, Tag::Stale, false, &[]),
            (Outcome::Failed(failure), _) => frame::put(self.out, Tag::Failed, false, &[failure as u8]),
        }
        self.drain()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn stream() -> (Connection, Vec<u8>) {
        let (ours, _) = UnixStream::pair().expect("a pair of sockets");
        let mut bytes = Vec::new();
        frame::put(&mut bytes, Tag::Hello, false, &PROTOCOL.to_be_bytes());
        frame::put(&mut bytes, Tag::Request, false, b"first");
        frame::put(&mut bytes, Tag::Body, false, b"unread");
        frame::put(&mut bytes, Tag::Body, true, b"unread too");
        frame::put(&mut bytes, Tag::Request, false, b"second");
        frame::put(&mut bytes, Tag::BodyAborted, false, &[1]);
        frame::put(&mut bytes, Tag::Request, true, b"third");
        (Connection::new(ours.into()), bytes)
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
    fn a_log_record_that_no_frame_takes_is_cut() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut out = Vec::new();
        let mut outgoing = Outgoing::new(ours.as_raw_fd(), &mut out, None);
        outgoing.log(3, &vec![b'x'; MAX_PAYLOAD + 1], false);
        let (header, payload, _) = frame::split(&out).expect("valid").expect("whole");
        assert_eq!((header.tag, payload.len()), (Tag::Log, MAX_PAYLOAD));
    }

    #[test]
    fn what_may_not_come_closes() {
        for (tag, payload) in [(Tag::Request, &b"x"[..]), (Tag::Hello, &[0, 0, 0, 99]), (Tag::Data, b"")] {
            let (mut connection, _) = stream();
            let mut bytes = Vec::new();
            frame::put(&mut bytes, tag, false, payload);
            assert_eq!(connection.advance(&bytes, &mut 0), Step::Close);
        }
    }
}
