//! One request and its response on one connection, both directions at once.
//!
//! The request thread's lease is given back, and the connection kept, as soon as the whole response has
//! been received: before its last part is written to a client that may be slow.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use wsgi_sys::poll::{PollFd, poll};
use wsgi_sys::scoreboard::Lease;
use wsgi_sys::stream;
use wsgi_wire::bytes::DecodeError;
use wsgi_wire::frame::{self, Tag};
use wsgi_wire::request;

use super::Job;
use super::connections::Connection;
use super::outcome::{Ending, Lost, is_logged};
use super::relay::{Progress, Relay};
use super::upload::Upload;
use crate::httpd::output::Then;

/// How often an HTTP/2 stream is asked for more of its body.
const STREAM_SLICE: Duration = Duration::from_millis(10);

/// Room for what is read at a time, bytes.
const READ: usize = 256 << 10;

thread_local! {
    /// Buffers of the thread, taken for the time of an exchange. (A filter may run another request on the
    /// same thread meanwhile; it then finds none and makes its own.)
    static BUFFERS: Cell<Option<Buffers>> = const { Cell::new(None) };
}

struct Buffers {
    out: Vec<u8>,
    input: Vec<u8>,
}

/// An exchange in progress.
pub(super) struct Exchange<'j> {
    job: &'j Job<'j>,
    connection: Option<Connection>,
    lease: Option<Lease>,
    relay: Relay<'j>,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    /// Bytes of `input` that are filled.
    filled: usize,
    received: bool,
    /// The process was asked whether it takes the request before it got the body.
    asked: bool,
    /// Its answer is still to come.
    withheld: bool,
}

impl<'j> Exchange<'j> {
    pub(super) fn new(job: &'j Job<'j>, connection: Connection, lease: Lease) -> Self {
        let Buffers { mut out, input } =
            BUFFERS.take().unwrap_or_else(|| Buffers { out: Vec::new(), input: vec![0; READ] });
        out.clear();
        Exchange {
            job,
            connection: Some(connection),
            lease: Some(lease),
            relay: Relay::new(job.request, job.error_override),
            out,
            written: 0,
            input,
            filled: 0,
            received: false,
            asked: false,
            withheld: false,
        }
    }

    /// Runs the exchange to its end.
    ///
    /// # Errors
    /// [`Lost`] when no response came that could be passed on.
    pub(super) fn run(&mut self, upload: &mut Upload<'_>) -> Result<Ending, Lost> {
        self.open_request(upload);
        loop {
            self.write(upload)?;
            let sends_more = !self.withheld && upload.has_more();
            if !self.all_written() {
                self.poll(true, self.job.socket_timeout())?;
            }
            let received = if !self.all_written() || sends_more { self.receive_now() } else { self.receive_waiting() };
            if self.take(received, upload)? {
                match self.relay.progress {
                    Progress::Wanted if self.withheld => {
                        upload.put_ahead(&mut self.out);
                        self.withheld = false;
                    }
                    Progress::Stale => return Err(Lost::Stale),
                    Progress::Failed(kind) if !self.relay.client_gone => return self.failed(kind, upload),
                    Progress::Complete | Progress::Failed(_) => return Ok(self.complete(upload)),
                    Progress::Waiting | Progress::Wanted | Progress::Body => {}
                }
            } else if sends_more && self.all_written() && !upload.put_next(&mut self.out) {
                self.wait_for_either(upload)?;
                if self.relay.ended() {
                    return Ok(self.complete(upload));
                }
            }
        }
    }

    /// Frames the head and what is here of the body, unless the process has to be asked first.
    fn open_request(&mut self, upload: &Upload<'_>) {
        self.asked = upload.needs_confirmation(self.job.payload.len());
        if let Some(connection) = &mut self.connection {
            connection.greet(&mut self.out);
        }
        let at = self.out.len();
        frame::put(&mut self.out, Tag::Request, upload.is_empty(), self.job.payload);
        self.withheld = self.asked;
        if self.asked {
            // The flags are the payload's first byte.
            self.out[at + frame::HEADER] |= request::CONFIRM;
        } else {
            upload.put_ahead(&mut self.out);
        }
    }

    fn all_written(&self) -> bool {
        self.written == self.out.len()
    }

    /// Writes what can be written now.
    fn write(&mut self, upload: &Upload<'_>) -> Result<(), Lost> {
        while !self.all_written() {
            let Some(connection) = &self.connection else { return Err(Lost::Closed) };
            match stream::send_now(connection.socket.as_fd(), &self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The process has closed its end. What it sent before is still to be read; if there is
                // nothing, it never had the whole request.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => {
                    let waiting = self.receive_now().is_ok_and(|count| count > 0);
                    if !waiting && self.filled == 0 && !self.received && upload.can_repeat() {
                        return Err(Lost::Unread);
                    }
                    self.written = self.out.len();
                }
                Err(error) => return Err(Lost::Broken(error)),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what is there behind what is kept.
    fn receive_now(&mut self) -> io::Result<usize> {
        let Some(connection) = &self.connection else { return Ok(0) };
        let count = stream::receive_now(connection.socket.as_fd(), &mut self.input[self.filled..])?;
        self.filled += count;
        Ok(count)
    }

    /// Reads, waiting for the process. When a response pauses, the client gets what is here of it.
    fn receive_waiting(&mut self) -> io::Result<usize> {
        if self.relay.begun() {
            match self.receive_now() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            let delay = Duration::from_millis(self.job.options.response_flush_delay_ms.into());
            if !self.readable_within(delay)? {
                self.relay.pass(Then::Flush);
                if self.relay.client_gone {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
        }
        let Some(connection) = &self.connection else { return Ok(0) };
        match stream::receive_waiting(connection.socket.as_fd(), &mut self.input[self.filled..]) {
            Ok(count) => {
                self.filled += count;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }

    fn readable_within(&self, limit: Duration) -> io::Result<bool> {
        let Some(connection) = &self.connection else { return Ok(true) };
        let mut fds = [PollFd::new(connection.socket.as_fd(), true, false)];
        Ok(poll(&mut fds, Some(limit))? > 0)
    }

    /// Waits until the connection can be read or, if wanted, written.
    fn poll(&mut self, writable: bool, limit: Duration) -> Result<(), Lost> {
        let Some(connection) = &self.connection else { return Err(Lost::Closed) };
        let mut fds = [PollFd::new(connection.socket.as_fd(), true, writable)];
        match poll(&mut fds, Some(limit)) {
            Ok(0) => Err(self.timed_out()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Lost::Broken(error)),
        }
    }

    /// Waits until the client sends more of its body or the process some of its response.
    fn wait_for_either(&mut self, upload: &mut Upload<'_>) -> Result<(), Lost> {
        if self.relay.begun() {
            self.relay.pass(Then::Flush);
            if self.relay.client_gone {
                self.abandon();
                return Ok(());
            }
        }
        let begun = Instant::now();
        let limit = Duration::from_micros(u64::try_from(self.job.request.server().timeout_us()).unwrap_or(0));
        loop {
            let Some(connection) = &self.connection else { return Ok(()) };
            let mut fds = vec![PollFd::new(connection.socket.as_fd(), true, false)];
            // An HTTP/2 stream has no socket of its own: look again after a while.
            let slice = match upload.socket() {
                Some(client) => {
                    fds.push(PollFd::new(client, true, false));
                    limit
                }
                None => STREAM_SLICE,
            };
            match poll(&mut fds, Some(slice)) {
                Ok(0) if begun.elapsed() >= limit => upload.time_out(&mut self.out),
                Ok(0) if upload.put_next(&mut self.out) => {}
                Ok(0) => continue,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(Lost::Broken(error)),
                _ => {}
            }
            return Ok(());
        }
    }

    fn timed_out(&mut self) -> Lost {
        if self.relay.begun() {
            self.relay.cut_short();
        }
        Lost::TimedOut(self.job.socket_timeout())
    }

    /// Makes of a read what it means. True: bytes came.
    fn take(&mut self, read: io::Result<usize>, upload: &Upload<'_>) -> Result<bool, Lost> {
        match read {
            Ok(0) => Err(self.lost(upload, None)),
            Ok(_) => {
                self.received = true;
                self.process().map(|()| true)
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(self.timed_out()),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                if self.relay.client_gone && !self.relay.ended() {
                    self.abandon();
                    return Ok(true);
                }
                Ok(false)
            }
            Err(error) => Err(self.lost(upload, Some(error))),
        }
    }

    /// The connection ended without the end of a response.
    fn lost(&mut self, upload: &Upload<'_>, error: Option<io::Error>) -> Lost {
        if self.relay.begun() {
            self.relay.cut_short();
            return Lost::Closed;
        }
        match error {
            None => Lost::Closed,
            Some(error) if error.raw_os_error() == Some(libc::ECONNRESET) => {
                if self.received || !upload.can_repeat() {
                    Lost::Closed
                } else {
                    Lost::Unread
                }
            }
            Some(error) => Lost::Broken(error),
        }
    }

    /// Hands what was read to the relay; what is incomplete stays for the next read.
    fn process(&mut self) -> Result<(), Lost> {
        let taken = match self.relay.take(&self.input[..self.filled]) {
            Ok(taken) => taken,
            Err(error) => {
                if self.relay.begun() {
                    self.relay.cut_short();
                }
                return Err(Lost::Garbage(error));
            }
        };
        if self.relay.ended() {
            return Ok(());
        }
        if self.relay.queued {
            // The bytes are about to be overwritten; filters may keep what is not worth a packet.
            self.relay.pass(Then::More);
        }
        self.put_back(taken);
        if self.relay.client_gone {
            self.abandon();
        }
        Ok(())
    }

    /// As [`Exchange::process`], when nothing is passed on any more.
    fn decode(&mut self) -> Result<(), DecodeError> {
        let taken = self.relay.take(&self.input[..self.filled])?;
        self.put_back(taken);
        Ok(())
    }

    /// Keeps what was not taken for the next read.
    fn put_back(&mut self, taken: usize) {
        self.input.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        if self.filled == self.input.len() {
            // A frame other than Data that is larger than the buffer: heads and log lines may be.
            let double = self.input.len() * 2;
            self.input.resize(double, 0);
        }
    }

    /// The client is gone: the process gets an error at its next write. The lease is kept until the
    /// process has ended the exchange, because its thread is busy until then.
    fn abandon(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let _ = stream::stop_receiving(connection.socket.as_fd());
        // What it had sent before is still here; perhaps it is through.
        while !self.relay.ended() {
            match stream::receive_now(connection.socket.as_fd(), &mut self.input[self.filled..]) {
                Ok(count) if count > 0 => self.filled += count,
                _ => break,
            }
            if self.decode().is_err() {
                break;
            }
        }
        if !self.relay.ended() {
            let mut fds = [PollFd::new(connection.socket.as_fd(), false, false)];
            let _ = poll(&mut fds, Some(self.job.socket_timeout()));
        }
        self.release();
        self.relay.progress = Progress::Complete;
    }

    /// The process says that it has no (complete) response.
    fn failed(&mut self, kind: wsgi_wire::response::Failure, upload: &Upload<'_>) -> Result<Ending, Lost> {
        self.keep(upload);
        if let Some(status) = upload.failed_status() {
            return Ok(Ending::Status(status));
        }
        let lost = Lost::Failed(kind);
        // The application has logged its traceback with this request; the client's status follows from it.
        if is_logged(&lost) { Ok(super::outcome::after(&lost, false)) } else { Err(lost) }
    }

    /// The whole response is here: free the thread, then let the client have the rest.
    fn complete(&mut self, upload: &Upload<'_>) -> Ending {
        self.keep(upload);
        if let Some(instead) = self.relay.instead.take() {
            return Ending::Instead(instead);
        }
        if upload.has_more() {
            // httpd reads the rest of the request's body before it writes what is not flushed.
            self.relay.pass(Then::Flush);
        }
        self.relay.pass(Then::End);
        Ending::Served
    }

    /// Keeps the connection if it is between two exchanges, and gives the lease back.
    fn keep(&mut self, upload: &Upload<'_>) {
        // After a large body some of it may lie unread in the socket, or was never sent: then a reset of this
        // connection would prove nothing about the next request on it.
        let clean = self.all_written() && !self.asked && upload.is_clean();
        if let (Some(connection), Some(lease), true) = (self.connection.take(), &self.lease, clean) {
            self.job.group.connections.keep(lease, connection);
        }
        self.release();
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.job.group.board.release(lease);
        }
    }

    /// The response has been begun.
    pub(super) fn has_begun(&self) -> bool {
        self.relay.begun()
    }

    /// After a loss: the other connections to that process are of no use either.
    pub(super) fn give_up(&mut self, lost: &Lost) {
        self.connection = None;
        if let Some(lease) = self.lease {
            self.job.group.connections.forget(&lease);
            if matches!(lost, Lost::Stale) {
                // It has asked the supervisor to be replaced; nobody else need try it.
                self.job.group.board.mark_draining(&lease);
            }
        }
        self.release();
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.release();
        let (out, input) = (std::mem::take(&mut self.out), std::mem::take(&mut self.input));
        if input.len() == READ {
            BUFFERS.set(Some(Buffers { out, input }));
        }
    }
}
