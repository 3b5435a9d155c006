//! Lines for the pipe of the process's log, of threads that may not wait until somebody reads it. Pure; [`super`] calls it.

use std::collections::VecDeque;
use std::io;

use wsgi_wire::messages::Message;

/// Longest piece of a line, in bytes: a pipe takes a write up to PIPE_BUF as a whole or not at all (pipe(7)). POSIX
/// promises 512; Linux has 4096.
const PIECE: usize = 4096 - 16;
/// Most bytes that are kept.
const MOST: usize = 32 << 10;

/// Lines that the pipe has not taken yet.
#[derive(Debug, Default)]
pub struct Pending {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that there was no room for.
    lost: usize,
}

impl Pending {
    /// Nothing.
    pub const fn new() -> Pending {
        Pending { pieces: VecDeque::new(), bytes: 0, lost: 0 }
    }

    /// Adds the lines of a record. What does not fit is counted instead.
    pub fn add(&mut self, level: u8, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n') {
            let pieces = if line.is_empty() { vec![line] } else { line.chunks(PIECE).collect() };
            if self.lost > 0 || self.bytes + line.len() > MOST {
                self.lost += 1;
                continue;
            }
            pieces.into_iter().for_each(|piece| self.push(level, piece));
        }
    }

    fn push(&mut self, level: u8, text: &[u8]) {
        let mut piece = Vec::with_capacity(text.len() + 3);
        wsgi_wire::output::put(&mut piece, level, text);
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    /// Writes what `write` takes, in order. False: something is left, for which there was no room.
    pub fn flush(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> bool {
        loop {
            if self.pieces.is_empty() && self.lost > 0 {
                let lost = std::mem::take(&mut self.lost);
                let message = Message::LimitLinesLost;
                let text = format!("{lost} lines about limits are left out here: nobody read the log of this process");
                self.push(message.level(), message.line(text).as_bytes());
            }
            let Some(piece) = self.pieces.front_mut() else { return true };
            match write(piece) {
                Ok(count) if count < piece.len() => {
                    piece.drain(..count);
                    self.bytes -= count;
                }
                Ok(_) => self.forget_first(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // Nobody will ever read it.
                Err(_) => {
                    *self = Pending::new();
                    return true;
                }
            }
        }
    }

    fn forget_first(&mut self) {
        self.bytes -= self.pieces.pop_front().map_or(0, |piece| piece.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader gets who takes `room` writes.
    fn taken(pending: &mut Pending, mut room: usize) -> Vec<u8> {
        let mut out = Vec::new();
        pending.flush(|bytes| {
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            assert!(bytes.len() <= 4096, "a pipe would take a part of it");
            room -= 1;
            out.extend_from_slice(bytes);
            Ok(bytes.len())
        });
        out
    }

    #[test]
    fn what_a_full_pipe_does_not_take_is_written_later_and_in_order() {
        let mut pending = Pending::new();
        pending.add(3, b"one\ntwo");
        assert_eq!(taken(&mut pending, 0), b"");
        pending.add(4, b"three");
        assert_eq!(taken(&mut pending, 2), b"\x1e3one\n\x1e3two\n");
        assert_eq!(taken(&mut pending, 9), b"\x1e4three\n");
        assert!(pending.flush(|_| panic!("nothing is left")) && pending.bytes == 0);
    }

    #[test]
    fn there_is_a_bound_and_lines_beyond_it_are_counted() {
        let mut pending = Pending::new();
        (0..100).for_each(|_| pending.add(3, &[b'x'; 1000]));
        assert!(pending.bytes <= MOST + 1000);
        let text = String::from_utf8(taken(&mut pending, usize::MAX)).expect("text");
        let kept = text.lines().filter(|line| line.contains("xxx")).count();
        assert!(text.lines().last().expect("a line").contains(&format!("{} lines", 100 - kept)), "{kept}");
        pending.add(3, b"again");
        assert_eq!(taken(&mut pending, 1), b"\x1e3again\n");
    }

    #[test]
    fn a_long_line_comes_in_pieces_and_a_short_write_goes_on() {
        let mut pending = Pending::new();
        pending.add(3, &[b'x'; 2 * PIECE + 1]);
        assert_eq!(taken(&mut pending, 9).iter().filter(|byte| **byte == b'x').count(), 2 * PIECE + 1);
        pending.add(3, b"abc");
        let mut out = Vec::new();
        assert!(pending.flush(|bytes| {
            out.push(bytes[0]);
            Ok(1)
        }));
        assert_eq!((out, pending.bytes), (b"\x1e3abc\n".to_vec(), 0));
    }

    #[test]
    fn a_log_that_nobody_will_read_again_keeps_nothing() {
        let mut pending = Pending::new();
        pending.add(3, b"one");
        assert!(pending.flush(|_| Err(io::ErrorKind::BrokenPipe.into())) && pending.bytes == 0);
    }
}
