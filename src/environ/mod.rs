//! The environ of a request: which CGI variables the application sees, and ours beside them.
//!
//! The handler calls [`build`] once for each request, with what is in `r->subprocess_env`, and [`put_cgi`] unless
//! httpd's `ap_add_common_vars` and `ap_add_cgi_vars` have put the CGI variables there. Keys that are objects or numbers in Python (`wsgi.input`,
//! `mod_wsgi.request_start` ...) are the engine's. On the common path nothing is allocated here.

#![forbid(unsafe_code)]

mod authorization;
mod cgi;
mod deciding;
mod keys;
mod paths;
mod proxy;

use crate::directive::HeadMapping;
use keys::{Fate, classify};

pub use authorization::{Withheld, withhold};
pub use cgi::{Cgi, put_cgi};
pub use deciding::{TlsNames, put_deciding};
pub use paths::{below_root, collapse_slashes, path_info, script_name, with_root};
pub use proxy::{ProxyHeader, ProxyScheme, TrustedHeaders};

/// What httpd knows about a request beside its variables.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// `r->method`.
    pub method: &'a [u8],
    /// `r->uri`.
    pub uri: &'a [u8],
    /// `r->path_info`.
    pub path_info: &'a [u8],
    /// A subrequest of mod_include: `SCRIPT_NAME` is the whole path.
    pub included: bool,
    /// mod_ssl says that the connection is TLS.
    pub tls: bool,
    /// What a trusted proxy says of the scheme.
    pub proxy_scheme: ProxyScheme,
    /// `WSGIMapHEADToGET`.
    pub map_head_to_get: HeadMapping,
    /// The first output filter of the request works on content, not on the protocol.
    pub content_filter: bool,
    /// The request header, where the application may see it.
    pub authorization: Option<&'a [u8]>,
    /// `r->handler`.
    pub handler: &'a [u8],
    /// The script of `WSGIHandlerScript`; empty otherwise.
    pub handler_script: &'a [u8],
    /// The address that accepted the connection; empty when unknown.
    pub listener_host: &'a [u8],
    /// Its port.
    pub listener_port: u16,
    /// The child's process id.
    pub server_pid: u32,
    /// `r->log_id`.
    pub request_id: Option<&'a [u8]>,
    /// `r->connection->log_id`.
    pub connection_id: Option<&'a [u8]>,
}

/// Gives each variable that the application sees to `put`. `vars` are those of `r->subprocess_env`.
pub fn build<'v>(
    facts: &RequestFacts<'_>,
    vars: impl IntoIterator<Item = (&'v [u8], &'v [u8])>,
    mut put: impl FnMut(&[u8], &[u8]),
) {
    let mut https = false;
    for (key, value) in vars {
        match classify(key) {
            Fate::Pass => put(key, value),
            Fate::Drop => {}
            Fate::Scheme => https |= value == b"1" || value.eq_ignore_ascii_case(b"On"),
            // SetEnvIf and CGIPassAuth may have set it; the header itself goes first.
            Fate::Authorization if facts.authorization.is_none() => put(key, value),
            Fate::Authorization => {}
        }
    }
    if let Some(value) = facts.authorization {
        put(b"HTTP_AUTHORIZATION", value);
    }
    put(b"REQUEST_METHOD", request_method(facts.method, facts.map_head_to_get, facts.content_filter));
    let https = match facts.proxy_scheme {
        ProxyScheme::Nothing => https || facts.tls,
        ProxyScheme::Unclear => https,
        ProxyScheme::Https => true,
        ProxyScheme::Http => false,
    };
    put(b"wsgi.url_scheme", if https { b"https" } else { b"http" });
    put_paths(facts, &mut put);
    put_own(facts, &mut put);
}

/// Where the application is mounted and what follows, under the names of CGI and ours.
fn put_paths(facts: &RequestFacts<'_>, put: &mut impl FnMut(&[u8], &[u8])) {
    let script_name = script_name(facts.uri, facts.path_info, facts.included);
    let path_info = path_info(facts.path_info);
    put(b"SCRIPT_NAME", &script_name);
    put(b"PATH_INFO", &path_info);
    put(b"mod_wsgi.script_name", &script_name);
    put(b"mod_wsgi.path_info", &path_info);
}

/// The texts among our own variables.
fn put_own(facts: &RequestFacts<'_>, put: &mut impl FnMut(&[u8], &[u8])) {
    put(b"mod_wsgi.request_handler", facts.handler);
    if !facts.handler_script.is_empty() {
        put(b"mod_wsgi.handler_script", facts.handler_script);
    }
    put(b"mod_wsgi.listener_host", facts.listener_host);
    let mut digits = [0; DIGITS];
    put(b"mod_wsgi.listener_port", decimal(facts.listener_port.into(), &mut digits));
    put(b"mod_wsgi.server_pid", decimal(facts.server_pid, &mut digits));
    if let Some(id) = facts.request_id {
        put(b"mod_wsgi.request_id", id);
    }
    if let Some(id) = facts.connection_id {
        put(b"mod_wsgi.connection_id", id);
    }
}

/// The longest decimal number of 32 bits.
const DIGITS: usize = 10;

/// `number` in decimal, without an allocation.
fn decimal(mut number: u32, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut start = DIGITS;
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

/// Whether a request header of this name may stay. One with anything but letters, digits and `-` is removed from the
/// request, because `_` and `.` would let it pass for another one.
pub fn header_may_stay(name: &[u8]) -> bool {
    name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// `REQUEST_METHOD`: HEAD may be shown as GET, so that output filters see the body that they would see for GET.
pub fn request_method(method: &[u8], mapping: HeadMapping, content_filter: bool) -> &[u8] {
    let mapped = match mapping {
        HeadMapping::On => true,
        HeadMapping::Off => false,
        HeadMapping::Auto => content_filter,
    };
    if method == b"HEAD" && mapped { b"GET" } else { method }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const FACTS: RequestFacts<'static> = RequestFacts {
        method: b"GET",
        uri: b"/app//x",
        path_info: b"/x",
        included: false,
        tls: false,
        proxy_scheme: ProxyScheme::Nothing,
        map_head_to_get: HeadMapping::Auto,
        content_filter: false,
        authorization: None,
        handler: b"wsgi-script",
        handler_script: b"",
        listener_host: b"127.0.0.1",
        listener_port: 8000,
        server_pid: 4_294_967_295,
        request_id: Some(b"id"),
        connection_id: None,
    };

    /// The environ of `facts` and `vars`; no key comes twice.
    fn environ(facts: &RequestFacts<'_>, vars: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        build(facts, vars.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())), |key, value| {
            assert_eq!(all.insert(text(key), text(value)), None, "{}", text(key));
        });
        all
    }

    #[test]
    fn own_variables_are_there() {
        let environ = environ(&FACTS, &[]);
        let expected = [
            ("PATH_INFO", "/x"),
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", "/app"),
            ("mod_wsgi.listener_host", "127.0.0.1"),
            ("mod_wsgi.listener_port", "8000"),
            ("mod_wsgi.path_info", "/x"),
            ("mod_wsgi.request_handler", "wsgi-script"),
            ("mod_wsgi.request_id", "id"),
            ("mod_wsgi.script_name", "/app"),
            ("mod_wsgi.server_pid", "4294967295"),
            ("wsgi.url_scheme", "http"),
        ];
        let found: Vec<_> = environ.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_httpd_and_setenv_give_passes_but_not_what_is_ours_or_hidden() {
        let hidden = [
            "PATH",
            "GATEWAY_INTERFACE",
            "PATH_TRANSLATED",
            "REMOTE_HOST",
            "REMOTE_IDENT",
            "SERVER_SIGNATURE",
            "LD_LIBRARY_PATH",
            "HTTP_PROXY",
            "HTTP_CONTENT_TYPE",
            "HTTP_CONTENT_LENGTH",
            "mod_wsgi.x-magic",
            "mod_wsgi.process_group",
            "wsgi.input",
            "wsgi.errors",
            "apache.version",
        ];
        let passed = ["HTTP_HOST", "HTTP_PROXY_CONNECTION", "QUERY_STRING", "SSL_PROTOCOL", "PATH_X", "wsgi.mine", "k"];
        let own = environ(&FACTS, &[]).len();
        let vars: Vec<_> = hidden.iter().chain(&passed).map(|key| (*key, "from httpd")).collect();
        let environ = environ(&FACTS, &vars);
        for key in passed {
            assert_eq!(environ[key], "from httpd");
        }
        assert_eq!(environ.len(), own + passed.len());
        assert!(!environ.contains_key("mod_wsgi.process_group"));
    }

    #[test]
    fn the_scheme_comes_from_tls_or_from_the_variable() {
        for (tls, value, scheme) in [
            (true, None, "https"),
            (true, Some("off"), "https"),
            (false, Some("on"), "https"),
            (false, Some("1"), "https"),
            (false, Some("yes"), "http"),
            (false, None, "http"),
        ] {
            let vars: Vec<_> = value.iter().map(|value| ("HTTPS", *value)).collect();
            let environ = environ(&RequestFacts { tls, ..FACTS }, &vars);
            assert_eq!(environ["wsgi.url_scheme"], scheme, "{tls} {value:?}");
            assert!(!environ.contains_key("HTTPS"));
        }
    }

    #[test]
    fn a_trusted_proxy_has_the_last_word_on_the_scheme() {
        for (proxy_scheme, tls, variable, scheme) in [
            (ProxyScheme::Http, true, "on", "http"),
            (ProxyScheme::Https, false, "off", "https"),
            (ProxyScheme::Unclear, true, "off", "http"),
            (ProxyScheme::Unclear, false, "on", "https"),
        ] {
            let facts = RequestFacts { tls, proxy_scheme, ..FACTS };
            assert_eq!(
                environ(&facts, &[("HTTPS", variable)])["wsgi.url_scheme"],
                scheme,
                "{proxy_scheme:?} {tls} {variable}"
            );
        }
    }

    #[test]
    fn the_authorization_header_goes_before_a_variable_of_that_name() {
        let set = [("HTTP_AUTHORIZATION", "set")];
        assert!(!environ(&FACTS, &[]).contains_key("HTTP_AUTHORIZATION"));
        assert_eq!(environ(&FACTS, &set)["HTTP_AUTHORIZATION"], "set");
        let passing = RequestFacts { authorization: Some(b"Basic eA=="), ..FACTS };
        assert_eq!(environ(&passing, &set)["HTTP_AUTHORIZATION"], "Basic eA==");
    }

    #[test]
    fn head_is_mapped_by_choice_or_for_filters() {
        use HeadMapping::{Auto, Off, On};
        for (method, mapping, filter, expected) in [
            ("HEAD", On, false, "GET"),
            ("HEAD", Off, true, "HEAD"),
            ("HEAD", Auto, true, "GET"),
            ("HEAD", Auto, false, "HEAD"),
            ("POST", On, true, "POST"),
        ] {
            assert_eq!(request_method(method.as_bytes(), mapping, filter), expected.as_bytes());
        }
    }

    #[test]
    fn only_header_names_of_letters_digits_and_dashes_stay() {
        assert!(header_may_stay(b"X-Forwarded-For2"));
        for name in ["X_Forwarded_For", "X.Y", "X Y", "X\u{e9}"] {
            assert!(!header_may_stay(name.as_bytes()), "{name}");
        }
    }
}
