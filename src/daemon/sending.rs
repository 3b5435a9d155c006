//! Sends a request that takes more than one write. Body and response pass in both directions at once: the child serves
//! whichever of client and process can take or give something. It never waits for one of them alone, so none of the
//! three can block the others. A spool keeps what the process has sent and the client does not take yet.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use wsgi_sys::poll::{PollFd, poll};

use super::drain::{self, Offer};
use super::exchange::Exchange;
use super::line::Line;
use super::outcome::Lost;
use super::relay::Progress;
use super::spool::Spool;
use super::upload::Upload;
use crate::httpd::output::Then;
use wsgi_wire::scan::Scan;

/// How often an HTTP/2 stream is asked for more of its body.
const STREAM_SLICE: Duration = Duration::from_millis(10);
/// Bytes received at a time.
const PIECE: usize = 16 << 10;
/// How many bytes the child passes at a time to a client whose socket has room: so few that it does not have to wait.
const MORSEL: usize = 8 << 10;

/// The part of the response that came before the child had sent the whole request.
struct Ahead {
    spool: Spool,
    /// The position in the response's frames. `None` until the relay has decoded the response's head.
    scan: Option<Scan>,
}

impl Ahead {
    /// The process has sent all of the response.
    fn ended(&self) -> bool {
        self.scan.as_ref().is_some_and(Scan::ended)
    }
}

/// What the child saw when it looked at client and process.
#[derive(Default)]
struct Readiness {
    client_writable: bool,
    client_left: bool,
    /// Nothing happened in the time.
    idle: bool,
}

impl Exchange<'_> {
    /// Sends the rest of the request, until all of it is sent or the exchange has ended.
    pub(super) fn send_body(&mut self, upload: &mut Upload<'_>) -> Result<(), Lost> {
        let Some(line) = &self.line else { return Ok(()) };
        let mut ahead = Ahead { spool: Spool::new(&line.limits), scan: None };
        let mut moved = Instant::now();
        while !self.relay.ended() && (self.withheld || !self.all_written() || upload.has_more()) {
            let before = (self.out.len(), self.filled);
            self.receive_ahead(&mut ahead, upload)?;
            self.scan_ahead.clone_from(&ahead.scan);
            if self.relay.ended() {
                break;
            }
            self.write(upload)?;
            if self.all_written() && !self.withheld && self.take_from_client(&ahead, upload) {
                moved = Instant::now();
                continue;
            }
            let ready = self.wait_for_any(&ahead, upload)?;
            if ready.client_writable {
                self.give_to_client(&mut ahead)?;
                moved = Instant::now();
            }
            if (ready.client_left || self.relay.client_gone) && !self.relay.ended() {
                self.abandon(upload);
            }
            if !ready.idle || before != (self.out.len(), self.filled) {
                moved = Instant::now();
            } else {
                self.check_time(moved, upload)?;
            }
        }
        self.scan_ahead = None;
        self.go_on(ahead, upload)
    }

    /// Receives what the process has sent. The relay decodes it until the response has begun; after that the spool
    /// keeps it.
    fn receive_ahead(&mut self, ahead: &mut Ahead, upload: &mut Upload<'_>) -> Result<(), Lost> {
        if ahead.ended() || !ahead.spool.has_room() {
            return Ok(());
        }
        let Some(scan) = &mut ahead.scan else {
            let read = self.receive_now(PIECE);
            self.take(read, upload)?;
            // (The start of the response may have come with the answer.)
            if self.withheld && self.relay.progress != Progress::Waiting && !self.relay.ended() {
                self.withheld = false;
                if self.relay.progress == Progress::Wanted {
                    upload.invite();
                }
            }
            if self.relay.begun() && !self.relay.ended() {
                self.relay.pass(&self.input, Then::Flush);
                ahead.scan = Some(self.scan_of_rest()?);
            }
            return Ok(());
        };
        // Receive behind the bytes that the relay has not decoded yet. Those stay where they are.
        let (at, read) = (self.filled, self.receive_now(PIECE));
        let bytes = &self.input[at..self.filled];
        match read {
            Ok(count) if count > 0 => {
                scan.feed(bytes).map_err(Lost::Garbage)?;
                ahead.spool.keep(bytes);
                self.filled = at;
                if scan.ended() {
                    // The request thread is free, and reads no more of the body.
                    if let Some(line) = self.line.take() {
                        line.finish(false);
                    }
                }
                Ok(())
            }
            other => self.take(other, upload),
        }
    }

    /// The position of the next byte in the response's frames.
    fn scan_of_rest(&mut self) -> Result<Scan, Lost> {
        let mut scan = self.relay.scan();
        scan.feed(&self.input[..self.filled]).map_err(Lost::Garbage)?;
        Ok(scan)
    }

    /// Frames more of the body. False: the client has not sent it yet, or all was framed.
    fn take_from_client(&mut self, ahead: &Ahead, upload: &mut Upload<'_>) -> bool {
        if !upload.has_more() {
            return false;
        }
        let read = upload.put_next(&mut self.out);
        if ahead.ended() {
            self.out.clear();
        }
        read
    }

    /// Passes a morsel of what was kept.
    fn give_to_client(&mut self, ahead: &mut Ahead) -> Result<(), Lost> {
        let end = self.input.len().min(self.filled + MORSEL);
        let taken = ahead.spool.take(&mut self.input[self.filled..end]).map_err(Lost::Broken)?;
        self.filled += taken;
        let taken = self.decode()?;
        if !self.relay.ended() {
            self.relay.pass(&self.input, Then::Flush);
            self.put_back(taken);
        }
        Ok(())
    }

    fn wait_for_any(&self, ahead: &Ahead, upload: &Upload<'_>) -> Result<Readiness, Lost> {
        let client = self.job.request.client_socket();
        let has_more = !ahead.spool.is_empty();
        let wants_body = upload.has_more() && self.all_written() && !self.withheld;
        let mut fds = Vec::with_capacity(2);
        let process: Option<BorrowedFd<'_>> = self.line.as_ref().and_then(Line::socket);
        let (receives, sends) = (ahead.spool.has_room(), !self.all_written());
        fds.extend(process.filter(|_| receives || sends).map(|socket| PollFd::new(socket, receives, sends)));
        fds.extend(client.map(|socket| PollFd::new(socket, wants_body, has_more)));
        let limit = match client {
            Some(_) => self.limit(upload),
            // Passing bytes to an HTTP/2 stream waits by itself.
            None if has_more => Duration::ZERO,
            None => STREAM_SLICE,
        };
        let count = poll(&mut fds, Some(limit)).map_err(Lost::Broken)?;
        let of_client = client.and(fds.last());
        Ok(Readiness {
            client_writable: has_more && of_client.is_none_or(PollFd::writable),
            client_left: of_client.is_some_and(PollFd::hung_up) || self.job.is_given_up(),
            idle: count == 0,
        })
    }

    /// How long it may take until something happens.
    fn limit(&self, upload: &Upload<'_>) -> Duration {
        if self.withheld || !self.all_written() || !upload.has_more() {
            self.job.socket_timeout()
        } else {
            self.job.client_timeout()
        }
    }

    fn check_time(&mut self, moved: Instant, upload: &mut Upload<'_>) -> Result<(), Lost> {
        if moved.elapsed() < self.limit(upload) {
            return Ok(());
        }
        if self.withheld || !self.all_written() {
            return Err(self.timed_out());
        }
        upload.time_out(&mut self.out);
        Ok(())
    }

    /// Goes on with the response when the child has sent the request: first with the part that the spool keeps.
    fn go_on(&mut self, mut ahead: Ahead, upload: &Upload<'_>) -> Result<(), Lost> {
        if ahead.ended() {
            while !self.relay.ended() && !self.relay.client_gone && !ahead.spool.is_empty() {
                self.give_to_client(&mut ahead)?;
            }
            if self.relay.client_gone {
                self.abandon(upload);
            }
            return Ok(());
        }
        if self.relay.ended() || ahead.spool.is_empty() {
            return Ok(());
        }
        let (Some(line), Some(scan)) = (self.line.take(), ahead.scan) else { return Ok(()) };
        let offer = Offer { line, scan, early: Vec::new(), unsent: Vec::new(), clean: false };
        match drain::hand_over(offer, ahead.spool) {
            Ok(drained) => {
                self.drained = Some(drained);
                Ok(())
            }
            Err(refused) => {
                let (offer, spool) = *refused;
                self.line = Some(offer.line);
                ahead = Ahead { spool, scan: None };
                while !ahead.spool.is_empty() && !self.relay.client_gone {
                    self.give_to_client(&mut ahead)?;
                }
                Ok(())
            }
        }
    }
}
