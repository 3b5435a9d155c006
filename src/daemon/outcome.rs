//! Decisions after an attempt to have a request served: again elsewhere, or which status. Pure, but for
//! the log line of [`unconnected`].

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wsgi_wire::bytes::DecodeError;
use wsgi_wire::response::Failure;

use super::Job;
use crate::httpd::file::FileError;
use crate::httpd::log::Level;
use crate::respond::Instead;

/// How many processes are tried. Each attempt that ends with [`Ending::Again`] takes a process out of
/// the game, so this only bounds a group whose processes all die at once.
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
    /// Nothing was sent: the application's response gives way to something else.
    Instead(Instead),
}

/// Why an exchange ended before a response head came.
#[derive(Debug)]
pub(super) enum Lost {
    /// The connection was closed by the process before the request was written whole, or was reset
    /// with the request unread: on Linux, ECONNRESET without any byte of response proves that.
    Unread,
    /// The process read the request and closed the connection without an answer.
    Closed,
    /// The process has changed code to load and refused the request.
    Stale,
    /// No answer in time.
    TimedOut(Duration),
    /// What came is no frame of ours.
    Garbage(DecodeError),
    /// The engine says why it has no response; the log has the details.
    Failed(Failure),
    /// The connection broke otherwise.
    Broken(io::Error),
    /// This child is told to end at once.
    Stopping,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Unread => write!(f, "the daemon process went away before it read the request"),
            Lost::Closed => write!(
                f,
                "the daemon process was lost while it executed the request; the supervisor's line says how it ended"
            ),
            Lost::Stale => write!(f, "the daemon process runs code that has changed on disk"),
            Lost::TimedOut(limit) => write!(f, "no response within socket-timeout of {} s", limit.as_secs()),
            Lost::Garbage(error) => write!(f, "the daemon process sent something that is no response: {error}"),
            Lost::Failed(Failure::Load) => write!(f, "the script could not be loaded"),
            Lost::Failed(Failure::Interpreter) => {
                write!(f, "the interpreter of the application group could not be made")
            }
            Lost::Failed(Failure::Protocol) => write!(f, "the engine could not read the request"),
            Lost::Failed(Failure::Timeout) => write!(f, "RequestTimeout ended the request"),
            Lost::Failed(_) => write!(f, "the application raised an exception before its response"),
            Lost::Broken(error) => write!(f, "the connection to the daemon process broke: {error}"),
            Lost::Stopping => write!(f, "httpd stops or restarts"),
        }
    }
}

/// What follows. `can_repeat`: all that was read of the body is still here.
pub(super) fn after(lost: &Lost, can_repeat: bool) -> Ending {
    match lost {
        Lost::Unread | Lost::Stale if can_repeat => Ending::Again,
        Lost::Unread | Lost::Stale | Lost::Stopping => Ending::Status(503),
        Lost::Closed | Lost::Garbage(_) | Lost::Broken(_) => Ending::Status(502),
        Lost::TimedOut(_) | Lost::Failed(Failure::Timeout) => Ending::Status(504),
        Lost::Failed(_) => Ending::Status(500),
    }
}

/// The engine has said and logged what went wrong; a second line adds nothing.
pub(super) fn is_logged(lost: &Lost) -> bool {
    matches!(lost, Lost::Failed(Failure::Application | Failure::Load | Failure::Interpreter | Failure::Timeout))
}

/// No connection could be handed to the process.
pub(super) fn unconnected(job: &Job<'_>, error: &io::Error) -> Ending {
    let text = format!(
        "process group \"{}\": no connection to a daemon process within connect-timeout={}: {error}; the client gets 503",
        job.name(),
        job.options.connect_timeout
    );
    job.request.log(Level::Error, &text);
    Ending::Status(503)
}

/// Milliseconds between two warnings of one child that temporary files cannot be used.
const WARN_EVERY: u64 = 60_000;

/// Temporary files cannot be used: `trouble` says why.
pub(super) fn warn_of_spool(job: &Job<'_>, trouble: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(wsgi_sys::clock::monotonic().as_millis()).unwrap_or(0).max(1);
    let last = LAST.load(Ordering::Relaxed);
    if last != 0 && now.saturating_sub(last) < WARN_EVERY {
        return;
    }
    LAST.store(now, Ordering::Relaxed);
    let text = format!(
        "process group \"{}\": a response cannot be kept for a slow client in spool-directory={}: {trouble}; nothing \
         is lost, but request threads wait for slow clients while this lasts",
        job.name(),
        job.group.limits.directory.display()
    );
    job.request.log(Level::Warn, &text);
}

/// The file of a response could not be sent (whole).
pub(super) fn report_file(job: &Job<'_>, error: FileError) {
    let what = match error {
        FileError::Shrunk => "became shorter while it was sent",
        FileError::Unfit => "is no regular file, or is shorter than the daemon process said",
        FileError::Refused => "could not be taken over by httpd: no descriptor or memory is left",
        FileError::Broken => "could not be sent",
    };
    let text = format!("process group \"{}\": the file of a response {what}; the response is cut short", job.name());
    job.request.log(Level::Error, &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_executed_is_tried_again_and_only_with_its_whole_body() {
        assert_eq!(after(&Lost::Unread, true), Ending::Again);
        assert_eq!(after(&Lost::Stale, true), Ending::Again);
        assert_eq!(after(&Lost::Unread, false), Ending::Status(503));
        assert_eq!(after(&Lost::Closed, true), Ending::Status(502));
        assert_eq!(after(&Lost::Broken(io::ErrorKind::Other.into()), true), Ending::Status(502));
        assert_eq!(after(&Lost::Garbage(DecodeError::UnknownTag(9)), true), Ending::Status(502));
        assert_eq!(after(&Lost::TimedOut(Duration::from_secs(1)), true), Ending::Status(504));
        assert_eq!(after(&Lost::Failed(Failure::Application), true), Ending::Status(500));
        assert_eq!(after(&Lost::Failed(Failure::Timeout), true), Ending::Status(504));
    }
}
