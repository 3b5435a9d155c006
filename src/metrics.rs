//! What `mod_wsgi.server_metrics()` tells: httpd's scoreboard as a JSON object. In embedded mode the engine asks for it
//! directly ([`snapshot`]). Daemon processes ask by way of the supervisor; one thread in each child answers it
//! ([`prepare`]), where a group has `server-metrics=On`.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use serde::Serialize;
use wsgi_sys::poll::{PollFd, poll};
use wsgi_sys::{clock, memory, signal, socket};
use wsgi_wire::control::{Connect, asked_metrics};

use crate::httpd;
use crate::httpd::pool::Pool;
use crate::httpd::scoreboard::{Child, Thread, Whole};
use crate::live::Live;

const FILE: &CStr = c"wsgi-server-metrics";
/// How long a child that ends waits for a snapshot that is being taken.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long an answer waits for room on the way to the supervisor.
const ROOM: Duration = Duration::from_millis(100);

/// The keys, which are those of mod_wsgi. Times are seconds since the epoch.
#[derive(Debug, Serialize, PartialEq)]
struct ServerMetrics {
    server_limit: i32,
    thread_limit: i32,
    running_generation: i32,
    restart_time: f64,
    current_time: f64,
    running_time: i64,
    processes: Vec<ProcessMetrics>,
}

#[derive(Debug, Serialize, PartialEq)]
struct ProcessMetrics {
    process_num: i32,
    pid: i32,
    generation: i32,
    quiescing: bool,
    workers: Vec<ThreadMetrics>,
}

#[derive(Debug, Serialize, PartialEq)]
struct ThreadMetrics {
    thread_num: i32,
    generation: i32,
    status: char,
    access_count: u64,
    bytes_served: i64,
    start_time: f64,
    stop_time: f64,
    last_used: f64,
    client: String,
    request: String,
    vhost: String,
}

/// mod_status's letters, in the order of httpd's `SERVER_` numbers (scoreboard.h).
const LETTERS: [char; 11] = ['.', 'S', '_', 'R', 'W', 'K', 'L', 'D', 'C', 'G', 'I'];

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

/// ISO 8859-1: each byte is a character.
fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn of_thread(thread: &Thread) -> ThreadMetrics {
    ThreadMetrics {
        thread_num: thread.number,
        generation: thread.generation,
        status: LETTERS.get(usize::from(thread.status)).copied().unwrap_or('?'),
        access_count: thread.requests,
        bytes_served: thread.bytes,
        start_time: seconds(thread.begun),
        stop_time: seconds(thread.ended),
        last_used: seconds(thread.last_used),
        client: text(&thread.client),
        request: text(&thread.request),
        vhost: text(&thread.host),
    }
}

/// The metrics at `now`, microseconds since the epoch. As in mod_wsgi places without a child (pid 0) or a thread (`.`) are
/// there as well.
fn describe(
    whole: &Whole,
    child: impl Fn(i32) -> Option<Child>,
    thread: impl Fn(i32, i32) -> Option<Thread>,
    now: i64,
) -> ServerMetrics {
    let processes = (0..whole.server_limit).filter_map(|number| {
        let Child { pid, generation, quiescing } = child(number)?;
        let workers = (0..whole.thread_limit).filter_map(|at| Some(of_thread(&thread(number, at)?))).collect();
        Some(ProcessMetrics { process_num: number, pid, generation, quiescing, workers })
    });
    ServerMetrics {
        server_limit: whole.server_limit,
        thread_limit: whole.thread_limit,
        running_generation: whole.generation,
        restart_time: seconds(whole.restart_time),
        current_time: seconds(now),
        running_time: now.saturating_sub(whole.restart_time) / 1_000_000,
        processes: processes.collect(),
    }
}

/// httpd's scoreboard is about to go: a child unmaps it at its end, when other threads still run.
static ENDING: AtomicBool = AtomicBool::new(false);
/// Held while it is read.
static READING: Mutex<()> = Mutex::new(());

/// Ends the reading of httpd's scoreboard with the child's pool, which goes before those of the parent.
struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        ENDING.store(true, Ordering::SeqCst);
        // Under prefork this may run in a signal handler, in the middle of a snapshot on the same thread.
        let begun = clock::monotonic();
        while matches!(READING.try_lock(), Err(TryLockError::WouldBlock)) && clock::monotonic() < begun + PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The metrics of now, as [`wsgi_wire::control::ToDaemon::ServerMetrics`] hands them on. Nothing where httpd has no
/// scoreboard (any more), or no memory is left.
pub(crate) fn snapshot() -> Option<OwnedFd> {
    let reading = READING.lock().unwrap_or_else(PoisonError::into_inner);
    // Looked at again for each child, so that the end of this child does not have to wait for long.
    let is_there = || !ENDING.load(Ordering::SeqCst);
    let whole = is_there().then(httpd::scoreboard::whole)??;
    let child = |number| is_there().then(|| httpd::scoreboard::child(number))?;
    let metrics = describe(&whole, child, httpd::scoreboard::thread, clock::wall_us());
    drop(reading);
    let json = serde_json::to_vec(&metrics).ok()?;
    memory::sealed(FILE, &json).ok()
}

/// Prepares a child whose configuration is `live` and who reaches the supervisor through `dispatch`: answers the supervisor from now on, if a group wants that.
pub(crate) fn prepare(pchild: Pool<'_>, live: &Live, dispatch: Option<&Arc<OwnedFd>>) {
    let global = &live.reading.global;
    let in_daemons = global.groups.iter().any(|group| group.server_metrics);
    if in_daemons || global.runtime.server_metrics == Some(true) {
        pchild.own(AtEnd);
    }
    let Some(dispatch) = dispatch.filter(|_| in_daemons) else { return };
    let dispatch = Arc::clone(dispatch);
    crate::httpd::module::keep_image();
    let builder = std::thread::Builder::new().name("wsgi-metrics".to_owned()).stack_size(256 << 10);
    // If the thread cannot be started, another child answers the supervisor's question.
    let _ = signal::with_all_blocked(|| builder.spawn(move || while answer(&dispatch).is_some() {}));
}

/// Waits for one question, and answers it. Nothing when nobody will ask any more.
fn answer(dispatch: &OwnedFd) -> Option<()> {
    let mut question = [0; 16];
    // Of the children that wait here one wakes.
    let got = socket::recv_with_fds(dispatch.as_fd(), &mut question).ok()?;
    if ENDING.load(Ordering::SeqCst) {
        return None;
    }
    let Some(number) = asked_metrics(&question[..got.len]) else { return Some(()) };
    let begun = clock::monotonic();
    let Some(file) = snapshot() else { return Some(()) };
    let took = u64::try_from((clock::monotonic() - begun).as_micros()).unwrap_or(0);
    let message = Connect { group: took, slot: Connect::METRICS, epoch: number }.encode();
    // A supervisor that runs takes at once what children send. If it does not, the process that wants the answer asks
    // again.
    let _ = poll(&mut [PollFd::new(dispatch.as_fd(), false, true)], Some(ROOM));
    let _ = socket::send_with_fds(dispatch.as_fd(), &message, &[file.as_fd()]);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Whole {
        Whole { server_limit: 3, thread_limit: 2, generation: 4, restart_time: 1_000_500_000 }
    }

    fn child(number: i32) -> Option<Child> {
        let pids = [70, 0, 72];
        let at = usize::try_from(number).ok()?;
        Some(Child { pid: *pids.get(at)?, generation: 4, quiescing: number == 2 })
    }

    fn thread(child: i32, number: i32) -> Option<Thread> {
        let request = b"GET /\xe9 HTTP/1.1".to_vec();
        let number = child * 2 + number;
        Some(Thread { number, status: 4, requests: 5, begun: 2_250_000, request, ..Thread::default() })
    }

    #[test]
    fn all_places_of_children_and_of_their_threads_are_shown() {
        let found = describe(&whole(), child, thread, 1_003_000_000);
        assert_eq!((found.running_time, found.current_time), (2, 1003.0));
        let numbers: Vec<_> = found.processes.iter().map(|it| (it.process_num, it.pid, it.quiescing)).collect();
        assert_eq!(numbers, [(0, 70, false), (1, 0, false), (2, 72, true)]);
        let threads: Vec<_> = found.processes[2].workers.iter().map(|it| it.thread_num).collect();
        assert_eq!(threads, [4, 5]);
    }

    #[test]
    fn the_json_has_the_keys_and_types_of_mod_wsgi() {
        let text = serde_json::to_string(&describe(&whole(), child, thread, 1_003_000_000)).expect("JSON");
        let start = r#"{"server_limit":3,"thread_limit":2,"running_generation":4,"restart_time":1000.5,"#;
        assert!(text.starts_with(start), "{text}");
        let thread = r#"{"thread_num":0,"generation":0,"status":"W","access_count":5,"bytes_served":0,"start_time":2.25,"stop_time":0.0,"last_used":0.0,"client":"","request":"GET /é HTTP/1.1","vhost":""}"#;
        assert!(text.contains(thread), "{text}");
    }

    #[test]
    fn a_status_that_httpd_does_not_have_yet_is_no_error() {
        let odd = Thread { status: 200, ..Thread::default() };
        assert_eq!((of_thread(&odd).status, of_thread(&Thread::default()).status), ('?', '.'));
    }
}
