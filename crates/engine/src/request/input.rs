//! `wsgi.input`: the request's body as a file-like object.
//!
//! Waiting happens without the GIL. Content-Length only says how much memory may be worth reserving: the end is where the
//! host says it is (`wsgi.input_terminated`); a filter may make the body longer or shorter. Memory grows with what arrives.

use wsgi_wire::frame::InputFailure;

use crate::python::growing::{Filling, Growing, copy};
use crate::python::py::{Gil, Kind, Owned, Res};
use crate::request::host::Body;

/// How much is asked of the host at a time when lines are read.
const BLOCK: usize = 64 << 10;
/// How much memory is reserved because a client announced a length, or the application asked for so much, bytes.
const MAX_RESERVED: usize = 1 << 20;
/// As much is reserved to find that a body has ended.
const LITTLE: usize = 256;

/// The request's body as far as it was not read by the application.
pub struct Input<'a> {
    body: &'a mut dyn Body,
    buffered: Vec<u8>,
    at: usize,
    ended: bool,
    failed: bool,
    /// Because of the client, which has left or sends nothing any more.
    pub client_left: bool,
    /// What Content-Length leaves to be read.
    expected: Option<u64>,
}

impl<'a> Input<'a> {
    /// A body of which nothing was read.
    pub fn new(body: &'a mut dyn Body) -> Self {
        Input { body, buffered: Vec::new(), at: 0, ended: false, failed: false, client_left: false, expected: None }
    }

    /// Takes the value of CONTENT_LENGTH.
    pub fn expect(&mut self, length: &[u8]) {
        self.expected = core::str::from_utf8(length).ok().and_then(|text| text.trim().parse().ok());
    }

    fn waiting(&self) -> &[u8] {
        &self.buffered[self.at..]
    }

    /// Fills `memory` unless the body ends before.
    fn fill(&mut self, memory: &mut Filling<'_>) -> Result<(), InputFailure> {
        while !memory.is_full() {
            if !self.waiting().is_empty() {
                let waiting = &self.buffered[self.at..];
                self.at += memory.write(|part| Ok(copy(waiting, part)))?;
            } else if self.ended || memory.write(|part| self.body.read(part))? == 0 {
                self.ended = true;
                break;
            }
        }
        Ok(())
    }

    /// Whether nothing is left. Waits for a byte, with little memory: mostly this is the end.
    fn is_at_end(&mut self) -> Result<bool, InputFailure> {
        if self.waiting().is_empty() && !self.ended {
            let mut some = [0; 256];
            let count = self.body.read(&mut some)?;
            self.ended = count == 0;
            self.buffered.clear();
            self.at = 0;
            self.buffered.extend_from_slice(&some[..count]);
        }
        Ok(self.waiting().is_empty())
    }

    /// As [`Input::fill`]. Whether more memory is needed: `memory` is full, is not to be the last, and there is more.
    fn fill_on(&mut self, memory: &mut Filling<'_>, is_last: bool) -> Result<bool, InputFailure> {
        self.fill(memory)?;
        Ok(memory.is_full() && !is_last && !self.is_at_end()?)
    }

    /// How much memory to reserve when `len` bytes of at most `most` are there.
    fn room(&self, len: usize, most: usize) -> usize {
        let first = match self.expected {
            Some(0) => LITTLE,
            Some(_) => MAX_RESERVED,
            None => BLOCK,
        };
        let expected = self.expected.and_then(|left| usize::try_from(left).ok());
        // A body that goes on behind its announced end is taken as it comes.
        let enough = expected.filter(|expected| *expected > len).unwrap_or(usize::MAX).min(most);
        first.max(len.saturating_mul(2)).min(enough)
    }

    /// Reads on into the buffer; false at the end.
    fn more(&mut self) -> Result<bool, InputFailure> {
        if self.ended {
            return Ok(false);
        }
        if self.at > 0 {
            self.buffered.drain(..self.at);
            self.at = 0;
        }
        let before = self.buffered.len();
        self.buffered.resize(before + BLOCK, 0);
        let count = self.body.read(&mut self.buffered[before..]);
        self.buffered.truncate(before + *count.as_ref().unwrap_or(&0));
        self.ended = count? == 0;
        Ok(!self.ended)
    }

    /// A line of at most `limit` bytes into the buffer; how much of the buffer it is.
    fn find_line(&mut self, limit: usize) -> Result<usize, InputFailure> {
        let mut scanned = 0;
        loop {
            let waiting = self.waiting();
            let part = &waiting[..waiting.len().min(limit)];
            if let Some(end) = part[scanned.min(part.len())..].iter().position(|byte| *byte == b'\n') {
                return Ok(scanned + end + 1);
            }
            scanned = part.len();
            if scanned >= limit || !self.more()? {
                return Ok(scanned);
            }
        }
    }

    /// Takes the first `count` bytes of the buffer.
    fn take(&mut self, gil: Gil, count: usize) -> Res<Owned> {
        let bytes = gil.bytes(&self.buffered[self.at..self.at + count])?;
        self.at += count;
        self.count(count);
        Ok(bytes)
    }

    fn count(&mut self, count: usize) {
        self.expected = self.expected.map(|left| left.saturating_sub(count as u64));
    }

    /// Runs what may wait, and turns its failure into an exception.
    fn wait<T>(&mut self, gil: Gil, body: impl FnOnce(&mut Self) -> Result<T, InputFailure> + Send) -> Res<T> {
        const WHAT: &str = "mod_wsgi request data read error";
        if self.failed {
            return Err(gil.raise(Kind::Os, &format!("{WHAT}: input is already in error state")));
        }
        gil.detach(|| body(self)).map_err(|failure| {
            self.failed = true;
            self.client_left = failure != InputFailure::Refused;
            let cause = match failure {
                InputFailure::Gone => "Connection was terminated",
                InputFailure::TimedOut => "the client sent nothing for the time that Timeout allows",
                InputFailure::Refused => "the request body was refused",
            };
            gil.raise(Kind::Os, &format!("{WHAT}: {cause}"))
        })
    }

    /// Everything, or at most `limit` bytes.
    pub fn read(&mut self, gil: Gil, limit: Option<usize>) -> Res<Owned> {
        let most = limit.unwrap_or(usize::MAX);
        if most == 0 {
            return gil.bytes(b"");
        }
        let mut room = self.room(0, most);
        let mut bytes = Growing::new(gil, room)?;
        loop {
            let mut memory = bytes.memory();
            if !self.wait(gil, |input| input.fill_on(&mut memory, room >= most))? {
                break;
            }
            room = self.room(bytes.len(), most);
            bytes = bytes.grow(gil, room)?;
        }
        self.count(bytes.len());
        bytes.finish(gil)
    }

    /// A line, or at most `limit` bytes of it; empty at the end.
    pub fn line(&mut self, gil: Gil, limit: Option<usize>) -> Res<Owned> {
        let count = self.wait(gil, |input| input.find_line(limit.unwrap_or(usize::MAX)))?;
        self.take(gil, count)
    }
}

#[cfg(test)]
mod tests {
    use core::mem::MaybeUninit;

    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A body in these pieces.
    struct Pieces<'p>(Vec<&'p [u8]>);

    impl Body for Pieces<'_> {
        fn read(&mut self, buf: &mut [u8]) -> Result<usize, InputFailure> {
            let Some(piece) = self.0.first_mut() else { return Ok(0) };
            let (part, rest) = piece.split_at(piece.len().min(buf.len()));
            buf[..part.len()].copy_from_slice(part);
            *piece = rest;
            if rest.is_empty() {
                self.0.remove(0);
            }
            Ok(part.len())
        }
    }

    /// What an application may call.
    #[derive(Debug, Clone, Copy)]
    enum Call {
        Read(Option<usize>),
        Line(Option<usize>),
    }

    impl Input<'_> {
        fn read_to_vec(&mut self, most: usize) -> Vec<u8> {
            let (mut filled, mut ready, mut memory) = (0, 0, Vec::new());
            loop {
                let room = self.room(filled, most);
                assert!(room > filled && room <= most && room <= MAX_RESERVED.max(2 * filled), "{room} after {filled}");
                memory.resize(room, MaybeUninit::uninit());
                let mut filling = Filling::on(&mut memory, &mut filled, &mut ready);
                if !self.fill_on(&mut filling, room >= most).expect("no failure") {
                    break;
                }
            }
            self.count(filled);
            // SAFETY: so much was written.
            memory[..filled].iter().map(|byte| unsafe { byte.assume_init() }).collect()
        }

        /// As `read` and `line`, which make Python's objects of it.
        fn call(&mut self, call: Call) -> Vec<u8> {
            let count = match call {
                Call::Read(Some(0)) => return Vec::new(),
                Call::Read(limit) => return self.read_to_vec(limit.unwrap_or(usize::MAX)),
                Call::Line(limit) => self.find_line(limit.unwrap_or(usize::MAX)).expect("no failure"),
            };
            let taken = self.waiting()[..count].to_vec();
            self.at += count;
            self.count(count);
            taken
        }
    }

    /// What a call gives when the whole body is at hand.
    fn expected<'b>(rest: &mut &'b [u8], call: Call) -> &'b [u8] {
        let count = match call {
            Call::Read(limit) => limit.unwrap_or(usize::MAX),
            Call::Line(limit) => {
                let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
                limit.map_or(line, |limit| limit.min(line))
            }
        };
        let (taken, left) = rest.split_at(count.min(rest.len()));
        *rest = left;
        taken
    }

    fn calls() -> impl Strategy<Value = Vec<Call>> {
        let size = || prop_oneof![2 => Just(None), 5 => (0usize..9).prop_map(Some), 1 => Just(Some(BLOCK + 1))];
        let read = prop_oneof![1 => Just(Call::Read(None)), 9 => size().prop_map(Call::Read)];
        vec(prop_oneof![read, size().prop_map(Call::Line)], 0..12)
    }

    proptest! {
        #[test]
        fn calls_give_the_same_however_the_body_is_cut_and_whatever_was_announced(
            body in vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..60),
            cuts in vec(0usize..60, 0..8),
            announced in prop_oneof![Just(None), (0usize..80).prop_map(Some), Just(Some(usize::MAX))],
            is_right: bool,
            calls in calls(),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
            at.extend([0, body.len()]);
            at.sort_unstable();
            let pieces = at.windows(2).map(|cut| &body[cut[0]..cut[1]]).filter(|piece| !piece.is_empty()).collect();
            let mut pieces = Pieces(pieces);
            let mut input = Input::new(&mut pieces);
            if let Some(length) = announced {
                input.expect((if is_right { body.len() } else { length }).to_string().as_bytes());
            }
            let mut rest = &body[..];
            for call in calls {
                let expected = expected(&mut rest, call);
                let got = input.call(call);
                prop_assert_eq!(got, expected, "{:?}", call);
            }
            let left = input.call(Call::Read(None));
            prop_assert_eq!(left, rest);
            prop_assert_eq!(input.call(Call::Line(None)), b"");
        }
    }

    #[test]
    fn a_line_is_found_over_pieces_and_cut_at_the_limit() {
        let mut body = Pieces(vec![b"ab", b"c\nde", b"f"]);
        let mut input = Input::new(&mut body);
        let count = input.find_line(usize::MAX).expect("no failure");
        assert_eq!(&input.waiting()[..count], b"abc\n");
        input.at += count;
        assert_eq!(input.find_line(1), Ok(1));
        input.at += 1;
        let count = input.find_line(usize::MAX).expect("no failure");
        assert_eq!(&input.waiting()[..count], b"ef");
        input.at += count;
        assert_eq!(input.find_line(usize::MAX), Ok(0));
    }

    /// A body without an end.
    struct Endless;

    impl Body for Endless {
        fn read(&mut self, buf: &mut [u8]) -> Result<usize, InputFailure> {
            Ok(buf.len())
        }
    }

    #[test]
    fn memory_grows_with_what_has_arrived_whatever_was_announced_or_asked_for() {
        for (announced, most, sizes) in [
            ("1073741824", usize::MAX, [1 << 20, 2 << 20, 4 << 20]),
            ("1073741824", 1 << 30, [1 << 20, 2 << 20, 4 << 20]),
            ("3000000", usize::MAX, [1 << 20, 2 << 20, 3_000_000]),
            ("1000", usize::MAX, [1000, 1 << 20, 2 << 20]),
            ("", 1 << 30, [BLOCK, 2 * BLOCK, 4 * BLOCK]),
            ("", 100_000, [BLOCK, 100_000, 100_000]),
        ] {
            let mut body = Endless;
            let mut input = Input::new(&mut body);
            input.expect(announced.as_bytes());
            let (mut len, mut found) = (0, Vec::new());
            for _ in sizes {
                len = input.room(len, most);
                found.push(len);
            }
            assert_eq!(found, sizes, "{announced:?} {most}");
        }
    }

    #[test]
    fn filling_takes_what_is_buffered_first() {
        let mut body = Pieces(vec![b"a\nbc", b"def"]);
        let mut input = Input::new(&mut body);
        let count = input.find_line(usize::MAX).expect("no failure");
        input.at += count;
        assert_eq!(input.read_to_vec(10), b"bcdef");
    }
}
