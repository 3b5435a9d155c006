//! The response's half of an exchange: `start_response`, `write`, and what of the iterable is sent when.

use wsgi_wire::MAX_PAYLOAD;
use wsgi_wire::bytes::{put_long, put_short};
use wsgi_wire::response::HeadEncoder;

use crate::python::py::{Any, Gil, Kind, Owned, Raised, Res};
use crate::request::host::{Gone, Sink};
use crate::request::rules::{self, Length, Refused};

/// Longest head: what a frame takes, with room for the header that [`Output::declare`] adds.
const MAX_HEAD: usize = MAX_PAYLOAD - 64;

/// Why output stops: the application is told by an exception, or the client is gone.
#[derive(Debug)]
pub enum Stop {
    /// The error indicator is set.
    Raised,
    /// Nobody reads any more.
    Gone,
}

impl From<Raised> for Stop {
    fn from(_: Raised) -> Stop {
        Stop::Raised
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Stop {
        Stop::Gone
    }
}

/// A head as `start_response` was given it.
#[derive(Debug)]
pub struct Head {
    payload: Vec<u8>,
    /// Where the number of headers stands in `payload`, and what it is.
    count_at: usize,
    count: u32,
    status: u16,
    length: Length,
}

/// The response so far.
pub struct Output<'a> {
    /// The host.
    pub sink: &'a mut dyn Sink,
    head: Option<Head>,
    committed: bool,
    /// The host has the head.
    handed: bool,
    sent: u64,
    /// The request's method is HEAD.
    pub is_head: bool,
    /// The client wants a part of the body.
    pub wants_range: bool,
}

impl<'a> Output<'a> {
    /// A response that has not been started.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Output { sink, head: None, committed: false, handed: false, sent: 0, is_head: false, wants_range: false }
    }

    /// Whether status and headers can no more be changed.
    pub fn is_committed(&self) -> bool {
        self.committed
    }

    /// Whether the host has the head: then a failure can only cut the response short.
    pub fn is_handed(&self) -> bool {
        self.handed
    }

    /// The status that the application has given last.
    pub fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }

    /// Bytes of the body so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The response may have a body.
    pub fn may_have_body(&self) -> bool {
        let status = self.head.as_ref().map_or(200, |head| head.status);
        !(self.is_head || status < 200 || status == 204 || status == 304)
    }

    /// The declared length.
    pub fn declared(&self) -> Option<u64> {
        match self.head.as_ref().map(|head| &head.length) {
            Some(Length::Declared(length)) => Some(*length),
            _ => None,
        }
    }

    /// Declares the whole body's length, where the application did not and it saves chunking.
    pub fn declare(&mut self, total: u64) {
        if self.committed || (self.is_head && total == 0) {
            return;
        }
        let Some(head) = self.head.as_mut() else { return };
        if head.length != Length::Unknown || head.status < 200 || matches!(head.status, 204 | 304) {
            return;
        }
        put_short(&mut head.payload, b"Content-Length");
        put_long(&mut head.payload, total.to_string().as_bytes());
        let at = head.count_at;
        head.count += 1;
        head.payload[at..at + 4].copy_from_slice(&head.count.to_be_bytes());
        head.length = Length::Declared(total);
    }

    /// Commits the head, if that has not been done, and hands it to the host.
    pub fn commit(&mut self, gil: Gil) -> Res<()> {
        self.promise(gil)?;
        if let Some(head) = self.head.as_ref().filter(|_| !self.handed) {
            self.sink.head(&head.payload);
            self.handed = true;
        }
        Ok(())
    }

    /// Commits the head: status and headers can no more be changed. The host gets it with the first byte of the body,
    /// or at the end.
    fn promise(&mut self, gil: Gil) -> Res<()> {
        if self.committed {
            return Ok(());
        }
        let Some(head) = self.head.as_ref() else {
            let text = "start_response() must be called before response content is produced";
            return Err(gil.raise(Kind::Runtime, text));
        };
        if let Length::Invalid(value) = &head.length {
            return Err(gil.raise(Kind::Value, &format!("invalid Content-Length header value: '{value}'")));
        }
        self.committed = true;
        Ok(())
    }

    /// Sends a block of the body at once (PEP 3333: "must not delay the transmission of any block"). `is_handed` is called
    /// when the host has the head.
    pub fn block(&mut self, gil: Gil, bytes: &[u8], is_handed: &dyn Fn()) -> Result<(), Stop> {
        self.promise(gil)?;
        let part = self.cut(bytes);
        if part.is_empty() {
            return Ok(());
        }
        self.commit(gil)?;
        is_handed();
        match self.sink.try_send(part) {
            Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Ok(gil.detach(|| self.sink.send(&[]))?),
            Some(Err(gone)) => Err(gone.into()),
            None => Ok(gil.detach(|| self.sink.send(part))?),
        }
    }

    /// Takes status and headers in the place of those that were there.
    pub fn set_head(&mut self, gil: Gil, head: Head) -> Res<()> {
        // Another thread may have written meanwhile.
        if self.committed {
            return Err(gil.raise(Kind::Runtime, "start_response() called more than once without exc_info"));
        }
        self.head = Some(head);
        Ok(())
    }

    /// The part of `bytes` that may be sent: what is within the declared length, and nothing if the response has no
    /// body. Counts it as sent.
    pub fn cut<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if !self.may_have_body() {
            return &[];
        }
        let room = self.declared().map_or(u64::MAX, |declared| declared.saturating_sub(self.sent));
        let part = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        self.sent += part.len() as u64;
        part
    }

    /// Counts `length` bytes of the body that are sent in another way.
    pub fn count(&mut self, length: u64) {
        self.sent += length;
    }

    /// Declared and sent length, when the body fell short of what was declared.
    pub fn shortfall(&self) -> Option<(u64, u64)> {
        let declared = self.declared().filter(|declared| *declared > self.sent)?;
        self.may_have_body().then_some((declared, self.sent))
    }
}

/// The three parts of `exc_info`.
pub fn exception_parts(gil: Gil, info: &Any) -> Res<[Owned; 3]> {
    let parts = info.as_tuple().filter(|tuple| tuple.len() == 3);
    let parts = parts.and_then(|tuple| Some([tuple.item(0)?, tuple.item(1)?, tuple.item(2)?]));
    parts.ok_or_else(|| gil.raise(Kind::Runtime, "start_response() argument 'exc_info' must be a 3-tuple or None"))
}

/// Runs `body` with the latin-1 bytes of what must be a `str`.
fn native<T>(gil: Gil, text: &Any, body: impl FnOnce(&[u8]) -> Res<T>) -> Res<T> {
    if !text.is_str() {
        return Err(gil.raise(Kind::Type, &format!("must be str, not {}", text.type_name(gil))));
    }
    text.with_latin1(gil, body)
}

fn refuse(gil: Gil, refused: &Refused) -> Raised {
    gil.raise(Kind::Value, &refused.0)
}

/// Status and headers as `start_response` was given them.
pub fn encode(gil: Gil, status: &Any, headers: &Any) -> Res<Head> {
    let mut payload = Vec::with_capacity(256);
    let (status, count_at) = native(gil, status, |line| {
        let (status, reason) = rules::split_status(line).map_err(|refused| refuse(gil, &refused))?;
        HeadEncoder::new(&mut payload, status, reason).finish();
        Ok((status, 4 + reason.len()))
    })?;
    let mut head = Head { payload, count_at, count: 0, status, length: Length::Unknown };
    let Some(list) = headers.as_list() else { return Ok(head) };
    for at in 0.. {
        let Some(header) = list.item(at) else { break };
        let (name, value) = name_and_value(gil, &header)?;
        native(gil, &name, |name| {
            rules::check_name(name).map_err(|refused| refuse(gil, &refused))?;
            native(gil, &value, |value| {
                rules::check_value(value).map_err(|refused| refuse(gil, &refused))?;
                head.put(name, value);
                Ok(())
            })
        })?;
        // Each takes more than a byte, so this limits their number as well.
        if head.payload.len() > MAX_HEAD {
            let text = format!("status and headers are longer than {MAX_HEAD} bytes, the most that mod_wsgi takes");
            return Err(gil.raise(Kind::Value, &text));
        }
    }
    head.payload[count_at..count_at + 4].copy_from_slice(&head.count.to_be_bytes());
    Ok(head)
}

impl Head {
    fn put(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"Content-Length") {
            self.length = self.length.and(value);
        }
        put_short(&mut self.payload, name);
        put_long(&mut self.payload, value);
        self.count += 1;
    }
}

fn name_and_value(gil: Gil, header: &Any) -> Res<(Owned, Owned)> {
    let Some(pair) = header.as_tuple() else {
        let text = format!("each header must be a 2-tuple, not {}", header.type_name(gil));
        return Err(gil.raise(Kind::Type, &text));
    };
    match (pair.len(), pair.item(0), pair.item(1)) {
        (2, Some(name), Some(value)) => Ok((name, value)),
        (len, ..) => Err(gil.raise(Kind::Value, &format!("each header must be a 2-tuple, got length {len}"))),
    }
}
