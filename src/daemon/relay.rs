//! The response on its way to the client: frames of a daemon process become calls of httpd.

use wsgi_wire::bytes::DecodeError;
use wsgi_wire::frame::{self, Header, Tag};
use wsgi_wire::response::{Failure, Head, LogRecord};

use crate::httpd::output::{Output, Then};
use crate::httpd::request::Request;
use crate::respond;

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// No head yet.
    Waiting,
    /// The process takes the request; it wants the body.
    Wanted,
    /// The process refused: other code is on disk.
    Stale,
    /// The head has been set; the body is coming.
    Body,
    /// The whole response is here.
    Complete,
    /// The process says that there is no (complete) response.
    Failed(Failure),
}

/// Decodes frames and hands them on.
pub(super) struct Relay<'r> {
    request: Request<'r>,
    pub(super) output: Output<'r>,
    pub(super) progress: Progress,
    /// Bytes of a Data frame that are still to come, and whether it ends the response.
    data_left: usize,
    data_last: bool,
    /// Something is queued in `output`.
    pub(super) queued: bool,
    /// The client is gone: the rest is read and dropped.
    pub(super) client_gone: bool,
}

impl<'r> Relay<'r> {
    pub(super) fn new(request: Request<'r>) -> Relay<'r> {
        Relay {
            request,
            output: Output::new(request),
            progress: Progress::Waiting,
            data_left: 0,
            data_last: false,
            queued: false,
            client_gone: false,
        }
    }

    /// A head has been taken from the process.
    pub(super) fn begun(&self) -> bool {
        matches!(self.progress, Progress::Body | Progress::Complete)
    }

    /// Nothing more will come in this exchange.
    pub(super) fn ended(&self) -> bool {
        matches!(self.progress, Progress::Complete | Progress::Failed(_) | Progress::Stale)
    }

    /// Takes what can be taken from the front of `bytes`; returns how much. Body bytes are only queued:
    /// they must stay until the output is passed.
    ///
    /// # Errors
    /// When the bytes break the protocol.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut at = 0;
        while at < bytes.len() && !self.ended() {
            if self.data_left > 0 {
                at += self.take_data(&bytes[at..]);
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

    fn take_data(&mut self, bytes: &[u8]) -> usize {
        let part = self.data_left.min(bytes.len());
        if !self.client_gone {
            self.output.queue(&bytes[..part]);
            self.queued = true;
        }
        self.data_left -= part;
        self.close_data();
        part
    }

    fn take_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), DecodeError> {
        match header.tag {
            Tag::Log => {
                let record = LogRecord::decode(payload)?;
                self.request.log_record(record.level.into(), record.text);
            }
            Tag::Head if matches!(self.progress, Progress::Waiting | Progress::Wanted) => {
                respond::set_head(self.request, &Head::decode(payload)?);
                self.progress = if header.last { Progress::Complete } else { Progress::Body };
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

    fn progress_failed(&mut self, kind: Failure) {
        if self.progress == Progress::Body {
            self.cut_short();
        }
        self.progress = Progress::Failed(kind);
    }

    /// Passes what is queued to the client; a client that is gone is remembered.
    pub(super) fn pass(&mut self, then: Then) {
        if self.client_gone {
            return;
        }
        self.queued = false;
        self.client_gone = self.output.pass(then).is_err();
    }

    /// The response breaks off here: the client must see that.
    pub(super) fn cut_short(&mut self) {
        // What is here goes out first: httpd would make an error page of a response that it has not begun.
        self.pass(Then::Flush);
        if !self.client_gone {
            self.output.cut_short();
            self.client_gone = true;
        }
    }
}
