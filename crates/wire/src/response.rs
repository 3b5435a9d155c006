//! Payloads that a daemon process sends: status and headers, log lines, failures.

use crate::bytes::{DecodeError, Reader, put_long, put_short};

/// Appends the payload of [`crate::frame::Tag::Head`]: status code, reason (may be empty: httpd's own
/// is used), then each header by [`HeadEncoder::put`].
#[derive(Debug)]
pub struct HeadEncoder<'o> {
    out: &'o mut Vec<u8>,
    count_at: usize,
    count: u32,
}

impl<'o> HeadEncoder<'o> {
    /// Writes the status.
    pub fn new(out: &'o mut Vec<u8>, status: u16, reason: &[u8]) -> Self {
        out.extend_from_slice(&status.to_be_bytes());
        put_short(out, reason);
        let count_at = out.len();
        out.extend_from_slice(&[0; 4]);
        HeadEncoder { out, count_at, count: 0 }
    }

    /// Appends one header.
    pub fn put(&mut self, name: &[u8], value: &[u8]) {
        put_short(self.out, name);
        put_long(self.out, value);
        self.count = self.count.saturating_add(1);
    }

    /// Writes the number of headers.
    pub fn finish(self) {
        self.out[self.count_at..self.count_at + 4].copy_from_slice(&self.count.to_be_bytes());
    }
}

/// Status and headers as received.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// Three digits.
    pub status: u16,
    /// Reason phrase; empty: httpd's own.
    pub reason: &'a [u8],
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Head<'a> {
    /// Reads a head's payload and checks all of it, so that [`Head::headers`] cannot fail: a child does
    /// not trust a daemon process to have left out CR, LF and NUL.
    ///
    /// # Errors
    /// When the bytes do not fit, the status is not in 200..=999 (an interim one is no answer, and what follows it
    /// would pass for one), or a header could split the response.
    pub fn decode(payload: &'a [u8]) -> Result<Head<'a>, DecodeError> {
        let mut reader = Reader::new(payload);
        let status = reader.u16()?;
        let reason = reader.short()?;
        let left = reader.u32()?;
        if !(200..=999).contains(&status) {
            return Err(DecodeError::Invalid("status"));
        }
        if !safe(reason) {
            return Err(DecodeError::Invalid("reason"));
        }
        let head = Head { status, reason, reader, left };
        let mut rest = reader;
        for _ in 0..left {
            let name = rest.short()?;
            if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
                return Err(DecodeError::Invalid("header name"));
            }
            if !safe(rest.long()?) {
                return Err(DecodeError::Invalid("header value"));
            }
        }
        rest.finish()?;
        Ok(head)
    }

    /// Name and value of each header, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut reader = self.reader;
        (0..self.left).map_while(move |_| Some((reader.short().ok()?, reader.long().ok()?)))
    }
}

/// No byte of `text` can end a header line early.
fn safe(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// RFC 9110, 5.6.2: the characters of a header's name.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Payload of [`crate::frame::Tag::Log`]: httpd's level (3 error ... 7 debug), then the text of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// APLOG level, 0..=15.
    pub level: u8,
    /// One line or several, with newlines between them.
    pub text: &'a [u8],
}

impl<'a> LogRecord<'a> {
    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.level);
        out.extend_from_slice(self.text);
    }

    /// Reads the payload. A level out of range becomes 3 (error): no line is lost for it.
    ///
    /// # Errors
    /// When the payload is empty.
    pub fn decode(payload: &'a [u8]) -> Result<LogRecord<'a>, DecodeError> {
        let (level, text) = payload.split_first().ok_or(DecodeError::Short(0))?;
        Ok(LogRecord { level: if *level <= 15 { *level } else { 3 }, text })
    }
}

/// Payload of [`crate::frame::Tag::File`]: which bytes of the file are the rest of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePart {
    /// Of its first byte.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

impl FilePart {
    /// Size of the payload, bytes.
    pub const SIZE: usize = 16;

    /// The payload.
    pub fn encode(self) -> [u8; FilePart::SIZE] {
        let mut out = [0; FilePart::SIZE];
        out[..8].copy_from_slice(&self.offset.to_be_bytes());
        out[8..].copy_from_slice(&self.length.to_be_bytes());
        out
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// When it has another size, or the part ends beyond what an offset can say.
    pub fn decode(payload: &[u8]) -> Result<FilePart, DecodeError> {
        let mut reader = Reader::new(payload);
        let (offset, length) = (reader.i64()?, reader.i64()?);
        reader.finish()?;
        let part = u64::try_from(offset).ok().zip(u64::try_from(length).ok());
        let (offset, length) = part.ok_or(DecodeError::Invalid("part of a file"))?;
        if offset + length > i64::MAX.unsigned_abs() {
            return Err(DecodeError::Invalid("part of a file"));
        }
        Ok(FilePart { offset, length })
    }
}

/// Payload of [`crate::frame::Tag::Failed`], one byte: why there is no (complete) response. What
/// happened has been logged already by Log frames of the same exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Failure {
    /// The application raised, or broke the rules of PEP 3333.
    Application = 1,
    /// The script could not be loaded, or lacks the callable.
    Load = 2,
    /// The request's payload could not be decoded.
    Protocol = 3,
    /// The interpreter of the application group could not be made.
    Interpreter = 4,
    /// The client went away while the application wrote; nothing is wrong with the application.
    ClientGone = 5,
    /// `mod_wsgi.RequestTimeout` ended the request.
    Timeout = 6,
}

impl Failure {
    /// The failure with this number; an unknown one counts as [`Failure::Application`].
    pub fn from_byte(byte: u8) -> Failure {
        match byte {
            2 => Failure::Load,
            3 => Failure::Protocol,
            4 => Failure::Interpreter,
            5 => Failure::ClientGone,
            6 => Failure::Timeout,
            _ => Failure::Application,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(status: u16, reason: &[u8], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = HeadEncoder::new(&mut out, status, reason);
        for (name, value) in headers {
            encoder.put(name, value);
        }
        encoder.finish();
        out
    }

    #[test]
    fn headers_come_back_in_order() {
        let bytes = encode(200, b"OK", &[(b"A", b"1"), (b"Set-Cookie", b"x"), (b"Set-Cookie", b"y")]);
        let head = Head::decode(&bytes).expect("valid");
        assert_eq!((head.status, head.reason), (200, &b"OK"[..]));
        let got: Vec<_> = head.headers().collect();
        assert_eq!(got, [(&b"A"[..], &b"1"[..]), (b"Set-Cookie", b"x"), (b"Set-Cookie", b"y")]);
    }

    #[test]
    fn headers_may_be_many() {
        let bytes = encode(200, b"", &vec![(&b"A"[..], &b"1"[..]); 70_000]);
        assert_eq!(Head::decode(&bytes).expect("valid").headers().count(), 70_000);
    }

    #[test]
    fn what_could_split_the_response_is_refused() {
        type Case<'c> = (u16, &'c [u8], &'c [u8], &'c [u8], &'c str);
        let cases: [Case<'_>; 6] = [
            (99, b"OK", b"A", b"1", "status"),
            (200, b"O\nK", b"A", b"1", "reason"),
            (200, b"OK", b"", b"1", "header name"),
            (200, b"OK", b"A:", b"1", "header name"),
            (200, b"OK", b"A", b"1\r\nB: 2", "header value"),
            (200, b"OK", b"A", b"1\0", "header value"),
        ];
        for (status, reason, name, value, field) in cases {
            let bytes = encode(status, reason, &[(name, value)]);
            assert_eq!(Head::decode(&bytes).err(), Some(DecodeError::Invalid(field)));
        }
    }

    #[test]
    fn cut_anywhere_is_an_error() {
        let bytes = encode(404, b"Not Found", &[(b"A", b"1"), (b"B", b"2")]);
        for cut in 0..bytes.len() {
            assert!(Head::decode(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_part_of_a_file_comes_back_unless_it_lies_beyond_all_files() {
        let part = FilePart { offset: 7, length: 1 << 40 };
        assert_eq!(FilePart::decode(&part.encode()), Ok(part));
        let beyond = FilePart { offset: 1, length: i64::MAX.unsigned_abs() };
        assert!(FilePart::decode(&beyond.encode()).is_err());
        assert!(FilePart::decode(&FilePart { offset: u64::MAX, length: 0 }.encode()).is_err());
        assert!(FilePart::decode(&part.encode()[1..]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(head) = Head::decode(&bytes) {
                let _ = head.headers().count();
            }
            let _ = LogRecord::decode(&bytes);
        }
    }
}
