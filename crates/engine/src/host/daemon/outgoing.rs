//! The response on its way to an httpd child: what the adapter hands over becomes frames.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use wsgi_sys::memory::Area;
use wsgi_sys::{poll, socket, stream};
use wsgi_wire::MAX_PAYLOAD;
use wsgi_wire::frame::{self, LAST, Tag, WHOLE};
use wsgi_wire::response::{FilePart, LogRecord};

use crate::log::process_log;
use crate::request::host::{Gone, Outcome, Sink};
use crate::timers::slots::Slot;

/// Longest payload of a Data frame.
const MAX_DATA: usize = 1 << 20;

/// The response on a connection: frames are gathered, and sent together.
pub struct Outgoing<'c> {
    fd: RawFd,
    out: &'c mut Vec<u8>,
    /// How many bytes of `out` were sent.
    sent: usize,
    /// Where the last frame that may carry LAST stands in `out`.
    last_at: Option<usize>,
    /// Where the head stands in `out`, until any of it is sent.
    head_at: Option<usize>,
    /// The rest of the body; it goes out with the end, because no line for the log may follow it.
    file: Option<(OwnedFd, FilePart)>,
    /// Where the rest of the body may be put. `shared` is how much of it was put there.
    area: Option<Area>,
    shared: Option<usize>,
    /// What a script decided, in place of a response.
    answer: Option<Vec<u8>>,
    gone: bool,
    /// The request's response is on its way, or over.
    begun: bool,
    /// Says who may send: the request thread, as long as the watchdog has not ended the exchange.
    slot: &'c Slot,
}

impl<'c> Outgoing<'c> {
    /// A response of which nothing was sent. It gathers frames in the memory of `out`.
    pub fn new(fd: RawFd, out: &'c mut Vec<u8>, area: Option<Area>, slot: &'c Slot) -> Self {
        out.clear();
        Outgoing {
            fd,
            out,
            sent: 0,
            last_at: None,
            head_at: None,
            file: None,
            area,
            shared: None,
            answer: None,
            gone: false,
            begun: false,
            slot,
        }
    }

    fn socket(&self) -> BorrowedFd<'c> {
        // SAFETY: the connection keeps its descriptor open for the time of the exchange.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    fn put(&mut self, tag: Tag, payload: &[u8]) {
        let at = self.out.len();
        frame::put(self.out, tag, false, payload);
        self.last_at = matches!(tag, Tag::Head | Tag::Data).then_some(at);
    }

    /// Sends once: what is left of `out`, and `bytes` behind it, without a frame header of their own. Returns how many
    /// of `bytes` went.
    fn push(&mut self, bytes: &[u8]) -> Result<usize, Gone> {
        if self.gone || !self.slot.begin_send() {
            self.gone = true;
            return Err(Gone);
        }
        (self.head_at, self.last_at) = (None, None);
        let left = &self.out[self.sent..];
        let count = match stream::send_parts_now(self.socket(), &[IoSlice::new(left), IoSlice::new(bytes)]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.gone = true;
                return Err(Gone);
            }
        };
        let of_bytes = count.saturating_sub(left.len());
        self.note_sent(count - of_bytes);
        self.slot.end_send(!self.begun && self.out.is_empty() && of_bytes == bytes.len());
        Ok(of_bytes)
    }

    /// `count` bytes of `out` went. The rest stays where it is: a long head goes in many pieces.
    fn note_sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
    }

    /// Gives the area back.
    pub fn into_area(self) -> Option<Area> {
        self.area
    }

    /// Sends all of `out` with a descriptor beside its first byte.
    fn push_with(&mut self, file: &OwnedFd) -> Result<(), Gone> {
        self.gone |= !self.slot.begin_send();
        while !self.gone && !self.out.is_empty() {
            match socket::send_with_fds(self.socket(), &self.out[self.sent..], &[file.as_fd()]) {
                Ok(count) => {
                    self.note_sent(count);
                    return self.drain();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => poll::wait_writable(self.socket()),
                Err(_) => self.gone = true,
            }
        }
        Err(Gone)
    }

    fn drain(&mut self) -> Result<(), Gone> {
        self.push_all(&[])
    }

    /// Sends `out` and `bytes`, waiting as long as it takes.
    fn push_all(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let mut left = bytes;
        while !(self.out.is_empty() && left.is_empty()) {
            left = &left[self.push(left)?..];
            if !(self.out.is_empty() && left.is_empty()) {
                poll::wait_writable(self.socket());
            }
        }
        Ok(())
    }
}

impl Sink for Outgoing<'_> {
    fn begin(&mut self) {
        if let Some(area) = &self.area {
            area.count_one();
        }
    }

    fn head(&mut self, payload: &[u8]) {
        // `start_response` has refused longer ones.
        self.head_at = Some(self.out.len());
        self.begun = true;
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
            self.push_all(part)?;
        }
        self.drain()
    }

    fn try_send(&mut self, bytes: &[u8]) -> Option<Result<bool, Gone>> {
        if bytes.len() > 16 << 10 || self.out.len() > 16 << 10 {
            return None;
        }
        self.out.extend_from_slice(&frame::header(Tag::Data, false, bytes.len()));
        Some(self.push(bytes).map(|count| {
            self.out.extend_from_slice(&bytes[count..]);
            self.out.is_empty()
        }))
    }

    fn file(&mut self, file: OwnedFd, part: FilePart) -> Result<(), Gone> {
        self.file = Some((file, part));
        Ok(())
    }

    fn share(&mut self, parts: &[&[u8]], total: usize) -> bool {
        let Some(area) = self.area.as_mut().filter(|area| total <= area.room()) else { return false };
        self.shared = Some(area.write(parts.iter().copied()));
        true
    }

    fn answer(&mut self, payload: &[u8]) {
        self.answer = Some(payload.to_vec());
    }

    fn confirm(&mut self) {
        self.put(Tag::Continue, &[]);
        // What does not go at once goes with the response; a failure shows up there too.
        let _ = self.push(&[]);
    }

    fn log(&mut self, level: u8, text: &[u8], now: bool) {
        if self.slot.is_taken() {
            // The child has what it needs to answer its client, and listens no more.
            return process_log(level, text);
        }
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
        self.begun = true;
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
        if let (Outcome::Complete, Some(answer)) = (outcome, self.answer.take()) {
            frame::put(self.out, Tag::Answer, false, &answer);
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
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_log_record_that_no_frame_takes_is_cut() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut out = Vec::new();
        let slot = Slot::default();
        let mut outgoing = Outgoing::new(ours.as_raw_fd(), &mut out, None, &slot);
        outgoing.log(3, &vec![b'x'; MAX_PAYLOAD + 1], false);
        let (header, payload, _) = frame::split(&out).expect("valid").expect("whole");
        assert_eq!((header.tag, payload.len()), (Tag::Log, MAX_PAYLOAD));
    }
}
