//! Names of environ variables that both ends know by number, so that the engine can use string
//! objects made once, and a request names most of its variables in two bytes.

/// The known names, sorted by length and then by bytes. A name's position is its number on the wire,
/// so a change here is a change of [`crate::PROTOCOL`].
pub static KNOWN: [&str; 87] = [
    "HTTP2",
    "HTTPS",
    "H2PUSH",
    "H2_PUSH",
    "HTTP_TE",
    "HTTP_DNT",
    "HTTP_VIA",
    "AUTH_TYPE",
    "HTTP_HOST",
    "PATH_INFO",
    "UNIQUE_ID",
    "HTTP_RANGE",
    "HTTP_ACCEPT",
    "HTTP_COOKIE",
    "HTTP_EXPECT",
    "HTTP_ORIGIN",
    "HTTP_PRAGMA",
    "REMOTE_ADDR",
    "REMOTE_HOST",
    "REMOTE_PORT",
    "REMOTE_USER",
    "REQUEST_URI",
    "SCRIPT_NAME",
    "SERVER_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "CONTENT_TYPE",
    "HTTP_REFERER",
    "HTTP_UPGRADE",
    "QUERY_STRING",
    "REDIRECT_URL",
    "SERVER_ADMIN",
    "DOCUMENT_ROOT",
    "HTTP_IF_MATCH",
    "HTTP_IF_RANGE",
    "CONTENT_LENGTH",
    "CONTEXT_PREFIX",
    "HTTP_SEC_CH_UA",
    "HTTP_X_REAL_IP",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "HTTP_CONNECTION",
    "HTTP_USER_AGENT",
    "REDIRECT_STATUS",
    "SCRIPT_FILENAME",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "wsgi.url_scheme",
    "HTTP_X_CSRFTOKEN",
    "HTTP_X_REQUEST_ID",
    "HTTP_AUTHORIZATION",
    "HTTP_CACHE_CONTROL",
    "HTTP_IF_NONE_MATCH",
    "mod_wsgi.path_info",
    "HTTP_ACCEPT_CHARSET",
    "HTTP_SEC_FETCH_DEST",
    "HTTP_SEC_FETCH_MODE",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_SEC_FETCH_USER",
    "mod_wsgi.request_id",
    "mod_wsgi.server_pid",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_X_FORWARDED_FOR",
    "REDIRECT_REMOTE_USER",
    "mod_wsgi.mount_point",
    "mod_wsgi.script_name",
    "CONTEXT_DOCUMENT_ROOT",
    "HTTP_SEC_CH_UA_MOBILE",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_REQUESTED_WITH",
    "REDIRECT_QUERY_STRING",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_X_FORWARDED_PROTO",
    "mod_wsgi.connection_id",
    "mod_wsgi.listener_host",
    "mod_wsgi.listener_port",
    "mod_wsgi.process_group",
    "HTTP_SEC_CH_UA_PLATFORM",
    "HTTP_X_FORWARDED_SERVER",
    "mod_wsgi.handler_script",
    "mod_wsgi.callable_object",
    "mod_wsgi.request_handler",
    "mod_wsgi.application_group",
    "HTTP_UPGRADE_INSECURE_REQUESTS",
];

/// Room for the longest known name.
const LENGTHS: usize = 32;

/// For each length, the position of the first name that is at least as long.
static FIRST: [u8; LENGTHS + 1] = {
    let mut first = [KNOWN.len() as u8; LENGTHS + 1];
    let mut at = KNOWN.len();
    while at > 0 {
        at -= 1;
        let mut length = 0;
        while length <= KNOWN[at].len() {
            first[length] = at as u8;
            length += 1;
        }
    }
    first
};

/// The number of `name`, or `None` when it must travel as text. (On the way of every variable of every request:
/// a look at the few names of the same length is faster than a binary search.)
pub fn number(name: &[u8]) -> Option<u16> {
    let first = usize::from(*FIRST.get(name.len())?);
    let end = usize::from(*FIRST.get(name.len() + 1)?);
    let last = name.last()?;
    let same = |known: &&str| known.as_bytes().last() == Some(last) && known.as_bytes() == name;
    let at = KNOWN.get(first..end)?.iter().position(same)?;
    u16::try_from(first + at).ok()
}

/// The name with this number.
pub fn name(number: u16) -> Option<&'static str> {
    KNOWN.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_finds_itself() {
        for (at, known) in KNOWN.iter().enumerate() {
            assert_eq!(number(known.as_bytes()).map(usize::from), Some(at), "{known}");
        }
        assert_eq!(number(b"HTTP_X_OTHER"), None);
        assert_eq!(name(0), Some(KNOWN[0]));
        assert_eq!(name(u16::MAX), None);
    }
}
