//! Decides what follows an attempt to have a request served: another process tries, or the client gets a status. The
//! decisions are pure functions; the functions that log are beside them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wsgi_wire::bytes::DecodeError;
use wsgi_wire::decision::Answer;
use wsgi_wire::messages::Message;
use wsgi_wire::response::Failure;

use super::Job;
use crate::httpd::file::FileError;
use crate::respond::Instead;

/// How many processes the child tries. Each attempt that ends with [`Ending::Again`] rules one process out, so this
/// limit only matters for a group whose processes all die at once.
pub(super) const MAX_ATTEMPTS: u32 = 64;

/// Waits a little before an attempt when several have failed: the supervisor needs a moment to see that a
/// process is gone, and until then the scoreboard offers it again.
pub(super) fn pause_before(made: u32) {
    if made > 1 {
        std::thread::sleep(Duration::from_millis(made.min(50).into()));
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client has its response, or as much of it as there was.
    Served,
    /// Nothing of the request was executed: another process is to take it.
    Again,
    /// Nothing was sent: the client gets this status.
    Status(i32),
    /// Nothing was sent: the client gets 503, and may try again after so many seconds.
    Unavailable(u64),
    /// Nothing was sent: the application's response gives way to something else.
    Instead(Instead),
    /// A script has decided what it was asked.
    Answered(Answer),
}

/// Why an exchange ended before a response head came.
#[derive(Debug)]
pub(super) enum Lost {
    /// The process did not begin the request. It closed the connection before the child had written the whole request;
    /// or it reset the connection with the request unread (on Linux, ECONNRESET without any byte of response proves
    /// that); or it has not counted the request as begun.
    Unread,
    /// The process may have begun the request, and closed the connection without an answer.
    Closed,
    /// The process refused the request, because the code on disk has changed.
    Stale,
    /// No answer in time.
    TimedOut,
    /// A line of the response's head is longer than `header-buffer-size` allows: which one, and how long.
    LongHeader(String),
    /// What came is no frame of ours.
    Garbage(DecodeError),
    /// The engine says why it has no response; the log has the details.
    Failed(Failure),
    /// The connection broke otherwise.
    Broken(io::Error),
    /// This child is told to end at once.
    Stopping,
}

impl Lost {
    /// Whether the process may have ended or is about to. If so, the supervisor says how.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Lost::Closed | Lost::Broken(_))
    }

    /// The number of the log line, and the words that mod_wsgi has for it. `begun`: the client has a part of the
    /// response of `group`.
    pub(super) fn message(&self, begun: bool, group: &str) -> (Message, Option<String>) {
        let (message, known) = match self {
            Lost::Closed | Lost::Broken(_) | Lost::TimedOut if begun => {
                (Message::ResponseBroken, format!("Unable to proxy response from daemon process '{group}' to client"))
            }
            Lost::Closed => (
                Message::ProcessClosed,
                format!("Daemon process '{group}' closed connection before sending complete response headers"),
            ),
            Lost::Broken(_) => {
                (Message::ConnectionBroken, format!("Error reading response headers from daemon process '{group}'"))
            }
            Lost::TimedOut => (
                Message::ResponseTimeout,
                format!("Timeout when reading response headers from daemon process '{group}'"),
            ),
            Lost::LongHeader(_) => {
                (Message::LongHeader, format!("Response header line too long from daemon process '{group}'"))
            }
            Lost::Unread | Lost::Stale | Lost::Stopping => return (Message::NotRepeatable, None),
            Lost::Garbage(_) => return (Message::NoResponse, None),
            Lost::Failed(_) => return (Message::EngineFailed, None),
        };
        (message, Some(known))
    }

    /// The cause, for the log. `pid` is the process, `ended` what the supervisor said of its end, `what` the request,
    /// and `limit` its time for an answer, as the option that sets it.
    pub(super) fn tell(&self, pid: u32, ended: Option<&str>, what: &str, limit: &str) -> String {
        let process = format!("process {pid}");
        match (self, ended) {
            (Lost::Unread, _) => format!("{process} went away before it began the request"),
            (Lost::Closed | Lost::Broken(_), Some(ended)) => {
                format!("{process} was lost while it executed the request {what}: {ended}")
            }
            (Lost::Closed, None) => format!("{process} closed the connection while it executed the request {what}"),
            (Lost::Broken(error), None) => format!("the connection to {process} broke: {error}"),
            (Lost::Stale, _) => format!("{process} runs code that has changed on disk"),
            (Lost::TimedOut, _) => format!("{process} sent nothing of the response to {what} within {limit}"),
            (Lost::Garbage(error), _) => format!("{process} sent bytes that are not a response: {error}"),
            (Lost::LongHeader(header), _) => format!("{process} sent {header}"),
            (Lost::Stopping, _) => "httpd stops or restarts".to_owned(),
            (Lost::Failed(failure), _) => format!("{process}: {}", words(*failure)),
        }
    }
}

/// What the engine says, in words.
fn words(failure: Failure) -> &'static str {
    match failure {
        Failure::Load => "the script could not be loaded",
        Failure::Interpreter => "the interpreter of the application group could not be made",
        Failure::Protocol => "the engine could not read the request",
        Failure::Timeout => "RequestTimeout ended the request",
        Failure::ClientGone => "the client went away before the response",
        Failure::Application => "the application raised an exception before its response",
    }
}

/// Decides what follows. `can_repeat`: the child still has all that it read of the body.
pub(super) fn after(lost: &Lost, can_repeat: bool) -> Ending {
    match lost {
        Lost::Unread | Lost::Stale if can_repeat => Ending::Again,
        // The child does not have the body any more: only the client can send the request again.
        Lost::Unread | Lost::Stale | Lost::Stopping => Ending::Unavailable(1),
        Lost::Closed | Lost::Garbage(_) | Lost::Broken(_) => Ending::Status(502),
        Lost::TimedOut | Lost::Failed(Failure::Timeout) => Ending::Status(504),
        Lost::LongHeader(_) | Lost::Failed(_) => Ending::Status(500),
    }
}

/// Whether the engine has logged what went wrong. A second line would add nothing.
pub(super) fn is_logged(lost: &Lost) -> bool {
    matches!(lost, Lost::Failed(Failure::Application | Failure::Load | Failure::Interpreter | Failure::Timeout))
}

/// Logs that the child could hand no connection to a process, and decides what follows.
pub(super) fn unconnected(job: &Job<'_>, error: &io::Error) -> Ending {
    let text = match error.kind() {
        io::ErrorKind::TimedOut => {
            let limit = job.options.connect_timeout;
            format!("no connection to a daemon process for {} within connect-timeout={limit}: {error}", job.what())
        }
        _ => format!("no connection to a daemon process for {} could be made: {error}", job.what()),
    };
    let message =
        if error.kind() == io::ErrorKind::TimedOut { Message::ConnectTimeout } else { Message::ConnectFailed };
    job.report(message, &format!("{text}; {}", job.gets(503)));
    Ending::Unavailable(1)
}

/// A child warns that it cannot use temporary files at most once in this many milliseconds.
const WARN_EVERY: u64 = 60_000;

/// Warns that the child cannot use temporary files; `trouble` says why.
pub(super) fn warn_of_spool(job: &Job<'_>, trouble: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(wsgi_sys::clock::monotonic().as_millis()).unwrap_or(0).max(1);
    let last = LAST.load(Ordering::Relaxed);
    if last != 0 && now.saturating_sub(last) < WARN_EVERY {
        return;
    }
    LAST.store(now, Ordering::Relaxed);
    let directory = job.group.limits.directory.display();
    let text = format!(
        "a response cannot be kept for a slow client in spool-directory={directory}: {trouble}; nothing is lost, but \
         request threads wait for slow clients while this lasts"
    );
    job.report(Message::Spool, &text);
}

/// The file of a response could not be sent (whole).
pub(super) fn report_file(job: &Job<'_>, error: FileError) {
    let what = match error {
        FileError::Shrunk => "became shorter while it was sent",
        FileError::Unfit => "is no regular file, or is shorter than the daemon process said",
        FileError::Refused => "could not be taken over by httpd: no descriptor or memory is left",
        FileError::Broken => "could not be sent",
    };
    job.report(Message::FileOfResponse, &format!("the file of a response {what}; the response is cut short"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_executed_is_tried_again_and_only_with_its_whole_body() {
        assert_eq!(after(&Lost::Unread, true), Ending::Again);
        assert_eq!(after(&Lost::Stale, true), Ending::Again);
        assert_eq!(after(&Lost::Unread, false), Ending::Unavailable(1));
        assert_eq!(after(&Lost::Closed, true), Ending::Status(502));
        assert_eq!(after(&Lost::Broken(io::ErrorKind::Other.into()), true), Ending::Status(502));
        assert_eq!(after(&Lost::Garbage(DecodeError::UnknownTag(9)), true), Ending::Status(502));
        assert_eq!(after(&Lost::TimedOut, true), Ending::Status(504));
        assert_eq!(after(&Lost::Failed(Failure::Application), true), Ending::Status(500));
        assert_eq!(after(&Lost::Failed(Failure::Timeout), true), Ending::Status(504));
        assert_eq!(after(&Lost::LongHeader(String::new()), true), Ending::Status(500));
    }

    #[test]
    fn the_log_names_process_cause_and_request() {
        let tell = |lost: &Lost, ended| lost.tell(12, ended, "GET /x", "socket-timeout=60");
        assert_eq!(
            tell(&Lost::Closed, Some("killed by SIGKILL")),
            "process 12 was lost while it executed the request GET /x: killed by SIGKILL"
        );
        assert!(tell(&Lost::Closed, None).contains("closed the connection"));
        assert!(
            tell(&Lost::TimedOut, None)
                .ends_with("process 12 sent nothing of the response to GET /x within socket-timeout=60")
        );
        for lost in [Lost::Closed, Lost::Broken(io::ErrorKind::Other.into())] {
            assert!(lost.is_end() && tell(&lost, Some("exited with status 3")).ends_with(": exited with status 3"));
        }
        assert!(!Lost::Garbage(DecodeError::UnknownTag(9)).is_end());
    }

    #[test]
    fn a_loss_has_the_number_of_mod_wsgi_where_the_condition_is_the_same() {
        let broken = || Lost::Broken(io::ErrorKind::ConnectionReset.into());
        let cases = [
            (Lost::Closed, false, 146),
            (broken(), false, 147),
            (Lost::TimedOut, false, 145),
            (Lost::LongHeader(String::new()), false, 144),
            (Lost::Closed, true, 119),
            (broken(), true, 119),
        ];
        for (lost, begun, number) in cases {
            let (message, known) = lost.message(begun, "app");
            assert_eq!(message.number(), number, "{lost:?}");
            assert!(known.is_some_and(|words| words.contains("aemon process 'app'")), "{lost:?}");
        }
        assert!(Lost::Unread.message(false, "app").0.number() > 1000);
    }
}
