//! The response on its way to the client: frames of a daemon process become calls of httpd.

use std::ops::Range;
use std::time::Duration;

use wsgi_sys::memory::Area;
use wsgi_wire::bytes::DecodeError;
use wsgi_wire::decision::Answer;
use wsgi_wire::frame::{self, Header, Tag};
use wsgi_wire::response::{Failure, FilePart, Head, LogRecord};

use super::Job;
use crate::httpd::client::Patience;
use crate::httpd::output::{Broken, Output, Then};
use crate::httpd::request::Request;
use crate::respond::{self, Instead};
use wsgi_wire::scan::Scan;

/// The relay holds at most this many bytes, and pieces, in order to pass them together with later ones.
const MAX_HELD: usize = 256 << 10;
const MAX_PIECES: usize = 1024;

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// No head yet.
    Waiting,
    /// The process takes the request; it wants the body.
    Wanted,
    /// The process refused the request, because the code on disk has changed.
    Stale,
    /// The head has been set; the body is coming.
    Body,
    /// The whole response is here.
    Complete,
    /// The whole response is here, except that the rest of the body is this part of a file.
    File(FilePart),
    /// The whole response is here, except that the rest of the body is this part of the connection's area.
    Shared(FilePart),
    /// The process says that there is no (complete) response.
    Failed(Failure),
    /// The head has a line that is too long.
    TooLong,
}

/// Decodes frames and hands them on.
pub(super) struct Relay<'r> {
    request: Request<'r>,
    pub(super) output: Output<'r>,
    pub(super) progress: Progress,
    /// Bytes of a Data frame that are still to come, and whether it ends the response.
    data_left: usize,
    data_last: bool,
    /// Pieces of the body that the relay has decoded and not passed yet, as ranges of the bytes that it was given.
    pending: Vec<Range<usize>>,
    /// The response is to be passed in one piece with its end.
    pub(super) whole: bool,
    /// Bytes that the relay has held so far, so that it can pass the response in one piece.
    held: usize,
    /// How many pieces of the body the relay has decoded.
    pieces: usize,
    /// Bytes passed since the last flush, and how many (`response-buffer-size`) lead to one.
    since_flush: usize,
    flush_after: usize,
    /// Longest line of a head (`header-buffer-size`), and the line that was longer.
    longest: usize,
    pub(super) too_long: Option<String>,
    /// How long the client may take to accept some of the response. `begin_passing` takes this value and puts it in
    /// force.
    patience: Option<Duration>,
    in_force: Option<Patience<'r>>,
    /// The process has broken off a response that was begun.
    pub(super) broke_off: bool,
    /// Some of the response was passed.
    passed: bool,
    /// Something was passed, or a head was set, since the last flush.
    pub(super) unflushed: bool,
    /// The client is gone: the rest is read and dropped.
    pub(super) client_gone: bool,
    /// `WSGIErrorOverride`.
    error_override: bool,
    /// A script was asked: an answer may come, and a response may not.
    asks: bool,
    pub(super) answer: Option<Answer>,
    /// What the client gets instead of this response. The relay then drops the response's body.
    pub(super) instead: Option<Instead>,
}

impl<'r> Relay<'r> {
    pub(super) fn new(job: &Job<'r>) -> Relay<'r> {
        Relay {
            request: job.request,
            output: Output::new(job.request),
            progress: Progress::Waiting,
            data_left: 0,
            data_last: false,
            pending: Vec::new(),
            whole: false,
            held: 0,
            pieces: 0,
            since_flush: 0,
            flush_after: job.options.response_buffer_size as usize,
            longest: job.options.header_buffer_size as usize,
            too_long: None,
            patience: job.response_patience(),
            in_force: None,
            broke_off: false,
            passed: false,
            unflushed: false,
            client_gone: false,
            error_override: job.delivery.error_override,
            asks: job.asks.is_some(),
            answer: None,
            instead: None,
        }
    }

    /// A head has been taken from the process and is on its way to the client.
    pub(super) fn begun(&self) -> bool {
        let begun = match self.progress {
            Progress::Body | Progress::Complete | Progress::File(_) | Progress::Shared(_) => true,
            Progress::Waiting | Progress::Wanted | Progress::Stale | Progress::Failed(_) | Progress::TooLong => false,
        };
        begun && self.instead.is_none()
    }

    /// Nothing more will come in this exchange.
    pub(super) fn ended(&self) -> bool {
        !matches!(self.progress, Progress::Waiting | Progress::Wanted | Progress::Body)
    }

    /// The position in the frames of the first byte that the relay has not taken yet.
    pub(super) fn scan(&self) -> Scan {
        Scan::within(self.data_left, self.data_last)
    }

    /// Takes what can be taken from the front of `bytes`; returns how much. Of body bytes the relay only notes where they
    /// are: the caller gives it the same bytes again to pass or to hold them.
    ///
    /// # Errors
    /// When the bytes break the protocol.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut at = 0;
        while at < bytes.len() && !self.ended() {
            if self.data_left > 0 {
                at += self.take_data(at..bytes.len());
                continue;
            }
            let Some(header) = frame::decode(&bytes[at..])? else { break };
            if header.tag == Tag::Data {
                self.open_data(header)?;
                at += frame::HEADER;
                continue;
            }
            let Some((header, payload, used)) = frame::split(&bytes[at..])? else { break };
            self.take_frame(header, payload)?;
            at += used;
        }
        Ok(at)
    }

    fn open_data(&mut self, header: Header) -> Result<(), DecodeError> {
        if self.progress != Progress::Body {
            return Err(DecodeError::Invalid("order of frames"));
        }
        (self.data_left, self.data_last) = (header.len, header.last);
        self.close_data();
        Ok(())
    }

    fn close_data(&mut self) {
        if self.data_left == 0 && self.data_last {
            self.progress = Progress::Complete;
        }
    }

    fn take_data(&mut self, at: Range<usize>) -> usize {
        let part = self.data_left.min(at.len());
        if !self.client_gone && self.instead.is_none() {
            self.pending.push(at.start..at.start + part);
            self.pieces += 1;
        }
        self.data_left -= part;
        self.close_data();
        part
    }

    fn take_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), DecodeError> {
        match header.tag {
            Tag::Log if !header.last => {
                let record = LogRecord::decode(payload)?;
                self.request.log_record(record.level.into(), record.text);
            }
            Tag::Answer if self.asks && self.progress == Progress::Waiting => {
                self.answer = Some(Answer::decode(payload)?);
                self.progress = Progress::Complete;
            }
            Tag::Head if !self.asks && matches!(self.progress, Progress::Waiting | Progress::Wanted) => {
                self.take_head(header, &Head::decode(payload)?);
            }
            Tag::File if self.progress == Progress::Body => self.progress = Progress::File(FilePart::decode(payload)?),
            Tag::Shared if self.progress == Progress::Body => {
                self.progress = Progress::Shared(FilePart::decode(payload)?);
            }
            Tag::Continue if self.progress == Progress::Waiting => self.progress = Progress::Wanted,
            Tag::Stale if self.progress == Progress::Waiting => self.progress = Progress::Stale,
            Tag::Failed => {
                let kind = Failure::from_byte(payload.first().copied().unwrap_or(0));
                self.data_last = false;
                self.progress_failed(kind);
            }
            _ => return Err(DecodeError::Invalid("order of frames")),
        }
        Ok(())
    }

    fn take_head(&mut self, header: Header, head: &Head<'_>) {
        self.too_long = respond::too_long(head, self.longest);
        if self.too_long.is_some() {
            self.progress = Progress::TooLong;
            return;
        }
        self.instead = respond::set_head(self.request, head, self.error_override);
        (self.unflushed, self.whole) = (true, header.whole);
        self.progress = if header.last { Progress::Complete } else { Progress::Body };
    }

    fn progress_failed(&mut self, kind: Failure) {
        self.broke_off = self.begun();
        self.progress = Progress::Failed(kind);
    }

    /// Whether the relay has decoded some of the body that it has neither passed nor kept.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the relay still passes the response in one piece. If so, it keeps a copy of the pending pieces: they lie in
    /// the first `taken` of the `bytes`, which the caller is about to overwrite. An engine of ours marks no response as
    /// whole that is longer than `MAX_HELD` bytes or `MAX_PIECES` pieces, so the relay passes a longer one in pieces.
    pub(super) fn hold(&mut self, bytes: &[u8], taken: usize) -> bool {
        self.held += taken;
        self.whole &= self.held <= MAX_HELD && self.pieces <= MAX_PIECES;
        if self.whole {
            self.keep_pending(bytes);
        }
        self.whole
    }

    fn keep_pending(&mut self, bytes: &[u8]) {
        for piece in self.pending.drain(..) {
            self.output.keep(&bytes[piece]);
        }
    }

    /// Passes the end of the response. Filters must not see a response that came in pieces as a whole, even if the
    /// child received the last piece together with the first. So the relay passes the pieces before it passes the end.
    pub(super) fn pass_end(&mut self, bytes: &[u8]) {
        if !self.whole && !self.passed {
            self.pass(bytes, Then::More);
        }
        self.pass(bytes, Then::End);
    }

    /// Passes this part of an area as the rest of the body, and the end of the response. False: the part is not within the
    /// area.
    pub(super) fn pass_shared(&mut self, area: &Area, part: FilePart, bytes: &[u8], flush: bool) -> bool {
        if area.place(part.offset, part.length).is_none() {
            return false;
        }
        self.keep_pending(bytes);
        // As in `pass_end`.
        let is_end = !flush && (self.whole || self.passed);
        let then = if flush {
            Then::Flush
        } else if is_end {
            Then::End
        } else {
            Then::More
        };
        self.pass_by(then, |output| output.pass_area(area, part, then).unwrap_or(Err(Broken)));
        if !is_end {
            self.pass(bytes, Then::End);
        }
        true
    }

    /// Starts the client's time limit. The relay calls this before it passes something to the client.
    pub(super) fn begin_passing(&mut self) {
        if let Some(limit) = self.patience.take() {
            self.in_force = self.request.set_client_patience(limit);
        }
    }

    /// Counts `taken` bytes that the caller is about to pass. True: the client must have them now, because
    /// `response-buffer-size` bytes have gathered since the last flush.
    pub(super) fn is_flush_due(&mut self, taken: usize) -> bool {
        self.since_flush += taken;
        self.since_flush >= self.flush_after
    }

    /// Passes the pending pieces of `bytes` to the client. If the client is gone, the relay notes that.
    pub(super) fn pass(&mut self, bytes: &[u8], then: Then) {
        let pending = std::mem::take(&mut self.pending);
        self.pass_by(then, |output| output.pass(pending.iter().map(|piece| &bytes[piece.clone()]), then));
    }

    fn pass_by(&mut self, then: Then, pass: impl FnOnce(&mut Output<'r>) -> Result<(), Broken>) {
        if self.client_gone {
            return;
        }
        self.begin_passing();
        self.passed = true;
        self.unflushed = then == Then::More;
        if then != Then::More {
            self.since_flush = 0;
        }
        self.client_gone = pass(&mut self.output).is_err();
    }

    /// The response breaks off here: the client must see that. It first gets the pending pieces of `bytes`.
    pub(super) fn cut_short(&mut self, bytes: &[u8]) {
        // httpd would make an error page of a response that it has not begun.
        self.pass(bytes, Then::Flush);
        if !self.client_gone {
            self.output.cut_short();
            self.client_gone = true;
        }
    }
}
