//! Status and headers of an application's response, set on httpd's request. Both modes use it.

use wsgi_wire::response::Head;

use crate::httpd::request::Request;

/// Sets the status and all headers.
pub(crate) fn set_head(request: Request<'_>, head: &Head<'_>) {
    request.set_status(head.status, head.reason);
    for (name, value) in head.headers() {
        match destination(name) {
            Destination::ContentType => request.set_content_type(value),
            Destination::ContentLength => match length(value) {
                Some(length) => request.set_content_length(length),
                None => request.headers_out().add(name, value),
            },
            // httpd keeps these on error pages of its own, too.
            Destination::Error => request.err_headers_out().add(name, value),
            Destination::Header => request.headers_out().add(name, value),
        }
    }
}

/// Where a header belongs in httpd's records.
#[derive(Debug, PartialEq, Eq)]
enum Destination {
    ContentType,
    ContentLength,
    Error,
    Header,
}

fn destination(name: &[u8]) -> Destination {
    match name.len() {
        12 if name.eq_ignore_ascii_case(b"Content-Type") => Destination::ContentType,
        14 if name.eq_ignore_ascii_case(b"Content-Length") => Destination::ContentLength,
        16 if name.eq_ignore_ascii_case(b"WWW-Authenticate") => Destination::Error,
        _ => Destination::Header,
    }
}

fn length(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    text.parse().ok().filter(|length| *length >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_where_httpd_looks_for_them() {
        assert_eq!(destination(b"content-type"), Destination::ContentType);
        assert_eq!(destination(b"Content-LENGTH"), Destination::ContentLength);
        assert_eq!(destination(b"WWW-Authenticate"), Destination::Error);
        assert_eq!(destination(b"Set-Cookie"), Destination::Header);
        assert_eq!((length(b" 12 "), length(b"-1"), length(b"x")), (Some(12), None, None));
    }
}
