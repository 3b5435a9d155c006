//! A line that was taken over, until its response has ended.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use wsgi_sys::stream;

use super::super::line::{Line, WAIT_FOR_END};
use super::super::spool::Spool;
use super::{Drained, End, Offer};
use wsgi_wire::scan::Scan;

/// A line that was taken over.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) line: Option<Line>,
    scan: Scan,
    pub(super) unsent: Vec<u8>,
    clean: bool,
    /// The drain thread has stopped receiving, which the process notices at its next write.
    pub(super) stopped_receiving: bool,
    /// When the drain thread lost the process. The request thread stays reserved for a moment, so that the supervisor
    /// sees what the process was executing.
    lost: Option<Instant>,
    drained: Arc<Drained>,
}

impl Active {
    pub(super) fn new(offer: Offer, mut spool: Spool) -> (Active, Arc<Drained>) {
        let Offer { line, mut scan, early, unsent, clean } = offer;
        let sound = scan.feed(&early).is_ok();
        spool.keep(&early);
        let drained = Arc::new(Drained::new(spool));
        let other = Arc::clone(&drained);
        let mut active =
            Active { line: Some(line), scan, unsent, clean, stopped_receiving: false, lost: None, drained };
        if !sound {
            active.lose();
        }
        (active, other)
    }

    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.line.as_ref().and_then(Line::socket)
    }

    /// What the drain thread waits for on this line: bytes from the process, and room for bytes to it. `None`: it waits
    /// for nothing, not even for the process's end.
    pub(super) fn wants(&self) -> Option<(bool, bool)> {
        if self.is_lost() {
            return None;
        }
        let mut state = self.drained.lock();
        state.full = !state.spool.has_room();
        let receives = !self.stopped_receiving && !state.full;
        (receives || self.stopped_receiving || !self.unsent.is_empty()).then_some((receives, !self.unsent.is_empty()))
    }

    /// Receives once.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) {
        let Some(socket) = self.socket() else { return };
        match stream::receive_now(socket, buffer) {
            Ok(got) if got.len > 0 => {
                let bytes = &buffer[..got.len];
                let sound = self.scan.feed(bytes).is_ok();
                let mut state = self.drained.lock();
                state.file = got.fds.into_iter().next().or_else(|| state.file.take());
                if !state.abandoned {
                    state.spool.keep(bytes);
                }
                drop(state);
                self.drained.changed.notify_all();
                if sound { self.finish_if_ended() } else { self.lose() }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            _ => self.lose(),
        }
    }

    fn finish_if_ended(&mut self) {
        if !self.scan.ended() {
            return;
        }
        // The last bytes are in the spool: the request thread is free.
        let clean = self.clean && self.unsent.is_empty() && !self.stopped_receiving;
        if let Some(line) = self.line.take() {
            line.finish(clean);
        }
        self.drained.end(End::Complete);
    }

    pub(super) fn leave(&mut self) {
        self.line = None;
        self.drained.end(End::Lost);
    }

    fn lose(&mut self) {
        if let Some(line) = &self.line {
            line.forget();
        }
        self.lost = Some(Instant::now());
        self.drained.end(End::Lost);
    }

    /// Its process is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Nothing is left to do with it.
    pub(super) fn is_through(&self) -> bool {
        let Some(line) = &self.line else { return true };
        self.lost.is_some_and(|since| since.elapsed() >= WAIT_FOR_END || line.has_ended())
    }

    /// Sends what is left of the request.
    pub(super) fn send(&mut self) {
        let Some(socket) = self.line.as_ref().and_then(Line::socket) else { return };
        match stream::send_now(socket, &self.unsent) {
            Ok(count) => drop(self.unsent.drain(..count)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.unsent.clear(),
        }
    }

    /// Once nobody wants the rest, stops receiving, so that the process gets an error at its next write.
    pub(super) fn stop_if_abandoned(&mut self, buffer: &mut [u8]) {
        if self.stopped_receiving || self.is_lost() || !self.drained.lock().abandoned {
            return;
        }
        self.stopped_receiving = true;
        let Some(socket) = self.line.as_ref().and_then(Line::socket) else { return };
        let _ = stream::stop_receiving(socket);
        // What the process sent before is still in the socket. Perhaps the response ends there.
        while let Ok(got) = stream::receive_now(socket, buffer) {
            if got.len == 0 {
                break;
            }
            if self.scan.feed(&buffer[..got.len]).is_err() {
                // The bytes break the protocol, so the end of the response cannot be found.
                return self.leave();
            }
        }
        self.finish_if_ended();
    }
}
