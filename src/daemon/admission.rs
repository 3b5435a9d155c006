//! How a request gets a request thread: how long it waits for one, how many may wait, and what the child tells the
//! client and the log when there is none.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use wsgi_sys::scoreboard::{Executing, Fault, Lease, Refused, Scoreboard, Trouble};
use wsgi_sys::{clock, socket};
use wsgi_wire::control::Connect;
use wsgi_wire::messages::Message;

use super::Job;
use super::outcome::Ending;
use crate::httpd::log::Level;

/// `Retry-After` of a group that is full, seconds: a thread may be free in the next moment.
const RETRY_FULL: u64 = 1;
/// `Retry-After` of a group that has no process, in seconds, when nobody says when the supervisor next tries to start
/// one.
const RETRY_STOPPED: u64 = 5;

/// How long the request may wait for a request thread. The caller must ask before it reads the body ahead:
/// `queue-timeout` counts from the request's arrival at httpd, as in mod_wsgi, but leaves out the time in which the
/// client sends its body, which mod_wsgi reads later. The arrival is a time of day. A clock that somebody sets forwards
/// or back from now on must not change the result.
pub(super) fn patience(job: &Job<'_>) -> Duration {
    match job.options.queue_timeout {
        // As long as a process may take to answer.
        0 => job.socket_timeout(),
        seconds => left(Duration::from_secs(seconds.into()), job.request.start_us(), clock::wall_us()),
    }
}

/// What is left of `queue` for a request that arrived at `arrival`, microseconds since the epoch.
fn left(queue: Duration, arrival: i64, now: i64) -> Duration {
    let waited = u64::try_from(now.saturating_sub(arrival)).unwrap_or(0);
    queue.saturating_sub(Duration::from_micros(waited))
}

/// Reserves a request thread.
pub(super) fn reserve(job: &Job<'_>, deadline: Instant) -> Result<Lease, Ending> {
    let me = job.pid;
    let board = &job.group.board;
    let reserved = board.reserve_asking(me, job.options.listen_backlog, Some(deadline), || ask_for_process(job));
    let lease = reserved.map_err(|refused| refuse(job, refused))?;
    // Without the query string, which may hold secrets.
    board.begin(&lease, job.request.method(), job.request.uri());
    Ok(lease)
}

/// Tells the supervisor that a request waits for a group without processes.
fn ask_for_process(job: &Job<'_>) {
    if let Some(dispatch) = job.dispatch {
        let message = Connect { group: job.group.id, slot: Connect::WANTED, epoch: 0 }.encode();
        // If the socket is full, the request asks again in a moment.
        let _ = socket::send_with_fds(dispatch.as_fd(), &message, &[]);
    }
}

/// Logs why the request gets no request thread, and decides what the client gets.
fn refuse(job: &Job<'_>, refused: Refused) -> Ending {
    let board = &job.group.board;
    match refused {
        Refused::Full => {
            let limit = job.options.listen_backlog;
            match board.has_trouble(Trouble::Full) {
                Some(untold) => {
                    let text = format!(
                        "too many requests wait: {}, listen-backlog={limit}; clients get 503 while this lasts{}",
                        state_of(board),
                        before(untold)
                    );
                    job.report(Message::TooManyWait, &text);
                }
                None => job.log_lazily(Level::Debug, || {
                    format!("listen-backlog={limit} requests wait already, so {} gets 503", job.what())
                }),
            }
            Ending::Unavailable(RETRY_FULL)
        }
        Refused::TimedOut => {
            let limit = job.queue_limit();
            match board.has_trouble(Trouble::Late) {
                Some(untold) => {
                    let text = format!(
                        "Queue timeout expired for WSGI daemon process '{}': no request thread was free for {} within \
                         {limit}: {}; {}{}",
                        job.name(),
                        job.what(),
                        state_of(board),
                        job.gets(504),
                        before(untold)
                    );
                    job.report_known(Message::QueueTimeout, &text);
                }
                None => job.log_lazily(Level::Info, || {
                    format!("no request thread was free for {} within {limit}; {}", job.what(), job.gets(504))
                }),
            }
            Ending::Status(504)
        }
        Refused::Closed => super::given_up(job),
        Refused::Unavailable => {
            let again = retry_after(board.next_start_in());
            match board.refuse() {
                Some(fault) => {
                    job.report(Message::NoProcess, &stoppage(&job.options.defined.to_string(), &fault, again))
                }
                None => job.log_lazily(Level::Debug, || {
                    format!("no process can be started; {} gets 503 with Retry-After: {again}", job.what())
                }),
            }
            Ending::Unavailable(again)
        }
    }
}

/// `Retry-After` where processes cannot be started: a little after the next attempt.
fn retry_after(next: Option<Duration>) -> u64 {
    next.map_or(RETRY_STOPPED, |next| next.as_secs() + 2)
}

/// The log line of the first request that is refused, which speaks for all of them. The supervisor logs the end of the
/// stoppage.
fn stoppage(defined: &str, fault: &Fault, again: u64) -> String {
    let (lasted, cause) = (seconds(fault.lasted), &fault.cause);
    format!(
        "it has no process, and for {lasted} no process could be started (defined at {defined}): {cause} (the lines of the \
         supervisor say more); clients get 503 while this lasts, this one with Retry-After: {again}"
    )
}

/// How many cases had no line of their own since the last line of this kind.
fn before(untold: u32) -> String {
    match untold {
        0 => String::new(),
        1 => " (as 1 more did since the last line about this)".to_owned(),
        many => format!(" (as {many} more did since the last line about this)"),
    }
}

fn state_of(board: &Scoreboard) -> String {
    describe(board.census(), board.oldest().as_ref(), board.waiting())
}

/// Describes `ready` processes with `threads` request threads, `busy` of which execute something; the request that has
/// been executed for the longest time; and how many requests wait.
fn describe((ready, threads, busy): (u32, u32, u32), oldest: Option<&Executing>, waiting: u32) -> String {
    let threads = match ready {
        0 => "no process is ready".to_owned(),
        1 => format!("{busy}/{threads} request threads busy in 1 process"),
        many => format!("{busy}/{threads} request threads busy in {many} processes"),
    };
    let oldest = oldest.map_or_else(String::new, |oldest| {
        let age = seconds(oldest.age());
        if oldest.what.is_empty() { format!(", oldest {age}") } else { format!(", oldest {age} in {}", oldest.what) }
    });
    format!("{threads}{oldest}, {waiting} waiting")
}

/// For a reader: tenths below ten seconds.
fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} s", time.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_wait_counts_from_the_arrival() {
        assert_eq!(left(s(10), 5_000_000, 5_000_000), s(10));
        assert_eq!(left(s(10), 5_000_000, 9_000_000), s(6));
        assert_eq!(left(s(10), 5_000_000, 35_000_000), s(0));
        // The clock was put back meanwhile.
        assert_eq!(left(s(10), 35_000_000, 5_000_000), s(10));
        assert_eq!(left(s(10), i64::MAX, i64::MIN), s(10));
    }

    #[test]
    fn the_state_of_a_group_is_one_sentence() {
        let oldest = Executing { since: clock::monotonic().saturating_sub(s(41)), what: "GET /x".to_owned() };
        let text = describe((1, 15, 15), Some(&oldest), 37);
        assert_eq!(text, "15/15 request threads busy in 1 process, oldest 41 s in GET /x, 37 waiting");
        assert_eq!(describe((0, 0, 0), None, 2), "no process is ready, 2 waiting");
        assert!(describe((2, 8, 8), None, 0).contains("8/8 request threads busy in 2 processes, 0 waiting"));
        assert_eq!((seconds(Duration::from_millis(340)), seconds(s(10))), ("0.3 s".to_owned(), "10 s".to_owned()));
        assert_eq!(
            (before(0), before(7)),
            (String::new(), " (as 7 more did since the last line about this)".to_owned())
        );
    }

    #[test]
    fn a_stoppage_names_its_cause_and_what_clients_get() {
        let fault = Fault { lasted: Duration::from_millis(3_200), cause: "exited with status 1".to_owned() };
        let text = stoppage("httpd.conf:3", &fault, 4);
        assert!(
            text.contains("for 3.2 s no process could be started (defined at httpd.conf:3): exited with status 1 ("),
            "{text}"
        );
        assert!(text.ends_with("this one with Retry-After: 4"), "{text}");
    }

    #[test]
    fn clients_come_back_after_the_next_attempt() {
        assert_eq!((retry_after(None), retry_after(Some(Duration::from_millis(8_500)))), (5, 10));
    }
}
