//! How an exchange ends: it gives the request thread back, and the client gets the rest of its response.

use std::time::Duration;

use wsgi_wire::bytes::DecodeError;
use wsgi_wire::response::{Failure, FilePart};

use super::exchange::Exchange;
use super::line::WAIT_FOR_END;
use super::outcome::{self, Ending, Lost, is_logged};
use super::relay::Progress;
use super::upload::Upload;
use crate::httpd::file::{FileBody, FileError};
use crate::httpd::output::Then;

impl Exchange<'_> {
    /// Cuts the response short. The client has its beginning, and the process says that no end will come.
    pub(super) fn break_off(&mut self, upload: &Upload<'_>) -> Ending {
        self.keep(upload);
        self.relay.cut_short(&self.input);
        Ending::Served
    }

    /// What the client gets instead of the response, if the response's head has decided that.
    pub(super) fn instead(&mut self) -> Option<Ending> {
        self.relay.instead.take().map(Ending::Instead)
    }

    /// Ends an exchange whose process says that it has no (complete) response.
    pub(super) fn failed(&mut self, kind: Failure, upload: &Upload<'_>) -> Result<Ending, Lost> {
        // Perhaps the process's watchdog sent this; it then closes the connection.
        self.has_excess |= kind == Failure::Timeout;
        self.keep(upload);
        if let Some(instead) = self.instead() {
            return Ok(instead);
        }
        if let Some(status) = upload.failed_status() {
            return Ok(Ending::Status(status));
        }
        let lost = Lost::Failed(kind);
        // The application has logged its traceback with this request; the client's status follows from it.
        if is_logged(&lost) { Ok(outcome::after(&lost, false)) } else { Err(lost) }
    }

    /// The whole response is here: free the thread, then let the client have the rest.
    pub(super) fn complete(&mut self, upload: &mut Upload<'_>) -> Result<Ending, Lost> {
        if let Progress::Shared(part) = self.relay.progress {
            return self.complete_shared(part, upload);
        }
        self.keep(upload);
        if let Some(answer) = self.relay.answer.take() {
            return Ok(Ending::Answered(answer));
        }
        upload.end_stream();
        if let Some(instead) = self.relay.instead.take() {
            return Ok(Ending::Instead(instead));
        }
        if upload.is_unread() {
            // httpd reads the rest of the request's body before it writes what is not flushed.
            self.relay.pass(&self.input, Then::Flush);
        }
        match self.relay.progress {
            Progress::File(part) if !self.relay.client_gone => self.send_file(part),
            _ => self.relay.pass_end(&self.input),
        }
        Ok(Ending::Served)
    }

    /// As [`Exchange::complete`], when the body is in the connection's area: no other exchange may use the connection
    /// before the client has the whole body.
    fn complete_shared(&mut self, part: FilePart, upload: &mut Upload<'_>) -> Result<Ending, Lost> {
        const OUTSIDE: Lost = Lost::Garbage(DecodeError::Invalid("area"));
        let Some(line) = &mut self.line else { return Err(OUTSIDE) };
        line.free();
        upload.end_stream();
        if self.relay.instead.is_none() {
            let Some(connection) = line.connection() else { return Err(OUTSIDE) };
            connection.area_used = true;
            let Some(area) = &connection.area else { return Err(OUTSIDE) };
            // httpd reads the rest of the request's body before it writes what is not flushed.
            if !self.relay.pass_shared(area, part, &self.input, upload.is_unread()) {
                return Err(OUTSIDE);
            }
        }
        self.keep(upload);
        Ok(self.relay.instead.take().map_or(Ending::Served, Ending::Instead))
    }

    fn send_file(&mut self, part: FilePart) {
        let FilePart { offset, length } = part;
        self.relay.begin_passing();
        let file = self.file.take().or_else(|| self.drained.as_ref()?.file());
        let sent = match file {
            Some(file) => {
                let body = FileBody { file, offset, length, sendfile: self.job.delivery.sendfile };
                self.relay.output.pass_file(&body)
            }
            None => Err(FileError::Unfit),
        };
        if let Err(error) = sent {
            if error != FileError::Broken {
                outcome::report_file(self.job, error);
                self.relay.cut_short(&self.input);
            }
        }
    }

    /// Keeps the connection if it is between two exchanges, and gives the request thread back.
    fn keep(&mut self, upload: &Upload<'_>) {
        // After a large body, some of it may lie unread in the socket, or the child never sent it. A reset of this
        // connection would then prove nothing about its next request.
        let clean = self.all_written() && !self.asked && !self.has_excess && upload.is_clean();
        if let Some(line) = self.line.take() {
            line.finish(clean);
        }
    }

    /// Gives the request thread back after a loss, and returns the text that tells the loss.
    pub(super) fn give_up(&mut self, lost: &Lost, upload: &Upload<'_>) -> String {
        let line = match lost {
            // The process still executes the request: its thread is not free yet.
            Lost::TimedOut | Lost::LongHeader(_) => {
                self.let_go(upload.has_more());
                None
            }
            _ => self.line.take(),
        };
        if let Some(line) = &line {
            line.forget();
        }
        let limit = if lost.is_end() { WAIT_FOR_END } else { Duration::ZERO };
        let ended = self.process.end(&self.job.group.board, limit);
        if let Some(line) = line {
            line.give_up(matches!(lost, Lost::Stale));
        }
        lost.tell(self.process.pid, ended.as_deref(), &self.job.what(), &self.job.socket_limit())
    }
}
