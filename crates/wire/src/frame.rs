//! Frames on a connection between an httpd child and a daemon process.
//!
//! A frame is an eight-byte header (tag, flags, two zero bytes, payload length) and a payload. On a
//! connection one exchange runs at a time:
//!
//! ```text
//! child:   [Hello]  Request  Body* (the last one, or the Request itself, carries LAST) | BodyAborted
//! daemon:  Log*  Stale | Continue?  Head  Data*  (the last one, or Head itself, carries LAST) | File | Shared | Answer | Failed
//! ```
//!
//! `Hello` opens a connection, once. Beside its first byte travels the descriptor of the connection's area: memory that
//! the child made, which cannot become smaller, and to which the daemon process may write between `Request` and `Shared`.
//! After LAST (or `Failed`, `Stale`) the child ends the body if it has not done so; the daemon process discards what is left of it, and the next exchange may begin.

use crate::MAX_PAYLOAD;
use crate::bytes::DecodeError;

/// Size of a frame's header, in bytes.
pub const HEADER: usize = 8;

/// Flag: nothing follows this frame in its direction of the exchange.
pub const LAST: u8 = 1;

/// Flag of Head: body and end follow at once, and are to be passed to the client together with the head. (What httpd
/// makes of a response may depend on whether it sees all of it: Content-Length, ranges.)
pub const WHOLE: u8 = 2;

/// What a frame is. The numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// Child: first frame of a connection; payload is [`crate::PROTOCOL`] as four bytes.
    Hello = 1,
    /// Child: head of a request, [`crate::request`]. With LAST the request has no body.
    Request = 2,
    /// Child: bytes of the request's body.
    Body = 3,
    /// Child: the client failed while it sent the body; payload is one byte, [`InputFailure`]. Ends the body.
    BodyAborted = 4,
    /// Daemon: status and headers, [`crate::response`]. With LAST the response has no body.
    Head = 16,
    /// Daemon: bytes of the response's body.
    Data = 17,
    /// Daemon: the rest of the body is a part of the regular file whose descriptor travels beside this frame's
    /// first byte; payload is [`crate::response::FilePart`]. Ends the response.
    File = 18,
    /// Daemon: the rest of the body is in the connection's area; payload is [`crate::response::FilePart`]. Ends the response.
    Shared = 23,
    /// Daemon: a record for the error log, [`crate::response::LogRecord`]. May come at any time in an exchange.
    Log = 19,
    /// Daemon: the exchange failed; payload is [`crate::response::Failure`]. Ends the exchange.
    Failed = 20,
    /// Daemon: the script has changed since this process loaded it; nothing of the request was
    /// executed, and another process must take it. Ends the exchange.
    Stale = 21,
    /// Daemon: answer to a request with the `confirm` flag: it will be executed, send the body. With the `on read` flag: the
    /// application reads the body.
    Continue = 22,
    /// Daemon: what a script decided, [`crate::decision::Answer`]; in place of a response to a request with the flag
    /// DECIDE, and to no other. Ends the exchange.
    Answer = 24,
}

impl Tag {
    /// The tag with this number.
    pub fn from_byte(byte: u8) -> Option<Tag> {
        Some(match byte {
            1 => Tag::Hello,
            2 => Tag::Request,
            3 => Tag::Body,
            4 => Tag::BodyAborted,
            16 => Tag::Head,
            17 => Tag::Data,
            18 => Tag::File,
            19 => Tag::Log,
            20 => Tag::Failed,
            21 => Tag::Stale,
            22 => Tag::Continue,
            23 => Tag::Shared,
            24 => Tag::Answer,
            _ => return None,
        })
    }
}

/// Payload of [`Tag::Hello`]: the version, big-endian, and 1 where an area travels with it. A process that has not got
/// the area then executes nothing, so what it counts there is all that it has begun.
pub fn hello(version: u32, has_area: bool) -> [u8; 5] {
    let [a, b, c, d] = version.to_be_bytes();
    [a, b, c, d, has_area.into()]
}

/// Why a child could not read the request's body to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum InputFailure {
    /// The client closed the connection.
    Gone = 1,
    /// The client sent nothing for httpd's `Timeout`.
    TimedOut = 2,
    /// httpd refused the body (too large, malformed chunk, a filter's error).
    Refused = 3,
}

impl InputFailure {
    /// The failure with this number; an unknown one counts as [`InputFailure::Gone`].
    pub fn from_byte(byte: u8) -> InputFailure {
        match byte {
            2 => InputFailure::TimedOut,
            3 => InputFailure::Refused,
            _ => InputFailure::Gone,
        }
    }
}

/// A decoded header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub tag: Tag,
    /// Whether it ends its direction of the exchange.
    pub last: bool,
    /// [`WHOLE`].
    pub whole: bool,
    /// Length of the payload that follows, in bytes; at most [`MAX_PAYLOAD`].
    pub len: usize,
}

/// The header's eight bytes for a payload of `len` bytes.
///
/// # Panics
/// When `len` is over [`MAX_PAYLOAD`]; callers split or refuse earlier.
pub fn header(tag: Tag, last: bool, len: usize) -> [u8; HEADER] {
    assert!(len <= MAX_PAYLOAD, "payload of {len} bytes");
    let [a, b, c, d] = u32::try_from(len).unwrap_or(0).to_be_bytes();
    [tag as u8, if last { LAST } else { 0 }, 0, 0, a, b, c, d]
}

/// Appends a whole frame to `out`.
pub fn put(out: &mut Vec<u8>, tag: Tag, last: bool, payload: &[u8]) {
    out.extend_from_slice(&header(tag, last, payload.len()));
    out.extend_from_slice(payload);
}

/// Starts a frame whose payload is appended to `out` next; close it with [`close`].
/// Returns the offset of its header.
pub fn open(out: &mut Vec<u8>, tag: Tag, last: bool) -> usize {
    let at = out.len();
    out.extend_from_slice(&header(tag, last, 0));
    at
}

/// Writes the length into the header at `at`, made by [`open`].
///
/// # Errors
/// [`DecodeError::TooLong`] when the payload is over [`MAX_PAYLOAD`].
pub fn close(out: &mut [u8], at: usize) -> Result<(), DecodeError> {
    let len = out.len() - at - HEADER;
    if len > MAX_PAYLOAD {
        return Err(DecodeError::TooLong(len));
    }
    let bytes = u32::try_from(len).unwrap_or(0).to_be_bytes();
    out[at + 4..at + HEADER].copy_from_slice(&bytes);
    Ok(())
}

/// Reads a header from the front of `bytes`; `None` when fewer than [`HEADER`] bytes are there.
///
/// # Errors
/// An unknown tag or flag, or a length over [`MAX_PAYLOAD`]: the connection is of no more use.
pub fn decode(bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
    let Some(head) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let tag = Tag::from_byte(head[0]).ok_or(DecodeError::UnknownTag(head[0]))?;
    if head[1] & !(LAST | WHOLE) != 0 || head[2] != 0 || head[3] != 0 {
        return Err(DecodeError::Invalid("flags"));
    }
    let len = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if len > MAX_PAYLOAD {
        return Err(DecodeError::TooLong(len));
    }
    Ok(Some(Header { tag, last: head[1] & LAST != 0, whole: head[1] & WHOLE != 0, len }))
}

/// A frame at the front of some bytes: header, payload, and how many bytes both take.
pub type Whole<'a> = (Header, &'a [u8], usize);

/// Splits one whole frame off the front of `bytes`.
/// `None` when the frame is not yet complete.
///
/// # Errors
/// As [`decode`].
pub fn split(bytes: &[u8]) -> Result<Option<Whole<'_>>, DecodeError> {
    let Some(header) = decode(bytes)? else { return Ok(None) };
    let end = HEADER + header.len;
    Ok(bytes.get(HEADER..end).map(|payload| (header, payload, end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAGS: [Tag; 13] = [
        Tag::Shared,
        Tag::Answer,
        Tag::Hello,
        Tag::Request,
        Tag::Body,
        Tag::BodyAborted,
        Tag::Head,
        Tag::Data,
        Tag::File,
        Tag::Log,
        Tag::Failed,
        Tag::Stale,
        Tag::Continue,
    ];

    #[test]
    fn a_length_over_the_limit_is_refused_from_its_header() {
        let mut bytes = header(Tag::Data, false, 0);
        bytes[4..].copy_from_slice(&0xffff_ffff_u32.to_be_bytes());
        assert_eq!(split(&bytes), Err(DecodeError::TooLong(0xffff_ffff)));
    }

    #[test]
    fn every_other_first_byte_is_an_unknown_tag() {
        let known: Vec<u8> = TAGS.iter().map(|tag| *tag as u8).collect();
        for byte in (0..=255).filter(|byte| !known.contains(byte)) {
            assert_eq!(decode(&[byte, 0, 0, 0, 0, 0, 0, 0]), Err(DecodeError::UnknownTag(byte)));
        }
    }

    #[test]
    fn an_opened_frame_gets_its_length_when_closed() {
        let mut out = b"before".to_vec();
        let at = open(&mut out, Tag::Head, true);
        out.extend_from_slice(b"payload");
        close(&mut out, at).expect("short");
        let (header, payload, used) = split(&out[6..]).expect("valid").expect("complete");
        assert_eq!((header.tag, header.last, payload, used), (Tag::Head, true, &b"payload"[..], 15));
    }

    proptest! {
        #[test]
        fn frames_round_trip_and_every_cut_is_incomplete(which in 0..TAGS.len(), last: bool, payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            put(&mut out, TAGS[which], last, &payload);
            for cut in 0..out.len() {
                prop_assert_eq!(split(&out[..cut]), Ok(None));
            }
            let (header, got, used) = split(&out).unwrap().unwrap();
            prop_assert_eq!((header.tag, header.last, got, used), (TAGS[which], last, &payload[..], out.len()));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = split(&bytes);
        }
    }
}
