//! What is recorded of requests and request threads, and what [`super::metrics`] tells of it. Times are given, so that all
//! of this is the same for the same requests.

#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::{Map, Value, json};

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
const OF_DAEMONS: [usize; 2] = [1, 2];
/// How many ranges a histogram has.
const RANGES: usize = 65;

/// A moment, and what the process had used by then.
#[derive(Debug, Clone, Copy, Default)]
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
#[derive(Debug, Clone, Copy, Default)]
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
    pub cpu: Duration,
}

/// Times of one phase.
#[derive(Debug, Clone, Copy)]
struct Phase {
    total_us: u64,
    least_us: u64,
    most_us: u64,
    ranges: [u64; RANGES],
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
#[derive(Debug, Clone, Default)]
struct Period {
    count: u64,
    /// By the first digit.
    statuses: [u64; 5],
    phases: [Phase; 8],
    waits: u64,
    input: (u64, u64),
    output: (u64, u64),
}

/// A request thread.
#[derive(Debug, Clone, Default)]
struct Slot {
    id: u32,
    /// Requests that it has begun.
    begun: u64,
    /// When its request began, by the monotonic clock.
    running: Option<Duration>,
    /// Of this period: requests, the time that it had one, its processor time, its longest request.
    completed: u64,
    busy: Duration,
    cpu: Duration,
    longest: Duration,
}

/// All that is recorded.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    is_daemon: bool,
    /// Request threads that the process can have.
    maximum: usize,
    begin: Moment,
    period: Period,
    slots: Vec<Slot>,
    count: u64,
    busy: Duration,
}

impl Recorder {
    /// Records from now on.
    pub fn new(is_daemon: bool, maximum: usize, begin: Moment) -> Recorder {
        Recorder { is_daemon, maximum, begin, ..Recorder::default() }
    }

    fn slot(&mut self, id: u32) -> &mut Slot {
        let at = usize::try_from(id.saturating_sub(1)).unwrap_or(0);
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Slot::default());
        }
        self.slots[at].id = id;
        &mut self.slots[at]
    }

    /// Thread `id` has begun a request.
    pub fn begin(&mut self, id: u32, start: Duration) {
        let slot = self.slot(id);
        slot.begun += 1;
        slot.running = Some(start);
    }

    /// It has ended the request.
    pub fn finish(&mut self, id: u32, now: Duration, sample: &Sample) {
        let begin = self.begin.monotonic;
        let slot = self.slot(id);
        let Some(start) = slot.running.take() else { return };
        let whole = now.saturating_sub(start);
        slot.completed += 1;
        slot.busy += now.saturating_sub(start.max(begin));
        slot.cpu += sample.cpu;
        slot.longest = slot.longest.max(whole);
        self.count += 1;
        self.busy += whole;
        let period = &mut self.period;
        period.count += 1;
        period.statuses[usize::from((sample.status / 100).clamp(1, 5)) - 1] += 1;
        period.phases.iter_mut().zip(sample.times_us).for_each(|(phase, us)| phase.add(us));
        period.waits += u64::from(sample.waits);
        period.input = (period.input.0 + sample.input.0, period.input.1 + sample.input.1);
        period.output = (period.output.0 + sample.output.0, period.output.1 + sample.output.1);
    }

    /// Request threads that there are.
    fn started(&self) -> usize {
        if self.is_daemon { self.maximum } else { self.slots.iter().filter(|slot| slot.begun > 0).count() }
    }

    /// What has happened since the last call; the next period begins.
    pub fn drain(&mut self, now: &Moment) -> Map<String, Value> {
        let seconds = now.monotonic.saturating_sub(self.begin.monotonic).as_secs_f64();
        let mut told = self.period_of(now, seconds);
        self.threads_of(now.monotonic, seconds, &mut told);
        (self.begin, self.period) = (*now, Period::default());
        for slot in &mut self.slots {
            *slot = Slot { id: slot.id, begun: slot.begun, running: slot.running, ..Slot::default() };
        }
        told
    }

    fn period_of(&self, now: &Moment, seconds: f64) -> Map<String, Value> {
        let (period, begin) = (&self.period, &self.begin);
        let rate = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let user = rate(now.user.saturating_sub(begin.user).as_secs_f64());
        let system = rate(now.system.saturating_sub(begin.system).as_secs_f64());
        let mut told = Map::new();
        let mut put = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
        put("start_time", json!(begin.wall_us as f64 / 1e6));
        put("stop_time", json!(now.wall_us as f64 / 1e6));
        put("sample_period", json!(seconds));
        for (name, rate) in [("cpu_user", user), ("cpu_system", system), ("cpu", user + system)] {
            put(&format!("{name}_utilization"), json!(rate));
            put(&format!("{name}_time"), json!(rate));
        }
        put("request_count", json!(period.count));
        put("request_throughput", json!(rate(period.count as f64)));
        for (at, count) in period.statuses.iter().enumerate() {
            put(&format!("status_{}xx", at + 1), json!(count));
        }
        put("input_bytes", json!(period.input.0));
        put("input_reads", json!(period.input.1));
        put("output_bytes", json!(period.output.0));
        put("output_writes", json!(period.output.1));
        put("gil_wait_count", json!(period.waits));
        for (at, (name, phase)) in PHASES.iter().zip(&period.phases).enumerate() {
            let is_known = self.is_daemon || !OF_DAEMONS.contains(&at);
            let counts = is_known && period.count > 0;
            let mean = phase.total_us as f64 / 1e6 / (period.count.max(1) as f64);
            put(name, json!(is_known.then_some(mean)));
            put(&format!("{name}_min_us"), json!(counts.then_some(phase.least_us)));
            put(&format!("{name}_max_us"), json!(counts.then_some(phase.most_us)));
            let ranges = if is_known { phase.ranges } else { [0; RANGES] };
            put(&format!("{name}_buckets"), json!(ranges.as_slice()));
        }
        told
    }

    fn threads_of(&self, now: Duration, seconds: f64, told: &mut Map<String, Value>) {
        let mut slots = self.slots.clone();
        slots.resize(slots.len().max(self.maximum), Slot::default());
        for slot in &mut slots {
            slot.busy +=
                slot.running.map_or(Duration::ZERO, |start| now.saturating_sub(start.max(self.begin.monotonic)));
        }
        let active = slots.iter().filter(|slot| slot.completed > 0 || slot.running.is_some()).count();
        let busy: f64 = slots.iter().map(|slot| slot.busy.as_secs_f64()).sum();
        let room = seconds * slots.len() as f64;
        let list = |of: &dyn Fn(&Slot) -> Value| Value::Array(slots.iter().map(of).collect());
        let mut put = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
        put("request_threads_maximum", json!(slots.len()));
        put("request_threads_started", json!(self.started()));
        put("request_threads_active", json!(active));
        put("capacity_utilization", json!(if room > 0.0 { busy / room } else { 0.0 }));
        put("request_threads_completed", list(&|slot| json!(slot.completed)));
        put("request_threads_buckets", list(&|slot| json!(slot.completed)));
        put("request_threads_busy_time", list(&|slot| json!(slot.busy.as_secs_f64())));
        put("request_threads_cpu_time", list(&|slot| json!(slot.cpu.as_secs_f64())));
        let elapsed = |slot: &Slot| slot.running.map_or(Duration::ZERO, |start| now.saturating_sub(start));
        put("request_threads_current_elapsed", list(&|slot| json!(elapsed(slot).as_secs_f64())));
        put("request_threads_max_duration", list(&|slot| json!(slot.longest.as_secs_f64())));
    }

    /// What has happened since recording began.
    pub fn totals(&self, now: &Moment, started_us: i64) -> Map<String, Value> {
        let elapsed = |slot: &Slot| slot.running.map_or(Duration::ZERO, |start| now.monotonic.saturating_sub(start));
        let running: Duration = self.slots.iter().map(elapsed).sum();
        let mut slots = self.slots.clone();
        if self.is_daemon {
            slots.resize(slots.len().max(self.maximum), Slot::default());
            (1..).zip(&mut slots).for_each(|(id, slot)| slot.id = id);
        }
        let known = slots.iter().filter(|slot| self.is_daemon || slot.begun > 0);
        let threads: Vec<Value> =
            known.map(|slot| json!({"thread_id": slot.id, "request_count": slot.begun})).collect();
        let totals = json!({
            "request_count": self.count,
            "request_busy_time": (self.busy + running).as_secs_f64(),
            "cpu_user_time": now.user.as_secs_f64(),
            "cpu_system_time": now.system.as_secs_f64(),
            "cpu_time": (now.user + now.system).as_secs_f64(),
            "restart_time": started_us as f64 / 1e6,
            "current_time": now.wall_us as f64 / 1e6,
            "running_time": now.wall_us.saturating_sub(started_us).max(0) / 1_000_000,
            "request_threads": self.started(),
            "active_requests": self.slots.iter().filter(|slot| slot.running.is_some()).count(),
            "threads": threads,
        });
        match totals {
            Value::Object(totals) => totals,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        let time = Duration::from_secs(seconds);
        Moment {
            wall_us: i64::try_from(seconds).expect("small") * 1_000_000,
            monotonic: time,
            user: time / 2,
            system: time / 4,
        }
    }

    fn recorder(is_daemon: bool) -> Recorder {
        Recorder::new(is_daemon, 2, at(100))
    }

    const SECOND: Duration = Duration::from_secs(1);

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

    #[test]
    fn a_period_has_what_happened_in_it_and_its_real_times() {
        let mut recorder = recorder(true);
        let sample = Sample {
            status: 404,
            times_us: [1, 2, 3, 2_000_000, 5, 6, 7, 8],
            waits: 3,
            input: (10, 2),
            output: (20, 1),
            cpu: SECOND,
        };
        recorder.begin(1, 101 * SECOND);
        recorder.begin(2, 103 * SECOND);
        recorder.finish(1, 103 * SECOND, &sample);
        let first = recorder.drain(&at(104));
        assert_eq!(
            (&first["start_time"], &first["stop_time"], &first["sample_period"]),
            (&json!(100.0), &json!(104.0), &json!(4.0))
        );
        assert_eq!(
            (&first["cpu_user_utilization"], &first["cpu_system_time"], &first["cpu_time"]),
            (&json!(0.5), &json!(0.25), &json!(0.75))
        );
        assert_eq!(
            (&first["request_count"], &first["status_4xx"], &first["status_5xx"]),
            (&json!(1), &json!(1), &json!(0))
        );
        assert_eq!(first["request_throughput"], json!(0.25));
        assert_eq!(first["request_threads_busy_time"], json!([2.0, 1.0]));
        assert_eq!(first["request_threads_current_elapsed"], json!([0.0, 1.0]));
        assert_eq!(first["request_threads_max_duration"], json!([2.0, 0.0]));
        assert_eq!(first["capacity_utilization"], json!(3.0 / 8.0));
        assert_eq!((&first["application_time"], &first["application_time_min_us"]), (&json!(2.0), &json!(2_000_000)));
        assert_eq!(
            (&first["queue_time_max_us"], &first["gil_wait_count"], &first["output_bytes"]),
            (&json!(2), &json!(3), &json!(20))
        );
        let second = recorder.drain(&at(105));
        assert_eq!((&second["start_time"], &second["request_count"]), (&json!(104.0), &json!(0)));
        // What a request has taken before counts for the period before.
        assert_eq!(second["request_threads_busy_time"], json!([0.0, 1.0]));
        assert_eq!((&second["application_time"], &second["application_time_min_us"]), (&json!(0.0), &Value::Null));
        let totals = recorder.totals(&at(106), 90_000_000);
        assert_eq!(
            (&totals["request_count"], &totals["request_busy_time"], &totals["running_time"]),
            (&json!(1), &json!(5.0), &json!(16))
        );
        assert_eq!((&totals["active_requests"], &totals["request_threads"]), (&json!(1), &json!(2)));
        assert_eq!(
            totals["threads"],
            json!([{"thread_id": 1, "request_count": 1}, {"thread_id": 2, "request_count": 1}])
        );
    }

    #[test]
    fn in_embedded_mode_there_is_no_queue_and_threads_come_one_by_one() {
        let mut recorder = recorder(false);
        recorder.begin(0, 100 * SECOND);
        recorder.finish(0, 101 * SECOND, &Sample { status: 0, ..Sample::default() });
        let told = recorder.drain(&at(102));
        assert_eq!(
            (&told["queue_time"], &told["daemon_time_min_us"], &told["server_time"]),
            (&Value::Null, &Value::Null, &json!(0.0))
        );
        assert_eq!((&told["request_threads_started"], &told["request_threads_maximum"]), (&json!(1), &json!(2)));
        assert_eq!((&told["status_1xx"], &told["request_threads_active"]), (&json!(1), &json!(1)));
        assert_eq!(recorder.totals(&at(102), 0)["threads"], json!([{"thread_id": 0, "request_count": 1}]));
    }

    #[test]
    fn a_request_that_began_before_recording_is_left_out() {
        let mut recorder = recorder(true);
        recorder.finish(1, 101 * SECOND, &Sample::default());
        assert_eq!(recorder.drain(&at(102))["request_count"], json!(0));
    }
}
