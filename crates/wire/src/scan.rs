//! Follows the frames of a response without looking into them, to see where it ends. The child does so with what it
//! has not taken yet.

use crate::bytes::DecodeError;
use crate::frame::{self, HEADER, Tag};

/// Where in the frames of an exchange the bytes are that come next.
#[derive(Debug, Default, Clone)]
pub struct Scan {
    /// Of a header, what is here.
    head: [u8; HEADER],
    have: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
    /// Nothing follows that payload.
    last: bool,
    ended: bool,
}

impl Scan {
    /// Inside of a payload of which `left` bytes are to come; `last`: they end the exchange.
    pub fn within(left: usize, last: bool) -> Scan {
        Scan { left, last, ended: left == 0 && last, ..Scan::default() }
    }

    /// The exchange has ended with the bytes seen.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are no frames, or something follows the end.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            if self.ended {
                return Err(DecodeError::Trailing(bytes.len()));
            }
            let part = if self.left > 0 {
                let part = self.left.min(bytes.len());
                self.left -= part;
                part
            } else {
                self.feed_head(bytes)?
            };
            bytes = &bytes[part..];
            self.ended = self.left == 0 && self.last && self.have == 0;
        }
        Ok(())
    }

    fn feed_head(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let part = (HEADER - self.have).min(bytes.len());
        self.head[self.have..self.have + part].copy_from_slice(&bytes[..part]);
        self.have += part;
        if let Some(header) = frame::decode(&self.head[..self.have])? {
            self.have = 0;
            self.left = header.len;
            if header.last && !matches!(header.tag, Tag::Head | Tag::Data | Tag::File | Tag::Shared) {
                return Err(DecodeError::Invalid("flags"));
            }
            self.last =
                header.last || matches!(header.tag, Tag::File | Tag::Shared | Tag::Failed | Tag::Stale | Tag::Answer);
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(last: Tag) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, Tag::Log, false, b"\x03line");
        frame::put(&mut bytes, Tag::Head, false, b"head");
        frame::put(&mut bytes, Tag::Data, false, &[b'x'; 300]);
        frame::put(&mut bytes, last, last == Tag::Data, b"");
        bytes
    }

    #[test]
    fn the_end_is_found_however_the_bytes_come() {
        for tag in [Tag::Data, Tag::Failed, Tag::Stale, Tag::Answer] {
            let bytes = response(tag);
            for size in 1..bytes.len() {
                let mut scan = Scan::default();
                for (at, part) in bytes.chunks(size).enumerate() {
                    assert!(!scan.ended(), "{tag:?}: part {at} of {size}");
                    scan.feed(part).expect("frames");
                }
                assert!(scan.ended());
                assert!(scan.feed(b"x").is_err());
            }
        }
    }

    #[test]
    fn it_may_begin_inside_of_a_payload() {
        let mut scan = Scan::within(3, false);
        scan.feed(b"abc").expect("payload");
        scan.feed(&response(Tag::Data)).expect("frames");
        assert!(scan.ended());
        let mut last = Scan::within(3, true);
        last.feed(b"ab").expect("payload");
        assert!(!last.ended());
        last.feed(b"c").expect("payload");
        assert!(last.ended() && Scan::within(0, true).ended());
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Scan::default().feed(&[99; 20]).is_err());
    }
}
