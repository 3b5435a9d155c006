//! CGI variables (RFC 3875) straight from httpd's records, for requests without special rules.
//!
//! httpd's own `ap_add_common_vars` and `ap_add_cgi_vars` write them into a table first, together with some that no
//! WSGI application gets; reading them from the records saves a fifteenth of a small request. Where httpd
//! has rules of its own for them (`CGIVar`, `CGIPassAuth`, internal redirects, subrequests) the handler lets httpd
//! fill the table.

use super::{DIGITS, decimal};

/// What the variables are made of; all texts may be empty.
#[derive(Clone, Copy, Debug)]
pub struct Cgi<'a> {
    /// `r->the_request`.
    pub request_line: &'a [u8],
    /// `r->protocol`.
    pub protocol: &'a [u8],
    /// `r->args`.
    pub query: &'a [u8],
    /// `ap_http_scheme`.
    pub scheme: &'a [u8],
    /// `ap_get_server_banner`.
    pub software: &'a [u8],
    /// `ap_get_server_name_for_url`, escaped for HTML.
    pub server_name: &'a [u8],
    /// The local address.
    pub server_addr: &'a [u8],
    /// `ap_get_server_port`.
    pub server_port: u16,
    /// `ServerAdmin`.
    pub server_admin: Option<&'a [u8]>,
    /// `r->useragent_ip`.
    pub remote_addr: &'a [u8],
    /// The client's port.
    pub remote_port: u16,
    /// `r->user`.
    pub user: Option<&'a [u8]>,
    /// `r->ap_auth_type`.
    pub auth_type: Option<&'a [u8]>,
    /// `ap_document_root`.
    pub document_root: &'a [u8],
    /// `r->filename`.
    pub filename: &'a [u8],
    /// `ap_context_prefix`.
    pub context_prefix: &'a [u8],
    /// `ap_context_document_root`.
    pub context_document_root: Option<&'a [u8]>,
}

/// Gives each variable to `put`; later ones of a name replace earlier ones.
pub fn put_cgi<'h>(
    cgi: &Cgi<'_>,
    headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    mut put: impl FnMut(&[u8], &[u8]),
) {
    for (name, value) in headers {
        put_header(name, value, &mut put);
    }
    let mut digits = [0; DIGITS];
    put(b"SERVER_SOFTWARE", cgi.software);
    put(b"SERVER_NAME", cgi.server_name);
    put(b"SERVER_ADDR", cgi.server_addr);
    put(b"SERVER_PORT", decimal(cgi.server_port.into(), &mut digits));
    put(b"REMOTE_ADDR", cgi.remote_addr);
    put(b"REMOTE_PORT", decimal(cgi.remote_port.into(), &mut digits));
    put(b"DOCUMENT_ROOT", cgi.document_root);
    put(b"REQUEST_SCHEME", cgi.scheme);
    put(b"CONTEXT_PREFIX", cgi.context_prefix);
    put(b"SCRIPT_FILENAME", cgi.filename);
    put(b"SERVER_PROTOCOL", cgi.protocol);
    put(b"QUERY_STRING", cgi.query);
    put(b"REQUEST_URI", request_uri(cgi.request_line));
    let optional: [(&[u8], _); 4] = [
        (b"CONTEXT_DOCUMENT_ROOT", cgi.context_document_root),
        (b"SERVER_ADMIN", cgi.server_admin),
        (b"REMOTE_USER", cgi.user),
        (b"AUTH_TYPE", cgi.auth_type),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            put(name, value);
        }
    }
}

/// The target of the request line as the client sent it.
fn request_uri(line: &[u8]) -> &[u8] {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.nth(1).unwrap_or_default()
}

/// Longest header name that needs no allocation.
const NAME: usize = 64;

/// Puts a header as a variable: `Accept-Encoding` becomes `HTTP_ACCEPT_ENCODING`. Like httpd, it leaves out headers
/// that tell of the client's secrets or could pose as configuration.
fn put_header(name: &[u8], value: &[u8], put: &mut impl FnMut(&[u8], &[u8])) {
    match name.len() {
        12 if name.eq_ignore_ascii_case(b"Content-Type") => return put(b"CONTENT_TYPE", value),
        14 if name.eq_ignore_ascii_case(b"Content-Length") => return put(b"CONTENT_LENGTH", value),
        // CVE-2016-5387.
        5 if name.eq_ignore_ascii_case(b"Proxy") => return,
        13 if name.eq_ignore_ascii_case(b"Authorization") => return,
        19 if name.eq_ignore_ascii_case(b"Proxy-Authorization") => return,
        _ => {}
    }
    let variable = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() };
    if name.len() > NAME {
        let long: Vec<u8> = b"HTTP_".iter().copied().chain(name.iter().map(|byte| variable(*byte))).collect();
        return put(&long, value);
    }
    let mut short = [0; 5 + NAME];
    short[..5].copy_from_slice(b"HTTP_");
    for (to, from) in short[5..].iter_mut().zip(name) {
        *to = variable(*from);
    }
    put(&short[..5 + name.len()], value);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CGI: Cgi<'static> = Cgi {
        request_line: b"GET /a%20b?c HTTP/1.1",
        protocol: b"HTTP/1.1",
        query: b"c",
        scheme: b"http",
        software: b"Apache",
        server_name: b"x.test",
        server_addr: b"127.0.0.1",
        server_port: 8000,
        server_admin: None,
        remote_addr: b"::1",
        remote_port: 65535,
        user: Some(b"ada"),
        auth_type: None,
        document_root: b"/srv",
        filename: b"/srv/x.wsgi",
        context_prefix: b"",
        context_document_root: Some(b"/srv"),
    };

    fn variables(headers: &[(&str, &str)]) -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut all = BTreeMap::new();
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        put_cgi(&CGI, headers, |name, value| drop(all.insert(text(name), text(value))));
        all
    }

    #[test]
    fn records_become_variables() {
        let all = variables(&[]);
        assert_eq!(all["REQUEST_URI"], "/a%20b?c");
        assert_eq!((all["SERVER_PORT"].as_str(), all["REMOTE_PORT"].as_str()), ("8000", "65535"));
        assert_eq!((all["REMOTE_USER"].as_str(), all["CONTEXT_DOCUMENT_ROOT"].as_str()), ("ada", "/srv"));
        assert!(!all.contains_key("AUTH_TYPE") && !all.contains_key("SERVER_ADMIN"));
        assert_eq!(all.len(), 15);
    }

    #[test]
    fn headers_become_variables_but_for_those_that_must_not() {
        let long = "X-".repeat(50) + "End";
        let all = variables(&[
            ("Host", "x"),
            ("accept-encoding", "gzip"),
            ("Content-Type", "a/b"),
            ("content-length", "3"),
            ("Authorization", "secret"),
            ("Proxy-Authorization", "secret"),
            ("Proxy", "evil"),
            (&long, "long"),
        ]);
        assert_eq!((all["HTTP_HOST"].as_str(), all["HTTP_ACCEPT_ENCODING"].as_str()), ("x", "gzip"));
        assert_eq!((all["CONTENT_TYPE"].as_str(), all["CONTENT_LENGTH"].as_str()), ("a/b", "3"));
        assert_eq!(all[&("HTTP_".to_owned() + &"X_".repeat(50) + "END")], "long");
        assert_eq!(all.len(), 15 + 5);
    }

    #[test]
    fn a_request_line_without_a_target_gives_an_empty_one() {
        for (line, target) in [("", ""), ("GET", ""), ("GET /", "/"), ("OPTIONS * HTTP/1.1", "*")] {
            assert_eq!(request_uri(line.as_bytes()), target.as_bytes());
        }
    }
}
