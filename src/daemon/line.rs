//! A reserved request thread together with a connection to its process: what one exchange needs, and what
//! `drain` takes over from it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use wsgi_sys::scoreboard::{Lease, Scoreboard};
use wsgi_sys::socket;
use wsgi_wire::control::Connect;

use super::Job;
use super::connections::{Connection, Connections};
use super::spool::Limits;

/// A connection on which an exchange runs. Dropping the line gives the request thread back.
#[derive(Debug)]
pub(super) struct Line {
    connection: Option<Connection>,
    lease: Lease,
    /// The line has not given the request thread back yet.
    reserved: bool,
    board: Arc<Scoreboard>,
    connections: Arc<Connections>,
    supervisor: Option<Arc<OwnedFd>>,
    /// The supervisor's number for the group.
    group: u64,
    /// How much of a response may be kept for a slow client.
    pub(super) limits: Arc<Limits>,
}

/// How long a thread waits for the supervisor to say how a lost process ended.
pub(super) const WAIT_FOR_END: Duration = Duration::from_millis(250);

/// The process of a line. Tells its pid and how it ended, also when the line is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeasedProcess {
    lease: Lease,
    pub(super) pid: u32,
}

impl LeasedProcess {
    /// How the process ended, if it did. Waits at most `limit` for the supervisor to say so.
    pub(super) fn end(&self, board: &Scoreboard, limit: Duration) -> Option<String> {
        board.await_end(&self.lease, limit)
    }
}

impl Line {
    /// Its process.
    pub(super) fn process(&self) -> LeasedProcess {
        LeasedProcess { lease: self.lease, pid: self.board.pid(self.lease.slot) }
    }

    pub(super) fn new(job: &Job<'_>, lease: Lease, connection: Connection) -> Line {
        let group = job.group;
        Line {
            supervisor: job.dispatch.cloned(),
            group: group.id,
            connection: Some(connection),
            lease,
            reserved: true,
            board: Arc::clone(&group.board),
            connections: Arc::clone(&group.connections),
            limits: Arc::clone(&group.limits),
        }
    }

    /// The connection; there is one until the line is kept.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// The descriptor of the connection's area, as long as the process has not got it.
    pub(super) fn area_file(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref()?.area_file.as_ref().map(AsFd::as_fd)
    }

    /// The connection's socket.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref().map(|connection| connection.socket.as_fd())
    }

    /// Gives the request thread back. The line keeps the connection for a while.
    pub(super) fn free(&mut self) {
        if std::mem::take(&mut self.reserved) {
            self.board.release(self.lease);
            if self.board.is_drained(&self.lease) {
                self.say_drained();
            }
        }
    }

    /// Tells the supervisor that the process has nothing left to do, so that the process ends now and not when the
    /// supervisor next looks.
    fn say_drained(&self) {
        if let Some(supervisor) = &self.supervisor {
            let message = Connect { group: self.group, slot: Connect::DRAINED, epoch: 0 }.encode();
            // If the socket is full, the supervisor wakes up anyway.
            let _ = socket::send_with_fds(supervisor.as_fd(), &message, &[]);
        }
    }

    /// Ends the exchange. Keeps the connection for the next one if it is `clean`.
    pub(super) fn finish(mut self, clean: bool) {
        self.board.count_served(&self.lease);
        if let Some(connection) = self.connection.take().filter(|_| clean) {
            self.connections.keep(&self.lease, connection);
        }
    }

    /// Closes the idle connections to the process: this connection has broken, so the others are of no use either. The
    /// line keeps the request thread until it is dropped, so that the supervisor sees what a process that has ended was
    /// executing.
    pub(super) fn forget(&self) {
        self.connections.forget(&self.lease);
    }

    /// The supervisor has said that the process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.process().end(&self.board, Duration::ZERO).is_some()
    }

    /// Ends the line after a loss, and closes the idle connections to the process, which are of no use either. `stale`:
    /// the process has asked the supervisor to replace it, so no other request need try it.
    pub(super) fn give_up(self, stale: bool) {
        self.connections.forget(&self.lease);
        if stale {
            self.board.mark_draining(&self.lease);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Close the connection before giving the thread back: whoever gets the thread next must not find it busy with
        // this exchange.
        self.connection = None;
        self.free();
    }
}
