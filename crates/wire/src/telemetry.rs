//! Telemetry: the datagrams in which a process tells the program `mod_wsgi-telemetry` what it does. The format is that of
//! mod_wsgi 6.1, so its numbers are little-endian, unlike everything else here: a head of 24 bytes, then fields of a number,
//! a type and a value. All times are seconds.
//!
//! Caller: the engine, which knows the figures and sends what comes out.

/// Longest datagram, bytes. A field that does not fit is left out.
pub const LIMIT: usize = 8192;

/// What the program knows the format by.
const MAGIC: &[u8; 4] = b"WSGI";
/// Version of the format.
const VERSION: u8 = 1;
/// Where the number stands that [`Datagram::numbered`] writes.
const SEQUENCE: usize = 12;

/// What a datagram reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// What requests and their process have done since the last one.
    Request = 2,
    /// A request that takes, or took, long.
    SlowRequest = 4,
    /// A process has started.
    Started = 5,
    /// It is about to end.
    Stopping = 6,
    /// It ends now.
    Stopped = 7,
    /// State of the garbage collector of an interpreter.
    GcSnapshot = 8,
    /// One collection.
    GcEvent = 9,
}

/// Numbers of fields. Some stand for several fields, whose numbers follow: phases of a request (server, queue, daemon,
/// application, request, GIL, input, output), kinds of status (1xx to 5xx), generations of the garbage collector.
pub mod field {
    #![allow(missing_docs)] // Their names say what they are.

    pub const MOD_WSGI_VERSION: u16 = 1;
    pub const PYTHON_VERSION: u16 = 2;
    pub const APACHE_VERSION: u16 = 3;
    pub const MPM_NAME: u16 = 4;
    pub const HOST_NAME: u16 = 5;
    pub const PROCESS_GROUP: u16 = 6;
    pub const PARENT_PID: u16 = 7;
    pub const SAMPLE_PERIOD: u16 = 10;
    pub const TELEMETRY_INTERVAL: u16 = 11;
    pub const SLOW_REQUESTS_THRESHOLD: u16 = 12;
    pub const SWITCH_INTERVAL: u16 = 13;
    pub const REQUEST_COUNT: u16 = 20;
    pub const THROUGHPUT: u16 = 21;
    pub const CAPACITY_UTILIZATION: u16 = 22;
    pub const CPU_USER_UTILIZATION: u16 = 30;
    pub const CPU_SYSTEM_UTILIZATION: u16 = 31;
    pub const CPU_UTILIZATION: u16 = 32;
    pub const MEMORY_RSS: u16 = 40;
    pub const MEMORY_MAX_RSS: u16 = 41;
    pub const THREADS_MAXIMUM: u16 = 50;
    pub const THREADS_STARTED: u16 = 51;
    pub const THREADS_ACTIVE: u16 = 52;
    pub const MEANS: u16 = 60;
    pub const LEASTS: u16 = 70;
    pub const MOSTS: u16 = 80;
    pub const RANGES: u16 = 90;
    pub const INPUT_BYTES: u16 = 100;
    pub const INPUT_READS: u16 = 101;
    pub const OUTPUT_BYTES: u16 = 102;
    pub const OUTPUT_WRITES: u16 = 103;
    pub const SLOT_COMPLETED: u16 = 110;
    pub const SLOT_BUSY_TIME: u16 = 111;
    pub const SLOT_CPU_TIME: u16 = 112;
    pub const SLOT_CURRENT_ELAPSED: u16 = 113;
    pub const SLOT_MAX_DURATION: u16 = 114;
    pub const STATUSES: u16 = 120;
    pub const SHUTDOWN_REASON: u16 = 130;
    pub const UPTIME: u16 = 131;
    pub const LIFETIME_COUNT: u16 = 132;
    pub const ACTIVE_AT_DECISION: u16 = 133;
    pub const ACTIVE_AT_EXIT: u16 = 134;
    pub const GRACEFUL_DRAIN: u16 = 135;
    pub const STATE: u16 = 200;
    pub const START: u16 = 201;
    pub const DURATION: u16 = 202;
    pub const THREAD: u16 = 203;
    pub const LOG_ID: u16 = 204;
    pub const SERVER_PID: u16 = 205;
    pub const METHOD: u16 = 210;
    pub const SCHEME: u16 = 211;
    pub const REQUEST_HOST: u16 = 212;
    pub const SCRIPT_NAME: u16 = 213;
    pub const PATH_INFO: u16 = 214;
    pub const PROTOCOL: u16 = 215;
    pub const PEER_IP: u16 = 216;
    pub const USER_AGENT: u16 = 217;
    pub const PHASES: u16 = 220;
    pub const GIL_WAIT_TIME: u16 = 224;
    pub const GIL_WAIT_COUNT: u16 = 225;
    pub const REQUEST_INPUT_BYTES: u16 = 230;
    pub const REQUEST_INPUT_READS: u16 = 231;
    pub const REQUEST_OUTPUT_BYTES: u16 = 232;
    pub const REQUEST_OUTPUT_WRITES: u16 = 233;
    pub const REQUEST_INPUT_TIME: u16 = 234;
    pub const REQUEST_OUTPUT_TIME: u16 = 235;
    pub const STATUS: u16 = 240;
    pub const CPU_USER_TIME: u16 = 250;
    pub const CPU_SYSTEM_TIME: u16 = 251;
    pub const ACTIVE_AT_START: u16 = 260;
    pub const ACTIVE_AT_COMPLETION: u16 = 261;
    /// Counts, thresholds, collections, collected and uncollectable objects, each of three generations, then whether it is
    /// enabled, frozen objects, and events that were dropped.
    pub const GC: u16 = 300;
    pub const GC_EVENT_START: u16 = 320;
    pub const GC_EVENT_DURATION: u16 = 321;
    pub const GC_EVENT_GENERATION: u16 = 322;
    pub const GC_EVENT_COLLECTED: u16 = 323;
    pub const GC_EVENT_UNCOLLECTABLE: u16 = 324;
}

/// Types of fields.
const INTEGER: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 4;
const INTEGERS: u8 = 5;
const NUMBERS: u8 = 6;

/// A report that is being put together.
#[derive(Debug, Clone, PartialEq)]
pub struct Datagram(Vec<u8>);

impl Datagram {
    /// A report without fields. `stamp_us`: when it is made, microseconds since the epoch.
    pub fn new(kind: Kind, pid: u32, stamp_us: i64) -> Datagram {
        let mut bytes = Vec::with_capacity(1024);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, kind as u8]);
        let flags = 0u16;
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&pid.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&seconds(stamp_us).to_le_bytes());
        Datagram(bytes)
    }

    /// Adds a field of a type and a value, if there is room.
    fn put(&mut self, number: u16, kind: u8, value: impl IntoIterator<Item = u8>) {
        let before = self.0.len();
        self.0.extend_from_slice(&number.to_le_bytes());
        self.0.push(kind);
        self.0.extend(value);
        if self.0.len() > LIMIT {
            self.0.truncate(before);
        }
    }

    /// Adds an array, if there is room.
    fn put_all(&mut self, number: u16, kind: u8, count: usize, values: impl Iterator<Item = u8>) {
        // What has more has no room.
        let Ok(count) = u16::try_from(count) else { return };
        self.put(number, kind, count.to_le_bytes().into_iter().chain(values));
    }

    /// Adds a whole number.
    pub fn integer(&mut self, number: u16, value: u64) {
        self.put(number, INTEGER, value.to_le_bytes());
    }

    /// Adds a number.
    pub fn number(&mut self, number: u16, value: f64) {
        self.put(number, NUMBER, value.to_le_bytes());
    }

    /// Adds a time that is given in microseconds.
    pub fn micros(&mut self, number: u16, us: u64) {
        self.number(number, us as f64 / 1e6);
    }

    /// Adds a text.
    pub fn text(&mut self, number: u16, text: &[u8]) {
        self.put_all(number, TEXT, text.len(), text.iter().copied());
    }

    /// Adds a text, unless it is empty.
    pub fn some_text(&mut self, number: u16, text: &[u8]) {
        if !text.is_empty() {
            self.text(number, text);
        }
    }

    /// Adds whole numbers. One that is too large becomes the largest that there is.
    pub fn integers(&mut self, number: u16, values: &[u64]) {
        let one = |value: &u64| i32::try_from(*value).unwrap_or(i32::MAX).to_le_bytes();
        self.put_all(number, INTEGERS, values.len(), values.iter().flat_map(one));
    }

    /// Adds numbers.
    pub fn numbers(&mut self, number: u16, values: &[f64]) {
        self.put_all(number, NUMBERS, values.len(), values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// The datagram, as the process's `sequence`th.
    pub fn numbered(&mut self, sequence: u32) -> &[u8] {
        self.0[SEQUENCE..SEQUENCE + 4].copy_from_slice(&sequence.to_le_bytes());
        &self.0
    }
}

/// Microseconds since the epoch as seconds.
fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

/// `text`, cut to `limit` bytes, of which the last three then are dots. No character of UTF-8 is cut in two.
pub fn cut(text: &[u8], limit: usize) -> Vec<u8> {
    if text.len() <= limit {
        return text.to_vec();
    }
    let mut end = limit.saturating_sub(3);
    // At most three bytes of a character follow its first one.
    let least = end.saturating_sub(3);
    while end > least && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    [&text[..end], b"..."].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_datagram_is_as_the_program_expects_it() {
        let mut report = Datagram::new(Kind::Request, 0x0102_0304, 1_500_000);
        report.integer(field::REQUEST_COUNT, 258);
        report.number(field::THROUGHPUT, -2.0);
        report.text(field::HOST_NAME, b"vm");
        report.integers(field::SLOT_COMPLETED, &[1, u64::MAX]);
        report.numbers(field::SLOT_BUSY_TIME, &[0.5]);
        let expected: &[&[u8]] = &[
            b"WSGI\x01\x02\0\0\x04\x03\x02\x01\x07\0\0\0",
            &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f],
            b"\x14\0\x01\x02\x01\0\0\0\0\0\0",
            b"\x15\0\x02\0\0\0\0\0\0\0\xc0",
            b"\x05\0\x04\x02\0vm",
            b"\x6e\0\x05\x02\0\x01\0\0\0\xff\xff\xff\x7f",
            b"\x6f\0\x06\x01\0\0\0\0\0\0\0\xe0\x3f",
        ];
        assert_eq!(report.numbered(7), expected.concat());
    }

    #[test]
    fn a_field_without_room_is_left_out_as_a_whole() {
        let mut report = Datagram::new(Kind::GcEvent, 1, 0);
        report.text(field::HOST_NAME, &[b'x'; LIMIT]);
        report.integers(field::SLOT_COMPLETED, &[0; 100_000]);
        assert_eq!(report.numbered(0).len(), 24);
        report.text(field::HOST_NAME, &[b'x'; LIMIT - 24 - 5]);
        assert_eq!(report.numbered(0).len(), LIMIT);
        report.integer(field::STATE, 1);
        assert_eq!(report.numbered(0).len(), LIMIT);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut(b"abcdef", 6), b"abcdef");
        assert_eq!(cut(b"abcdefg", 6), b"abc...");
        assert_eq!(cut("ab\u{e4}\u{e4}\u{e4}\u{e4}".as_bytes(), 6), "ab...".as_bytes());
        assert_eq!(cut(&[0x80; 9], 6), b"...");
        assert_eq!(cut(&[0x80; 9], 2), b"...");
        let long = cut("\u{20ac}".repeat(300).as_bytes(), 511);
        assert!(String::from_utf8(long).is_ok());
    }
}
