//! Turns what a daemon process writes into lines of bounded length. Pure.

/// Longest piece of a line, in bytes; a longer line continues in the next piece.
pub const MAX_LINE: usize = 8 << 10;

/// What has been received of a line that has not ended.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes bytes; calls `line` for each complete line, without its newline.
    pub fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.partial.len();
            let window = &bytes[..bytes.len().min(room + 1)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(&bytes[..end]);
                bytes = &bytes[end + 1..];
                self.flush_always(&mut line);
            } else if window.len() > room {
                self.partial.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                self.flush_always(&mut line);
            } else {
                self.partial.extend_from_slice(bytes);
                return;
            }
        }
    }

    /// The end: what is there of an unfinished line is a line.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            self.flush_always(&mut line);
        }
    }

    fn flush_always(&mut self, line: &mut impl FnMut(&[u8])) {
        line(self.partial.strip_suffix(b"\r").unwrap_or(&self.partial));
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for part in parts {
            lines.push(part, |line| out.push(line.to_vec()));
        }
        lines.finish(|line| out.push(line.to_vec()));
        out
    }

    #[test]
    fn lines_are_joined_over_parts() {
        assert_eq!(split(&[b"a", b"b\nc\r\n\n", b"d"]), [&b"ab"[..], b"c", b"", b"d"]);
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let mut text = vec![b'x'; 2 * MAX_LINE + 5];
        text.push(b'\n');
        let lens: Vec<usize> = split(&[&text]).iter().map(Vec::len).collect();
        assert_eq!(lens, [MAX_LINE, MAX_LINE, 5]);
        let mut exact = vec![b'x'; MAX_LINE];
        exact.push(b'\n');
        assert_eq!(split(&[&exact, b"y"]).len(), 2);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_wherever_it_is_cut(text in "[ab\n]{0,200}", cut in 0usize..200) {
            let cut = cut.min(text.len());
            let (first, rest) = text.as_bytes().split_at(cut);
            let whole: Vec<Vec<u8>> = split(&[first, rest]);
            let expected: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(whole, expected);
        }
    }
}
