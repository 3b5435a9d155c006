use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn subnets(texts: &[&str]) -> Vec<Subnet> {
    texts.iter().map(|text| Subnet::parse(text.as_bytes()).unwrap()).collect()
}

fn listed(names: &[&str]) -> Vec<Text> {
    let variable = |name: &&str| format!("HTTP_{}", name.to_uppercase().replace('-', "_"));
    names.iter().map(|name| Text::from(variable(name).as_bytes())).collect()
}

/// What the application sees of `headers` and of a few variables, and the scheme that the trusted headers say.
fn seen(
    names: &[&str],
    proxies: Option<&[&str]>,
    peer: &str,
    headers: &[(&str, &str)],
) -> (BTreeMap<String, String>, ProxyScheme) {
    let proxies = proxies.map(subnets);
    let find = |known: &ProxyHeader| {
        headers.iter().find(|(name, _)| name.as_bytes() == known.name.to_bytes()).map(|(_, value)| value.as_bytes())
    };
    let trusted = TrustedHeaders::new(&listed(names), proxies.as_deref(), peer.as_bytes(), find);
    let mut all = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut put = |name: &[u8], value: &[u8]| assert_eq!(all.insert(text(name), text(value)), None);
    let own =
        [("REMOTE_ADDR", peer), ("HTTP_HOST", "h"), ("SERVER_NAME", "s"), ("SERVER_PORT", "1"), ("SCRIPT_NAME", "/m")];
    let of_headers = headers.iter().map(|(name, value)| (listed(&[name])[0].to_vec(), *value));
    let of_server = own.iter().map(|(name, value)| (name.as_bytes().to_vec(), *value));
    for (name, value) in of_headers.chain(of_server) {
        if trusted.passes(&name) {
            put(&name, value.as_bytes());
        }
    }
    trusted.put(put);
    (all, trusted.scheme)
}

#[test]
fn each_category_sets_its_variables_and_nothing_comes_twice() {
    let headers = [
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Host", "a.test:81, b"),
        ("X-Forwarded-Server", "c.test"),
        ("X-Forwarded-Port", "444"),
        ("X-Script-Name", "/mount"),
        ("X-Forwarded-Proto", "HTTPS"),
    ];
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let (all, scheme) = seen(&names, None, "10.0.0.1", &headers);
    for (name, value) in [
        ("REMOTE_ADDR", "192.0.2.1"),
        ("HTTP_HOST", "a.test:81, b"),
        ("SERVER_NAME", "c.test"),
        ("SERVER_PORT", "444"),
        ("SCRIPT_NAME", "/mount"),
        ("mod_wsgi.mount_point", "/mount"),
        ("HTTP_X_FORWARDED_FOR", "192.0.2.1"),
    ] {
        assert_eq!(all[name], value);
    }
    assert_eq!(scheme, ProxyScheme::Https);
}

#[test]
fn who_is_not_trusted_tells_nothing_and_is_stripped() {
    let headers = [("X-Forwarded-For", "192.0.2.1"), ("X-Real-IP", "192.0.2.2"), ("X-Forwarded-Port", "444")];
    for peer in ["10.1.0.1", "", "localhost"] {
        let (all, scheme) = seen(&["X-Forwarded-For", "X-Forwarded-Proto"], Some(&["10.0.0.0/16"]), peer, &headers);
        assert_eq!(all["REMOTE_ADDR"], peer);
        assert!(!all.contains_key("HTTP_X_FORWARDED_FOR") && !all.contains_key("HTTP_X_REAL_IP"));
        assert_eq!(all["HTTP_X_FORWARDED_PORT"], "444", "its category is not in the list");
        assert_eq!(scheme, ProxyScheme::Nothing);
    }
}

#[test]
fn the_last_present_header_of_a_category_wins_and_the_others_go() {
    let headers = [("X-Forwarded-For", "192.0.2.1"), ("X-Real-IP", "192.0.2.2"), ("X-Client-IP", "192.0.2.3")];
    let (all, _) = seen(&["X-Forwarded-For", "X-Real-IP", "X-Nonsense"], Some(&["::1"]), "::1", &headers);
    assert_eq!(all["REMOTE_ADDR"], "192.0.2.2");
    assert_eq!(all["HTTP_X_REAL_IP"], "192.0.2.2");
    assert!(!all.contains_key("HTTP_X_FORWARDED_FOR") && !all.contains_key("HTTP_X_CLIENT_IP"));
    let (all, _) = seen(&["X-Real-IP", "X-Forwarded-For"], None, "::1", &headers[1..]);
    assert_eq!(all["REMOTE_ADDR"], "192.0.2.2");
}

#[test]
fn the_list_is_read_from_the_right() {
    let cases: &[(&str, &str, &str)] = &[
        ("1.1.1.1", "1.1.1.1", "1.1.1.1"),
        ("1.1.1.1, 10.1.1.1", "1.1.1.1", "1.1.1.1, 10.1.1.1"),
        ("1.1.1.1,2.2.2.2 ,10.1.1.1,, 10.2.2.2", "2.2.2.2", "2.2.2.2, 10.1.1.1, 10.2.2.2"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1", "10.1.1.1, 10.2.2.2"),
        ("1.1.1.1, 2.2.2.2", "2.2.2.2", "2.2.2.2"),
        ("1.1.1.1:99", "1.1.1.1", "1.1.1.1:99"),
        ("1.1.1.1, 10.1.1.1:99", "1.1.1.1", "1.1.1.1, 10.1.1.1:99"),
        ("[2001:DB8::1]:9, [fd00::1]:8", "2001:db8::1", "[2001:DB8::1]:9, [fd00::1]:8"),
        ("1.1.1.1, [fd00::1]", "1.1.1.1", "1.1.1.1, [fd00::1]"),
        ("1.1.1.1, FD00::1", "1.1.1.1", "1.1.1.1, FD00::1"),
        ("1.1.1.1, ::ffff:10.1.1.1", "1.1.1.1", "1.1.1.1, ::ffff:10.1.1.1"),
        ("1.1.1.1, localhost", "localhost", "localhost"),
        ("1.1.1.1, 10.1", "10.1", "10.1"),
        ("unknown, 10.1.1.1", "unknown", "unknown, 10.1.1.1"),
        (" , ,", "10.0.0.1", " , ,"),
    ];
    let proxies = ["10.0.0.0/8", "fd00::/8"];
    for (list, client, shown) in cases {
        let (all, _) = seen(&["X-Forwarded-For"], Some(&proxies), "10.0.0.1", &[("X-Forwarded-For", list)]);
        assert_eq!((all["REMOTE_ADDR"].as_str(), all["HTTP_X_FORWARDED_FOR"].as_str()), (*client, *shown), "{list}");
    }
    let (all, _) = seen(&["X-Forwarded-For"], None, "::1", &[("X-Forwarded-For", "1.1.1.1:8, 2.2.2.2")]);
    assert_eq!((all["REMOTE_ADDR"].as_str(), all["HTTP_X_FORWARDED_FOR"].as_str()), ("1.1.1.1", "1.1.1.1:8, 2.2.2.2"));
}

#[test]
fn the_scheme_has_two_vocabularies() {
    let cases = [
        (&[("X-Forwarded-Proto", "http")][..], ProxyScheme::Http),
        (&[("X-Scheme", "wss")], ProxyScheme::Unclear),
        (&[("X-Scheme", "on")], ProxyScheme::Unclear),
        (&[("X-HTTPS", "https")], ProxyScheme::Unclear),
        (&[("X-Forwarded-SSL", "On")], ProxyScheme::Https),
        (&[("X-HTTPS", "FALSE")], ProxyScheme::Http),
        (&[("X-Forwarded-Proto", "https"), ("X-Forwarded-SSL", "off")], ProxyScheme::Http),
        (&[("X-Forwarded-Proto", "https"), ("X-Forwarded-SSL", "?")], ProxyScheme::Https),
        (&[], ProxyScheme::Nothing),
    ];
    for (headers, expected) in cases {
        let names = ["X-Forwarded-Proto", "X-Scheme", "X-Forwarded-SSL", "X-HTTPS"];
        assert_eq!(seen(&names, None, "::1", headers).1, expected, "{headers:?}");
    }
}

/// Another way to the client: hop by hop from the server, each one asked who is next.
fn hop_by_hop(list: &[String], is_proxy: impl Fn(&str) -> bool) -> Option<String> {
    let mut hops = list.to_vec();
    let mut nearest = hops.pop()?;
    while is_proxy(&nearest) {
        match hops.pop() {
            Some(next) => nearest = next,
            None => break,
        }
    }
    Some(nearest)
}

fn hop() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u8..4, 0u8..4).prop_map(|(a, b)| format!("10.0.{a}.{b}")),
        (0u8..4).prop_map(|a| format!("192.0.2.{a}")),
        (0u16..4).prop_map(|a| format!("fd00::{a:x}")),
        Just("localhost".to_owned()),
        Just("unknown".to_owned()),
    ]
}

proptest! {
    #[test]
    fn the_client_is_the_first_hop_that_is_no_proxy(list in prop::collection::vec(hop(), 0..6)) {
        let is_proxy = |hop: &str| hop.starts_with("10.0.1.") || hop.starts_with("fd00:");
        let text = list.join(", ");
        let proxies = ["10.0.1.0/24", "fd00::/8"];
        let (all, _) = seen(&["X-Forwarded-For"], Some(&proxies), "10.0.1.9", &[("X-Forwarded-For", &text)]);
        let client = hop_by_hop(&list, is_proxy).unwrap_or_else(|| "10.0.1.9".to_owned());
        prop_assert_eq!(&all["REMOTE_ADDR"], &client);
        if !list.is_empty() {
            let shown: Vec<_> = all["HTTP_X_FORWARDED_FOR"].split(", ").map(str::to_owned).collect();
            prop_assert!(list.ends_with(&shown), "nothing but the end of the list: {:?}", shown);
            prop_assert!(shown[1..].iter().all(|hop| is_proxy(hop)), "nothing left of an untrusted hop: {:?}", shown);
        }
    }

    #[test]
    fn any_bytes_are_read(value: Vec<u8>, peer: Vec<u8>) {
        let names = listed(&["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"]);
        let trusted = TrustedHeaders::new(&names, Some(&subnets(&["0.0.0.0/0"])), &peer, |_| Some(&value[..]));
        trusted.put(|_, _| {});
    }
}
