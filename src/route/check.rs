//! What must hold before a request runs: the handler's checks, in their order.

use wsgi_wire::messages::Message;

use super::Rejection;
use crate::directive::shown;

/// What httpd found under the script's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A file, or anything else.
    File,
}

/// `AcceptPathInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptPathInfo {
    /// The handler's choice, which is to accept.
    Default,
    /// Accept.
    On,
    /// Refuse.
    Off,
}

/// What the checks look at.
#[derive(Clone, Copy, Debug)]
pub struct HandlerFacts<'a> {
    /// The handler is `wsgi-script` or `application/x-httpd-wsgi`, and not a name of `WSGIHandlerScript`.
    pub runs_resource: bool,
    /// An alias chose the script (`alias-forced-type` is noted), so `ExecCGI` is not needed.
    pub aliased: bool,
    /// `Options ExecCGI` holds here.
    pub exec_cgi: bool,
    /// `r->filename`.
    pub filename: &'a [u8],
    /// What it is.
    pub file: FileKind,
    /// `r->used_path_info`.
    pub accept_path_info: AcceptPathInfo,
    /// `r->path_info`.
    pub path_info: &'a [u8],
    /// The request header.
    pub transfer_encoding: Option<&'a [u8]>,
    /// The request header.
    pub content_length: Option<&'a [u8]>,
    /// `WSGIChunkedRequest`.
    pub chunked_request: bool,
    /// `LimitRequestBody`; 0 is no limit.
    pub body_limit: u64,
}

/// How much body a request announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// None.
    Empty,
    /// This many bytes.
    Exactly(u64),
    /// Until the last chunk.
    Chunked,
}

/// Whether the request may run, and what body it brings.
pub fn check_request(facts: &HandlerFacts<'_>) -> Result<BodyLength, Rejection> {
    if facts.runs_resource {
        check_file(facts)?;
    }
    if facts.accept_path_info == AcceptPathInfo::Off && !facts.path_info.is_empty() {
        let name = [facts.filename, facts.path_info].concat();
        let text = format!("AcceptPathInfo off disallows user's path: \"{}\"", shown(&name));
        return Err(Rejection::new(404, Message::PathInfo, text));
    }
    body_length(facts)
}

/// The checks of the file, which a handler script does not need: its resource may be anything.
fn check_file(facts: &HandlerFacts<'_>) -> Result<(), Rejection> {
    let (status, message, problem) = match facts.file {
        _ if !facts.exec_cgi && !facts.aliased => (403, Message::ExecCgi, "Options ExecCGI is off in this directory"),
        FileKind::Missing => (404, Message::ScriptMissing, "Target WSGI script not found or unable to stat"),
        FileKind::Directory => (403, Message::Directory, "Attempt to invoke directory as WSGI application"),
        FileKind::File => return Ok(()),
    };
    Err(Rejection::new(status, message, format!("{problem}: \"{}\"", shown(facts.filename))))
}

/// The checks of the body's length.
fn body_length(facts: &HandlerFacts<'_>) -> Result<BodyLength, Rejection> {
    if let Some(coding) = facts.transfer_encoding {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            let text = format!("Unexpected value for Transfer-Encoding of '{}' supplied.", shown(coding));
            return Err(Rejection::new(501, Message::TransferEncoding, text));
        }
        if !facts.chunked_request {
            let text = "Request requires chunked transfer encoding, but support for chunked transfer encoding has not been \
                        enabled; WSGIChunkedRequest On allows it";
            return Err(Rejection::new(411, Message::ChunkedRequest, text));
        }
        return Ok(BodyLength::Chunked);
    }
    let Some(text) = facts.content_length else { return Ok(BodyLength::Empty) };
    let Some(length) = length(text) else {
        let text = format!("Invalid Content-Length header value of '{}' was supplied.", shown(text));
        return Err(Rejection::new(400, Message::ContentLength, text));
    };
    if facts.body_limit > 0 && length > facts.body_limit {
        let limit = facts.body_limit;
        let text = format!("Content-Length {length} is over the LimitRequestBody of {limit} bytes");
        return Err(Rejection::new(413, Message::BodyLimit, text));
    }
    Ok(if length == 0 { BodyLength::Empty } else { BodyLength::Exactly(length) })
}

/// Digits only, as RFC 9112 has it; no more than httpd's own signed offset can hold.
fn length(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let value = std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()?;
    (value <= i64::MAX as u64).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: HandlerFacts<'static> = HandlerFacts {
        runs_resource: true,
        aliased: true,
        exec_cgi: false,
        filename: b"/srv/app.wsgi",
        file: FileKind::File,
        accept_path_info: AcceptPathInfo::Default,
        path_info: b"/x",
        transfer_encoding: None,
        content_length: None,
        chunked_request: false,
        body_limit: 0,
    };

    fn status(facts: HandlerFacts<'_>) -> u16 {
        check_request(&facts).map_or_else(|rejection| rejection.status, |_| 200)
    }

    #[test]
    fn each_check_has_its_status() {
        let cases = [
            (GOOD, 200),
            (HandlerFacts { aliased: false, ..GOOD }, 403),
            (HandlerFacts { aliased: false, exec_cgi: true, ..GOOD }, 200),
            (HandlerFacts { file: FileKind::Missing, ..GOOD }, 404),
            (HandlerFacts { file: FileKind::Directory, ..GOOD }, 403),
            (HandlerFacts { runs_resource: false, aliased: false, file: FileKind::Directory, ..GOOD }, 200),
            (HandlerFacts { accept_path_info: AcceptPathInfo::Off, ..GOOD }, 404),
            (HandlerFacts { accept_path_info: AcceptPathInfo::Off, path_info: b"", ..GOOD }, 200),
            (HandlerFacts { transfer_encoding: Some(b"gzip"), ..GOOD }, 501),
            (HandlerFacts { transfer_encoding: Some(b"chunked"), ..GOOD }, 411),
            (HandlerFacts { content_length: Some(b"-1"), ..GOOD }, 400),
            (HandlerFacts { content_length: Some(b""), ..GOOD }, 400),
            (HandlerFacts { content_length: Some(b"+5"), ..GOOD }, 400),
            (HandlerFacts { content_length: Some(b"9223372036854775808"), ..GOOD }, 400),
            (HandlerFacts { content_length: Some(b"11"), body_limit: 10, ..GOOD }, 413),
            (HandlerFacts { content_length: Some(b"10"), body_limit: 10, ..GOOD }, 200),
        ];
        for (facts, expected) in cases {
            assert_eq!(status(facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn the_order_decides_when_several_fail() {
        let all = HandlerFacts {
            aliased: false,
            file: FileKind::Missing,
            accept_path_info: AcceptPathInfo::Off,
            transfer_encoding: Some(b"gzip"),
            ..GOOD
        };
        assert_eq!(status(all), 403);
        assert_eq!(status(HandlerFacts { aliased: true, ..all }), 404);
        assert_eq!(status(HandlerFacts { aliased: true, file: FileKind::File, path_info: b"", ..all }), 501);
    }

    #[test]
    fn the_announced_body_is_returned() {
        let body = |facts: HandlerFacts<'_>| check_request(&facts).unwrap();
        assert_eq!(body(GOOD), BodyLength::Empty);
        assert_eq!(body(HandlerFacts { content_length: Some(b"0"), ..GOOD }), BodyLength::Empty);
        assert_eq!(body(HandlerFacts { content_length: Some(b"12"), ..GOOD }), BodyLength::Exactly(12));
        let chunked = HandlerFacts { transfer_encoding: Some(b"Chunked"), chunked_request: true, ..GOOD };
        assert_eq!(body(chunked), BodyLength::Chunked);
    }
}
