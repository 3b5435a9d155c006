//! One request and its response on one connection.
//!
//! The exchange writes the request. If that takes more than one write, `sending` moves body and response in both
//! directions at once. Then `receiving` waits for the response, and the exchange passes it on. It gives the request thread
//! back as soon as it has received the whole response, before it writes the last part to a client that may be slow. While
//! it writes a part of an unfinished response, `drain` may take the connection over.

use std::cell::Cell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use wsgi_sys::{socket, stream};
use wsgi_wire::frame::{self, InputFailure, Tag};
use wsgi_wire::request;

use super::Job;
use super::drain::{self, Drained, Offer};
use super::line::{LeasedProcess, Line};
use super::outcome::{Ending, Lost};
use super::relay::{Progress, Relay};
use super::upload::{self, Upload};
use crate::httpd::log::Level;
use crate::httpd::output::Then;
use wsgi_wire::scan::Scan;

/// From this many bytes on, the exchange flushes: filters would have to copy what they keep.
const LARGE: usize = 64 << 10;

/// Size of the buffer for one read, in bytes.
pub(super) const READ: usize = 256 << 10;

/// A thread keeps its send buffer for its next exchange only if it is no larger than this, in bytes. A piece of a body
/// fits.
const KEPT: usize = 128 << 10;

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
    pub(super) job: &'j Job<'j>,
    /// The connection with its request thread. `None` once the exchange has given the thread back, or `drain` has taken
    /// it over.
    pub(super) line: Option<Line>,
    /// Tells the pid and the end of the line's process, also when `line` is gone.
    pub(super) process: LeasedProcess,
    /// The response as `drain` receives it, once `drain` has taken the line over.
    pub(super) drained: Option<Arc<Drained>>,
    pub(super) relay: Relay<'j>,
    pub(super) out: Vec<u8>,
    written: usize,
    pub(super) input: Vec<u8>,
    /// Bytes of `input` that are filled.
    pub(super) filled: usize,
    received: bool,
    /// A file that came beside the response.
    pub(super) file: Option<OwnedFd>,
    /// The exchange asked the process whether it takes the request, before it sent the body.
    pub(super) asked: bool,
    /// The process has not answered that question yet, so the exchange holds the body back.
    pub(super) withheld: bool,
    /// The exchange is still sending the request, so it must not offer the line to `drain`.
    sending: bool,
    /// The position in the response's frames behind all received bytes, while the exchange has received more than the
    /// relay has seen.
    pub(super) scan_ahead: Option<Scan>,
    /// Bytes came behind the end of the response.
    pub(super) has_excess: bool,
}

impl<'j> Exchange<'j> {
    pub(super) fn new(job: &'j Job<'j>, line: Line) -> Self {
        let Buffers { mut out, input } =
            BUFFERS.take().unwrap_or_else(|| Buffers { out: Vec::new(), input: vec![0; READ] });
        out.clear();
        Exchange {
            job,
            process: line.process(),
            line: Some(line),
            drained: None,
            relay: Relay::new(job),
            out,
            written: 0,
            input,
            filled: 0,
            received: false,
            file: None,
            asked: false,
            withheld: false,
            sending: false,
            scan_ahead: None,
            has_excess: false,
        }
    }

    /// Runs the exchange to its end.
    ///
    /// # Errors
    /// [`Lost`] when no response came that could be passed on.
    pub(super) fn run(&mut self, upload: &mut Upload<'_>) -> Result<Ending, Lost> {
        self.open_request(upload);
        self.write(upload)?;
        if self.withheld || !self.all_written() || upload.has_more() {
            self.sending = true;
            self.send_body(upload)?;
            self.sending = false;
        }
        loop {
            match self.relay.progress {
                Progress::Stale => return Err(Lost::Stale),
                Progress::TooLong => return Err(Lost::LongHeader(self.relay.too_long.take().unwrap_or_default())),
                Progress::Failed(_) if self.relay.broke_off => return Ok(self.break_off(upload)),
                Progress::Failed(kind) if !self.relay.client_gone => return self.failed(kind, upload),
                Progress::Complete | Progress::File(_) | Progress::Shared(_) | Progress::Failed(_) => {
                    return self.complete(upload);
                }
                Progress::Waiting | Progress::Wanted | Progress::Body => self.receive(upload)?,
            }
        }
    }

    /// Frames the head and what is here of the body, unless the process has to be asked first.
    fn open_request(&mut self, upload: &mut Upload<'_>) {
        upload.rewind();
        self.asked =
            upload.needs_confirmation(self.job.payload.len(), upload::one_message(self.job.options.send_buffer_size));
        if let Some(connection) = self.line.as_mut().and_then(Line::connection) {
            connection.greet(&mut self.out);
        }
        let at = self.out.len();
        frame::put(&mut self.out, Tag::Request, upload.is_empty(), self.job.payload);
        self.withheld = self.asked;
        if self.asked {
            // The flags are the payload's first byte.
            self.out[at + frame::HEADER] |= request::CONFIRM | if upload.is_on_read() { request::ON_READ } else { 0 };
        } else {
            upload.put_ahead(&mut self.out);
        }
    }

    pub(super) fn all_written(&self) -> bool {
        self.written == self.out.len()
    }

    /// Writes what can be written now.
    pub(super) fn write(&mut self, upload: &Upload<'_>) -> Result<(), Lost> {
        while !self.all_written() {
            let Some(socket) = self.line.as_ref().and_then(Line::socket) else { break };
            match self.send_some(socket) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The process has closed its end. Read what it sent before. If it sent nothing, it never had the whole
                // request.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => {
                    self.written = self.out.len();
                    if !self.relay.begun() {
                        if self.receive_now(READ).is_ok_and(|count| count > 0) {
                            self.received = true;
                            self.process()?;
                        } else if self.filled == 0 && !self.received && upload.can_repeat() {
                            return Err(Lost::Unread);
                        }
                    }
                }
                Err(error) => return Err(Lost::Broken(error)),
            }
        }
        if let Some(connection) = self.line.as_mut().and_then(Line::connection) {
            connection.area_file = None;
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Sends what fits. The area's descriptor goes with the greeting.
    fn send_some(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let area = self.line.as_ref().and_then(Line::area_file);
        match area.filter(|_| self.written == 0) {
            Some(area) => socket::send_with_fds(socket, &self.out, &[area]),
            None => stream::send_now(socket, &self.out[self.written..]),
        }
    }

    /// Turns the result of a read into the next step: decode the bytes, go on, or report a loss.
    pub(super) fn take(&mut self, read: io::Result<usize>, upload: &Upload<'_>) -> Result<(), Lost> {
        match read {
            Ok(0) => Err(self.lost(upload, None)),
            Ok(_) => {
                self.received = true;
                self.process()
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(self.timed_out()),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Ok(()),
            Err(error) => Err(self.lost(upload, Some(error))),
        }
    }

    pub(super) fn timed_out(&mut self) -> Lost {
        if self.relay.begun() {
            self.relay.cut_short(&self.input);
        }
        Lost::TimedOut
    }

    /// The connection ended without the end of a response.
    fn lost(&mut self, upload: &Upload<'_>, error: Option<io::Error>) -> Lost {
        if self.relay.begun() {
            self.relay.cut_short(&self.input);
            return Lost::Closed;
        }
        let is_reset = error.as_ref().is_some_and(|error| error.raw_os_error() == Some(libc::ECONNRESET));
        let is_unbegun =
            self.line.as_mut().and_then(Line::connection).is_some_and(|connection| connection.is_unbegun());
        match error {
            _ if (is_reset || is_unbegun) && !self.received && upload.can_repeat() => Lost::Unread,
            Some(error) if !is_reset => Lost::Broken(error),
            _ => Lost::Closed,
        }
    }

    /// Hands what was read to the relay and on to the client; what is incomplete stays for the next read.
    pub(super) fn process(&mut self) -> Result<(), Lost> {
        let taken = self.decode()?;
        if self.relay.ended() {
            return Ok(());
        }
        // The next read overwrites these bytes, so pass them now. Filters may keep what is not worth a packet.
        if self.relay.has_pending() && !self.relay.hold(&self.input, taken) {
            let then = if taken >= LARGE || self.relay.is_flush_due(taken) { Then::Flush } else { Then::More };
            self.pass(then, taken);
        }
        self.put_back(taken);
        Ok(())
    }

    /// Hands what was read to the relay. Returns how many bytes the relay took.
    pub(super) fn decode(&mut self) -> Result<usize, Lost> {
        let taken = self.relay.take(&self.input[..self.filled]).map_err(|error| {
            if self.relay.begun() {
                self.relay.cut_short(&self.input);
            }
            Lost::Garbage(error)
        })?;
        self.has_excess = self.relay.ended() && taken < self.filled;
        Ok(taken)
    }

    /// Passes the relay's pending pieces to the client. The client may take as long as it likes, so the exchange offers its line to
    /// `drain` meanwhile. The relay has decoded `taken` bytes of what was read.
    pub(super) fn pass(&mut self, then: Then, taken: usize) {
        let Some(line) = self.line.take_if(|_| !self.sending) else { return self.relay.pass(&self.input, then) };
        let early = self.input[taken..self.filled].to_vec();
        let offer = Offer { line, scan: self.relay.scan(), early, unsent: Vec::new(), clean: !self.asked };
        if let Err(offer) = drain::offer(offer) {
            self.line = Some(offer.line);
            return self.relay.pass(&self.input, then);
        }
        let guard = drain::WithdrawOnDrop;
        self.relay.pass(&self.input, then);
        let found = drain::withdraw();
        drop(guard);
        match found {
            Some(Ok(offer)) => self.line = Some(offer.line),
            Some(Err(drained)) => {
                self.drained = Some(drained);
                self.filled = taken;
            }
            None => {}
        }
    }

    /// Keeps the bytes that the relay did not take for the next read.
    pub(super) fn put_back(&mut self, taken: usize) {
        // While a long frame is incomplete the relay takes nothing of it, however often more of it arrives. Then there
        // is nothing to move.
        if taken > 0 {
            self.input.copy_within(taken..self.filled, 0);
            self.filled -= taken;
        }
        if self.filled == self.input.len() {
            // A frame other than Data that is larger than the buffer: heads and log lines may be.
            let double = self.input.len() * 2;
            self.input.resize(double, 0);
        }
    }

    /// Gives the exchange up because the client is gone. The process gets an error at its next read or write. Its
    /// request thread is free when the process has ended the exchange.
    pub(super) fn abandon(&mut self, upload: &Upload<'_>) {
        self.let_go(upload.has_more());
        if self.relay.begun() {
            // Perhaps it was a filter that failed: what the client has must not look complete.
            self.relay.output.cut_short();
        }
        self.relay.client_gone = true;
        self.relay.progress = Progress::Complete;
    }

    pub(super) fn let_go(&mut self, aborts_body: bool) {
        if let Some(drained) = &self.drained {
            return drained.abandon();
        }
        let Some(line) = self.line.take() else { return };
        let mut unsent = self.out.split_off(self.written);
        // The process still waits for the body or the rest of it: tell it that no more comes.
        if aborts_body || self.withheld {
            frame::put(&mut unsent, Tag::BodyAborted, true, &[InputFailure::Gone as u8]);
        }
        let (scan, early) = match self.scan_ahead.take() {
            Some(scan) => (scan, Vec::new()),
            None => (self.relay.scan(), self.input[..self.filled].to_vec()),
        };
        drain::discard(Offer { line, scan, early, unsent, clean: false });
    }

    /// Says in the log that the client took too long.
    pub(super) fn report_client(&self) {
        if self.relay.output.timed_out() {
            let (what, limit) = (self.job.what(), self.job.response_limit());
            let text = format!("the client took nothing of the response to {what} within {limit}; the rest is dropped");
            self.job.log(Level::Info, &text);
        }
    }

    /// The response has been begun.
    pub(super) fn has_begun(&self) -> bool {
        self.relay.begun()
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if let Some(drained) = &self.drained {
            // Nobody takes what is left of the response. If it has ended already, this changes nothing.
            drained.abandon();
        }
        let (mut out, input) = (std::mem::take(&mut self.out), std::mem::take(&mut self.input));
        if out.capacity() > KEPT {
            out = Vec::new();
        }
        if input.len() == READ {
            BUFFERS.set(Some(Buffers { out, input }));
        }
    }
}
