//! A period of time in figures: what requests have needed, what the process has used, and what each request thread has done.
//! [`super::recorder`] makes it; `mod_wsgi.request_metrics()` and telemetry tell of it.

#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::{Map, Value, json};
use wsgi_sys::clock::ThreadTime;

/// The parts of a request's time, in the order of [`Sample::times_us`].
const PHASES: [&str; 8] = [
    "server_time",
    "queue_time",
    "daemon_time",
    "application_time",
    "request_time",
    "gil_wait_time",
    "input_read_time",
    "output_write_time",
];
/// Those that only daemon processes have.
pub const OF_DAEMONS: [usize; 2] = [1, 2];
/// How many ranges a histogram has.
const RANGES: usize = 65;

/// A moment, and what the process had used by then.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moment {
    /// Microseconds since the epoch.
    pub wall_us: i64,
    /// The monotonic clock.
    pub monotonic: Duration,
    /// Processor time in the program.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
}

/// A request that is over.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Its status.
    pub status: u16,
    /// How long each of [`PHASES`] took.
    pub times_us: [u64; 8],
    /// How often it waited for the GIL.
    pub waits: u32,
    /// Bytes that it read, in how many calls.
    pub input: (u64, u64),
    /// Bytes that it wrote, in how many calls.
    pub output: (u64, u64),
    /// Processor time of its thread.
    pub cpu: ThreadTime,
}

/// Times of one phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phase {
    total_us: u64,
    least_us: u64,
    most_us: u64,
    /// How many requests are in each range of the histogram.
    pub ranges: [u64; RANGES],
}

impl Default for Phase {
    fn default() -> Phase {
        Phase { total_us: 0, least_us: u64::MAX, most_us: 0, ranges: [0; RANGES] }
    }
}

impl Phase {
    fn add(&mut self, us: u64) {
        self.total_us += us;
        self.least_us = self.least_us.min(us);
        self.most_us = self.most_us.max(us);
        self.ranges[range(us)] += 1;
    }
}

/// The range of a time: below 1.25 ms the first, from 65536 ms on the last, between them four for each doubling.
fn range(us: u64) -> usize {
    let quarters = us / 250;
    if quarters < 4 {
        return 0;
    }
    let octave = (us / 1000).ilog2();
    if octave >= 16 {
        return RANGES - 1;
    }
    let begin = 1000u64 << octave;
    let quarter = (us - begin) * 4 / begin;
    usize::try_from(u64::from(octave) * 4 + quarter).unwrap_or(0)
}

/// What requests of a period have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requests {
    /// How many have ended.
    pub count: u64,
    /// By the first digit of the status.
    pub statuses: [u64; 5],
    /// In the order of [`Sample::times_us`].
    pub phases: [Phase; 8],
    /// Waits for the GIL.
    pub waits: u64,
    /// Bytes and calls.
    pub input: (u64, u64),
    /// Bytes and calls.
    pub output: (u64, u64),
}

impl Requests {
    /// One more has ended.
    pub fn add(&mut self, sample: &Sample) {
        self.count += 1;
        self.statuses[usize::from((sample.status / 100).clamp(1, 5)) - 1] += 1;
        self.phases.iter_mut().zip(sample.times_us).for_each(|(phase, us)| phase.add(us));
        self.waits += u64::from(sample.waits);
        self.input = (self.input.0 + sample.input.0, self.input.1 + sample.input.1);
        self.output = (self.output.0 + sample.output.0, self.output.1 + sample.output.1);
    }

    /// How long a phase took, seconds.
    pub fn mean(&self, phase: &Phase) -> f64 {
        phase.total_us as f64 / 1e6 / (self.count.max(1) as f64)
    }

    /// The shortest and the longest time of a phase, microseconds, if there are any.
    pub fn extremes(&self, phase: &Phase) -> Option<(u64, u64)> {
        (self.count > 0).then_some((phase.least_us, phase.most_us))
    }
}

/// What a request thread has done in a period.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ThreadPeriod {
    /// Requests that have ended.
    pub completed: u64,
    /// How long it had one.
    pub busy: Duration,
    /// Its processor time.
    pub cpu: Duration,
    /// How long it has executed what it executes now.
    pub elapsed: Duration,
    /// Its longest request that has ended.
    pub longest: Duration,
}

/// A period, from one look to the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Interval {
    /// There is a queue before the process.
    pub is_daemon: bool,
    /// Its begin and its end.
    pub moments: (Moment, Moment),
    /// Its requests.
    pub requests: Requests,
    /// All request threads that there can be.
    pub threads: Vec<ThreadPeriod>,
    /// Request threads that there are.
    pub started: usize,
    /// Those that had a request.
    pub active: usize,
}

impl Interval {
    /// How long it was.
    pub fn seconds(&self) -> f64 {
        let (begin, end) = &self.moments;
        end.monotonic.saturating_sub(begin.monotonic).as_secs_f64()
    }

    /// So much in each second.
    pub fn rate(&self, amount: f64) -> f64 {
        let seconds = self.seconds();
        if seconds > 0.0 { amount / seconds } else { 0.0 }
    }

    /// Processors that the process has kept busy: in the program, and in the kernel.
    pub fn processors(&self) -> (f64, f64) {
        let (begin, end) = &self.moments;
        let user = end.user.saturating_sub(begin.user).as_secs_f64();
        let system = end.system.saturating_sub(begin.system).as_secs_f64();
        (self.rate(user), self.rate(system))
    }

    /// Which part of the time of all request threads had a request.
    pub fn capacity(&self) -> f64 {
        let busy: f64 = self.threads.iter().map(|thread| thread.busy.as_secs_f64()).sum();
        if self.threads.is_empty() { 0.0 } else { self.rate(busy) / self.threads.len() as f64 }
    }

    /// The dict of `mod_wsgi.request_metrics()`.
    pub fn told(&self) -> Map<String, Value> {
        let mut told = Map::new();
        self.tell_of_process(&mut told);
        self.tell_of_requests(&mut told);
        self.tell_of_threads(&mut told);
        told
    }

    fn tell_of_process(&self, told: &mut Map<String, Value>) {
        let ((begin, end), (user, system)) = (&self.moments, self.processors());
        let mut put = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
        put("start_time", json!(begin.wall_us as f64 / 1e6));
        put("stop_time", json!(end.wall_us as f64 / 1e6));
        put("sample_period", json!(self.seconds()));
        for (name, rate) in [("cpu_user", user), ("cpu_system", system), ("cpu", user + system)] {
            put(&format!("{name}_utilization"), json!(rate));
            put(&format!("{name}_time"), json!(rate));
        }
    }

    fn tell_of_requests(&self, told: &mut Map<String, Value>) {
        let requests = &self.requests;
        let mut put = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
        put("request_count", json!(requests.count));
        put("request_throughput", json!(self.rate(requests.count as f64)));
        for (at, count) in requests.statuses.iter().enumerate() {
            put(&format!("status_{}xx", at + 1), json!(count));
        }
        put("input_bytes", json!(requests.input.0));
        put("input_reads", json!(requests.input.1));
        put("output_bytes", json!(requests.output.0));
        put("output_writes", json!(requests.output.1));
        put("gil_wait_count", json!(requests.waits));
        for (at, (name, phase)) in PHASES.iter().zip(&requests.phases).enumerate() {
            let is_known = self.is_daemon || !OF_DAEMONS.contains(&at);
            let extremes = requests.extremes(phase).filter(|_| is_known);
            put(name, json!(is_known.then(|| requests.mean(phase))));
            put(&format!("{name}_min_us"), json!(extremes.map(|(least, _)| least)));
            put(&format!("{name}_max_us"), json!(extremes.map(|(_, most)| most)));
            let ranges = if is_known { phase.ranges } else { [0; RANGES] };
            put(&format!("{name}_buckets"), json!(ranges.as_slice()));
        }
    }

    fn tell_of_threads(&self, told: &mut Map<String, Value>) {
        let list = |of: &dyn Fn(&ThreadPeriod) -> Value| Value::Array(self.threads.iter().map(of).collect());
        let mut put = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
        put("request_threads_maximum", json!(self.threads.len()));
        put("request_threads_started", json!(self.started));
        put("request_threads_active", json!(self.active));
        put("capacity_utilization", json!(self.capacity()));
        put("request_threads_completed", list(&|thread| json!(thread.completed)));
        put("request_threads_buckets", list(&|thread| json!(thread.completed)));
        put("request_threads_busy_time", list(&|thread| json!(thread.busy.as_secs_f64())));
        put("request_threads_cpu_time", list(&|thread| json!(thread.cpu.as_secs_f64())));
        put("request_threads_current_elapsed", list(&|thread| json!(thread.elapsed.as_secs_f64())));
        put("request_threads_max_duration", list(&|thread| json!(thread.longest.as_secs_f64())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_quarters_of_doublings_of_a_millisecond() {
        for (ms, expected) in [
            (0.0, 0),
            (0.999, 0),
            (1.0, 0),
            (1.25, 1),
            (1.99, 3),
            (2.0, 4),
            (10.319, 13),
            (301.567, 32),
            (65_535.9, 63),
            (65_536.0, 64),
            (1e9, 64),
        ] {
            assert_eq!(range((ms * 1000.0) as u64), expected, "{ms} ms");
        }
    }
}
