//! The environ of a script that decides: a cut-down one, as in mod_wsgi, and beside it the variables of mod_ssl that
//! `mod_ssl.var_lookup()` finds. `decide` calls it.

use wsgi_wire::decision::TLS;

use super::{Cgi, header_may_stay, put_cgi, script_name};

/// CGI variables that the script does not see: they tell of the resource behind the URL, or of a body that is not there.
const LEFT_OUT: [&[u8]; 8] = [
    b"CONTENT_TYPE",
    b"CONTENT_LENGTH",
    b"REQUEST_SCHEME",
    b"CONTEXT_PREFIX",
    b"CONTEXT_DOCUMENT_ROOT",
    b"SCRIPT_FILENAME",
    b"REMOTE_USER",
    b"AUTH_TYPE",
];

/// Gives each variable to `put`. `host` is the client's name, where httpd knows it; `signature` is `ServerSignature`.
pub fn put_deciding<'h>(
    cgi: &Cgi<'_>,
    headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    (method, uri, path_info): (&[u8], &[u8], &[u8]),
    (host, signature): (Option<&[u8]>, &[u8]),
    mut put: impl FnMut(&[u8], &[u8]),
) {
    let headers = headers.into_iter().filter(|(name, _)| header_may_stay(name));
    put_cgi(cgi, headers, |name, value| {
        if !LEFT_OUT.contains(&name) {
            put(name, value);
        }
    });
    put(b"REQUEST_METHOD", method);
    put(b"SERVER_SIGNATURE", signature);
    if let Some(host) = host {
        put(b"REMOTE_HOST", host);
    }
    put(b"SCRIPT_NAME", &script_name(uri, path_info, false));
    put(b"PATH_INFO", path_info);
}

/// Names of variables of mod_ssl that there is one of (its documentation, "Environment Variables").
const TLS_NAMES: [&str; 35] = [
    "HTTPS",
    "SSL_PROTOCOL",
    "SSL_SESSION_ID",
    "SSL_SESSION_RESUMED",
    "SSL_SECURE_RENEG",
    "SSL_CIPHER",
    "SSL_CIPHER_EXPORT",
    "SSL_CIPHER_USEKEYSIZE",
    "SSL_CIPHER_ALGKEYSIZE",
    "SSL_COMPRESS_METHOD",
    "SSL_VERSION_INTERFACE",
    "SSL_VERSION_LIBRARY",
    "SSL_TLS_SNI",
    "SSL_CLIENT_M_VERSION",
    "SSL_CLIENT_M_SERIAL",
    "SSL_CLIENT_S_DN",
    "SSL_CLIENT_I_DN",
    "SSL_CLIENT_V_START",
    "SSL_CLIENT_V_END",
    "SSL_CLIENT_V_REMAIN",
    "SSL_CLIENT_A_SIG",
    "SSL_CLIENT_A_KEY",
    "SSL_CLIENT_CERT",
    "SSL_CLIENT_CERT_RFC4523_CEA",
    "SSL_CLIENT_VERIFY",
    "SSL_SERVER_M_VERSION",
    "SSL_SERVER_M_SERIAL",
    "SSL_SERVER_S_DN",
    "SSL_SERVER_I_DN",
    "SSL_SERVER_V_START",
    "SSL_SERVER_V_END",
    "SSL_SERVER_A_SIG",
    "SSL_SERVER_A_KEY",
    "SSL_SERVER_CERT",
    "SSL_SRP_USER",
];

/// Components of a name in a certificate.
const COMPONENTS: [&str; 14] = ["C", "ST", "L", "O", "OU", "CN", "T", "I", "G", "S", "D", "UID", "Email", "DC"];

/// Variables of which there may be several, numbered from 0.
const NUMBERED: [&str; 7] = [
    "SSL_CLIENT_CERT_CHAIN",
    "SSL_CLIENT_SAN_Email",
    "SSL_CLIENT_SAN_DNS",
    "SSL_CLIENT_SAN_OTHER_msUPN",
    "SSL_SERVER_SAN_Email",
    "SSL_SERVER_SAN_DNS",
    "SSL_SERVER_SAN_OTHER_dnsSRV",
];

/// At most this many of a kind.
const MOST: usize = 100;

/// Walks over the variables of a TLS connection.
#[derive(Debug)]
pub struct TlsNames<L> {
    lookup: L,
}

impl<L: FnMut(&str) -> Option<Vec<u8>>> TlsNames<L> {
    /// `lookup` is mod_ssl's: the value of a variable, `None` where it has none.
    pub fn new(lookup: L) -> Self {
        TlsNames { lookup }
    }

    /// Gives each variable that has a value to `put`, under its name behind [`TLS`].
    pub fn put_all(&mut self, mut put: impl FnMut(&[u8], &[u8])) {
        for name in TLS_NAMES {
            self.put_one(name, &mut put);
        }
        for part in ["CLIENT_S", "CLIENT_I", "SERVER_S", "SERVER_I"] {
            // Without a certificate there is nothing to ask for.
            if self.value(&format!("SSL_{part}_DN")).is_none() {
                continue;
            }
            for component in COMPONENTS {
                let name = format!("SSL_{part}_DN_{component}");
                self.put_one(&name, &mut put);
                self.put_numbered(&name, &mut put);
            }
        }
        for name in NUMBERED {
            self.put_numbered(name, &mut put);
        }
    }

    fn put_numbered(&mut self, name: &str, put: &mut impl FnMut(&[u8], &[u8])) {
        for number in 0..MOST {
            if !self.put_one(&format!("{name}_{number}"), put) {
                break;
            }
        }
    }

    fn put_one(&mut self, name: &str, put: &mut impl FnMut(&[u8], &[u8])) -> bool {
        let value = self.value(name);
        if let Some(value) = &value {
            put(&[TLS, name.as_bytes()].concat(), value);
        }
        value.is_some()
    }

    fn value(&mut self, name: &str) -> Option<Vec<u8>> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_environ_is_cut_down_and_has_no_secret() {
        let cgi = Cgi {
            request_line: b"GET /a/b?q HTTP/1.1",
            protocol: b"HTTP/1.1",
            query: b"q",
            scheme: b"https",
            software: b"Apache",
            server_name: b"example.org",
            server_addr: b"127.0.0.1",
            server_port: 443,
            server_admin: Some(b"root@localhost"),
            remote_addr: b"10.0.0.1",
            remote_port: 5,
            user: Some(b"me"),
            auth_type: Some(b"Basic"),
            document_root: b"/srv",
            filename: b"/srv/a",
            context_prefix: b"",
            context_document_root: None,
        };
        let headers: [(&[u8], &[u8]); 5] = [
            (b"Authorization", b"Basic x"),
            (b"Content-Length", b"5"),
            (b"X_Forged", b"1"),
            (b"Proxy", b"evil"),
            (b"Host", b"example.org"),
        ];
        let mut found = BTreeMap::new();
        put_deciding(&cgi, headers, (b"GET", b"/a//b", b"//b"), (Some(b"client.test"), b""), |name, value| {
            found.insert(String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap());
        });
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "DOCUMENT_ROOT",
                "HTTP_HOST",
                "PATH_INFO",
                "QUERY_STRING",
                "REMOTE_ADDR",
                "REMOTE_HOST",
                "REMOTE_PORT",
                "REQUEST_METHOD",
                "REQUEST_URI",
                "SCRIPT_NAME",
                "SERVER_ADDR",
                "SERVER_ADMIN",
                "SERVER_NAME",
                "SERVER_PORT",
                "SERVER_PROTOCOL",
                "SERVER_SIGNATURE",
                "SERVER_SOFTWARE",
            ]
        );
        assert_eq!((&found["PATH_INFO"][..], &found["SCRIPT_NAME"][..]), ("//b", "/a"));
    }

    #[test]
    fn numbered_variables_are_followed_until_there_is_none() {
        let known = [
            ("HTTPS", "on"),
            ("SSL_PROTOCOL", ""),
            ("SSL_CLIENT_S_DN", "CN=a,OU=b,OU=c"),
            ("SSL_CLIENT_S_DN_OU", "b"),
            ("SSL_CLIENT_S_DN_OU_0", "b"),
            ("SSL_CLIENT_S_DN_OU_1", "c"),
            ("SSL_CLIENT_SAN_DNS_0", "x.test"),
        ];
        let lookup =
            |name: &str| known.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes().to_vec());
        let mut found = Vec::new();
        TlsNames::new(lookup).put_all(|name, _| found.push(String::from_utf8(name.to_vec()).unwrap()));
        let expected = known.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| format!("mod_ssl:{name}"));
        assert_eq!(found, expected.collect::<Vec<_>>());
        let mut endless = 0;
        TlsNames::new(|_: &str| Some(b"x".to_vec())).put_all(|_, _| endless += 1);
        assert_eq!(endless, 35 + 4 * 14 * (1 + MOST) + 7 * MOST);
    }
}
