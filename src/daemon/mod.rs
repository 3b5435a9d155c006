//! Daemon mode in a child: a request goes to a daemon process and its response comes back.
//!
//! `handler` calls [`serve`]. The child reserves a request thread of the group on the scoreboard, and writes the
//! request to a kept connection. Body and response pass in both directions at once (`exchange`). `outcome` turns what
//! happened into a status or another attempt.

mod admission;
mod blocks;
mod connections;
mod drain;
mod ending;
mod exchange;
mod group;
mod line;
mod outcome;
mod receiving;
mod relay;
mod sending;
mod spool;
mod upload;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgi_wire::decision::{Answer, Question};
use wsgi_wire::messages::Message;

use crate::directive::ProcessGroup;
use crate::httpd::log::Level;
use crate::httpd::request::Request;
use crate::respond::{self, Delivery};
use crate::route::BodyLength;

pub(crate) use connections::Connections;
use exchange::Exchange;
pub(crate) use group::{Group, Groups, groups, publish};
use line::Line;
use outcome::{Ending, Lost, MAX_ATTEMPTS};
pub(crate) use spool::Limits;
use upload::Upload;

/// A request for a daemon process.
pub(crate) struct Job<'r> {
    /// The request.
    pub(crate) request: Request<'r>,
    /// This child's process id, which marks what it has reserved.
    pub(crate) pid: u32,
    /// The socket on which the child sends new connections to the supervisor.
    pub(crate) dispatch: Option<&'r Arc<OwnedFd>>,
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
    /// What a script is asked to decide; the request then has no body, and there is no response.
    pub(crate) asks: Option<Question>,
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

    /// `response-socket-timeout`, or else `socket-timeout`, where one of them is given.
    fn response_patience(&self) -> Option<Duration> {
        let seconds = self.options.response_socket_timeout.or(self.options.socket_timeout)?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// The option that limits how long a client may take for some of the response, with its value.
    fn response_limit(&self) -> String {
        match self.options.response_socket_timeout {
            Some(seconds) => format!("response-socket-timeout={seconds}"),
            None => self.socket_limit(),
        }
    }

    /// `response-flush-delay`.
    fn flush_delay(&self) -> Duration {
        Duration::from_millis(self.options.response_flush_delay_ms.into())
    }

    /// The option that limits [`Job::socket_timeout`], with its value.
    fn socket_limit(&self) -> String {
        match self.options.socket_timeout {
            Some(seconds) => format!("socket-timeout={seconds}"),
            None => format!("socket-timeout={} (httpd's Timeout)", self.client_timeout().as_secs()),
        }
    }

    /// The option that limits the wait for a request thread, with its value.
    fn queue_limit(&self) -> String {
        match self.options.queue_timeout {
            0 => self.socket_limit(),
            seconds => format!("queue-timeout={seconds}"),
        }
    }

    /// Method and path, for messages; for a question its functions before them.
    fn what(&self) -> String {
        let (method, path) = (self.request.method(), self.request.uri());
        let request = format!("{} {}", String::from_utf8_lossy(method), String::from_utf8_lossy(path));
        match self.asks {
            Some(question) => format!("{}() for {request}", question.functions().join("(), ")),
            None => request,
        }
    }

    /// What follows from a loss, for messages. Of a question, whoever asked tells it.
    fn gets(&self, status: i32) -> String {
        match self.asks {
            Some(_) => "there is no answer".to_owned(),
            None => format!("the client gets {status}"),
        }
    }

    /// Writes a line of the request about its process group.
    fn log(&self, level: Level, text: &str) {
        self.request.log(level, &format!("process group \"{}\": {text}", self.name()));
    }

    /// As [`Job::log`], for a warning or an error.
    fn report(&self, message: Message, text: &str) {
        self.request.report(message, &format!("process group \"{}\": {text}", self.name()));
    }

    /// As [`Job::report`], for a line that begins with words of mod_wsgi's, which name the group.
    fn report_known(&self, message: Message, text: &str) {
        self.request.report(message, text);
    }

    /// As [`Job::log`], for lines that are hardly ever written.
    fn log_lazily(&self, level: Level, text: impl FnOnce() -> String) {
        if self.request.logs(level) {
            self.log(level, &text());
        }
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
    let patience = admission::patience(job);
    let mut upload = match Upload::begin(job.request, job.body, job.options.request_buffer as usize) {
        Ok(upload) => upload,
        Err(status) => return status,
    };
    match run(job, &mut upload, Instant::now() + patience) {
        Ending::Served => 0,
        Ending::Instead(instead) => respond::finish(job.request, &instead),
        Ending::Status(status) => {
            upload.end_stream();
            status
        }
        Ending::Unavailable(seconds) => {
            upload.end_stream();
            job.request.err_headers_out().set(b"Retry-After", seconds.to_string().as_bytes());
            503
        }
        // The relay takes no answer to what was no question.
        Ending::Again | Ending::Answered(_) => 502,
    }
}

/// Asks a script to decide.
///
/// # Errors
/// A sentence's end: there is no answer. The log has the cause.
pub(crate) fn ask(job: &Job<'_>) -> Result<Answer, String> {
    let deadline = Instant::now() + admission::patience(job);
    let upload = Upload::begin(job.request, BodyLength::Empty, 0);
    match upload.map(|mut upload| run(job, &mut upload, deadline)) {
        Ok(Ending::Answered(answer)) => Ok(answer),
        _ => Err(format!("process group \"{}\" gave no answer (its own lines say why)", job.name())),
    }
}

/// Tries one process after the other, until one has executed the request.
fn run(job: &Job<'_>, upload: &mut Upload<'_>, deadline: Instant) -> Ending {
    for made in 0..MAX_ATTEMPTS {
        outcome::pause_before(made);
        match attempt(job, upload, deadline) {
            Ending::Again => {}
            ending => return ending,
        }
    }
    let text = format!("{MAX_ATTEMPTS} daemon processes in a row went away before they read the request");
    job.report(Message::AttemptsExhausted, &format!("{text}; {}", job.gets(503)));
    Ending::Unavailable(1)
}

/// Reserves a request thread and uses it once.
fn attempt(job: &Job<'_>, upload: &mut Upload<'_>, deadline: Instant) -> Ending {
    let lease = match admission::reserve(job, deadline) {
        Ok(lease) => lease,
        Err(ending) => return ending,
    };
    let connection = match job.group.connections.take(&lease) {
        Some(connection) => connection,
        None => match connections::connect(job, &lease) {
            Ok(connection) => connection,
            Err(error) => {
                job.group.board.release(lease);
                return outcome::unconnected(job, &error);
            }
        },
    };
    let mut exchange = Exchange::new(job, Line::new(job, lease, connection));
    let ending = match exchange.run(upload) {
        Ok(ending) => ending,
        Err(lost) => after_loss(job, &lost, upload, &mut exchange),
    };
    exchange.report_client();
    ending
}

/// Decides what follows a loss, and logs the loss. If the client already has the head of a response that now breaks
/// off, it must get nothing after that, not even an error page.
fn after_loss(job: &Job<'_>, lost: &Lost, upload: &Upload<'_>, exchange: &mut Exchange<'_>) -> Ending {
    let what = exchange.give_up(lost, upload);
    if matches!(lost, Lost::Stopping) {
        return given_up(job);
    }
    if let Some(instead) = exchange.instead() {
        say_lost(
            job,
            lost,
            false,
            &what,
            "its response had begun with a head that names a page, which the client gets",
        );
        return instead;
    }
    let ending = if exchange.has_begun() { Ending::Served } else { outcome::after(lost, upload.can_repeat()) };
    match &ending {
        Ending::Again => job.log_lazily(Level::Debug, || format!("{what}; trying another process")),
        Ending::Instead(_) | Ending::Answered(_) => {}
        Ending::Status(status) => say_lost(job, lost, false, &what, &job.gets(*status)),
        Ending::Unavailable(_) => say_lost(job, lost, false, &what, &job.gets(503)),
        Ending::Served => say_lost(job, lost, true, &what, "the response is cut short"),
    }
    ending
}

/// Logs a loss, and what follows from it. `begun`: the client has a part of the response.
fn say_lost(job: &Job<'_>, lost: &Lost, begun: bool, what: &str, then: &str) {
    let (message, known) = lost.message(begun, &job.name());
    match known {
        Some(known) => job.report_known(message, &format!("{known}: {what}; {then}")),
        None => job.report(message, &format!("{what}; {then}")),
    }
}

/// httpd stops or restarts, and has closed the client's connection already: nobody sees the status.
fn given_up(job: &Job<'_>) -> Ending {
    job.log(Level::Info, "httpd stops or restarts; the request is given up");
    Ending::Status(503)
}
