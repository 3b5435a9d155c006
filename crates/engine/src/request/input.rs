//! `wsgi.input`: the request's body as a file-like object.
//!
//! Waiting happens without the GIL. Content-Length only says how much memory to reserve: the end is where the
//! host says it is (`wsgi.input_terminated`); a filter may make the body longer or shorter.

use wsgi_wire::frame::InputFailure;

use crate::python::py::{Gil, Kind, Owned, Res};
use crate::request::host::Body;

/// How much is asked of the host at a time when lines are read.
const BLOCK: usize = 64 << 10;
/// How much memory is reserved because a client announced a length.
const MAX_RESERVED: u64 = 1 << 30;

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

    /// Fills `buf` unless the body ends before; how much there was.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, InputFailure> {
        let mut filled = self.waiting().len().min(buf.len());
        buf[..filled].copy_from_slice(&self.buffered[self.at..self.at + filled]);
        self.at += filled;
        while filled < buf.len() && !self.ended {
            match self.body.read(&mut buf[filled..])? {
                0 => self.ended = true,
                count => filled += count,
            }
        }
        Ok(filled)
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

    /// How much memory to ask Python for before a read of `limit` bytes; `None`: better to gather first.
    fn goal(&self, limit: Option<usize>) -> Option<usize> {
        let expected = self.expected.filter(|left| *left > 0 && *left <= MAX_RESERVED);
        match (limit, expected) {
            (Some(limit), Some(left)) => Some(limit.min(usize::try_from(left).unwrap_or(limit))),
            (Some(limit), None) => Some(limit).filter(|limit| *limit <= BLOCK),
            (None, left) => left.and_then(|left| usize::try_from(left).ok()),
        }
    }

    /// Fills `memory`, for which [`Input::goal`] gave the size. Returns how much of it was filled, and how much of the
    /// buffer comes behind it if there is more than was expected.
    fn fill_and_gather(&mut self, memory: &mut [u8], limit: Option<usize>) -> Result<(usize, usize), InputFailure> {
        let filled = self.fill(memory)?;
        let left = limit.unwrap_or(usize::MAX) - filled;
        if filled < memory.len() || left == 0 || self.is_at_end()? {
            return Ok((filled, 0));
        }
        Ok((filled, self.gather(left)?))
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

    /// Everything up to the end or `limit` bytes into the buffer; how much of the buffer it is.
    fn gather(&mut self, limit: usize) -> Result<usize, InputFailure> {
        while self.waiting().len() < limit && self.more()? {}
        Ok(self.waiting().len().min(limit))
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
    fn wait<T>(&mut self, gil: Gil, body: impl FnOnce(&mut Self) -> Result<T, InputFailure>) -> Res<T> {
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
        if limit == Some(0) {
            return gil.bytes(b"");
        }
        let Some(goal) = self.goal(limit) else {
            let count = self.wait(gil, |input| input.gather(limit.unwrap_or(usize::MAX)))?;
            return self.take(gil, count);
        };
        let (bytes, memory) = gil.bytes_to_fill(goal)?;
        let (filled, more) = self.wait(gil, |input| input.fill_and_gather(memory, limit))?;
        self.count(filled);
        if more > 0 {
            let all = [&memory[..filled], &self.waiting()[..more]].concat();
            self.at += more;
            return gil.bytes(&all);
        }
        if filled == goal { Ok(bytes) } else { gil.bytes(&memory[..filled]) }
    }

    /// A line, or at most `limit` bytes of it; empty at the end.
    pub fn line(&mut self, gil: Gil, limit: Option<usize>) -> Res<Owned> {
        let count = self.wait(gil, |input| input.find_line(limit.unwrap_or(usize::MAX)))?;
        self.take(gil, count)
    }
}

#[cfg(test)]
mod tests {
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
        /// As `read` and `line`, which make Python's objects of it.
        fn call(&mut self, call: Call) -> Vec<u8> {
            let count = match call {
                Call::Read(Some(0)) => return Vec::new(),
                Call::Read(limit) => match self.goal(limit) {
                    None => self.gather(limit.unwrap_or(usize::MAX)).expect("no failure"),
                    Some(goal) => {
                        let mut memory = vec![0; goal];
                        let (filled, more) = self.fill_and_gather(&mut memory, limit).expect("no failure");
                        self.count(filled);
                        memory.truncate(filled);
                        memory.extend_from_slice(&self.waiting()[..more]);
                        self.at += more;
                        return memory;
                    }
                },
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

    #[test]
    fn filling_takes_what_is_buffered_first() {
        let mut body = Pieces(vec![b"a\nbc", b"def"]);
        let mut input = Input::new(&mut body);
        let count = input.find_line(usize::MAX).expect("no failure");
        input.at += count;
        let mut buf = [0; 10];
        assert_eq!(input.fill(&mut buf), Ok(5));
        assert_eq!(&buf[..5], b"bcdef");
    }
}
