//! The log of the process: records that belong to no request, and what the records of requests have in common with them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// httpd's level for what applications print, and for their errors.
pub const ERROR: u8 = 3;
/// httpd's level for warnings.
pub const WARN: u8 = 4;
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

/// Logs a record that belongs to no request. Called without the GIL, or where waiting is no harm.
pub fn process_log(level: u8, text: &[u8]) {
    if level > PROCESS_LEVEL.load(Ordering::Relaxed) {
        return;
    }
    match PROCESS_LOG.get() {
        Some(log) => log(level, text),
        None => crate::sys::log_record(level, text),
    }
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
