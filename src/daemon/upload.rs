//! The request's body on its way to a daemon process: read ahead from the client as far as the buffer
//! goes, framed in pieces, and sent without blocking.

use wsgi_wire::frame::{self, InputFailure, Tag};

use super::blocks::Blocks;
use crate::httpd::body::{Body, BodyError};
use crate::httpd::log::Level;
use crate::httpd::request::Request;
use crate::route::BodyLength;

/// Bytes asked of httpd at a time once the buffer is used up.
const PIECE: usize = 64 << 10;

/// Up to this many bytes, head and body of a request travel in one message, which a process reads whole or not at all.
/// For a larger request the child first asks the process whether it takes it (`CONFIRM`).
const ONE_MESSAGE: usize = 16 << 10;

/// As [`ONE_MESSAGE`], for a socket whose send buffer was set to `send_buffer` bytes (0: the usual size). Linux doubles
/// the size that it is given, and splits a message that is longer than half of the doubled size, less a little.
pub(super) fn one_message(send_buffer: u32) -> usize {
    match send_buffer as usize {
        0 => ONE_MESSAGE,
        bytes => ONE_MESSAGE.min(bytes.saturating_sub(256)),
    }
}

/// A body.
#[derive(Debug)]
pub(super) struct Upload<'r> {
    request: Request<'r>,
    body: Option<Body<'r>>,
    /// What the child read ahead. The upload keeps it, so that it can give the request to another process.
    ahead: Blocks,
    /// How many blocks of `ahead` the process that has the request now was given.
    given: usize,
    /// More than `ahead` has been handed out: the request cannot be repeated.
    beyond: bool,
    failed: Option<BodyError>,
    /// The client sends the body only when the application reads it.
    on_read: bool,
}

/// Whether the body is to wait until the application reads it, with `100 Continue` for a client that `waits` for that.
/// Then the application may refuse a large body before any of it is sent. What fits into `request-buffer` comes ahead all
/// the same, because a slow client must hold no request thread.
fn comes_on_read(length: BodyLength, waits: bool, buffer: usize) -> bool {
    waits
        && match length {
            BodyLength::Empty => false,
            BodyLength::Exactly(length) => length > buffer as u64,
            BodyLength::Chunked => buffer == 0,
        }
}

impl<'r> Upload<'r> {
    /// Reads up to `buffer` bytes ahead.
    ///
    /// # Errors
    /// The status for the client when its body cannot be read.
    pub(super) fn begin(request: Request<'r>, length: BodyLength, buffer: usize) -> Result<Upload<'r>, i32> {
        let ahead = Blocks::default();
        let mut upload = Upload { request, body: None, ahead, given: 0, beyond: false, failed: None, on_read: false };
        if length == BodyLength::Empty {
            return Ok(upload);
        }
        let mut body = Body::new(request);
        upload.on_read = comes_on_read(length, Body::waits_for_continue(request), buffer);
        let mut left = if upload.on_read { 0 } else { buffer };
        while !body.ended() && left > 0 {
            let (block, room) = upload.ahead.room();
            let count = body.read(block, room.min(left)).map_err(|error| status_of(request, error))?;
            left = left.saturating_sub(count);
        }
        upload.body = (!body.ended()).then_some(body);
        Ok(upload)
    }

    /// The request has no body (left).
    pub(super) fn is_empty(&self) -> bool {
        self.ahead.len() == 0 && self.body.is_none()
    }

    /// Whether a process must agree to take the request before it gets the body.
    pub(super) fn needs_confirmation(&self, head: usize, one_message: usize) -> bool {
        !self.is_empty() && (self.body.is_some() || self.ahead.len() + head > one_message)
    }

    /// The process is to ask for the body only when the application reads it.
    pub(super) fn is_on_read(&self) -> bool {
        self.on_read
    }

    /// The process wants the body: tells the client so, if it waits for that.
    pub(super) fn invite(&self) {
        if let Some(body) = &self.body {
            body.invite();
        }
    }

    /// All that was handed out can be handed out again.
    pub(super) fn can_repeat(&self) -> bool {
        !self.beyond
    }

    /// Goes back to the start of the body, because another process gets the request.
    pub(super) fn rewind(&mut self) {
        self.given = 0;
    }

    /// Appends all that was read ahead, framed; it ends the body if there is no more.
    pub(super) fn put_ahead(&mut self, out: &mut Vec<u8>) {
        while self.put_block(out) {}
    }

    /// Appends the next block of what was read ahead, framed. False: all of it has been handed out.
    fn put_block(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((block, is_last)) = self.ahead.get(self.given) else { return false };
        frame::put(out, Tag::Body, is_last && self.body.is_none(), block);
        self.given += 1;
        true
    }

    /// There is more to hand out.
    pub(super) fn has_more(&self) -> bool {
        self.body.is_some() || self.ahead.get(self.given).is_some()
    }

    /// There is more to read from the client.
    pub(super) fn is_unread(&self) -> bool {
        self.body.is_some()
    }

    /// Appends the next piece of the body, framed. False: the client has not sent it yet.
    pub(super) fn put_next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.put_block(out) {
            return true;
        }
        let Some(body) = &mut self.body else { return true };
        let at = frame::open(out, Tag::Body, false);
        match body.read_now(out, PIECE) {
            Ok(true) => {
                // A piece is far below the limit of a frame.
                let _ = frame::close(out, at);
                out[at + 1] = if body.ended() { frame::LAST } else { 0 };
                if body.ended() {
                    self.body = None;
                }
                self.beyond = true;
                true
            }
            Ok(false) => {
                out.truncate(at);
                false
            }
            Err(error) => {
                out.truncate(at);
                self.abort(error, out);
                true
            }
        }
    }

    /// Ends the body because the client failed, and tells the process so.
    fn abort(&mut self, error: BodyError, out: &mut Vec<u8>) {
        self.body = None;
        // Nothing may follow.
        self.given = usize::MAX;
        self.beyond = true;
        self.failed = Some(error);
        frame::put(out, Tag::BodyAborted, true, &[failure_of(error) as u8]);
    }

    /// The client has sent nothing for httpd's `Timeout`.
    pub(super) fn time_out(&mut self, out: &mut Vec<u8>) {
        self.abort(BodyError::TimedOut, out);
    }

    /// Reads and drops the rest of the body, before an HTTP/2 request ends. mod_http2 resets a stream whose body nobody
    /// has read, and clients then drop the response.
    pub(super) fn end_stream(&mut self) {
        if let Some(body) = self.body.as_mut().filter(|_| self.request.is_stream()) {
            // A failure of the client does not matter any more: its response is decided.
            let _ = body.discard();
            self.body = None;
        }
    }

    /// The status for a client that failed while it sent the body.
    pub(super) fn failed_status(&self) -> Option<i32> {
        self.failed.map(|error| status_of(self.request, error))
    }

    /// The body has been handed out to its end.
    pub(super) fn is_clean(&self) -> bool {
        self.body.is_none() && self.failed.is_none()
    }
}

fn failure_of(error: BodyError) -> InputFailure {
    match error {
        BodyError::Gone => InputFailure::Gone,
        BodyError::TimedOut => InputFailure::TimedOut,
        BodyError::Refused(_) => InputFailure::Refused,
    }
}

/// Logs why the body failed. Returns the status that the client gets, if it is still there.
fn status_of(request: Request<'_>, error: BodyError) -> i32 {
    let status = match error {
        BodyError::Gone => 400,
        BodyError::TimedOut => 408,
        BodyError::Refused(status) => status,
    };
    request.log(Level::Info, &format!("{}; status {status}", error.text()));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_buffer_takes_waits_for_the_application() {
        let all = |waits, buffer| {
            [BodyLength::Empty, BodyLength::Exactly(100), BodyLength::Exactly(101), BodyLength::Chunked]
                .map(|length| comes_on_read(length, waits, buffer))
        };
        assert_eq!(all(true, 100), [false, false, true, false]);
        assert_eq!(all(true, 0), [false, true, true, true]);
        assert_eq!(all(false, 0), [false; 4]);
    }

    #[test]
    fn a_small_send_buffer_splits_messages_earlier() {
        assert_eq!([0, 512, 4096, 1 << 20].map(one_message), [16 << 10, 256, 3840, 16 << 10]);
    }
}
