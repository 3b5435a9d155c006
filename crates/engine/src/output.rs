//! The response's half of an exchange: `start_response`, `write`, and what of the iterable is sent when.

use wsgi_wire::MAX_PAYLOAD;
use wsgi_wire::bytes::{put_long, put_short};
use wsgi_wire::response::{HeadEncoder, is_token};

use crate::exchange::{Exchange, Gone, Sink};
use crate::py::{Any, Gil, Kind, Owned, Raised, Res};

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

/// What the application said of the body's length.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Length {
    Unknown,
    Declared(u64),
    Invalid(String),
}

/// A head as `start_response` was given it.
#[derive(Debug)]
struct Head {
    payload: Vec<u8>,
    /// Where the number of headers stands in `payload`.
    count_at: usize,
    status: u16,
    length: Length,
}

/// The response so far.
pub struct Output<'a> {
    /// The host.
    pub sink: &'a mut dyn Sink,
    head: Option<Head>,
    committed: bool,
    sent: u64,
    /// The request's method is HEAD.
    pub is_head: bool,
}

impl<'a> Output<'a> {
    /// A response that has not been started.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Output { sink, head: None, committed: false, sent: 0, is_head: false }
    }

    /// Whether status and headers can no more be changed.
    pub fn is_committed(&self) -> bool {
        self.committed
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
        let count = u16::from_be_bytes([head.payload[at], head.payload[at + 1]]).saturating_add(1);
        head.payload[at..at + 2].copy_from_slice(&count.to_be_bytes());
        head.length = Length::Declared(total);
    }

    /// Hands the head to the host, once.
    pub fn commit(&mut self, gil: Gil) -> Res<()> {
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
        self.sink.head(&head.payload);
        self.committed = true;
        Ok(())
    }

    /// What of `bytes` is to be sent: what is within the declared length, and nothing where a response has
    /// no body. It counts as sent.
    pub fn cut<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if !self.may_have_body() {
            return &[];
        }
        let room = self.declared().map_or(u64::MAX, |declared| declared.saturating_sub(self.sent));
        let part = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        self.sent += part.len() as u64;
        part
    }

    /// `length` bytes of the body are sent by another way.
    pub fn count(&mut self, length: u64) {
        self.sent += length;
    }

    /// Declared and sent length, when the body fell short of what was declared.
    pub fn shortfall(&self) -> Option<(u64, u64)> {
        let declared = self.declared().filter(|declared| *declared > self.sent)?;
        self.may_have_body().then_some((declared, self.sent))
    }
}

impl Exchange<'_> {
    /// Sends a block of the body at once (PEP 3333: "must not delay the transmission of any block").
    pub fn block(&self, gil: Gil, bytes: &[u8]) -> Result<(), Stop> {
        let Ok(mut output) = self.output.try_borrow_mut() else {
            return Err(gil.raise(Kind::Runtime, "another thread is writing to this response").into());
        };
        output.commit(gil)?;
        let part = output.cut(bytes);
        if part.is_empty() {
            return Ok(());
        }
        match output.sink.try_send(part) {
            Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Ok(gil.detach(|| output.sink.send(&[]))?),
            Some(Err(gone)) => Err(gone.into()),
            None => Ok(gil.detach(|| output.sink.send(part))?),
        }
    }

    /// `write(data)`
    pub fn write(&self, gil: Gil, data: &Any) -> Res<()> {
        let Some(bytes) = data.as_bytes() else {
            let text = format!("write() argument must be bytes, not {}", data.type_name(gil));
            return Err(gil.raise(Kind::Type, &text));
        };
        match self.block(gil, bytes) {
            Ok(()) => Ok(()),
            Err(Stop::Raised) => Err(Raised),
            Err(Stop::Gone) => Err(gil.raise(Kind::Os, "mod_wsgi client connection closed")),
        }
    }

    /// `start_response(status, headers, exc_info)`
    pub fn start(&self, gil: Gil, status: &Any, headers: &Any, exc_info: Option<&Any>) -> Res<()> {
        if headers.as_list().is_none() {
            let name = headers.type_name(gil);
            return Err(gil.raise(Kind::Type, &format!("start_response() argument 2 must be list, not {name}")));
        }
        let exc_info = exc_info.filter(|info| !info.is_none());
        let parts = exc_info.map(|info| exception_parts(gil, info)).transpose()?;
        let Ok(mut output) = self.output.try_borrow_mut() else {
            return Err(gil.raise(Kind::Runtime, "another thread is writing to this response"));
        };
        match parts {
            Some([kind, value, traceback]) if output.committed => {
                drop(output);
                return Err(gil.raise_again(kind, value, traceback));
            }
            None if output.committed => {
                return Err(gil.raise(Kind::Runtime, "start_response() called more than once without exc_info"));
            }
            _ => {}
        }
        output.head = Some(encode(gil, status, headers)?);
        Ok(())
    }
}

/// The three parts of `exc_info`.
fn exception_parts(gil: Gil, info: &Any) -> Res<[Owned; 3]> {
    let parts = info.as_tuple().filter(|tuple| tuple.len() == 3);
    let parts = parts.and_then(|tuple| Some([tuple.item(0)?, tuple.item(1)?, tuple.item(2)?]));
    parts.ok_or_else(|| gil.raise(Kind::Runtime, "start_response() argument 'exc_info' must be a 3-tuple or None"))
}

/// `bytes` as Python shows them.
fn shown(bytes: &[u8]) -> String {
    format!("b'{}'", bytes.escape_ascii())
}

/// Runs `body` with the latin-1 bytes of what must be a `str`.
fn native<T>(gil: Gil, text: &Any, body: impl FnOnce(&[u8]) -> Res<T>) -> Res<T> {
    if !text.is_str() {
        return Err(gil.raise(Kind::Type, &format!("must be str, not {}", text.type_name(gil))));
    }
    text.with_latin1(gil, body)
}

/// Status code and reason.
fn split_status(gil: Gil, line: &[u8]) -> Res<(u16, &[u8])> {
    let refuse = |what: &str| gil.raise(Kind::Value, &format!("{what}: {}", shown(line)));
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits != 3 {
        return Err(refuse("status code must be a 3 digit integer"));
    }
    let code = line[..3].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let reason = match line.get(3) {
        None => &[][..],
        Some(b' ') => &line[4..],
        Some(_) => return Err(refuse("no space following status code")),
    };
    if reason.iter().any(u8::is_ascii_control) {
        return Err(refuse("control character in status reason phrase"));
    }
    if code < 200 {
        return Err(refuse("status code is not one of a final response"));
    }
    Ok((code, reason))
}

fn encode(gil: Gil, status: &Any, headers: &Any) -> Res<Head> {
    let mut payload = Vec::with_capacity(256);
    let (status, count_at) = native(gil, status, |line| {
        let (status, reason) = split_status(gil, line)?;
        HeadEncoder::new(&mut payload, status, reason).finish();
        Ok((status, 4 + reason.len().min(usize::from(u16::MAX))))
    })?;
    let mut head = Head { payload, count_at, status, length: Length::Unknown };
    let Some(list) = headers.as_list() else { return Ok(head) };
    let mut count = 0u16;
    while let Some(header) = list.item(usize::from(count)) {
        let (name, value) = name_and_value(gil, &header)?;
        native(gil, &name, |name| {
            check_name(gil, name)?;
            native(gil, &value, |value| {
                check_value(gil, value)?;
                head.put(name, value);
                Ok(())
            })
        })?;
        count = count.checked_add(1).ok_or_else(|| gil.raise(Kind::Value, "too many headers"))?;
        if head.payload.len() > MAX_HEAD {
            let text = format!("status and headers are longer than {MAX_HEAD} bytes");
            return Err(gil.raise(Kind::Value, &text));
        }
    }
    head.payload[count_at..count_at + 2].copy_from_slice(&count.to_be_bytes());
    Ok(head)
}

impl Head {
    fn put(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"Content-Length") {
            let text = value.trim_ascii();
            let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            let number = core::str::from_utf8(text).ok().filter(|_| plain).and_then(|text| text.parse().ok());
            self.length = match (number, &self.length) {
                (Some(number), Length::Unknown) => Length::Declared(number),
                (Some(number), Length::Declared(before)) if *before == number => Length::Declared(number),
                _ => Length::Invalid(String::from_utf8_lossy(value).into_owned()),
            };
        }
        put_short(&mut self.payload, name);
        put_long(&mut self.payload, value);
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

fn check_name(gil: Gil, name: &[u8]) -> Res<()> {
    let problem = if name.is_empty() {
        return Err(gil.raise(Kind::Value, "header name is empty"));
    } else if name.iter().any(u8::is_ascii_control) {
        "control character in header name"
    } else if name.contains(&b' ') {
        "space character in header name"
    } else if !name.iter().all(|byte| is_token(*byte)) {
        "character that is not allowed in header name"
    } else if name.len() > usize::from(u16::MAX) {
        "too long a header name"
    } else {
        return Ok(());
    };
    Err(gil.raise(Kind::Value, &format!("{problem}: {}", shown(name))))
}

fn check_value(gil: Gil, value: &[u8]) -> Res<()> {
    let found = value.iter().find(|byte| matches!(byte, b'\r' | b'\n' | 0));
    let problem = match found {
        None => return Ok(()),
        Some(0) => "null character in header value",
        Some(_) => "carriage return/line feed character in header value",
    };
    Err(gil.raise(Kind::Value, &format!("{problem}: {}", shown(value))))
}
