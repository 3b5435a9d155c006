//! A queue of bytes for a client that is slower than the application. It keeps them in memory first, then in a
//! temporary file that it uses as a ring. Its size is bounded: whoever fills it must stop when it is full.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use wsgi_sys::{fd, temporary};

/// How much a spool may hold, and where.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// `response-buffer`, bytes.
    pub(crate) memory: usize,
    /// `response-spool`, bytes; 0: no file.
    pub(crate) file: u64,
    /// `spool-directory`.
    pub(crate) directory: PathBuf,
}

/// The part in the file: `len` bytes from `head` on, around the end of the ring.
#[derive(Debug)]
struct Ring {
    file: OwnedFd,
    head: u64,
    len: u64,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Spool {
    memory: VecDeque<u8>,
    ring: Option<Ring>,
    /// Bytes that came last, when neither memory nor file had room.
    excess: Vec<u8>,
    limits: Limits,
    /// Why the file can take no more. What is in it can still be read.
    trouble: Option<io::Error>,
}

impl Spool {
    /// An empty queue.
    pub(super) fn new(limits: &Limits) -> Spool {
        Spool { memory: VecDeque::new(), ring: None, excess: Vec::new(), limits: limits.clone(), trouble: None }
    }

    /// Nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.in_file() == 0 && self.excess.is_empty()
    }

    /// Why the file can take no more. Only the first call returns it, so that the log tells it once.
    pub(super) fn take_trouble(&mut self) -> Option<String> {
        self.trouble.as_mut().filter(|error| error.kind() != TOLD).map(|error| {
            let text = error.to_string();
            *error = TOLD.into();
            text
        })
    }

    fn in_file(&self) -> u64 {
        self.ring.as_ref().map_or(0, |ring| ring.len)
    }

    /// Whether there is room for more. (A write to the file may still fail.)
    pub(super) fn has_room(&self) -> bool {
        let in_memory = self.in_file() == 0 && self.memory.len() < self.limits.memory;
        let in_file = self.trouble.is_none() && self.in_file() < self.limits.file;
        self.excess.is_empty() && (in_memory || in_file)
    }

    /// Takes all of `bytes` in, even beyond the limits. Callers hand in one received piece while there is room.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        let taken = self.push(bytes);
        self.excess.extend_from_slice(&bytes[taken..]);
    }

    /// Takes in as many bytes as there is room for, and returns how many.
    fn push(&mut self, bytes: &[u8]) -> usize {
        if !self.excess.is_empty() {
            return 0;
        }
        let mut taken = 0;
        if self.in_file() == 0 {
            taken = bytes.len().min(self.limits.memory.saturating_sub(self.memory.len()));
            self.memory.extend(&bytes[..taken]);
        }
        while taken < bytes.len() && self.trouble.is_none() && self.in_file() < self.limits.file {
            match self.push_file(&bytes[taken..]) {
                Ok(count) => taken += count,
                Err(error) => self.trouble = Some(error),
            }
        }
        taken
    }

    /// Writes one stretch into the file.
    fn push_file(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let ring = match &mut self.ring {
            Some(ring) => ring,
            none => none.insert(Ring { file: temporary::file_in(&self.limits.directory)?, head: 0, len: 0 }),
        };
        let at = (ring.head + ring.len) % self.limits.file;
        let room = (self.limits.file - ring.len).min(self.limits.file - at);
        let part = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        match fd::write_at(ring.file.as_fd(), &bytes[..part], at)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => {
                ring.len += count as u64;
                Ok(count)
            }
        }
    }

    /// Moves the oldest bytes to the front of `buffer`, and returns how many. 0: the queue is empty, or `buffer` has no
    /// room.
    ///
    /// # Errors
    /// When the file cannot be read: the rest of the response is lost.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.memory.is_empty() {
            return self.memory.read(buffer);
        }
        let Some(ring) = self.ring.as_mut().filter(|ring| ring.len > 0) else {
            self.memory = std::mem::take(&mut self.excess).into();
            return self.memory.read(buffer);
        };
        let stretch = ring.len.min(self.limits.file - ring.head);
        let want = buffer.len().min(usize::try_from(stretch).unwrap_or(usize::MAX));
        let count = fd::read_at(ring.file.as_fd(), &mut buffer[..want], ring.head)?;
        if count == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        ring.head = (ring.head + count as u64) % self.limits.file;
        ring.len -= count as u64;
        if ring.len == 0 {
            ring.head = 0;
            // A full disk gets its space back now. If that fails, it gets it when the file is closed.
            let _ = temporary::empty(ring.file.as_fd());
        }
        Ok(count)
    }

    /// Forgets what is in it.
    pub(super) fn clear(&mut self) {
        (self.memory, self.excess) = (VecDeque::new(), Vec::new());
        self.ring = None;
    }
}

/// Marks an error that the log has already.
const TOLD: io::ErrorKind = io::ErrorKind::Other;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(memory: usize, file: u64) -> Limits {
        Limits { memory, file, directory: std::env::temp_dir() }
    }

    fn all(spool: &mut Spool, size: usize) -> Vec<u8> {
        let (mut out, mut buffer) = (Vec::new(), vec![0; size]);
        loop {
            match spool.take(&mut buffer).expect("readable") {
                0 => return out,
                count => out.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn it_holds_what_both_limits_allow_and_no_more() {
        let mut spool = Spool::new(&limits(10, 20));
        let bytes: Vec<u8> = (0..40).collect();
        assert_eq!(spool.push(&bytes), 30);
        assert_eq!(spool.push(&bytes), 0);
        assert_eq!(all(&mut spool, 7), bytes[..30]);
        assert!(spool.is_empty());
        assert_eq!((spool.push(&bytes[..3]), all(&mut spool, 2)), (3, bytes[..3].to_vec()));
    }

    #[test]
    fn without_a_file_memory_is_all() {
        let mut spool = Spool::new(&limits(4, 0));
        assert_eq!((spool.push(b"abcdef"), spool.take_trouble()), (4, None));
        assert_eq!(all(&mut spool, 10), b"abcd");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_told_once_and_nothing_is_lost() {
        let nowhere = Limits { directory: "/nonexistent/mod_wsgi".into(), ..limits(4, 100) };
        let mut spool = Spool::new(&nowhere);
        assert_eq!(spool.push(b"abcdef"), 4);
        assert!(spool.take_trouble().is_some_and(|text| text.contains("No such file")));
        assert_eq!((spool.push(b"ef"), spool.take_trouble()), (0, None));
        assert_eq!(all(&mut spool, 3), b"abcd");
        assert_eq!(spool.push(b"ef"), 2);
    }

    #[test]
    fn a_piece_for_which_there_is_no_room_is_kept_and_stops_the_rest() {
        let mut spool = Spool::new(&limits(4, 4));
        spool.keep(b"abcdef");
        assert!(spool.has_room());
        spool.keep(b"ghijk");
        assert!(!spool.has_room() && spool.push(b"l") == 0);
        assert_eq!(all(&mut spool, 3), b"abcdefghijk");
        assert!(spool.has_room() && spool.is_empty());
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            steps in proptest::collection::vec((0usize..60, 1usize..60), 1..60), memory in 0usize..40, file in 0u64..50,
        ) {
            let mut spool = Spool::new(&limits(memory, file));
            let (mut next_in, mut next_out) = (0u8, 0u8);
            for (push, take) in steps {
                let bytes: Vec<u8> = (0..push).map(|at| next_in.wrapping_add(at as u8)).collect();
                next_in = next_in.wrapping_add(spool.push(&bytes) as u8);
                let mut buffer = vec![0; take];
                let count = spool.take(&mut buffer).expect("readable");
                for byte in &buffer[..count] {
                    prop_assert_eq!(*byte, next_out);
                    next_out = next_out.wrapping_add(1);
                }
            }
            for byte in all(&mut spool, 9) {
                prop_assert_eq!(byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
            prop_assert_eq!(next_in, next_out);
        }
    }
}
