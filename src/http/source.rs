//! Which address a request comes from, for limits and logs: the peer, or what a trusted proxy says of it. Pure.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose word counts.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Proxies in these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.to_vec())
    }

    /// Whether a proxy of ours has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// The client behind `peer`: of the chain of addresses, the last that is no proxy of ours.
    ///
    /// What stands left of that may have been made up by the client. Where `X-Forwarded-For` and `Forwarded` differ, one of
    /// them has been made up, too, and nobody knows which: then the proxy's own address counts.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        let plain = self.last_untrusted(headers, X_FORWARDED_FOR, address_of);
        let standard = self.last_untrusted(headers, FORWARDED, for_of);
        match (plain, standard) {
            (Chain::Ends(address), Chain::Absent) | (Chain::Absent, Chain::Ends(address)) => address,
            (Chain::Ends(plain), Chain::Ends(standard)) if plain == standard => plain,
            _ => peer,
        }
    }

    /// An address that cannot be read ends the search: whoever wrote it is no proxy of ours. Each is read by itself, because a
    /// proxy writes its own behind whatever a client sent.
    fn last_untrusted(&self, headers: &HeaderMap, name: HeaderName, read: fn(&str) -> Option<IpAddr>) -> Chain {
        let lines: Vec<&[u8]> = headers.get_all(name).map(HeaderValue::as_bytes).collect();
        let elements = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        // An empty element of a list is none (RFC 9110, 5.6.1).
        let elements = elements.filter(|element| !element.trim_ascii().is_empty());
        let mut nearest = Chain::Absent;
        for element in elements {
            let Some(address) = std::str::from_utf8(element).ok().and_then(read) else { return Chain::Unreadable };
            nearest = Chain::Ends(address);
            if !self.contains(address) {
                break;
            }
        }
        nearest
    }
}

/// What one of the headers says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// It did not come.
    Absent,
    /// The last address that is no proxy of ours, or the first where all are.
    Ends(IpAddr),
    /// Nobody knows where it begins.
    Unreadable,
}

/// What counts as one client for limits: an IPv4 address, or the /64 that an IPv6 host may choose its addresses from.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let address = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0,
        None => text,
    };
    address
        .parse()
        .ok()
        .or_else(|| address.split_once(':')?.0.parse().ok())
        .map(|address: IpAddr| address.to_canonical())
}

/// The address of one element of `Forwarded` (RFC 7239): `for="[2001:db8::1]:80";proto=https`.
fn for_of(element: &str) -> Option<IpAddr> {
    let pair = element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    address_of(pair?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded_for: &[&str], forwarded: &[&str]) -> String {
        let bytes = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
        client_of(peer, &bytes(forwarded_for), &bytes(forwarded))
    }

    fn client_of(peer: &str, forwarded_for: &[Vec<u8>], forwarded: &[Vec<u8>]) -> String {
        let proxies = TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for value in forwarded_for {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(value).unwrap());
        }
        for value in forwarded {
            headers.append(FORWARDED, HeaderValue::from_bytes(value).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(client("203.0.113.9", &["192.0.2.1"], &[]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["192.0.2.1"], &[]), "192.0.2.1");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.1"], &[]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &[], &[]), "10.0.0.1");
    }

    #[test]
    fn of_a_chain_the_last_address_that_is_no_proxy_of_ours_counts() {
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 192.0.2.1, 10.0.0.2"], &[]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "192.0.2.1"], &[]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1, unknown"], &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"], &[]), "10.0.0.3", "all of them are ours");
    }

    #[test]
    fn both_headers_and_all_forms_of_an_address_are_read() {
        assert_eq!(client("10.0.0.1", &["192.0.2.1:4711"], &[]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["2001:db8::1"], &[]), "2001:db8::1");
        assert_eq!(client("fd00::1", &[], &["for=1.1.1.1, For=\"[2001:db8::1]:80\";proto=https"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1"], &["for=192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1"], &["for=192.0.2.2"]), "10.0.0.1", "one of them is made up");
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_that_a_proxy_wrote_and_makes_room_for_nothing_that_a_client_wrote() {
        let client = |forwarded_for: &[&[u8]], forwarded: &[&[u8]]| {
            let owned = |values: &[&[u8]]| values.iter().map(|value| value.to_vec()).collect::<Vec<_>>();
            client_of("10.0.0.1", &owned(forwarded_for), &owned(forwarded))
        };
        // The client's bytes, and behind them what a proxy of ours saw.
        assert_eq!(client(&[b"\xff\xfe, 192.0.2.1"], &[]), "192.0.2.1");
        assert_eq!(client(&["ü".as_bytes(), b"192.0.2.1, 10.0.0.2"], &[]), "192.0.2.1");
        assert_eq!(client(&[b"192.0.2.1, \xff"], &[]), "10.0.0.1");
        assert_eq!(client(&[b"192.0.2.1", b"\xff"], &[]), "10.0.0.1", "not the one before it");
        assert_eq!(client(&[b"\xff"], &[b"for=192.0.2.1"]), "10.0.0.1", "not what the other header says");
        assert_eq!(client(&[b" , 192.0.2.1, "], &[b""]), "192.0.2.1", "an empty element is none");
        assert_eq!(client(&[b"192.0.2.1"], &[b"for=unknown"]), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let network = |address: &str| network_of(address.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
