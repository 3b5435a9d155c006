//! `wsgi.input`: the request's body as a file-like object.
//!
//! Waiting happens without the GIL. Content-Length only says how much to expect: the end is where the
//! host says it is (`wsgi.input_terminated`).

use wsgi_wire::frame::InputFailure;

use crate::exchange::{Body, Exchange};
use crate::py::{Gil, Kind, Owned, Raised, Res};

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
    /// What Content-Length leaves to be read.
    expected: Option<u64>,
}

impl<'a> Input<'a> {
    /// A body of which nothing was read.
    pub fn new(body: &'a mut dyn Body) -> Self {
        Input { body, buffered: Vec::new(), at: 0, ended: false, failed: false, expected: None }
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
            let cause = match failure {
                InputFailure::Gone => "Connection was terminated",
                InputFailure::TimedOut => "the client sent nothing for the time that Timeout allows",
                InputFailure::Refused => "the request body was refused",
            };
            gil.raise(Kind::Os, &format!("{WHAT}: {cause}"))
        })
    }

    fn read(&mut self, gil: Gil, limit: Option<usize>) -> Res<Owned> {
        if limit == Some(0) {
            return gil.bytes(b"");
        }
        let expected = self.expected.filter(|left| *left > 0 && *left <= MAX_RESERVED);
        let goal = match (limit, expected) {
            (Some(limit), Some(left)) => Some(limit.min(usize::try_from(left).unwrap_or(limit))),
            (Some(limit), None) => Some(limit).filter(|limit| *limit <= BLOCK),
            (None, left) => left.and_then(|left| usize::try_from(left).ok()),
        };
        let Some(goal) = goal else {
            let count = self.wait(gil, |input| input.gather(limit.unwrap_or(usize::MAX)))?;
            return self.take(gil, count);
        };
        let (bytes, memory) = gil.bytes_to_fill(goal)?;
        let filled = self.wait(gil, |input| input.fill(memory))?;
        self.count(filled);
        if filled == goal { Ok(bytes) } else { gil.bytes(&memory[..filled]) }
    }

    fn line(&mut self, gil: Gil, limit: Option<usize>) -> Res<Owned> {
        let count = self.wait(gil, |input| input.find_line(limit.unwrap_or(usize::MAX)))?;
        self.take(gil, count)
    }
}

/// The input half, unless another thread reads from it.
fn with_input<T>(exchange: &Exchange<'_>, gil: Gil, body: impl FnOnce(&mut Input<'_>) -> Res<T>) -> Res<T> {
    match exchange.input.try_borrow_mut() {
        Ok(mut input) => body(&mut input),
        Err(_) => Err(gil.raise(Kind::Runtime, "another thread is reading from this wsgi.input")),
    }
}

/// `read(size)`
pub fn read(exchange: &Exchange<'_>, gil: Gil, limit: Option<usize>) -> Res<Owned> {
    with_input(exchange, gil, |input| input.read(gil, limit))
}

/// `readline(size)`
pub fn readline(exchange: &Exchange<'_>, gil: Gil, limit: Option<usize>) -> Res<Owned> {
    with_input(exchange, gil, |input| input.line(gil, limit))
}

/// `next(input)`; nothing at the end.
pub fn next_line(exchange: &Exchange<'_>, gil: Gil) -> Res<Option<Owned>> {
    let line = readline(exchange, gil, None)?;
    let is_end = line.as_bytes().ok_or(Raised)?.is_empty();
    Ok((!is_end).then_some(line))
}

/// `readlines(hint)`
pub fn readlines(exchange: &Exchange<'_>, gil: Gil, hint: Option<usize>) -> Res<Owned> {
    let lines = gil.list()?;
    let mut total = 0usize;
    while let Some(line) = next_line(exchange, gil)? {
        lines.append(&line)?;
        total = total.saturating_add(line.as_bytes().map_or(0, <[u8]>::len));
        if hint.is_some_and(|hint| hint > 0 && total >= hint) {
            break;
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pieces(Vec<&'static [u8]>);

    impl Body for Pieces {
        fn read(&mut self, buf: &mut [u8]) -> Result<usize, InputFailure> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buf[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
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
