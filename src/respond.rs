//! The application's response, made httpd's: status and headers set on its request, or something else in its place.
//! Both modes use it.

use wsgi_wire::response::Head;

use crate::httpd::log::Level;
use crate::httpd::request::Request;

/// What the client gets in the place of the application's response, whose body is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Instead {
    /// httpd's own page for this status, or an `ErrorDocument` (`WSGIErrorOverride`).
    Page(u16),
    /// What this local URL gives: the application said 200 and `Location: /path`, as CGI has it (RFC 3875, 6.2.2).
    Local(Vec<u8>),
}

/// What the configuration says of the way of a response to its client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// `WSGIErrorOverride`.
    pub(crate) error_override: bool,
    /// Files may be sent by sendfile.
    pub(crate) sendfile: bool,
}

/// Sets the status and all headers. If the client gets something else instead of the response, nothing of the response
/// is sent; the caller passes the result to [`finish`] when the exchange with the application is over.
pub(crate) fn set_head(request: Request<'_>, head: &Head<'_>, error_override: bool) -> Option<Instead> {
    let instead = instead_of(head, error_override, |status| request.has_page_for(status));
    if instead.is_none() {
        request.set_status(head.status, head.reason);
    }
    for (name, value) in head.headers() {
        match (rule(name), &instead) {
            // httpd keeps these on error pages of its own, too.
            (Rule::Error, None | Some(Instead::Page(_))) => request.err_headers_out().add(name, value),
            // httpd hands it on to what stands in.
            (Rule::ContentType, None | Some(Instead::Local(_))) => request.set_content_type(value),
            (rule, None) => set_header(request, rule, name, value),
            (_, Some(_)) => {}
        }
    }
    instead
}

/// Which line of the head is longer than `longest` bytes, and how long it is: a sentence's end.
pub(crate) fn too_long(head: &Head<'_>, longest: usize) -> Option<String> {
    let status = [(&b"Status"[..], 3 + 1 + head.reason.len())].into_iter();
    let lines = status.chain(head.headers().map(|(name, value)| (name, value.len())));
    // As mod_wsgi counts them: name, colon, space, value, and the line's end of two bytes.
    let mut lengths = lines.map(|(name, value)| (name, name.len() + 2 + value + 2));
    let (name, length) = lengths.find(|(_, length)| *length > longest)?;
    let name: String = String::from_utf8_lossy(name).chars().take(100).collect();
    Some(format!("a response header \"{name}\" of {length} bytes; header-buffer-size={longest} allows no longer line"))
}

fn set_header(request: Request<'_>, rule: Rule, name: &[u8], value: &[u8]) {
    let table = request.headers_out();
    match rule {
        Rule::ContentLength => match length(value) {
            Some(length) => request.set_content_length(length),
            None => table.add(name, value),
        },
        Rule::Once => table.set(name, value),
        Rule::Connection => {
            if let Some(kept) = kept_of_connection(value) {
                table.set(name, kept);
            }
        }
        Rule::Drop => note_dropped(request, name),
        Rule::Add | Rule::Error | Rule::ContentType => table.add(name, value),
    }
}

fn note_dropped(request: Request<'_>, name: &[u8]) {
    if request.logs(Level::Debug) {
        let name = String::from_utf8_lossy(name);
        let text =
            format!("the application's header {name} is left out: it belongs to the connection, which is httpd's");
        request.log(Level::Debug, &text);
    }
}

/// Gives the client what takes the place of the response. The result is for httpd: 0, or an error status.
pub(crate) fn finish(request: Request<'_>, instead: &Instead) -> i32 {
    // As REDIRECT_... they are what the page or the other URL knows of this request.
    if !request.has_cgi_rules() {
        request.add_cgi_variables();
    }
    match instead {
        Instead::Page(status) => i32::from(*status),
        Instead::Local(url) => {
            if request.logs(Level::Debug) {
                let url = String::from_utf8_lossy(url);
                request.log(Level::Debug, &format!("the application's Location: {url} is served in place of its 200"));
            }
            request.redirect_internally(url)
        }
    }
}

/// What the client gets instead of the response, if anything. `has_page`: httpd can make a page for the status.
fn instead_of(head: &Head<'_>, error_override: bool, has_page: impl FnOnce(u16) -> bool) -> Option<Instead> {
    if error_override && head.status >= 400 && has_page(head.status) {
        return Some(Instead::Page(head.status));
    }
    if head.status != 200 {
        return None;
    }
    let location = head.headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"Location")).last();
    location.filter(|(_, url)| url.starts_with(b"/")).map(|(_, url)| Instead::Local(url.to_vec()))
}

/// What becomes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    ContentType,
    ContentLength,
    /// Belongs into httpd's other table.
    Error,
    /// Means nothing when it comes twice: the last one holds.
    Once,
    /// Some of it is the application's to say.
    Connection,
    /// Says how the connection frames the message, which only httpd knows. (PEP 3333 forbids these to applications.)
    Drop,
    /// May come more than once; each stays as it is.
    Add,
}

/// The headers that are not just added.
const RULES: [(&[u8], Rule); 17] = [
    (b"Content-Type", Rule::ContentType),
    (b"Content-Length", Rule::ContentLength),
    (b"WWW-Authenticate", Rule::Error),
    (b"Location", Rule::Once),
    (b"Content-Range", Rule::Once),
    (b"Content-Location", Rule::Once),
    (b"ETag", Rule::Once),
    (b"Last-Modified", Rule::Once),
    (b"Expires", Rule::Once),
    (b"Retry-After", Rule::Once),
    (b"Age", Rule::Once),
    (b"Connection", Rule::Connection),
    (b"Keep-Alive", Rule::Drop),
    (b"Proxy-Connection", Rule::Drop),
    (b"TE", Rule::Drop),
    (b"Trailer", Rule::Drop),
    (b"Transfer-Encoding", Rule::Drop),
];

fn rule(name: &[u8]) -> Rule {
    let found = RULES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map_or(Rule::Add, |(_, rule)| *rule)
}

/// What an application may say of the connection: that it is to be closed after the response, and that another
/// protocol is offered (a 426 must say so).
fn kept_of_connection(value: &[u8]) -> Option<&'static [u8]> {
    let says = |word: &[u8]| value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word));
    match (says(b"close"), says(b"upgrade")) {
        (true, true) => Some(b"close, upgrade"),
        (true, false) => Some(b"close"),
        (false, true) => Some(b"upgrade"),
        (false, false) => None,
    }
}

fn length(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    text.parse().ok().filter(|length| *length >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsgi_wire::response::HeadEncoder;

    fn with_head<T>(status: u16, headers: &[(&str, &str)], use_it: impl FnOnce(&Head<'_>) -> T) -> T {
        let mut payload = Vec::new();
        let mut encoder = HeadEncoder::new(&mut payload, status, b"");
        for (name, value) in headers {
            encoder.put(name.as_bytes(), value.as_bytes());
        }
        encoder.finish();
        use_it(&Head::decode(&payload).unwrap())
    }

    #[test]
    fn each_header_has_its_rule_whatever_its_case() {
        for (name, expected) in [
            ("content-type", Rule::ContentType),
            ("Content-LENGTH", Rule::ContentLength),
            ("WWW-Authenticate", Rule::Error),
            ("location", Rule::Once),
            ("transfer-encoding", Rule::Drop),
            ("Set-Cookie", Rule::Add),
            ("Vary", Rule::Add),
            ("X-Location", Rule::Add),
        ] {
            assert_eq!(rule(name.as_bytes()), expected, "{name}");
        }
        assert_eq!((length(b" 12 "), length(b"-1"), length(b"x")), (Some(12), None, None));
    }

    #[test]
    fn of_the_connection_only_close_and_upgrade_stay() {
        let cases: [(&str, Option<&str>); 5] = [
            ("keep-alive", None),
            ("Close", Some("close")),
            ("X-Foo, close", Some("close")),
            ("Upgrade", Some("upgrade")),
            ("", None),
        ];
        for (value, kept) in cases {
            assert_eq!(kept_of_connection(value.as_bytes()), kept.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn a_line_of_the_head_has_a_limit() {
        let of = |value: &str| with_head(200, &[("A", "1"), ("X-Long", value)], |head| too_long(head, 98));
        assert_eq!(of(&"x".repeat(88)), None);
        let problem = of(&"x".repeat(89)).unwrap();
        assert!(problem.contains("\"X-Long\" of 99 bytes; header-buffer-size=98 "), "{problem}");
    }

    #[test]
    fn an_error_gives_way_to_a_page_where_that_is_asked_for() {
        let instead = |status, asked, known| with_head(status, &[], |head| instead_of(head, asked, |_| known));
        assert_eq!(instead(404, true, true), Some(Instead::Page(404)));
        assert_eq!(instead(404, false, true), None);
        assert_eq!(instead(418, true, false), None);
        assert_eq!(instead(399, true, true), None);
    }

    #[test]
    fn a_local_location_of_a_200_is_served_in_its_place() {
        let local = |url: &str| Some(Instead::Local(url.as_bytes().to_vec()));
        for (status, locations, expected) in [
            (200, &["/x?y"][..], local("/x?y")),
            (200, &["http://a/", "/x"], local("/x")),
            (200, &["/x", "http://a/"], None),
            (200, &["x"], None),
            (200, &[""], None),
            (200, &[], None),
            (201, &["/x"], None),
            (302, &["/x"], None),
        ] {
            let headers: Vec<_> = locations.iter().map(|url| ("location", *url)).collect();
            let found = with_head(status, &headers, |head| instead_of(head, true, |_| true));
            assert_eq!(found, expected, "{status} {locations:?}");
        }
    }
}
