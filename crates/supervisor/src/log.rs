//! Error logs: httpd's line format, each line in one write. Neither a full disk nor a stuck log program can hold up the
//! supervisor.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use wsgi_sys::clock::{self, LocalTime};
use wsgi_sys::fd;
use wsgi_sys::poll::{PollFd, poll};
use wsgi_wire::messages::Message;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];

/// A pipe takes a write of up to PIPE_BUF bytes as a whole or not at all. Some of these bytes are for the line's head.
const PIPE_TEXT: usize = libc::PIPE_BUF - 160;

/// An error log.
#[derive(Debug)]
pub struct Log {
    file: File,
    /// A pipe, a socket, a terminal: a write could wait.
    may_block: bool,
    pipe: bool,
    level: u8,
    /// The last line was cut short (full disk), so the next one begins with a newline.
    torn: Cell<bool>,
    /// The program behind the pipe has ended.
    unread: Cell<bool>,
    /// How many lines could not be written, and why the last one could not.
    lost: RefCell<Option<(u64, String)>>,
}

impl Log {
    /// The log behind a descriptor. It leaves out lines above `level` (APLOG).
    pub fn new(fd: OwnedFd, level: u8) -> Log {
        let file = File::from(fd);
        let kind = file.metadata().map(|found| found.file_type());
        let (pipe, regular) =
            kind.map_or((false, false), |kind| (kind.is_fifo(), kind.is_file() || kind.is_char_device()));
        let (torn, unread, lost) = (Cell::new(false), Cell::new(false), RefCell::new(None));
        let mut log = Log { file, may_block: !regular, pipe, level, torn, unread, lost };
        if pipe {
            // Opened anew the pipe has flags of its own: httpd's descriptor must stay blocking.
            if let Ok(end) = fd::reopen_to_write(log.file.as_fd()) {
                (log.file, log.may_block) = (File::from(end), false);
            }
        }
        log
    }

    /// Puts this log in place of `former`: this log tells how many lines could not be written there.
    pub fn in_place_of(self, former: &Log) -> Log {
        self.lost.replace(former.lost.take());
        self
    }

    /// Whether the program that the log is piped to has ended.
    pub fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// Whether lines of this level are written.
    pub fn takes(&self, level: u8) -> bool {
        level <= self.level
    }

    /// Writes a line for the process `pid`. A line that cannot be written is lost, and counted: before the next line
    /// that can be written comes one that says so.
    pub fn line(&self, level: u8, pid: i32, text: &[u8]) {
        if !self.takes(level) {
            return;
        }
        let lost = self.lost.take();
        if let Some((lines, why)) = &lost {
            let message = Message::LinesLost;
            let text = message.line(format_args!("{lines} lines could not be written to this error log before: {why}"));
            let own = i32::try_from(std::process::id()).unwrap_or(0);
            self.write(message.level(), own, text.as_bytes());
            if let Some((count, _)) = self.lost.borrow_mut().as_mut() {
                // The line about the lost ones does not count.
                *count = *lines;
            }
        }
        if !self.pipe {
            return self.write(level, pid, text);
        }
        text.chunks(PIPE_TEXT).for_each(|piece| self.write(level, pid, piece));
    }

    fn write(&self, level: u8, pid: i32, text: &[u8]) {
        if self.may_block {
            let mut room = [PollFd::new(self.file.as_fd(), false, true)];
            if !matches!(poll(&mut room, Some(std::time::Duration::ZERO)), Ok(1)) {
                return self.lose("nothing reads it".to_owned());
            }
        }
        let micros = clock::wall_us();
        let mut line = head(clock::local_time(micros.div_euclid(1_000_000)), micros.rem_euclid(1_000_000), level, pid);
        escape(text, &mut line);
        line.push(b'\n');
        if self.torn.get() {
            line.insert(0, b'\n');
        }
        match (&self.file).write(&line) {
            Ok(written) => {
                self.unread.set(false);
                self.torn.set(written < line.len() && (written > 0 || self.torn.get()));
            }
            // Nothing of the line was written.
            Err(error) => {
                self.unread.set(error.kind() == ErrorKind::BrokenPipe);
                self.lose(error.to_string());
            }
        }
    }

    fn lose(&self, why: String) {
        let before = self.lost.borrow().as_ref().map_or(0, |(lines, _)| *lines);
        self.lost.replace(Some((before + 1, why)));
    }
}

/// `[Sat Nov 21 00:02:55.123456 2026] [wsgi:error] [pid 1234:tid 1234] `.
fn head(time: LocalTime, micros: i64, level: u8, pid: i32) -> Vec<u8> {
    let (day, month) = (DAYS[time.weekday], MONTHS[time.month]);
    let level = LEVELS.get(usize::from(level)).unwrap_or(&"debug");
    let LocalTime { year, day: date, hour, minute, second, .. } = time;
    format!(
        "[{day} {month} {date:02} {hour:02}:{minute:02}:{second:02}.{micros:06} {year}] [wsgi:{level}] [pid {pid}:tid {pid}] "
    )
    .into_bytes()
}

/// Copies text. Characters that a terminal could take for a command, and bytes that are no UTF-8, become `\x1b` and the
/// like.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' => out.push(b'\t'),
                other if other.is_control() => {
                    let mut bytes = [0; 4];
                    hex(other.encode_utf8(&mut bytes).as_bytes(), out);
                }
                other => {
                    let mut bytes = [0; 4];
                    out.extend_from_slice(other.encode_utf8(&mut bytes).as_bytes());
                }
            }
        }
        hex(chunk.invalid(), out);
    }
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_as_httpd_writes_it() {
        let time = LocalTime { year: 2026, month: 10, day: 1, weekday: 6, hour: 0, minute: 2, second: 55 };
        let text = String::from_utf8(head(time, 1234, 3, 99)).expect("ASCII");
        assert_eq!(text, "[Sat Nov 01 00:02:55.001234 2026] [wsgi:error] [pid 99:tid 99] ");
    }

    #[test]
    fn text_stays_text_and_controls_do_not() {
        let mut out = Vec::new();
        escape("é\t\x1b[31m \u{9b}\\n\"".as_bytes(), &mut out);
        escape(b"\xff\0", &mut out);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), "é\t\\x1b[31m \\xc2\\x9b\\n\"\\xff\\x00");
    }

    #[test]
    fn levels_above_the_log_s_are_left_out() {
        let path = std::env::temp_dir().join(format!("wsgi-log-test-{}", std::process::id()));
        let file = File::options().create(true).truncate(true).write(true).open(&path).expect("temporary file");
        let log = Log::new(file.into(), 4);
        log.line(6, 1, b"info");
        log.line(3, 1, b"error");
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::remove_file(&path).expect("remove");
        assert!(text.ends_with("[wsgi:error] [pid 1:tid 1] error\n") && !text.contains("info"), "{text}");
    }

    #[test]
    fn a_line_that_a_full_disk_has_cut_does_not_run_into_the_next_one() {
        let path = std::env::temp_dir().join(format!("wsgi-log-torn-{}", std::process::id()));
        let file = File::options().create(true).truncate(true).write(true).open(&path).expect("temporary file");
        let log = Log::new(file.into(), 7);
        log.torn.set(true);
        log.line(3, 1, b"first");
        log.line(3, 1, b"second");
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::remove_file(&path).expect("remove");
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].is_empty() && lines[1].ends_with(" first") && lines[2].ends_with(" second"), "{text}");
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nothing_up() {
        let (reader, writer) = fd::pipe().expect("pipe");
        let copy = fd::duplicate(writer.as_fd(), 3).expect("duplicate");
        let log = Log::new(copy, 7);
        (0..2_000).for_each(|_| log.line(3, 1, &[b'x'; 8_000]));
        let mut buffer = [0; 65_536];
        let got = fd::read(reader.as_fd(), &mut buffer).expect("what fitted");
        assert_eq!(buffer[got - 1], b'\n');
        drop(reader);
        log.line(3, 1, b"nobody is there");
        assert!(log.is_unread());
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_and_told_of() {
        let (reader, writer) = fd::pipe().expect("pipe");
        let former = Log::new(writer, 7);
        drop(reader);
        (0..3).for_each(|_| former.line(3, 1, b"nobody is there"));
        let (reader, writer) = fd::pipe().expect("pipe");
        let log = Log::new(writer, 7).in_place_of(&former);
        log.line(3, 1, b"first");
        log.line(3, 1, b"second");
        let mut buffer = [0; 4096];
        let got = fd::read(reader.as_fd(), &mut buffer).expect("lines");
        let text = String::from_utf8_lossy(&buffer[..got]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("3 lines could not be written to this error log before: Broken pipe"), "{text}");
    }
}
