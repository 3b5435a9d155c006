//! Addresses and subnets of `WSGITrustedProxies`.

use std::net::IpAddr;

/// An address with the number of leading bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The network, host bits cleared.
    pub network: IpAddr,
    /// How many bits count: up to 32 or 128.
    pub prefix: u8,
}

impl Subnet {
    /// Reads `address` or `address/bits`; hexadecimal digits of either case.
    pub fn parse(text: &[u8]) -> Option<Subnet> {
        let text = std::str::from_utf8(text).ok()?;
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = bits.map_or(Some(width), |bits| prefix_length(bits, address))?;
        (prefix <= width).then(|| Subnet { network: mask(address, prefix), prefix })
    }

    /// Whether `address` lies in it. An IPv4 address inside IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = if self.network.is_ipv4() { address.to_canonical() } else { address };
        address.is_ipv4() == self.network.is_ipv4() && mask(address, self.prefix) == self.network
    }
}

/// The number after the slash: bits in decimal, or for IPv4 a netmask such as `255.255.0.0`, as httpd takes both.
fn prefix_length(text: &str, address: IpAddr) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let netmask: u32 = match (address, text.parse().ok()?) {
        (IpAddr::V4(_), IpAddr::V4(netmask)) => netmask.into(),
        _ => return None,
    };
    (netmask.leading_ones() + netmask.trailing_zeros() >= 32).then(|| netmask.leading_ones() as u8)
}

/// The first `prefix` bits of `address`.
fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let kept = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & kept).into())
        }
        IpAddr::V6(v6) => {
            let kept = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & kept).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_and_subnets_are_read() {
        let cases: &[(&str, Option<(&str, u8)>)] = &[
            ("10.0.0.1", Some(("10.0.0.1", 32))),
            ("10.1.2.3/8", Some(("10.0.0.0", 8))),
            ("10.1.2.3/255.255.0.0", Some(("10.1.0.0", 16))),
            ("0.0.0.0/0", Some(("0.0.0.0", 0))),
            ("fe80::ABCD/64", Some(("fe80::", 64))),
            ("2001:DB8::1", Some(("2001:db8::1", 128))),
            ("::/0", Some(("::", 0))),
            ("10.0.0.0/33", None),
            ("10.0.0.0/255.0.255.0", None),
            ("::1/129", None),
            ("::1/255.0.0.0", None),
            ("10.0.0/8", None),
            ("localhost", None),
            ("10.0.0.1/", None),
            ("10.0.0.1/+8", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(network, prefix)| Subnet { network: network.parse().unwrap(), prefix });
            assert_eq!(Subnet::parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn an_ipv4_address_inside_ipv6_is_found() {
        let subnet = Subnet::parse(b"10.0.0.0/8").unwrap();
        assert!(subnet.contains("::ffff:10.1.1.1".parse().unwrap()));
        assert!(!subnet.contains("::ffff:11.1.1.1".parse().unwrap()));
        assert!(!Subnet::parse(b"::/0").unwrap().contains("10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,30}") {
            let _ = Subnet::parse(text.as_bytes());
        }

        #[test]
        fn a_subnet_contains_exactly_what_shares_its_bits(network: u128, prefix in 0u8..=128, other: u128) {
            let text = format!("{}/{prefix}", std::net::Ipv6Addr::from(network));
            let subnet = Subnet::parse(text.as_bytes()).unwrap();
            let shared = (network ^ other).leading_zeros() >= u32::from(prefix);
            prop_assert!(subnet.contains(IpAddr::V6(network.into())));
            prop_assert_eq!(subnet.contains(IpAddr::V6(other.into())), shared);
        }
    }
}
