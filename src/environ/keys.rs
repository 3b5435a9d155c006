//! What becomes of each variable that httpd has for a request.

/// What to do with a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The application sees it.
    Pass,
    /// The application does not see it, or sees our value.
    Drop,
    /// `HTTPS`, which decides `wsgi.url_scheme` and is not seen.
    Scheme,
    /// `HTTP_AUTHORIZATION`.
    Authorization,
}

/// The fate of `key`. This runs for some forty keys of every request, most of which begin with `HTTP_`.
pub(super) fn classify(key: &[u8]) -> Fate {
    if let Some(header) = key.strip_prefix(b"HTTP_") {
        return match header {
            b"AUTHORIZATION" => Fate::Authorization,
            // A client must not set the proxy of the application's own requests (CVE-2016-5387); the other two
            // have names of their own in CGI.
            b"PROXY" | b"CONTENT_TYPE" | b"CONTENT_LENGTH" => Fate::Drop,
            _ => Fate::Pass,
        };
    }
    match key {
        b"HTTPS" => Fate::Scheme,
        b"SCRIPT_NAME" | b"PATH_INFO" | b"REQUEST_METHOD" => Fate::Drop,
        // The server's own surroundings, and what CGI has but WSGI servers do not tell.
        b"PATH" | b"GATEWAY_INTERFACE" | b"PATH_TRANSLATED" | b"REMOTE_HOST" | b"REMOTE_IDENT"
        | b"SERVER_SIGNATURE" => Fate::Drop,
        b"LD_LIBRARY_PATH" | b"LIBPATH" | b"SHLIB_PATH" | b"DYLD_LIBRARY_PATH" | b"LIBRARY_PATH" => Fate::Drop,
        _ if is_reserved(key) => Fate::Drop,
        _ => Fate::Pass,
    }
}

/// Whether the engine or this module gives the key its value.
fn is_reserved(key: &[u8]) -> bool {
    match key.first() {
        Some(b'm') => key.starts_with(b"mod_wsgi."),
        Some(b'w') => matches!(
            key,
            b"wsgi.version"
                | b"wsgi.url_scheme"
                | b"wsgi.multithread"
                | b"wsgi.multiprocess"
                | b"wsgi.run_once"
                | b"wsgi.errors"
                | b"wsgi.input"
                | b"wsgi.input_terminated"
                | b"wsgi.file_wrapper"
        ),
        Some(b'a') => matches!(key, b"apache.version" | b"apache.request_rec"),
        _ => false,
    }
}
