//! Waits for the response of an exchange: for the process, as long as `socket-timeout` allows, and for a client that leaves.
//! Called by `exchange`, which decodes and passes on what was received, and by `sending`.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use wsgi_sys::poll::{PollFd, poll};
use wsgi_sys::stream;

use super::connections;
use super::drain::{Drained, Taken};
use super::exchange::{Exchange, READ};
use super::line::Line;
use super::outcome::{self, Lost};
use super::upload::Upload;
use crate::httpd::output::Then;

/// How often a client without a socket of its own (an HTTP/2 stream) is asked whether it is still there.
const STREAM_SLICE: Duration = Duration::from_millis(250);

impl Exchange<'_> {
    /// Reads what has arrived, at most `most` bytes, and puts it behind the bytes that `input` already holds.
    pub(super) fn receive_now(&mut self, most: usize) -> io::Result<usize> {
        self.receive_by(most, stream::receive_now)
    }

    fn receive_by(
        &mut self,
        most: usize,
        receive: fn(BorrowedFd<'_>, &mut [u8]) -> io::Result<wsgi_sys::socket::Received>,
    ) -> io::Result<usize> {
        let Some(socket) = self.line.as_ref().and_then(Line::socket) else { return Ok(0) };
        let end = self.input.len().min(self.filled + most);
        let got = receive(socket, &mut self.input[self.filled..end])?;
        self.filled += got.len;
        if let Some(file) = got.fds.into_iter().next() {
            self.file = Some(file);
        }
        Ok(got.len)
    }

    /// Receives some of the response, waiting for it, and passes it on.
    pub(super) fn receive(&mut self, upload: &Upload<'_>) -> Result<(), Lost> {
        let read = match self.drained.clone() {
            Some(drained) => self.receive_drained(&drained),
            None if self.relay.begun() => self.receive_begun(),
            None => self.receive_first(),
        };
        if self.job.group.board.is_closed() && !self.relay.begun() && read.is_err() {
            return Err(Lost::Stopping);
        }
        self.take(read, upload)?;
        if self.relay.client_gone && !self.relay.ended() {
            self.abandon(upload);
        }
        Ok(())
    }

    /// Receives the start of a response. Waits at most `socket-timeout`, or until this child is told to end.
    fn receive_first(&mut self) -> io::Result<usize> {
        let mut left = self.job.socket_timeout();
        loop {
            match self.receive_by(READ, stream::receive_waiting) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            left = left.saturating_sub(connections::SLICE);
            if left.is_zero() || self.job.group.board.is_closed() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.has_ended() {
                return self.receive_last();
            }
        }
    }

    /// Whether the process has ended. Its connection may still be open, because something that the process started
    /// holds the other end.
    fn has_ended(&self) -> bool {
        self.process.end(&self.job.group.board, Duration::ZERO).is_some()
    }

    /// Receives what a process that has ended left in the connection.
    fn receive_last(&mut self) -> io::Result<usize> {
        self.receive_now(READ)
            .or_else(|error| if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) })
    }

    /// Receives more of a response that has begun. When the process pauses, the client gets what has arrived so far.
    fn receive_begun(&mut self) -> io::Result<usize> {
        match self.receive_now(READ) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        if !self.await_process(self.job.flush_delay())? {
            if self.relay.unflushed {
                self.pass(Then::Flush, 0);
                return Err(io::ErrorKind::Interrupted.into());
            }
            let limit = Instant::now() + self.job.socket_timeout();
            while !self.await_process(STREAM_SLICE.min(limit.saturating_duration_since(Instant::now())))? {
                if self.relay.client_gone {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                if Instant::now() >= limit {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                if self.has_ended() {
                    return self.receive_last();
                }
            }
        }
        self.receive_now(READ)
    }

    /// As [`Exchange::receive_begun`], for a response that `drain` receives.
    fn receive_drained(&mut self, drained: &Drained) -> io::Result<usize> {
        let taken = self.take_drained(drained);
        if let Some(trouble) = drained.trouble() {
            outcome::warn_of_spool(self.job, &trouble);
        }
        match taken {
            Taken::Bytes(count) => {
                self.filled += count;
                Ok(count)
            }
            Taken::Lost => Ok(0),
            Taken::Nothing if self.relay.unflushed => {
                self.relay.pass(&self.input, Then::Flush);
                Err(io::ErrorKind::Interrupted.into())
            }
            Taken::Nothing if self.relay.client_gone => Err(io::ErrorKind::Interrupted.into()),
            Taken::Nothing => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Waits for what `drain` has received, and for the client to leave.
    fn take_drained(&mut self, drained: &Drained) -> Taken {
        if self.relay.unflushed {
            return drained.take(&mut self.input[self.filled..], self.job.flush_delay());
        }
        let limit = Instant::now() + self.job.socket_timeout();
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let taken = drained.take(&mut self.input[self.filled..], STREAM_SLICE.min(left));
            let client = self.job.request.client_socket().map(|client| PollFd::new(client, false, false));
            let hung_up = client.is_some_and(|client| {
                let mut fds = [client];
                poll(&mut fds, Some(Duration::ZERO)).is_ok() && fds[0].hung_up()
            });
            self.relay.client_gone |= hung_up || self.job.is_given_up();
            if taken != Taken::Nothing || self.relay.client_gone || Instant::now() >= limit {
                return taken;
            }
        }
    }

    /// Whether the process has sent something within `limit`. Notices a client that has left.
    fn await_process(&mut self, limit: Duration) -> io::Result<bool> {
        let Some(socket) = self.line.as_ref().and_then(Line::socket) else { return Ok(true) };
        let mut fds = vec![PollFd::new(socket, true, false)];
        fds.extend(self.job.request.client_socket().map(|client| PollFd::new(client, false, false)));
        poll(&mut fds, Some(limit))?;
        let left = fds.get(1).is_some_and(PollFd::hung_up);
        let readable = fds[0].readable();
        // httpd knows of HTTP/2 streams that were reset. A client that only has sent its end may still be reading.
        self.relay.client_gone |= left || self.job.is_given_up();
        Ok(readable && !self.relay.client_gone)
    }
}
