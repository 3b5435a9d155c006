//! The log of the process: records that belong to no request, and what the records of requests have in common with them.
//! What the engine itself says at a level above INFO has a number, so it is logged by `report` or a function like it.

mod pending;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use wsgi_sys::forked::Private;
use wsgi_sys::{fd, poll};
use wsgi_wire::messages::Message;

use pending::Pending;

/// httpd's level for what applications print.
pub const PRINTED: u8 = 3;
/// httpd's level for events in the life of a process.
pub const INFO: u8 = 6;

/// Longest record, bytes; a longer one is cut into several.
pub const MAX_RECORD: usize = 64 << 10;

/// The part of a record that is sent at once, and the rest: cut between two lines, if it can be.
pub fn cut_record(record: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(part) = record.get(..=MAX_RECORD) else { return (record, None) };
    match part.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => (&record[..end], Some(&record[end + 1..])),
        None => (&record[..MAX_RECORD], Some(&record[MAX_RECORD..])),
    }
}

/// Where lines go that belong to no request.
static PROCESS_LOG: OnceLock<fn(u8, &[u8])> = OnceLock::new();
/// Records above this level that belong to no request would not be written.
static PROCESS_LEVEL: AtomicU8 = AtomicU8::new(7);

/// Sets the log of the process, once. Without it lines go to standard error.
pub fn set_process_log(log: fn(u8, &[u8])) {
    let _ = PROCESS_LOG.set(log);
}

/// Sets the level above which records of the process are left out.
pub fn set_process_level(level: u8) {
    PROCESS_LEVEL.store(level, Ordering::Relaxed);
}

/// Logs what happens in the life of the process. Called as [`process_log`].
pub fn info(text: &str) {
    process_log(INFO, text.as_bytes());
}

/// Logs a warning or an error that belongs to no request. Called as [`process_log`].
pub fn report(message: Message, text: &str) {
    process_log(message.level(), message.line(text).as_bytes());
}

/// Logs a record that belongs to no request: what applications print, and records that were put together elsewhere.
/// Called without the GIL, or where waiting is no harm.
pub fn process_log(level: u8, text: &[u8]) {
    if level > PROCESS_LEVEL.load(Ordering::Relaxed) {
        return;
    }
    match PROCESS_LOG.get() {
        Some(log) => log(level, text),
        None => write(level, text),
    }
}

/// Writes the lines of a record to standard error, which processes that the application has forked write to as well: each
/// line whole, several together. Nobody can be told of a failure.
fn write(level: u8, text: &[u8]) {
    let mut lines = Vec::with_capacity(text.len() + 16);
    wsgi_wire::output::put(&mut lines, level, text);
    wsgi_wire::output::writes(&lines).for_each(write_all);
}

fn write_all(mut rest: &[u8]) {
    let log = io::stderr();
    while !rest.is_empty() {
        match fd::write(log.as_fd(), rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => poll::wait_writable(log.as_fd()),
            Err(_) => return,
        }
    }
}

/// Whether the pipe behind standard error takes a line now, or within `limit`.
pub fn has_room(limit: Duration) -> bool {
    poll::is_writable(io::stderr().as_fd(), limit)
}

/// The writing end of the log's pipe that this process shares with nobody: writes to it do not wait.
struct End {
    fd: Private,
    /// An application that closes descriptors which are not its own may close this one, and the number names another
    /// file then.
    identity: (u64, u64),
}

static END: OnceLock<End> = OnceLock::new();
/// Lines of threads that may not wait. The lock is never held while something waits.
static PENDING: Mutex<Pending> = Mutex::new(Pending::new());

/// Sets the end for [`log_without_waiting`], once. The file behind `fd` is non-blocking.
pub fn set_end(fd: Private) {
    if let Some(identity) = fd::identity(fd.as_fd()) {
        let _ = END.set(End { fd, identity });
    }
}

/// That end, while it is still what it was.
pub fn end() -> Option<BorrowedFd<'static>> {
    let End { fd, identity } = END.get()?;
    (fd::identity(fd.as_fd()) == Some(*identity)).then(|| fd.as_fd())
}

/// As [`info`], for threads that enforce limits: what the pipe does not take now is written by a later [`flush`], or
/// left out and counted.
pub fn info_without_waiting(text: &str) {
    log_without_waiting(INFO, text.as_bytes());
}

/// As [`info_without_waiting`], for a warning or an error.
pub fn report_without_waiting(message: Message, text: &str) {
    log_without_waiting(message.level(), message.line(text).as_bytes());
}

fn log_without_waiting(level: u8, text: &[u8]) {
    if level > PROCESS_LEVEL.load(Ordering::Relaxed) {
        return;
    }
    if let Some(log) = PROCESS_LOG.get() {
        return log(level, text);
    }
    PENDING.lock().unwrap_or_else(PoisonError::into_inner).add(level, text);
    flush();
}

/// Writes what [`log_without_waiting`] has left, as far as there is room. False: something is still left.
pub fn flush() -> bool {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner).flush(write_now)
}

/// Writes a piece that a pipe takes as a whole or not at all.
fn write_now(piece: &[u8]) -> io::Result<usize> {
    if let Some(end) = end() {
        return fd::write(end, piece);
    }
    // Whoever writes at the same moment may take the room.
    if !has_room(Duration::ZERO) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    fd::write(io::stderr().as_fd(), piece)
}

/// Records of the process above this level are left out.
pub fn process_level() -> u8 {
    PROCESS_LEVEL.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(record: &[u8]) -> Vec<usize> {
        let (mut lens, mut left) = (Vec::new(), Some(record));
        while let Some(record) = left {
            let (part, rest) = cut_record(record);
            lens.push(part.len());
            left = rest;
        }
        lens
    }

    #[test]
    fn a_record_is_cut_between_lines_and_within_one_only_where_it_is_too_long() {
        let lines = [&b"x".repeat(MAX_RECORD - 1)[..], b"y", &b"z".repeat(MAX_RECORD + 1)].join(&b"\n"[..]);
        assert_eq!(parts(&lines), [MAX_RECORD - 1, 1, MAX_RECORD, 1]);
        assert_eq!(parts(&b"x".repeat(MAX_RECORD)), [MAX_RECORD]);
        assert_eq!(parts(b""), [0]);
        assert_eq!(parts(b"a\n\nb"), [4]);
    }
}
