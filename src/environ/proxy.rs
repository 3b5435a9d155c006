//! What proxies tell about their client: `WSGITrustedProxyHeaders` and `WSGITrustedProxies`.
//!
//! The handler makes a [`TrustedHeaders`] only where headers are listed, filters every variable of the request through
//! [`TrustedHeaders::passes`], and adds those of [`TrustedHeaders::put`]. If the list names no header of a category,
//! that category's headers stay as they are. If it names one, the application sees at most the header that the handler
//! believed.

use std::borrow::Cow;
use std::ffi::CStr;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::directive::{Subnet, Text};

/// What a header tells. Headers of one category exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    Client,
    Host,
    Server,
    Port,
    Mount,
    Scheme,
}

/// How many categories set a variable to the header's value: all but the scheme, which is the last.
const PLAIN: usize = Category::Scheme as usize;

/// The variable that each of the first [`PLAIN`] categories sets.
const VARIABLES: [&[u8]; PLAIN] = [b"REMOTE_ADDR", b"HTTP_HOST", b"SERVER_NAME", b"SERVER_PORT", b"SCRIPT_NAME"];

/// A header that proxies use.
#[derive(Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its variable, such as `HTTP_X_REAL_IP`.
    pub variable: &'static CStr,
    /// Its name.
    pub name: &'static CStr,
    category: Category,
}

const fn header(variable: &'static CStr, name: &'static CStr, category: Category) -> ProxyHeader {
    ProxyHeader { variable, name, category }
}

/// Every header that can be believed; other names in the list mean nothing.
static KNOWN: [ProxyHeader; 15] = [
    header(FORWARDED_FOR, c"X-Forwarded-For", Category::Client),
    header(c"HTTP_X_CLIENT_IP", c"X-Client-IP", Category::Client),
    header(c"HTTP_X_REAL_IP", c"X-Real-IP", Category::Client),
    header(c"HTTP_X_FORWARDED_HOST", c"X-Forwarded-Host", Category::Host),
    header(c"HTTP_X_HOST", c"X-Host", Category::Host),
    header(c"HTTP_X_FORWARDED_SERVER", c"X-Forwarded-Server", Category::Server),
    header(c"HTTP_X_FORWARDED_PORT", c"X-Forwarded-Port", Category::Port),
    header(c"HTTP_X_SCRIPT_NAME", c"X-Script-Name", Category::Mount),
    header(c"HTTP_X_FORWARDED_SCRIPT_NAME", c"X-Forwarded-Script-Name", Category::Mount),
    header(c"HTTP_X_FORWARDED_PROTO", c"X-Forwarded-Proto", Category::Scheme),
    header(c"HTTP_X_FORWARDED_SCHEME", c"X-Forwarded-Scheme", Category::Scheme),
    header(c"HTTP_X_SCHEME", c"X-Scheme", Category::Scheme),
    header(c"HTTP_X_FORWARDED_HTTPS", c"X-Forwarded-HTTPS", Category::Scheme),
    header(c"HTTP_X_FORWARDED_SSL", c"X-Forwarded-SSL", Category::Scheme),
    header(c"HTTP_X_HTTPS", c"X-HTTPS", Category::Scheme),
];

impl ProxyHeader {
    /// Whether it says On or Off to TLS, rather than naming a scheme.
    fn is_switch(&self) -> bool {
        let variable = self.variable.to_bytes();
        variable.ends_with(b"HTTPS") || variable.ends_with(b"SSL")
    }
}

/// The one header that is a list.
const FORWARDED_FOR: &CStr = c"HTTP_X_FORWARDED_FOR";

/// What a trusted header says of the scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyScheme {
    /// Nothing: there is none.
    #[default]
    Nothing,
    /// A word that means nothing to us. The connection's own scheme does not count then.
    Unclear,
    /// Plain HTTP.
    Http,
    /// TLS.
    Https,
}

/// What the believed headers of a request say.
#[derive(Debug, Default)]
pub struct TrustedHeaders<'a> {
    /// New values of [`VARIABLES`].
    values: [Option<Cow<'a, [u8]>>; PLAIN],
    /// New value of `HTTP_X_FORWARDED_FOR`.
    forwarded_for: Option<Vec<u8>>,
    /// `wsgi.url_scheme`.
    pub scheme: ProxyScheme,
    /// One bit for each of [`KNOWN`] that the application must not see.
    hidden: u16,
}

impl<'a> TrustedHeaders<'a> {
    /// Believes those of the headers `listed` that `peer` may tell. Without a list of `proxies` anyone may tell them,
    /// else only an address in that list. `lookup` finds the value of a header of the request.
    pub fn new(
        listed: &[Text],
        proxies: Option<&[Subnet]>,
        peer: &[u8],
        lookup: impl Fn(&ProxyHeader) -> Option<&'a [u8]>,
    ) -> TrustedHeaders<'a> {
        let trusted = proxies.is_none_or(|proxies| is_trusted(peer, proxies));
        let mut trusted_headers = TrustedHeaders::default();
        let mut winners = [None; PLAIN + 1];
        let mut touched = [false; PLAIN + 1];
        let find = |name: &Text| KNOWN.iter().position(|known| known.variable.to_bytes() == &**name);
        for number in listed.iter().filter_map(find) {
            let known = &KNOWN[number];
            touched[known.category as usize] = true;
            if let Some(value) = lookup(known).filter(|_| trusted) {
                trusted_headers.believe(known, value, proxies);
                winners[known.category as usize] = Some(number);
            }
        }
        for (number, known) in KNOWN.iter().enumerate() {
            let category = known.category as usize;
            if touched[category] && winners[category] != Some(number) {
                trusted_headers.hidden |= 1 << number;
            }
        }
        trusted_headers
    }

    fn believe(&mut self, known: &ProxyHeader, value: &'a [u8], proxies: Option<&[Subnet]>) {
        match known.category {
            Category::Client if known.variable == FORWARDED_FOR => self.believe_list(value, proxies),
            Category::Scheme => self.scheme = self.scheme.and(known.is_switch(), value),
            plain => self.values[plain as usize] = Some(Cow::Borrowed(value)),
        }
    }

    /// `X-Forwarded-For`. A list of nothing tells nothing.
    fn believe_list(&mut self, value: &'a [u8], proxies: Option<&[Subnet]>) {
        let elements: Vec<&[u8]> = elements(value).collect();
        let start = proxies.map_or(0, |proxies| client_at(&elements, proxies));
        let Some(client) = elements.get(start) else { return };
        self.values[Category::Client as usize] = Some(without_port(client));
        if proxies.is_some() {
            self.forwarded_for = Some(elements[start..].join(&b", "[..]));
        }
    }

    /// Whether the application sees the variable as it is.
    pub fn passes(&self, variable: &[u8]) -> bool {
        if let Some(number) = KNOWN.iter().position(|known| known.variable.to_bytes() == variable) {
            let replaced = number == 0 && self.forwarded_for.is_some();
            return self.hidden & (1 << number) == 0 && !replaced;
        }
        !VARIABLES.iter().zip(&self.values).any(|(name, value)| *name == variable && value.is_some())
    }

    /// Gives the variables that take the place of those that do not pass.
    pub fn put(&self, mut put: impl FnMut(&[u8], &[u8])) {
        for (name, value) in VARIABLES.iter().zip(&self.values) {
            if let Some(value) = value {
                put(name, value);
            }
        }
        if let Some(mount) = &self.values[Category::Mount as usize] {
            put(b"mod_wsgi.mount_point", mount);
        }
        if let Some(list) = self.forwarded_for.as_deref().filter(|_| self.hidden & 1 == 0) {
            put(FORWARDED_FOR.to_bytes(), list);
        }
    }
}

impl ProxyScheme {
    /// What holds when a further header says `value`: On or Off if it is a switch, else a scheme.
    fn and(self, switch: bool, value: &[u8]) -> ProxyScheme {
        let is = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
        let words: [&[&str]; 2] =
            if switch { [&["on", "true", "1"], &["off", "false", "0"]] } else { [&["https"], &["http"]] };
        match self {
            _ if is(words[0]) => ProxyScheme::Https,
            _ if is(words[1]) => ProxyScheme::Http,
            ProxyScheme::Nothing => ProxyScheme::Unclear,
            before => before,
        }
    }
}

/// The parts of a list, without empty ones.
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The client's place among `elements`. The nearest proxy stands at the right, and each trusted one tells truly of its
/// left neighbour. So the client is the first element, read from the right, that is not a trusted proxy: it could have
/// made up everything to its left. If all are trusted, the client is the first of the list.
fn client_at(elements: &[&[u8]], proxies: &[Subnet]) -> usize {
    elements.iter().rposition(|element| !is_trusted(element, proxies)).unwrap_or(0)
}

/// Whether `text` is an address in one of the subnets. A host name is not looked up and is in none.
fn is_trusted(text: &[u8], proxies: &[Subnet]) -> bool {
    address(text).is_some_and(|address| proxies.iter().any(|subnet| subnet.contains(address)))
}

/// An address, which may have a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// The address in `text` alone; what is no address stays as it is.
fn without_port(text: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = || std::str::from_utf8(text).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
    match address(text) {
        Some(address) if !is_plain() => Cow::Owned(address.to_string().into_bytes()),
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests;
