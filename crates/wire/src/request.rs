//! Payload of [`crate::frame::Tag::Request`]: which application, and the packed environ.
//!
//! The same bytes serve both modes: in daemon mode they travel in a frame, in embedded mode the child
//! passes them to the engine in memory. Layout: flags, log level, then fixed numbers, then three strings,
//! then the number of variables and the variables. A variable's key is two bytes: with the top bit a
//! number of [`crate::keys`], without it the length of the name that follows; all other bits set: a name with a
//! four-byte length follows. Its value has a four-byte length.

use crate::bytes::{DecodeError, Reader, put_long, put_short};
use crate::keys;

/// Key bit that says "the other bits are a number of [`crate::keys`]".
const NUMBERED: u16 = 0x8000;

/// Key that says "the name's length takes four bytes".
const LONG_NAME: u16 = 0x7fff;

/// WSGIScriptReloading is on: compare the script's modification time first.
pub const RELOAD: u8 = 1;
/// Answer Continue or Stale before the body is sent.
pub const CONFIRM: u8 = 2;
/// The main interpreter is to be used, whatever the application group is called: the script is alone
/// in its process by configuration.
pub const MAIN: u8 = 4;
/// WSGIPassApacheRequest is on: `apache.request_rec` is wanted (embedded mode).
pub const PASS_RECORD: u8 = 8;
/// WSGIIgnoreActivity is on: the request does not count as activity for inactivity-timeout.
pub const IGNORE_ACTIVITY: u8 = 16;
/// The script decides something and serves nothing: a question stands behind the variables ([`crate::decision`]).
pub const DECIDE: u8 = 64;

/// With [`CONFIRM`]: the client waits for `100 Continue`. Answer Continue when the application begins to read the body, and
/// not at all if the response begins before that.
pub const ON_READ: u8 = 32;

/// What stands before the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// RELOAD, CONFIRM, MAIN, PASS_RECORD, IGNORE_ACTIVITY, ON_READ, DECIDE.
    pub flags: u8,
    /// APLOG level of the request: lines above it are not written, so they need not be sent.
    pub log_level: u8,
    /// Modification time of the script as httpd saw it, microseconds since the epoch; 0 when unknown.
    pub mtime_us: i64,
    /// When httpd received the request, microseconds since the epoch.
    pub request_start_us: i64,
    /// When the child began to look for a process, microseconds since the epoch; 0 in embedded mode.
    pub queue_start_us: i64,
    /// File that holds the application.
    pub script: &'a [u8],
    /// Name of the callable in it.
    pub callable: &'a [u8],
    /// Application group; empty is the main interpreter.
    pub application_group: &'a [u8],
}

/// Appends a request's payload: the head, then each variable by [`Encoder::put`].
#[derive(Debug)]
pub struct Encoder<'o> {
    out: &'o mut Vec<u8>,
    count_at: usize,
    count: u32,
}

impl<'o> Encoder<'o> {
    /// Writes the head.
    pub fn new(out: &'o mut Vec<u8>, head: &Head<'_>) -> Self {
        out.extend_from_slice(&[head.flags, head.log_level]);
        for number in [head.mtime_us, head.request_start_us, head.queue_start_us] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for text in [head.script, head.callable, head.application_group] {
            put_long(out, text);
        }
        let count_at = out.len();
        out.extend_from_slice(&[0; 4]);
        Encoder { out, count_at, count: 0 }
    }

    /// Appends one variable. One without a name is left out.
    pub fn put(&mut self, name: &[u8], value: &[u8]) {
        if name.is_empty() {
            return;
        }
        match keys::number(name) {
            Some(number) => self.out.extend_from_slice(&(NUMBERED | number).to_be_bytes()),
            None if name.len() < usize::from(LONG_NAME) => put_short(self.out, name),
            None => {
                self.out.extend_from_slice(&LONG_NAME.to_be_bytes());
                put_long(self.out, name);
            }
        }
        put_long(self.out, value);
        self.count += 1;
    }

    /// Writes the number of variables.
    pub fn finish(self) {
        self.out[self.count_at..self.count_at + 4].copy_from_slice(&self.count.to_be_bytes());
    }
}

/// A variable's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// A number of [`crate::keys::KNOWN`], in range.
    Known(u16),
    /// Any other name.
    Text(&'a [u8]),
}

impl<'a> Key<'a> {
    /// The name's bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Key::Known(number) => keys::name(number).unwrap_or_default().as_bytes(),
            Key::Text(text) => text,
        }
    }
}

/// The variables of a request, in the order in which they were put.
#[derive(Debug, Clone)]
pub struct Variables<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Variables<'a> {
    fn read(&mut self) -> Result<(Key<'a>, &'a [u8]), DecodeError> {
        let key = self.reader.u16()?;
        let key = if key == LONG_NAME {
            Key::Text(self.reader.long()?)
        } else if key & NUMBERED == 0 {
            Key::Text(self.reader.take(usize::from(key))?)
        } else {
            let number = key & !NUMBERED;
            keys::name(number).ok_or(DecodeError::Invalid("variable number"))?;
            Key::Known(number)
        };
        Ok((key, self.reader.long()?))
    }
}

impl<'a> Iterator for Variables<'a> {
    type Item = Result<(Key<'a>, &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let item = self.read();
        if item.is_err() {
            self.left = 0;
        }
        Some(item)
    }
}

/// Reads a request's payload.
///
/// # Errors
/// When the head does not fit; errors in the variables come from the iterator.
pub fn decode(payload: &[u8]) -> Result<(Head<'_>, Variables<'_>), DecodeError> {
    let mut reader = Reader::new(payload);
    let head = Head {
        flags: reader.u8()?,
        log_level: reader.u8()?,
        mtime_us: reader.i64()?,
        request_start_us: reader.i64()?,
        queue_start_us: reader.i64()?,
        script: reader.long()?,
        callable: reader.long()?,
        application_group: reader.long()?,
    };
    let left = reader.u32()?;
    Ok((head, Variables { reader, left }))
}

/// A reader of what stands behind the variables of a request's payload.
///
/// # Errors
/// When head or variables do not fit.
pub(crate) fn behind_variables(payload: &[u8]) -> Result<Reader<'_>, DecodeError> {
    let (_, mut variables) = decode(payload)?;
    variables.by_ref().try_for_each(|variable| variable.map(drop))?;
    Ok(variables.reader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(variables: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let head = Head {
            flags: RELOAD,
            log_level: 7,
            mtime_us: -1,
            request_start_us: 2,
            queue_start_us: 3,
            script: b"/srv/app.wsgi",
            callable: b"application",
            application_group: b"",
        };
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, &head);
        for (name, value) in variables {
            encoder.put(name, value);
        }
        encoder.finish();
        out
    }

    #[test]
    fn known_and_other_names_come_back() {
        let given = [(b"PATH_INFO".to_vec(), b"/x".to_vec()), (b"HTTP_X_OTHER".to_vec(), vec![0xff])];
        let bytes = encode(&given);
        let (head, variables) = decode(&bytes).expect("head");
        assert_eq!((head.flags, head.log_level, head.mtime_us), (RELOAD, 7, -1));
        assert_eq!(head.script, b"/srv/app.wsgi");
        let got: Vec<_> = variables.map(|item| item.expect("variable")).collect();
        assert!(matches!(got[0].0, Key::Known(_)));
        assert_eq!((got[0].0.bytes(), got[0].1), (&b"PATH_INFO"[..], &b"/x"[..]));
        assert_eq!(got[1], (Key::Text(b"HTTP_X_OTHER"), &[0xff][..]));
    }

    #[test]
    fn no_variable_is_left_out_for_its_name_or_number() {
        let lengths = [1, 0x7ffe, 0x7fff, 0x8000, 70_000];
        let mut given: Vec<_> = lengths.map(|length| (vec![b'N'; length], b"v".to_vec())).into();
        given.extend((0..70_000).map(|number| (format!("HTTP_X_{number}").into_bytes(), Vec::new())));
        let bytes = encode(&given);
        let got: Vec<_> = decode(&bytes).expect("head").1.map(|item| item.expect("variable")).collect();
        assert!(got.iter().map(|(key, value)| (key.bytes(), *value)).eq(given.iter().map(|(n, v)| (&n[..], &v[..]))));
    }

    proptest! {
        #[test]
        fn cut_anywhere_is_an_error_and_never_a_panic(
            variables in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..40), proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        ) {
            let bytes = encode(&variables);
            let all: Vec<_> = decode(&bytes).unwrap().1.collect::<Result<Vec<_>, _>>().unwrap();
            prop_assert_eq!(all.len(), variables.len());
            for (item, (name, value)) in all.iter().zip(&variables) {
                prop_assert_eq!((item.0.bytes(), item.1), (&name[..], &value[..]));
            }
            for cut in 0..bytes.len() {
                if let Ok((_, items)) = decode(&bytes[..cut]) {
                    prop_assert!(items.collect::<Result<Vec<_>, _>>().is_err());
                }
            }
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((_, items)) = decode(&bytes) {
                let _ = items.count();
            }
        }
    }
}
