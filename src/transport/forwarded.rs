//! Which address a client has: its own, or the one that a trusted proxy forwards.
//!
//! It believes no header of a peer that the operator does not trust.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::header::HeaderMap;

/// The header in which each proxy appends the address that it was reached from.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotNetwork(pub String);

impl fmt::Display for NotNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a network such as 10.0.0.0/8", self.0)
    }
}

impl std::error::Error for NotNetwork {}

/// An IP network, such as `10.0.0.0/8` or `fd00::/8`; a single address is one, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads `ADDRESS/BITS` or `ADDRESS`.
    ///
    /// # Errors
    /// [`NotNetwork`] for anything else, or more bits than the address has.
    pub fn parse(text: &str) -> Result<Self, NotNetwork> {
        let wrong = || NotNetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = width(address);
        let bits = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| wrong())?
            }
            Some(_) => return Err(wrong()),
            None => most,
        };
        match bits <= most {
            true => Ok(Self { address, bits }.unmapped()),
            false => Err(wrong()),
        }
    }

    /// Addresses are compared in their shortest form, so `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
    fn unmapped(self) -> Self {
        match (self.address.to_canonical(), self.bits.checked_sub(96)) {
            (address @ IpAddr::V4(_), Some(bits)) if self.address.is_ipv6() => {
                Self { address, bits }
            }
            _ => self,
        }
    }

    /// Says whether an address is in the network; an IPv4 address never is in one of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let most = width(self.address);
        let shift = most - self.bits;
        let (ours, theirs) = (number(self.address), number(address));
        // A shift by all the bits leaves nothing: every address of the family is in ::/0.
        let differ = (ours ^ theirs).checked_shr(shift).unwrap_or(0);
        width(address) == most && differ == 0
    }
}

/// Says whether an address is a trusted proxy's.
pub fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(address))
}

/// Returns the client's address: the rightmost in `X-Forwarded-For` that no trusted proxy has.
///
/// The peer itself when it is not trusted, and the last one that could be read when an entry is no address.
pub fn client_address(peer: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let mut client = peer.ip().to_canonical();
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let entries = lines
        .iter()
        .rev()
        .flat_map(|line| line.to_str().unwrap_or("").rsplit(','));
    for entry in entries {
        if !is_trusted(client, trusted) {
            return client;
        }
        let Some(address) = address(entry.trim()) else {
            return client;
        };
        client = address;
    }
    client
}

/// Returns what connections are counted by: an IPv4 address, or the /64 that a subscriber of IPv6 has.
pub fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// Reads an entry of the header: an address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let alone = bare.parse().ok();
    let with_port = || text.parse().ok().map(|at: SocketAddr| at.ip());
    alone.or_else(with_port).map(|found| found.to_canonical())
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts
            .iter()
            .map(|text| Network::parse(text).unwrap())
            .collect()
    }

    #[test]
    fn networks_are_read_and_contain_what_they_say() {
        let check = |network: &str, address: &str, expected: bool| {
            let network = Network::parse(network).unwrap();
            let contains = network.contains(address.parse().unwrap());
            assert_eq!(contains, expected, "{address} in {network:?}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("127.0.0.1", "127.0.0.1", true);
        check("127.0.0.1", "127.0.0.2", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "2001:db8::1", true);
        check("fd00::/8", "fd12::1", true);
        check("fd00::/8", "fe80::1", false);
        check("::a00:0/104", "10.0.0.1", false);
        check("::ffff:10.0.0.0/104", "10.1.2.3", true);
        check("::ffff:10.0.0.0/104", "11.0.0.1", false);
        check("::ffff:0.0.0.0/95", "10.0.0.1", false);
        check("10.1.2.3/8", "10.9.9.9", true);
        check("192.0.2.0/25", "192.0.2.127", true);
        check("192.0.2.0/25", "192.0.2.128", false);
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "host",
        ] {
            assert_eq!(Network::parse(bad), Err(NotNetwork(bad.to_owned())));
        }
    }

    fn check(peer: &str, forwarded: &[&str], expected: &str) {
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        let found = client_address(peer, &headers, &trusted);
        assert_eq!(found.to_string(), expected, "{peer} {forwarded:?}");
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_go() {
        check("192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        // What a client wrote itself stands on the left, and does not count.
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["203.0.113.9, 10.0.0.2"], "203.0.113.9");
        check("10.0.0.1", &["203.0.113.9", "10.0.0.2"], "203.0.113.9");
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check("10.0.0.1", &["203.0.113.9:8080"], "203.0.113.9");
        check("10.0.0.1", &["[2001:db8::1]:8080"], "2001:db8::1");
        check("fd00::1", &["2001:db8::1"], "2001:db8::1");
        check("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1");
        // An entry that can't be read hides what is left of it, trusted or not.
        check("10.0.0.1", &["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &["203.0.113.9,"], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9, "], "10.0.0.1");
        check("10.0.0.1", &[""], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9");
        check("10.0.0.1", &["2001:db8::1, fd00::2"], "2001:db8::1");
        check(
            "fd00::1",
            &["203.0.113.9, fd00::3, 10.9.9.9"],
            "203.0.113.9",
        );
        check(
            "10.0.0.1",
            &["1.1.1.1", "203.0.113.9, 10.0.0.2", "10.0.0.3"],
            "203.0.113.9",
        );
        // A stranger between two proxies is the client: what it says of others counts for nothing.
        check(
            "10.0.0.1",
            &["203.0.113.9, 198.51.100.7, 10.0.0.2"],
            "198.51.100.7",
        );
    }

    #[test]
    fn addresses_of_ipv6_count_by_their_network() {
        let count = |text: &str| counted_as(text.parse().unwrap()).to_string();
        assert_eq!(count("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(count("192.0.2.1"), "192.0.2.1");
        assert_eq!(count("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
