//! What each kind of report says, as datagrams. Figures and times are given, so that the same figures make the same bytes.

#![forbid(unsafe_code)]

use std::time::Duration;

use wsgi_wire::telemetry::{Datagram, Kind, field};

use crate::request::interval::{Interval, OF_DAEMONS, ThreadPeriod};
use crate::request::telemetry::slow::Slow;

/// Most request threads that a report has room for.
const THREADS: usize = 128;
/// Numbers that tell of the garbage collector's state.
const SNAPSHOT: usize = 18;
/// Numbers that tell of a collection.
const EVENT: usize = 5;

/// Who reports.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    pub pid: u32,
    /// httpd's parent, which the processes of a server have in common.
    pub parent_pid: u32,
    pub host_name: String,
    /// Empty in embedded mode.
    pub process_group: String,
    pub python: String,
    pub httpd: String,
    pub mpm: String,
    /// From one report to the next.
    pub interval: Duration,
    /// What is a slow request, if anything is.
    pub threshold: Option<Duration>,
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Its resident set, bytes.
    pub resident: u64,
    /// The largest that it had.
    pub largest: u64,
}

impl Identity {
    fn report(&self, kind: Kind, now_us: i64) -> Datagram {
        Datagram::new(kind, self.pid, now_us)
    }

    /// With what tells which process it is.
    fn named(&self, kind: Kind, now_us: i64) -> Datagram {
        let mut report = self.report(kind, now_us);
        report.text(field::HOST_NAME, self.host_name.as_bytes());
        report.some_text(field::PROCESS_GROUP, self.process_group.as_bytes());
        report
    }

    /// With what the process consists of.
    fn whole(&self, kind: Kind, now_us: i64, switch_interval_us: u64) -> Datagram {
        let mut report = self.named(kind, now_us);
        report.text(field::MOD_WSGI_VERSION, b"6.1.1");
        report.text(field::PYTHON_VERSION, self.python.as_bytes());
        report.text(field::APACHE_VERSION, self.httpd.as_bytes());
        report.text(field::MPM_NAME, self.mpm.as_bytes());
        report.integer(field::PARENT_PID, self.parent_pid.into());
        report.micros(field::SWITCH_INTERVAL, switch_interval_us);
        report
    }

    /// The process has started.
    pub fn started(&self, now_us: i64, switch_interval_us: u64) -> Datagram {
        self.whole(Kind::Started, now_us, switch_interval_us)
    }

    /// The process is about to end. `active`: requests that it executes.
    pub fn stopping(&self, now_us: i64, reason: &str, active: u64) -> Datagram {
        let mut report = self.named(Kind::Stopping, now_us);
        report.some_text(field::SHUTDOWN_REASON, reason.as_bytes());
        report.integer(field::ACTIVE_AT_DECISION, active);
        report
    }

    /// The process ends now. `count`: requests in its life. `active`: requests that are cut off.
    pub fn stopped(&self, now_us: i64, reason: &str, uptime_us: u64, count: u64, active: u64) -> Datagram {
        let mut report = self.named(Kind::Stopped, now_us);
        report.some_text(field::SHUTDOWN_REASON, reason.as_bytes());
        report.micros(field::UPTIME, uptime_us);
        report.integer(field::LIFETIME_COUNT, count);
        report.integer(field::ACTIVE_AT_EXIT, active);
        report.integer(field::GRACEFUL_DRAIN, u64::from(active == 0));
        report
    }

    /// What has happened in a period.
    pub fn period(&self, now_us: i64, switch_interval_us: u64, interval: &Interval, memory: Memory) -> Datagram {
        let mut report = self.whole(Kind::Request, now_us, switch_interval_us);
        report.number(field::SAMPLE_PERIOD, interval.seconds());
        report.number(field::TELEMETRY_INTERVAL, self.interval.as_secs_f64());
        report.number(field::SLOW_REQUESTS_THRESHOLD, self.threshold.unwrap_or_default().as_secs_f64());
        report.number(field::CAPACITY_UTILIZATION, interval.capacity());
        let (user, system) = interval.processors();
        report.number(field::CPU_USER_UTILIZATION, user);
        report.number(field::CPU_SYSTEM_UTILIZATION, system);
        report.number(field::CPU_UTILIZATION, user + system);
        report.integer(field::MEMORY_RSS, memory.resident);
        report.integer(field::MEMORY_MAX_RSS, memory.largest);
        report.integer(field::THREADS_MAXIMUM, interval.threads.len() as u64);
        report.integer(field::THREADS_STARTED, interval.started as u64);
        report.integer(field::THREADS_ACTIVE, interval.active as u64);
        requests(&mut report, interval);
        threads(&mut report, &interval.threads[..interval.threads.len().min(THREADS)]);
        report
    }

    /// A slow request.
    pub fn slow(&self, now_us: i64, slow: &Slow) -> Datagram {
        let mut report = self.report(Kind::SlowRequest, now_us);
        report.integer(field::STATE, slow.is_over.into());
        report.micros(field::START, slow.times.taken_us.unsigned_abs());
        report.number(field::DURATION, slow.duration.as_secs_f64());
        report.integer(field::THREAD, slow.thread.into());
        report.integer(field::SERVER_PID, slow.told.server_pid);
        measured(&mut report, now_us, slow);
        report.integer(field::ACTIVE_AT_START, slow.active.0);
        report.integer(field::ACTIVE_AT_COMPLETION, slow.active.1);
        let told = &slow.told;
        for (number, text) in [
            (field::LOG_ID, &told.log_id),
            (field::METHOD, &told.method),
            (field::SCHEME, &told.scheme),
            (field::REQUEST_HOST, &told.host),
            (field::SCRIPT_NAME, &told.script_name),
            (field::PATH_INFO, &told.path_info),
            (field::PROTOCOL, &told.protocol),
            (field::PEER_IP, &told.peer_ip),
            (field::USER_AGENT, &told.user_agent),
        ] {
            report.some_text(number, text);
        }
        report
    }

    /// What the main interpreter tells of its garbage collector ([`super::gc`]): its state, then each collection.
    pub fn collections(&self, now_us: i64, numbers: &[u64]) -> Vec<Datagram> {
        let (state, events) = numbers.split_at(numbers.len().min(SNAPSHOT));
        let mut snapshot = self.report(Kind::GcSnapshot, now_us);
        (field::GC..).zip(state).for_each(|(number, value)| snapshot.integer(number, *value));
        let event = |event: &[u64]| {
            let mut report = self.report(Kind::GcEvent, now_us);
            report.micros(field::GC_EVENT_START, event[0]);
            report.micros(field::GC_EVENT_DURATION, event[1]);
            report.integer(field::GC_EVENT_GENERATION, event[2]);
            report.integer(field::GC_EVENT_COLLECTED, event[3]);
            report.integer(field::GC_EVENT_UNCOLLECTABLE, event[4]);
            report
        };
        std::iter::once(snapshot).chain(events.chunks_exact(EVENT).map(event)).collect()
    }
}

fn requests(report: &mut Datagram, interval: &Interval) {
    let requests = &interval.requests;
    report.integer(field::REQUEST_COUNT, requests.count);
    report.number(field::THROUGHPUT, interval.rate(requests.count as f64));
    for (at, phase) in (0u16..).zip(&requests.phases) {
        // Only a daemon process has a queue before it, and only requests say how long they were there.
        let is_known = !OF_DAEMONS.contains(&usize::from(at)) || (interval.is_daemon && requests.count > 0);
        if !is_known {
            continue;
        }
        report.number(field::MEANS + at, requests.mean(phase));
        if let Some((least, most)) = requests.extremes(phase) {
            report.micros(field::LEASTS + at, least);
            report.micros(field::MOSTS + at, most);
        }
        report.integers(field::RANGES + at, &phase.ranges);
    }
    report.integer(field::INPUT_BYTES, requests.input.0);
    report.integer(field::INPUT_READS, requests.input.1);
    report.integer(field::OUTPUT_BYTES, requests.output.0);
    report.integer(field::OUTPUT_WRITES, requests.output.1);
    (field::STATUSES..).zip(requests.statuses).for_each(|(number, count)| report.integer(number, count));
}

fn threads(report: &mut Datagram, threads: &[ThreadPeriod]) {
    report.integers(field::SLOT_COMPLETED, &threads.iter().map(|thread| thread.completed).collect::<Vec<_>>());
    let times =
        |of: fn(&ThreadPeriod) -> Duration| threads.iter().map(|thread| of(thread).as_secs_f64()).collect::<Vec<_>>();
    report.numbers(field::SLOT_BUSY_TIME, &times(|thread| thread.busy));
    report.numbers(field::SLOT_CPU_TIME, &times(|thread| thread.cpu));
    report.numbers(field::SLOT_CURRENT_ELAPSED, &times(|thread| thread.elapsed));
    report.numbers(field::SLOT_MAX_DURATION, &times(|thread| thread.longest));
}

/// How long the phases of a request that runs have taken by now.
fn phases(now_us: i64, slow: &Slow) -> [u64; 4] {
    let between = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
    let times = &slow.times;
    let is_called = times.called_us > 0;
    let called = if is_called { times.called_us } else { now_us };
    let application = if is_called { between(called, now_us) } else { 0 };
    if times.queued_us == 0 {
        return [between(times.received_us, called), 0, 0, application];
    }
    [
        between(times.received_us, times.queued_us),
        between(times.queued_us, times.taken_us),
        between(times.taken_us, called),
        application,
    ]
}

/// What a slow request has needed. Of one that runs only the phases are known, and its first waits.
fn measured(report: &mut Datagram, now_us: i64, slow: &Slow) {
    let sample = slow.sample.unwrap_or_default();
    let phases = match slow.sample {
        Some(sample) => [sample.times_us[0], sample.times_us[1], sample.times_us[2], sample.times_us[3]],
        None if slow.is_over => {
            let us = i64::try_from(slow.duration.as_micros()).unwrap_or(i64::MAX);
            self::phases(slow.times.taken_us.saturating_add(us), slow)
        }
        None => self::phases(now_us, slow),
    };
    (field::PHASES..).zip(phases).for_each(|(number, us)| report.micros(number, us));
    let waits = match slow.sample {
        Some(sample) => (sample.times_us[5], sample.waits),
        None => (u64::try_from(slow.waits.time.as_micros()).unwrap_or(u64::MAX), slow.waits.count),
    };
    report.micros(field::GIL_WAIT_TIME, waits.0);
    report.integer(field::GIL_WAIT_COUNT, waits.1.into());
    report.integer(field::REQUEST_INPUT_BYTES, sample.input.0);
    report.integer(field::REQUEST_INPUT_READS, sample.input.1);
    report.integer(field::REQUEST_OUTPUT_BYTES, sample.output.0);
    report.integer(field::REQUEST_OUTPUT_WRITES, sample.output.1);
    report.micros(field::REQUEST_INPUT_TIME, sample.times_us[6]);
    report.micros(field::REQUEST_OUTPUT_TIME, sample.times_us[7]);
    report.integer(field::STATUS, sample.status.into());
    report.number(field::CPU_USER_TIME, sample.cpu.user.as_secs_f64());
    report.number(field::CPU_SYSTEM_TIME, sample.cpu.system.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::interval::Sample;
    use crate::request::telemetry::slow::{Times, Told};

    fn identity() -> Identity {
        Identity {
            pid: 5,
            parent_pid: 4,
            host_name: "h".to_owned(),
            process_group: "g".to_owned(),
            python: "3.13.1".to_owned(),
            httpd: "Apache/2.4.66".to_owned(),
            mpm: "event".to_owned(),
            interval: Duration::from_secs(1),
            threshold: None,
        }
    }

    /// Whether a report has a field: its number, its type and the beginning of its value.
    fn has(report: &Datagram, number: u16, value: &[u8]) -> bool {
        let wanted = [&number.to_le_bytes()[..], value].concat();
        report.clone().numbered(1).windows(wanted.len()).any(|part| part == wanted)
    }

    fn integer(value: u64) -> Vec<u8> {
        [&[1][..], &value.to_le_bytes()].concat()
    }

    fn number(value: f64) -> Vec<u8> {
        [&[2][..], &value.to_le_bytes()].concat()
    }

    #[test]
    fn the_end_of_a_process_tells_what_was_cut_off() {
        let (clean, cut) = (identity().stopped(9, "x", 2_000_000, 7, 0), identity().stopped(9, "x", 2_000_000, 7, 1));
        assert!(has(&clean, field::GRACEFUL_DRAIN, &integer(1)) && has(&cut, field::GRACEFUL_DRAIN, &integer(0)));
        assert!(has(&cut, field::ACTIVE_AT_EXIT, &integer(1)) && has(&cut, field::UPTIME, &number(2.0)));
        let embedded = Identity { process_group: String::new(), ..identity() };
        let expected = {
            let mut report = Datagram::new(Kind::Stopping, 5, 9);
            report.text(field::HOST_NAME, b"h");
            report.integer(field::ACTIVE_AT_DECISION, 3);
            report
        };
        assert_eq!(embedded.stopping(9, "", 3), expected, "no group and no reason");
    }

    #[test]
    fn a_period_has_a_queue_only_where_there_is_one() {
        let mut interval =
            Interval { threads: vec![ThreadPeriod::default(); 2], is_daemon: true, ..Interval::default() };
        let report = |interval: &Interval| identity().period(9, 5000, interval, Memory { resident: 1, largest: 2 });
        let quiet = report(&interval);
        assert!(has(&quiet, field::MEANS, &number(0.0)) && !has(&quiet, field::LEASTS, &number(0.0)));
        assert!(!has(&quiet, field::MEANS + 1, &number(0.0)) && has(&quiet, field::SWITCH_INTERVAL, &number(0.005)));
        interval.requests.add(&Sample { status: 404, times_us: [1000, 2000, 3, 4, 5, 6, 7, 8], ..Sample::default() });
        let busy = report(&interval);
        assert!(has(&busy, field::MEANS + 1, &number(0.002)) && has(&busy, field::MOSTS, &number(0.001)));
        assert!(has(&busy, field::STATUSES + 3, &integer(1)) && has(&busy, field::SLOT_COMPLETED, &[5, 2, 0]));
        interval.is_daemon = false;
        assert!(!has(&report(&interval), field::MEANS + 1, &number(0.002)));
    }

    #[test]
    fn the_largest_process_has_room() {
        let mut interval =
            Interval { threads: vec![ThreadPeriod::default(); 500], is_daemon: true, ..Interval::default() };
        interval.requests.add(&Sample::default());
        let identity = Identity { process_group: "g".repeat(400), ..identity() };
        let report = identity.period(9, 5000, &interval, Memory::default());
        assert!(
            has(&report, field::SLOT_MAX_DURATION, &[6, 128, 0]) && has(&report, field::THREADS_MAXIMUM, &integer(500))
        );
    }

    #[test]
    fn a_slow_request_has_its_phases_as_far_as_they_have_come() {
        let times = Times { received_us: 1_000_000, queued_us: 2_000_000, taken_us: 4_000_000, called_us: 0 };
        let told = Told { method: b"GET".to_vec(), ..Told::default() };
        let mut slow = Slow { times, told, duration: Duration::from_secs(3), ..Slow::default() };
        assert_eq!(phases(7_000_000, &slow), [1_000_000, 2_000_000, 3_000_000, 0]);
        slow.times.called_us = 5_000_000;
        assert_eq!(phases(7_000_000, &slow), [1_000_000, 2_000_000, 1_000_000, 2_000_000]);
        let running = identity().slow(7_000_000, &slow);
        assert!(has(&running, field::STATE, &integer(0)) && has(&running, field::STATUS, &integer(0)));
        assert!(has(&running, field::METHOD, b"\x04\x03\0GET") && has(&running, field::PHASES + 3, &number(2.0)));
        slow.sample =
            Some(Sample { status: 200, times_us: [1, 2, 3, 9_000_000, 5, 6, 7, 8], waits: 4, ..Sample::default() });
        slow.is_over = true;
        let over = identity().slow(7_000_000, &slow);
        assert!(has(&over, field::PHASES + 3, &number(9.0)) && has(&over, field::GIL_WAIT_COUNT, &integer(4)));
        assert!(has(&over, field::STATE, &integer(1)) && has(&over, field::STATUS, &integer(200)));
        slow.times.queued_us = 0;
        assert_eq!(phases(7_000_000, &slow), [4_000_000, 0, 0, 2_000_000], "embedded mode has no queue");
    }

    #[test]
    fn collections_are_told_one_by_one() {
        let mut numbers: Vec<u64> = (0..18).collect();
        numbers.extend([1_000_000, 500_000, 2, 3, 4, 6]);
        let reports = identity().collections(9, &numbers);
        assert_eq!(reports.len(), 2, "what is not whole is left out");
        assert!(has(&reports[0], field::GC + 17, &integer(17)));
        assert!(has(&reports[1], field::GC_EVENT_DURATION, &number(0.5)) && has(&reports[1], 324, &integer(4)));
        assert_eq!(identity().collections(9, &[]).len(), 1);
    }
}
