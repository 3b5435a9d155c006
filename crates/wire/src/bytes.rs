//! A cursor over received bytes, and the matching appenders. Used by every decoder of this crate.

use thiserror::Error;

/// Why bytes do not form the expected value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("message ends after {0} bytes, in the middle of a value")]
    Short(usize),
    /// Bytes are left over after the value.
    #[error("{0} bytes are left over after the message")]
    Trailing(usize),
    /// A tag that this version does not know.
    #[error("unknown tag {0}")]
    UnknownTag(u8),
    /// A length above [`crate::MAX_PAYLOAD`].
    #[error("length {0} is over the limit of {max}", max = crate::MAX_PAYLOAD)]
    TooLong(usize),
    /// A field holds a value that it may not have.
    #[error("field {0} has a value that is not allowed")]
    Invalid(&'static str),
}

/// Reads values from the front of a byte slice.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte of `all`.
    pub fn new(all: &'a [u8]) -> Self {
        Reader { all, at: 0 }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.all.len());
        let end = end.ok_or(DecodeError::Short(self.all.len()))?;
        let part = &self.all[self.at..end];
        self.at = end;
        Ok(part)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        let part = self.take(2)?;
        Ok(u16::from_be_bytes([part[0], part[1]]))
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        let part = self.take(4)?;
        Ok(u32::from_be_bytes([part[0], part[1], part[2], part[3]]))
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.eight().map(u64::from_be_bytes)
    }

    /// The next eight bytes as a number.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.eight().map(i64::from_be_bytes)
    }

    fn eight(&mut self) -> Result<[u8; 8], DecodeError> {
        let mut eight = [0; 8];
        eight.copy_from_slice(self.take(8)?);
        Ok(eight)
    }

    /// Bytes behind a two-byte length.
    pub fn short(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// Bytes behind a four-byte length.
    pub fn long(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        &self.all[self.at..]
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest().len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}

/// Appends `bytes` behind a two-byte length; longer input is cut at 65,535 bytes.
pub fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(len)]);
}

/// Appends `bytes` behind a four-byte length. Frames bound the whole, so no input is near the limit.
pub fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&bytes[..len as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_in_order() {
        let mut out = Vec::new();
        put_short(&mut out, b"ab");
        put_long(&mut out, b"cde");
        let mut reader = Reader::new(&out);
        assert_eq!(reader.short(), Ok(&b"ab"[..]));
        assert_eq!(reader.long(), Ok(&b"cde"[..]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_length_beyond_the_end_is_short() {
        let mut reader = Reader::new(&[0, 9, 1]);
        assert_eq!(reader.short(), Err(DecodeError::Short(3)));
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff]);
        assert_eq!(reader.long(), Err(DecodeError::Short(4)));
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        assert_eq!(Reader::new(b"x").finish(), Err(DecodeError::Trailing(1)));
    }
}
