//! Requests that take longer than `WSGISlowRequests` allows: what each request thread executes, and those that have ended. A
//! request thread notes its request when it takes it, before its script is loaded, so one that hangs there is seen as well.
//! Nothing is noted while nobody wants to know. No lock is held for longer than a copy takes.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use wsgi_sys::{clock, forked};
use wsgi_wire::request::{Head, Variables};
use wsgi_wire::telemetry::cut;

use crate::python::waits::Waits;
use crate::request::interval::Sample;

/// Most requests that run and are reported at a time.
const RUNNING: usize = 16;

/// Which requests are slow, and what is told of them.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Those that take longer.
    pub threshold: Duration,
    /// Their User-Agent is told.
    pub user_agent: bool,
}

impl Rules {
    /// How many slow requests can end between two reports, with this many request threads: five times what is
    /// possible if the reports come in time.
    pub fn room(&self, threads: usize, interval: Duration) -> usize {
        let each = (interval.as_secs_f64() / self.threshold.as_secs_f64()).ceil();
        let room = (threads as f64 * each * 5.0).min(4096.0) as usize;
        room.max(32)
    }
}

/// What a request says of itself. Texts that are too long are cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub log_id: Vec<u8>,
    pub server_pid: u64,
    pub method: Vec<u8>,
    pub scheme: Vec<u8>,
    pub host: Vec<u8>,
    pub script_name: Vec<u8>,
    pub path_info: Vec<u8>,
    pub protocol: Vec<u8>,
    pub peer_ip: Vec<u8>,
    pub user_agent: Vec<u8>,
}

impl Told {
    fn of(variables: Variables<'_>, with_user_agent: bool) -> Told {
        let mut told = Told::default();
        let mut has_host = false;
        for (key, value) in variables.flatten() {
            match key.bytes() {
                b"mod_wsgi.request_id" => told.log_id = cut(value, 63),
                b"mod_wsgi.server_pid" => told.server_pid = number(value),
                b"REQUEST_METHOD" => told.method = cut(value, 15),
                b"wsgi.url_scheme" => told.scheme = cut(value, 15),
                b"HTTP_HOST" => (told.host, has_host) = (cut(without_port(value), 255), true),
                b"SERVER_NAME" if !has_host => told.host = cut(value, 255),
                b"SCRIPT_NAME" => told.script_name = cut(value, 255),
                b"PATH_INFO" => told.path_info = cut(value, 511),
                b"SERVER_PROTOCOL" => told.protocol = cut(value, 15),
                b"REMOTE_ADDR" => told.peer_ip = cut(value, 45),
                b"HTTP_USER_AGENT" if with_user_agent => told.user_agent = cut(value, 511),
                _ => {}
            }
        }
        told
    }
}

fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A host without the port behind it; an IPv6 address stands in brackets.
fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':') {
        Some(at) if host[at + 1..].iter().all(u8::is_ascii_digit) => &host[..at],
        _ => host,
    }
}

/// When things happened to a request, microseconds since the epoch; 0: they have not, or not in this mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// httpd received it.
    pub received_us: i64,
    /// A child began to look for a process.
    pub queued_us: i64,
    /// The process took it. In embedded mode the request thread did.
    pub taken_us: i64,
    /// The application was called.
    pub called_us: i64,
}

/// A slow request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slow {
    /// It has ended.
    pub is_over: bool,
    /// How long it has taken since the process took it.
    pub duration: Duration,
    /// Number of the request thread.
    pub thread: u32,
    pub times: Times,
    /// Waits for the GIL until the application was called.
    pub waits: Waits,
    pub told: Told,
    /// Requests of the process that ran when it began and when it ended, itself included.
    pub active: (u64, u64),
    /// What was measured, once it has ended. A request that had no application has nothing.
    pub sample: Option<Sample>,
}

/// What a request thread executes.
#[derive(Debug)]
struct Running {
    begun: Duration,
    slow: Slow,
}

/// All request threads, and the slow requests that have ended and are not reported yet.
#[derive(Debug)]
pub struct Requests {
    rules: Rules,
    threads: Vec<Mutex<Option<Running>>>,
    active: AtomicU64,
    room: usize,
    ended: Mutex<VecDeque<Slow>>,
}

static REQUESTS: OnceLock<Requests> = OnceLock::new();

/// From now on requests are noted.
pub fn start(rules: Rules, threads: usize, interval: Duration) {
    REQUESTS.get_or_init(|| Requests::new(rules, threads, interval));
}

/// What is noted, if anybody wants to know.
pub fn requests() -> Option<&'static Requests> {
    REQUESTS.get()
}

/// Request thread `thread` takes a request, whose times of day are in `head`. `taken_us`: when the process took it.
pub fn claim(thread: u32, head: &Head<'_>, variables: &Variables<'_>, taken_us: i64) -> Option<Claim<'static>> {
    let requests = REQUESTS.get()?;
    let times = Times { received_us: head.request_start_us, queued_us: head.queue_start_us, taken_us, called_us: 0 };
    let told = Told::of(variables.clone(), requests.rules.user_agent);
    requests.claim(thread, clock::monotonic(), times, told)
}

impl Requests {
    fn new(rules: Rules, threads: usize, interval: Duration) -> Requests {
        Requests {
            rules,
            threads: (0..threads.max(1)).map(|_| Mutex::new(None)).collect(),
            active: AtomicU64::new(0),
            room: rules.room(threads, interval),
            ended: Mutex::default(),
        }
    }

    /// `None` for a request within a request of the same thread: that one is told.
    fn claim(&self, thread: u32, begun: Duration, times: Times, told: Told) -> Option<Claim<'_>> {
        // A child that has one thread calls it 0.
        let at = usize::try_from(thread.saturating_sub(1)).ok()?;
        let mut place = self.threads.get(at)?.lock();
        if place.is_some() {
            return None;
        }
        let active = self.active.fetch_add(1, Ordering::Relaxed) + 1;
        let slow = Slow { thread, times, told, active: (active, 0), ..Slow::default() };
        *place = Some(Running { begun, slow });
        Some(Claim { requests: self, at, is_of_no_interest: AtomicBool::new(false) })
    }

    fn end(&self, at: usize, now: Duration, is_of_no_interest: bool) {
        let active = self.active.fetch_sub(1, Ordering::Relaxed);
        let Some(Running { begun, mut slow }) = self.threads[at].lock().take() else { return };
        slow.duration = now.saturating_sub(begun);
        if is_of_no_interest || slow.duration < self.rules.threshold {
            return;
        }
        (slow.is_over, slow.active.1) = (true, active);
        let mut ended = self.ended.lock();
        if ended.len() >= self.room {
            ended.pop_front();
        }
        ended.push_back(slow);
    }

    /// Those that have ended since the last call, and those that run now, the oldest first.
    pub fn take(&self, now: Duration) -> Vec<Slow> {
        let mut found = Vec::from(std::mem::take(&mut *self.ended.lock()));
        let is_slow = |running: &Running| now.saturating_sub(running.begun) >= self.rules.threshold;
        let one = |place: &Mutex<Option<Running>>| {
            let place = place.lock();
            let Running { begun, slow } = place.as_ref().filter(|running| is_slow(running))?;
            Some(Slow { duration: now.saturating_sub(*begun), ..slow.clone() })
        };
        let mut running: Vec<Slow> = self.threads.iter().filter_map(one).collect();
        running.sort_by_key(|slow| std::cmp::Reverse(slow.duration));
        found.extend(running.into_iter().take(RUNNING));
        found
    }
}

/// A request that a thread executes. It ends when this is dropped.
#[derive(Debug)]
pub struct Claim<'r> {
    requests: &'r Requests,
    at: usize,
    is_of_no_interest: AtomicBool,
}

impl Claim<'_> {
    fn change(&self, change: impl FnOnce(&mut Slow)) {
        if let Some(running) = self.requests.threads[self.at].lock().as_mut() {
            change(&mut running.slow);
        }
    }

    /// The application is about to be called.
    pub fn call(&self, called_us: i64, waits: Waits) {
        self.change(|slow| (slow.times.called_us, slow.waits) = (called_us, waits));
    }

    /// The application has ended.
    pub fn measure(&self, sample: Sample) {
        self.change(|slow| slow.sample = Some(sample));
    }

    /// The request is for another process, or is none.
    pub fn forget(&self) {
        self.is_of_no_interest.store(true, Ordering::Relaxed);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // In a forked process somebody may hold a lock for ever.
        if !forked::is_child() {
            self.requests.end(self.at, clock::monotonic(), self.is_of_no_interest.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsgi_wire::request::{Encoder, decode};

    const SECOND: Duration = Duration::from_secs(1);
    const RULES: Rules = Rules { threshold: SECOND, user_agent: false };

    fn requests(threads: usize) -> Requests {
        Requests::new(RULES, threads, SECOND)
    }

    fn claim(requests: &Requests, thread: u32, begun: u32) -> Claim<'_> {
        let times = Times { taken_us: 5, ..Times::default() };
        requests.claim(thread, begun * SECOND, times, Told::default()).expect("a claim")
    }

    /// Ends a claim at this time, and not now.
    fn end(claim: Claim<'_>, seconds: u32) {
        claim.requests.end(claim.at, seconds * SECOND, claim.is_of_no_interest.load(Ordering::Relaxed));
        std::mem::forget(claim);
    }

    #[test]
    fn there_is_room_for_five_times_what_can_come() {
        let room = |threshold: f64, threads, interval: f64| {
            let rules = Rules { threshold: Duration::from_secs_f64(threshold), ..RULES };
            rules.room(threads, Duration::from_secs_f64(interval))
        };
        assert_eq!((room(1.0, 5, 1.0), room(0.5, 20, 1.0), room(0.3, 20, 1.0)), (32, 200, 400));
        assert_eq!((room(0.001, 100, 1e9), room(1000.0, 1, 0.5)), (4096, 32));
    }

    #[test]
    fn a_request_is_told_while_it_runs_and_once_when_it_has_ended() {
        let requests = requests(2);
        let first = claim(&requests, 1, 100);
        let second = claim(&requests, 2, 101);
        assert_eq!(requests.take(100 * SECOND + SECOND / 2), []);
        first.call(7, Waits { count: 2, time: SECOND });
        let found = requests.take(103 * SECOND);
        let seen = |slow: &Slow| (slow.thread, slow.is_over, slow.duration.as_secs(), slow.active);
        assert_eq!(found.iter().map(seen).collect::<Vec<_>>(), [(1, false, 3, (1, 0)), (2, false, 2, (2, 0))]);
        assert_eq!((found[0].times.called_us, found[0].waits.count, found[0].sample), (7, 2, None));
        first.measure(Sample { status: 201, ..Sample::default() });
        end(first, 104);
        let found = requests.take(104 * SECOND);
        assert_eq!(found.iter().map(seen).collect::<Vec<_>>(), [(1, true, 4, (1, 2)), (2, false, 3, (2, 0))]);
        assert_eq!(found[0].sample.map(|sample| sample.status), Some(201));
        end(second, 101);
        assert_eq!(requests.take(200 * SECOND), [], "it was fast");
    }

    #[test]
    fn a_request_within_a_request_and_one_for_another_process_are_not_told() {
        let requests = requests(1);
        let outer = claim(&requests, 0, 0);
        assert!(requests.claim(0, SECOND, Times::default(), Told::default()).is_none());
        assert!(requests.claim(2, SECOND, Times::default(), Told::default()).is_none(), "no such thread");
        outer.forget();
        end(outer, 50);
        assert_eq!(requests.take(60 * SECOND), []);
        end(claim(&requests, 0, 60), 70);
        assert_eq!(requests.take(70 * SECOND).len(), 1);
    }

    #[test]
    fn the_newest_stay_where_there_are_too_many() {
        let requests = requests(20);
        for at in 0..40 {
            end(claim(&requests, 1, at), at + 2);
        }
        let running: Vec<_> = (1..=20).map(|thread| claim(&requests, thread, 100 + thread)).collect();
        // Five of a second for each of 20 threads.
        let found = requests.take(1000 * SECOND);
        assert_eq!((found.len(), found[40].thread, found[55].thread), (40 + RUNNING, 1, 16));
        running.into_iter().for_each(|claim| end(claim, 1000));
        let small = Requests { room: 32, ..self::requests(1) };
        for at in 0..40 {
            end(claim(&small, 1, at), at + 2 + at);
        }
        let found = small.take(SECOND);
        assert_eq!((found.len(), found[0].duration.as_secs()), (32, 10));
    }

    #[test]
    fn what_a_request_says_of_itself_is_cut() {
        let mut payload = Vec::new();
        let head = Head {
            flags: 0,
            log_level: 0,
            mtime_us: 0,
            request_start_us: 0,
            queue_start_us: 0,
            script: b"/x",
            callable: b"a",
            application_group: b"",
        };
        let mut out = Encoder::new(&mut payload, &head);
        for (name, value) in [
            ("SERVER_NAME", "not.this"),
            ("HTTP_HOST", "example.test:8080"),
            ("SERVER_NAME", "nor.this"),
            ("mod_wsgi.server_pid", "17"),
            ("REQUEST_METHOD", "A-METHOD-THAT-IS-LONG"),
            ("HTTP_USER_AGENT", "me"),
            ("PATH_INFO", &"p".repeat(600)),
        ] {
            out.put(name.as_bytes(), value.as_bytes());
        }
        out.finish();
        let (_, variables) = decode(&payload).expect("well made");
        let told = Told::of(variables.clone(), false);
        assert_eq!(
            (&told.host[..], told.server_pid, &told.method[..]),
            (&b"example.test"[..], 17, &b"A-METHOD-THA..."[..])
        );
        assert_eq!((told.path_info.len(), told.user_agent.len()), (511, 0));
        assert_eq!(Told::of(variables, true).user_agent, b"me");
        for (host, expected) in [("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("x", "x"), ("x:", "x")] {
            assert_eq!(without_port(host.as_bytes()), expected.as_bytes());
        }
    }
}
