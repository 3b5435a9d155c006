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

/// A connection on which an exchange runs. The request thread is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Line {
    connection: Option<Connection>,
    lease: Lease,
    /// The request thread has not been given back.
    reserved: bool,
    board: Arc<Scoreboard>,
    connections: Arc<Connections>,
    supervisor: Option<Arc<OwnedFd>>,
    /// The group's number there.
    pool: u64,
    /// How much of a response may be kept for a slow client.
    pub(super) limits: Arc<Limits>,
}

/// How long a lost process's end is waited for.
pub(super) const MOURNING: Duration = Duration::from_millis(250);

/// The process of a line, also after the line is through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Witness {
    lease: Lease,
    pub(super) pid: u32,
}

impl Witness {
    /// How the process ended, if it did: the supervisor says so in a moment.
    pub(super) fn end(&self, board: &Scoreboard, limit: Duration) -> Option<String> {
        board.await_end(&self.lease, limit)
    }
}

impl Line {
    /// Its process.
    pub(super) fn witness(&self) -> Witness {
        Witness { lease: self.lease, pid: self.board.pid(self.lease.slot) }
    }

    pub(super) fn new(job: &Job<'_>, lease: Lease, connection: Connection) -> Line {
        let group = job.group;
        Line {
            supervisor: job.dispatch.cloned(),
            pool: group.id,
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

    /// The request thread is through; the connection is needed for a while.
    pub(super) fn free(&mut self) {
        if std::mem::take(&mut self.reserved) {
            self.board.release(self.lease);
            if self.board.is_drained(&self.lease) {
                self.say_drained();
            }
        }
    }

    /// The process ends now, and not when the supervisor happens to look.
    fn say_drained(&self) {
        if let Some(supervisor) = &self.supervisor {
            let message = Connect { pool: self.pool, slot: Connect::DRAINED, epoch: 0 }.encode();
            // Where the socket is full, it wakes up anyway.
            let _ = socket::send_with_fds(supervisor.as_fd(), &message, &[]);
        }
    }

    /// The exchange is through: the connection is kept for the next one, if it is `clean`.
    pub(super) fn finish(mut self, clean: bool) {
        self.board.count_served(&self.lease);
        if let Some(connection) = self.connection.take().filter(|_| clean) {
            self.connections.keep(&self.lease, connection);
        }
    }

    /// The connection has broken: the others to that process are of no use either. The request thread stays reserved
    /// until the line is dropped, so that the supervisor sees what a process that has ended was executing.
    pub(super) fn forget(&self) {
        self.connections.forget(&self.lease);
    }

    /// The supervisor has said that the process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.witness().end(&self.board, Duration::ZERO).is_some()
    }

    /// After a loss: the other connections to that process are of no use either. `stale`: it has asked the
    /// supervisor to be replaced; nobody else need try it.
    pub(super) fn give_up(self, stale: bool) {
        self.connections.forget(&self.lease);
        if stale {
            self.board.mark_draining(&self.lease);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The process sees the end first: whoever gets the thread next must not find it busy with this.
        self.connection = None;
        self.free();
    }
}
