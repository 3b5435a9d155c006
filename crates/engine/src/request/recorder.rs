//! What is recorded of requests and request threads, and what [`super::metrics`] tells of it. Times are given, so that all
//! of this is the same for the same requests.

#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::request::interval::{Interval, Moment, Requests, Sample, ThreadPeriod};

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
    period: Requests,
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
        slot.cpu += sample.cpu.user + sample.cpu.system;
        slot.longest = slot.longest.max(whole);
        self.count += 1;
        self.busy += whole;
        self.period.add(sample);
    }

    /// Request threads that there are.
    fn started(&self) -> usize {
        if self.is_daemon { self.maximum } else { self.slots.iter().filter(|slot| slot.begun > 0).count() }
    }

    /// Requests that have ended since recording began.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What has happened since the last call; the next period begins.
    pub fn drain(&mut self, now: &Moment) -> Interval {
        let begin = self.begin.monotonic;
        let told = |slot: &Slot| {
            let running = slot.running.map_or(Duration::ZERO, |start| now.monotonic.saturating_sub(start.max(begin)));
            let elapsed = slot.running.map_or(Duration::ZERO, |start| now.monotonic.saturating_sub(start));
            let Slot { completed, busy, cpu, longest, .. } = *slot;
            ThreadPeriod { completed, busy: busy + running, cpu, elapsed, longest }
        };
        let mut threads: Vec<ThreadPeriod> = self.slots.iter().map(told).collect();
        threads.resize(threads.len().max(self.maximum), ThreadPeriod::default());
        let interval = Interval {
            is_daemon: self.is_daemon,
            moments: (self.begin, *now),
            requests: std::mem::take(&mut self.period),
            threads,
            started: self.started(),
            active: self.slots.iter().filter(|slot| slot.completed > 0 || slot.running.is_some()).count(),
        };
        self.begin = *now;
        for slot in &mut self.slots {
            *slot = Slot { id: slot.id, begun: slot.begun, running: slot.running, ..Slot::default() };
        }
        interval
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
    use wsgi_sys::clock::ThreadTime;

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
    fn a_period_has_what_happened_in_it_and_its_real_times() {
        let mut recorder = recorder(true);
        let sample = Sample {
            status: 404,
            times_us: [1, 2, 3, 2_000_000, 5, 6, 7, 8],
            waits: 3,
            input: (10, 2),
            output: (20, 1),
            cpu: ThreadTime { user: SECOND, system: Duration::ZERO },
        };
        recorder.begin(1, 101 * SECOND);
        recorder.begin(2, 103 * SECOND);
        recorder.finish(1, 103 * SECOND, &sample);
        let first = recorder.drain(&at(104)).told();
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
        let second = recorder.drain(&at(105)).told();
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
        let told = recorder.drain(&at(102)).told();
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
        assert_eq!(recorder.drain(&at(102)).told()["request_count"], json!(0));
    }
}
