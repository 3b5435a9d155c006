//! Daemon mode in a child: a request goes to a daemon process and its response comes back.
//!
//! `handler` calls [`serve`]. A request thread of the group is reserved on the scoreboard, the request
//! is written to a kept connection, body and response pass in both directions at once
//! (`exchange`), and what happened is turned into a status or another attempt (`outcome`).

mod connections;
mod drain;
mod ending;
mod exchange;
mod line;
mod outcome;
mod relay;
mod scan;
mod sending;
mod spool;
mod upload;

use std::time::{Duration, Instant};

use wsgi_sys::scoreboard::Refused;

use crate::directive::ProcessGroup;
use crate::httpd::log::Level;
use crate::httpd::request::Request;
use crate::live::{Group, Live};
use crate::respond::{self, Delivery};
use crate::route::BodyLength;

pub(crate) use connections::Connections;
use exchange::Exchange;
use line::Line;
use outcome::{Ending, Lost, MAX_ATTEMPTS};
pub(crate) use spool::Limits;
use upload::Upload;

/// A request for a daemon process.
pub(crate) struct Job<'r> {
    /// The request.
    pub(crate) request: Request<'r>,
    /// What is in force.
    pub(crate) live: &'r Live,
    /// Its process group, as children know it.
    pub(crate) group: &'r Group,
    /// And as the configuration defines it.
    pub(crate) options: &'r ProcessGroup,
    /// Payload of the request's frame.
    pub(crate) payload: &'r [u8],
    /// What the client announced.
    pub(crate) body: BodyLength,
    /// How the response is to be passed on.
    pub(crate) delivery: Delivery,
}

impl Job<'_> {
    /// `socket-timeout`.
    fn socket_timeout(&self) -> Duration {
        self.options.socket_timeout.map_or_else(|| self.client_timeout(), |s| Duration::from_secs(s.into()))
    }

    /// httpd's `Timeout`.
    fn client_timeout(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.request.server().timeout_us()).unwrap_or(60_000_000))
    }

    /// `response-flush-delay`.
    fn flush_delay(&self) -> Duration {
        Duration::from_millis(self.options.response_flush_delay_ms.into())
    }

    /// When waiting for a request thread ends: `queue-timeout`, or as long as a response may take.
    fn queue_deadline(&self) -> Instant {
        let limit = match self.options.queue_timeout {
            0 => self.socket_timeout(),
            seconds => Duration::from_secs(seconds.into()),
        };
        Instant::now() + limit
    }

    /// httpd has noticed that the client left, or closes all connections because this child is to end.
    fn is_given_up(&self) -> bool {
        self.request.is_aborted() || self.group.board.is_closed()
    }

    fn name(&self) -> String {
        String::from_utf8_lossy(&self.options.name).into_owned()
    }
}

/// Serves the request. The result is for httpd: 0, or an error status.
pub(crate) fn serve(job: &Job<'_>) -> i32 {
    let mut upload = match Upload::begin(job.request, job.body, job.options.request_buffer as usize) {
        Ok(upload) => upload,
        Err(status) => return status,
    };
    let deadline = job.queue_deadline();
    for made in 0..MAX_ATTEMPTS {
        outcome::pause_before(made);
        match attempt(job, &mut upload, deadline) {
            Ending::Served => return 0,
            Ending::Again => {}
            Ending::Instead(instead) => return respond::finish(job.request, &instead),
            Ending::Status(status) => {
                upload.end_stream();
                if status == 503 {
                    job.request.err_headers_out().set(b"Retry-After", b"1");
                }
                return status;
            }
        }
    }
    let text = format!(
        "process group \"{}\": {MAX_ATTEMPTS} daemon processes in a row went away before they read the request",
        job.name()
    );
    job.request.log(Level::Error, &text);
    503
}

/// Reserves a request thread and uses it once.
fn attempt(job: &Job<'_>, upload: &mut Upload<'_>, deadline: Instant) -> Ending {
    let me = job.live.pid.load(std::sync::atomic::Ordering::Relaxed);
    let board = &job.group.board;
    let lease = match board.reserve(me, job.options.listen_backlog, Some(deadline)) {
        Ok(lease) => lease,
        Err(refused) => return refuse(job, refused),
    };
    // Without the query string, which may hold secrets.
    board.begin(&lease, job.request.method(), job.request.uri());
    let connection = match job.group.connections.take(&lease) {
        Some(connection) => connection,
        None => match connections::connect(job, &lease) {
            Ok(connection) => connection,
            Err(error) => {
                board.release(lease);
                return outcome::unconnected(job, &error);
            }
        },
    };
    let mut exchange = Exchange::new(job, Line::new(job.group, lease, connection));
    match exchange.run(upload) {
        Ok(ending) => ending,
        Err(lost) => {
            exchange.give_up(&lost, upload);
            if let Some(instead) = exchange.instead() {
                let text = format!(
                    "process group \"{}\": {lost}; the head of its response had come, and the client gets what that decides",
                    job.name()
                );
                job.request.log(Level::Error, &text);
                return instead;
            }
            after_loss(job, &lost, upload, exchange.has_begun())
        }
    }
}

/// `begun`: the client has the head of a response that now breaks off. It must get nothing after it, no error
/// page either.
fn after_loss(job: &Job<'_>, lost: &Lost, upload: &Upload<'_>, begun: bool) -> Ending {
    if matches!(lost, Lost::Stopping) {
        return given_up(job);
    }
    let ending = if begun { Ending::Served } else { outcome::after(lost, upload.can_repeat()) };
    let name = job.name();
    match ending {
        Ending::Again if job.request.logs(Level::Debug) => {
            job.request.log(Level::Debug, &format!("process group \"{name}\": {lost}; trying another process"));
        }
        Ending::Again | Ending::Instead(_) => {}
        Ending::Status(status) => {
            job.request.log(Level::Error, &format!("process group \"{name}\": {lost}; the client gets {status}"));
        }
        Ending::Served => {
            job.request.log(Level::Error, &format!("process group \"{name}\": {lost}; the response is cut short"));
        }
    }
    ending
}

/// No request thread could be had.
fn refuse(job: &Job<'_>, refused: Refused) -> Ending {
    let (ready, threads, busy) = job.group.board.census();
    let waiting = job.group.board.waiting();
    let state =
        format!("{ready} processes ready, {busy} of {threads} request threads busy, {waiting} requests waiting");
    let name = job.name();
    let (status, text) = match refused {
        Refused::Full => {
            let limit = job.options.listen_backlog;
            (503, format!("process group \"{name}\": full: {state}, listen-backlog={limit}; the client gets 503"))
        }
        Refused::TimedOut => {
            let limit = match job.options.queue_timeout {
                0 => format!("socket-timeout of {} s", job.socket_timeout().as_secs()),
                seconds => format!("queue-timeout={seconds}"),
            };
            (
                504,
                format!(
                    "process group \"{name}\": no request thread was free within {limit}: {state}; the client gets 504"
                ),
            )
        }
        Refused::Closed => return given_up(job),
        Refused::Unavailable => (
            503,
            format!(
                "process group \"{name}\" (defined at {}): it has no process and none can be started at the moment; \
                 the supervisor's lines say why; the client gets 503",
                job.options.defined
            ),
        ),
    };
    job.request.log(Level::Error, &text);
    Ending::Status(status)
}

/// httpd stops or restarts, and has closed the client's connection already: nobody sees the status.
fn given_up(job: &Job<'_>) -> Ending {
    let text = format!("process group \"{}\": httpd stops or restarts; the request is given up", job.name());
    job.request.log(Level::Info, &text);
    Ending::Status(503)
}
