//! Lines that the engine writes to a daemon process's standard error, which goes to the supervisor. A line with a
//! mark in front carries its level; what others write there (C code, programs that the application starts) has none.
//! The process is not trusted: all that a mark can do is to choose a level.

/// ASCII's record separator, which no text begins with; a digit follows, the APLOG level.
const MARK: u8 = 0x1e;

/// Appends each line of `text` with its level and a newline.
pub fn put(out: &mut Vec<u8>, level: u8, text: &[u8]) {
    for line in text.split(|byte| *byte == b'\n') {
        out.extend_from_slice(&[MARK, b'0' + level.min(7)]);
        out.extend_from_slice(line);
        out.push(b'\n');
    }
}

/// Most bytes that a pipe takes in one piece, whoever else writes to it (PIPE_BUF of Linux; POSIX promises 512).
const ATOMIC: usize = 4096;

/// Cuts what [`put`] has made into writes that end with a line. Only a line that is longer than a pipe takes at once can
/// have another writer's in its middle.
pub fn writes(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_end = |byte: &u8| *byte == b'\n';
    std::iter::from_fn(move || {
        let fits = lines[..lines.len().min(ATOMIC)].iter().rposition(is_end);
        let end = fits.or_else(|| lines.iter().position(is_end)).map_or(lines.len(), |at| at + 1);
        let (first, rest) = lines.split_at(end);
        lines = rest;
        (!first.is_empty()).then_some(first)
    })
}

/// The level of a line, if it has one, and its text.
pub fn read(line: &[u8]) -> (Option<u8>, &[u8]) {
    match line {
        [MARK, digit @ b'0'..=b'7', text @ ..] => (Some(digit - b'0'), text),
        _ => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_without_a_mark_stays_as_it_is() {
        for line in [&b""[..], b"text", b"\x1e", b"\x1e9text", b"3text"] {
            assert_eq!(read(line), (None, line));
        }
    }

    proptest! {
        #[test]
        fn each_write_is_of_whole_lines_and_fits_if_it_can(lens in proptest::collection::vec(0usize..6000, 1..9)) {
            let text: Vec<_> = lens.iter().map(|len| "x".repeat(*len)).collect();
            let mut out = Vec::new();
            put(&mut out, 3, text.join("\n").as_bytes());
            let all: Vec<_> = writes(&out).collect();
            prop_assert_eq!(all.concat(), out.clone());
            for part in all {
                let count = part.iter().filter(|byte| **byte == b'\n').count();
                prop_assert!(part.ends_with(b"\n") && (part.len() <= ATOMIC || count == 1));
            }
        }

        #[test]
        fn lines_come_back_with_their_level(level in 0u8..=7, lines in proptest::collection::vec("[a\u{1e}3]{0,5}", 1..4)) {
            let mut out = Vec::new();
            put(&mut out, level, lines.join("\n").as_bytes());
            let text = out.strip_suffix(b"\n").unwrap();
            let found: Vec<_> = text.split(|byte| *byte == b'\n').map(read).collect();
            let given: Vec<_> = lines.iter().map(|line| (Some(level), line.as_bytes())).collect();
            prop_assert_eq!(found, given);
        }
    }
}
