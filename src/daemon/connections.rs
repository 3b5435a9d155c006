//! Connections from this child to daemon processes: made through the supervisor, kept while idle.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wsgi_sys::forked::{self, Private};
use wsgi_sys::memory::Area;
use wsgi_sys::poll::{PollFd, poll};
use wsgi_sys::scoreboard::Lease;
use wsgi_sys::socket::{self, Kind};
use wsgi_sys::stream;
use wsgi_wire::control::Connect;
use wsgi_wire::messages::Message;
use wsgi_wire::{AREA, PROTOCOL, frame};

use super::Job;

/// The size of the send buffer that the child asks the system for, at each end, in bytes.
const SOCKET_BUFFER: usize = 1 << 20;

/// How often a thread that waits for a response looks whether this child is to end.
pub(super) const SLICE: Duration = Duration::from_millis(500);

/// How many idle connections to one process may keep an area that takes memory.
const AREAS: usize = 4;

/// A connection, and whether its greeting has been sent.
#[derive(Debug)]
pub(super) struct Connection {
    /// A stream socket in blocking mode whose patience is [`SLICE`].
    pub(super) socket: Private,
    /// The greeting goes out with the first request.
    pub(super) greeted: bool,
    /// Where the process puts bodies of middling size.
    pub(super) area: Option<Area>,
    /// The area's descriptor, until the process has it.
    pub(super) area_file: Option<OwnedFd>,
    /// The area has been written to, and takes memory.
    pub(super) area_used: bool,
    /// The process's count in the area when the child sent the last request.
    counted: u32,
    epoch: u32,
}

impl Connection {
    /// Begins a request: appends the greeting if it is the first one.
    pub(super) fn greet(&mut self, out: &mut Vec<u8>) {
        if !self.greeted {
            frame::put(out, frame::Tag::Hello, false, &frame::hello(PROTOCOL, self.area.is_some()));
            self.greeted = true;
        }
        // The process sets the count to 1 as soon as it has the area, which may be later than now.
        self.counted = self.area.as_ref().map_or(0, |area| area.count().max(1));
    }

    /// Whether the process has not begun to execute the request that the child sent last. Either it has not counted
    /// that request, or it does not have the area yet, and without the area it executes nothing.
    pub(super) fn is_unbegun(&self) -> bool {
        self.area.as_ref().is_some_and(|area| matches!(area.count(), count if count == self.counted || count == 0))
    }
}

/// Idle connections of one process group, by slot; the one used last is taken first.
#[derive(Debug)]
pub(crate) struct Connections(Vec<Mutex<Vec<Connection>>>);

impl Connections {
    /// None yet, for a scoreboard of `slots`.
    pub(crate) fn new(slots: u32) -> Connections {
        Connections((0..slots).map(|_| Mutex::new(Vec::new())).collect())
    }

    /// An idle connection to the process of the lease. Those to its predecessors are closed.
    pub(super) fn take(&self, lease: &Lease) -> Option<Connection> {
        let mut idle = self.0.get(lease.slot as usize)?.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.last().is_some_and(|connection| connection.epoch != lease.epoch) {
            idle.clear();
        }
        idle.pop()
    }

    /// Keeps a connection that is between two exchanges.
    pub(super) fn keep(&self, lease: &Lease, connection: Connection) {
        let Some(slot) = self.0.get(lease.slot as usize) else { return };
        let mut idle = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let areas = if connection.area_used { idle.iter().filter(|kept| kept.area_used).count() } else { 0 };
        if areas < AREAS {
            idle.push(connection);
        }
    }

    /// Closes all connections to the lease's process: one of them has shown that it is gone.
    pub(super) fn forget(&self, lease: &Lease) {
        if let Some(slot) = self.0.get(lease.slot as usize) {
            slot.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// Makes a connection to the process of the lease. The supervisor passes the other end on to the process. The child may
/// write before that; the process reads it once it has its end.
///
/// # Errors
/// When the supervisor takes nothing for `connect-timeout`, or descriptors are exhausted.
pub(super) fn connect(job: &Job<'_>, lease: &Lease) -> io::Result<Connection> {
    let dispatch = job.dispatch.ok_or(io::ErrorKind::NotConnected)?;
    // An embedded application that forks must hold neither end: the other one would not see that this end is closed.
    let (ours, theirs) = forked::while_none_forks(|| {
        socket::pair(Kind::Stream).map(|(ours, theirs)| (Private::new(ours), Private::new(theirs)))
    })?;
    for end in [&ours, &theirs] {
        set_buffers(job, end.as_fd());
    }
    let message = Connect { group: job.group.id, slot: lease.slot, epoch: lease.epoch }.encode();
    let limit = Duration::from_secs(job.options.connect_timeout.into());
    send(dispatch, &message, theirs.as_fd(), Instant::now() + limit)?;
    drop(theirs);
    stream::set_patience(ours.as_fd(), SLICE)?;
    // Without an area everything goes through the socket.
    let (area_file, area) = Area::create(c"wsgi-area", AREA).ok().unzip();
    Ok(Connection { socket: ours, greeted: false, area, area_file, area_used: false, counted: 0, epoch: lease.epoch })
}

/// `send-buffer-size` and `receive-buffer-size`.
fn set_buffers(job: &Job<'_>, end: BorrowedFd<'_>) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let (send, receive) = (job.options.send_buffer_size, job.options.receive_buffer_size);
    let sent = match send {
        // The system's limit may be lower.
        0 => socket::set_send_buffer(end, SOCKET_BUFFER).or(Ok(())),
        bytes => socket::set_send_buffer(end, bytes as usize),
    };
    let received = if receive == 0 { Ok(()) } else { socket::set_receive_buffer(end, receive as usize) };
    let (message, option, error) = match (sent, received) {
        (Err(error), _) => (Message::SendBuffer, format!("send-buffer-size={send}"), error),
        (_, Err(error)) => (Message::ReceiveBuffer, format!("receive-buffer-size={receive}"), error),
        (Ok(()), Ok(())) => return,
    };
    if !TOLD.swap(true, Ordering::Relaxed) {
        let text = format!(
            "{option} cannot be set on a connection: {error}; the system's size holds (said once in each child)"
        );
        job.report(message, &text);
    }
}

/// Sends one message, waiting for room until `deadline`. A supervisor that is being replaced leaves the
/// messages in the socket for its successor.
fn send(dispatch: &OwnedFd, message: &[u8], fd: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
    loop {
        match socket::send_with_fds(dispatch.as_fd(), message, &[fd]) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the supervisor takes no connections"));
                }
                // The end of another child's wait does not wake us, so look again after a while.
                let mut fds = [PollFd::new(dispatch.as_fd(), false, true)];
                poll(&mut fds, Some(left.min(Duration::from_millis(20))))?;
            }
            // The system limits how many descriptors each user may have under way. Their number falls as the supervisor
            // reads.
            Err(error) if error.raw_os_error() == Some(libc::ETOOMANYREFS) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
}
