//! The header of the PROXY protocol, versions 1 and 2: the address that a proxy was reached from.
//!
//! It reads bytes and nothing else; whom to believe is the listener's matter. The source of its rules is
//! HAProxy's "The PROXY protocol, versions 1 & 2", <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.
//! It is our own because a header that is cut anywhere must be told from a malformed one, byte by byte: the
//! crate `ppp` (2.3) takes a header of version 1 that ends before its last port for malformed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header of version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// The longest header of version 1, with its line end.
const LINE_BYTES_MAX: usize = 107;

/// What stands before the addresses in version 2.
const FIXED_BYTES: usize = 16;

/// The longest header, in bytes. The protocol would allow 64 KiB of extensions; proxies send a few hundred.
pub const PROXY_HEADER_BYTES_MAX: usize = 4_096;

/// Bytes that are no header of the PROXY protocol, nor the beginning of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotProxyHeader;

impl fmt::Display for NotProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a header of the PROXY protocol")
    }
}

impl std::error::Error for NotProxyHeader {}

/// What the bytes at hand are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The beginning of a header; all of the bytes belong to it.
    Partial,
    /// A header and perhaps more.
    Whole {
        /// How long the header is.
        bytes: usize,
        /// Where the client connected from; `None` when the proxy speaks for itself or doesn't know.
        source: Option<SocketAddr>,
    },
}

/// Reads the header that a connection begins with.
///
/// # Errors
/// [`NotProxyHeader`] as soon as no further byte could make it one.
pub fn read_proxy_header(bytes: &[u8]) -> Result<ProxyHeader, NotProxyHeader> {
    let begins = |with: &[u8]| {
        let len = bytes.len().min(with.len());
        bytes[..len] == with[..len]
    };
    match (begins(SIGNATURE), begins(WORD)) {
        (true, true) => Ok(ProxyHeader::Partial),
        (true, false) => binary(bytes),
        (false, true) => line(bytes),
        (false, false) => Err(NotProxyHeader),
    }
}

/// Version 1: a line of text.
fn line(bytes: &[u8]) -> Result<ProxyHeader, NotProxyHeader> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < LINE_BYTES_MAX {
            true => Ok(ProxyHeader::Partial),
            false => Err(NotProxyHeader),
        };
    };
    let text = std::str::from_utf8(&bytes[WORD.len().min(end)..end]).map_err(|_| NotProxyHeader)?;
    let mut words = text.split(' ');
    let source = match words.next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(words)?),
        Some(_) | None => return Err(NotProxyHeader),
    };
    Ok(ProxyHeader::Whole {
        bytes: end + 2,
        source,
    })
}

/// Reads source, destination and their ports; returns the source.
fn addresses<'a, T: FromStr + Into<IpAddr>>(
    words: impl Iterator<Item = &'a str>,
) -> Result<SocketAddr, NotProxyHeader> {
    let words: Vec<&str> = words.take(5).collect();
    let [from, to, from_port, to_port] = words[..] else {
        return Err(NotProxyHeader);
    };
    let address = |text: &str| text.parse::<T>().map_err(|_| NotProxyHeader);
    address(to)?;
    port(to_port)?;
    Ok(SocketAddr::new(address(from)?.into(), port(from_port)?))
}

/// Reads a port in decimal, without a sign and without zeros before it.
fn port(text: &str) -> Result<u16, NotProxyHeader> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    match text.parse() {
        Ok(port) if plain && !padded => Ok(port),
        Ok(_) | Err(_) => Err(NotProxyHeader),
    }
}

/// Version 2: a length, addresses in network order, extensions that are skipped.
fn binary(bytes: &[u8]) -> Result<ProxyHeader, NotProxyHeader> {
    let command = match bytes.get(SIGNATURE.len()) {
        None => return Ok(ProxyHeader::Partial),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err(NotProxyHeader),
    };
    let (family, needed) = match bytes.get(SIGNATURE.len() + 1) {
        None => return Ok(ProxyHeader::Partial),
        Some(0x11) => (Family::V4, 12),
        Some(0x21) => (Family::V6, 36),
        // Datagrams and sockets of a path name nobody who could be counted.
        Some(0x12) => (Family::Other, 12),
        Some(0x22) => (Family::Other, 36),
        Some(0x31 | 0x32) => (Family::Other, 216),
        Some(0x00..=0x02 | 0x10 | 0x20 | 0x30) => (Family::Other, 0),
        Some(_) => return Err(NotProxyHeader),
    };
    let Some(&[high, low]) = bytes.get(SIGNATURE.len() + 2..FIXED_BYTES) else {
        return Ok(ProxyHeader::Partial);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = FIXED_BYTES + length;
    let short = matches!(command, Command::Proxy) && length < needed;
    if short || whole > PROXY_HEADER_BYTES_MAX {
        return Err(NotProxyHeader);
    }
    let Some(block) = bytes.get(FIXED_BYTES..whole) else {
        return Ok(ProxyHeader::Partial);
    };
    let source = match (command, family) {
        // The proxy's own connection, such as a health check: the block says nothing.
        (Command::Local, _) | (Command::Proxy, Family::Other) => None,
        (Command::Proxy, Family::V4) => source::<4>(block, 8),
        (Command::Proxy, Family::V6) => source::<16>(block, 32),
    };
    Ok(ProxyHeader::Whole {
        bytes: whole,
        source,
    })
}

#[derive(Clone, Copy)]
enum Command {
    Local,
    Proxy,
}

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
    Other,
}

/// Cuts the source's address and port out of a block that is long enough.
fn source<const N: usize>(block: &[u8], port_at: usize) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let address: [u8; N] = *block.first_chunk()?;
    let port: [u8; 2] = *block.get(port_at..)?.first_chunk()?;
    Some(SocketAddr::new(
        IpAddr::from(address),
        u16::from_be_bytes(port),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2 with this command, family, length and block.
    fn v2(command: u8, family: u8, length: u16, block: &[u8]) -> Vec<u8> {
        let fixed = [command, family];
        [SIGNATURE, &fixed[..], &length.to_be_bytes(), block].concat()
    }

    /// Reads a header with a request behind it, whole and cut at every byte.
    fn check(header: &[u8], expected: Result<Option<&str>, NotProxyHeader>) {
        let sent = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
        let expected = expected.map(|source| ProxyHeader::Whole {
            bytes: header.len(),
            source: source.map(|text| text.parse().unwrap()),
        });
        let shown = header.escape_ascii();
        assert_eq!(read_proxy_header(&sent), expected, "{shown}");
        for cut in 0..header.len() {
            let read = read_proxy_header(&header[..cut]);
            match expected {
                Ok(_) => assert_eq!(read, Ok(ProxyHeader::Partial), "{shown} cut at {cut}"),
                Err(_) => assert!(
                    !matches!(read, Ok(ProxyHeader::Whole { .. })),
                    "{shown} cut at {cut}"
                ),
            }
        }
    }

    #[test]
    fn lines_of_version_1() {
        let good = |line: &str, source| check(format!("{line}\r\n").as_bytes(), Ok(source));
        good(
            "PROXY TCP4 203.0.113.9 10.0.0.1 56324 443",
            Some("203.0.113.9:56324"),
        );
        good(
            "PROXY TCP4 255.255.255.255 0.0.0.0 65535 0",
            Some("255.255.255.255:65535"),
        );
        good("PROXY TCP6 2001:db8::1 ::1 1 2", Some("[2001:db8::1]:1"));
        good("PROXY UNKNOWN", None);
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        good(
            &format!("PROXY UNKNOWN {longest} {longest} 65535 65535"),
            None,
        );
        let bad = |line: &str| check(format!("{line}\r\n").as_bytes(), Err(NotProxyHeader));
        for line in [
            "PROXY TCP4 203.0.113.9 10.0.0.1 56324",
            "PROXY TCP4 203.0.113.9 10.0.0.1 56324 443 1",
            "PROXY TCP4 203.0.113.9 10.0.0.1 56324 65536",
            "PROXY TCP4 203.0.113.9 10.0.0.1 -1 443",
            "PROXY TCP4 203.0.113.9 10.0.0.1 +1 443",
            "PROXY TCP4 203.0.113.9 10.0.0.1 01 443",
            "PROXY TCP4 203.0.113.9 10.0.0.1  443",
            "PROXY TCP4  203.0.113.9 10.0.0.1 1 443",
            "PROXY TCP4 2001:db8::1 ::1 1 2",
            "PROXY TCP6 203.0.113.9 10.0.0.1 1 443",
            "PROXY TCP4 203.0.113.9 host 1 443",
            "PROXY UDP4 203.0.113.9 10.0.0.1 1 443",
            "PROXY tcp4 203.0.113.9 10.0.0.1 1 443",
            "PROXY ",
            "PROXY",
            "proxy TCP4 203.0.113.9 10.0.0.1 1 443",
            "GET / HTTP/1.1",
            "\u{e9}",
        ] {
            bad(line);
        }
        check(b"PROXY TCP4 \xff 10.0.0.1 1 443\r\n", Err(NotProxyHeader));
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(LINE_BYTES_MAX));
        check(endless.as_bytes(), Err(NotProxyHeader));
    }

    #[test]
    fn blocks_of_version_2() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb];
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 7, 80);
        let extensions = [0x03, 0, 4, 1, 2, 3, 4, 0x04, 0, 0];
        let more = [&v4[..], &extensions].concat();
        let good = |command, family, block: &[u8], source| {
            let length = u16::try_from(block.len()).unwrap();
            check(&v2(command, family, length, block), Ok(source));
        };
        good(0x21, 0x11, &v4, Some("203.0.113.9:56324"));
        good(0x21, 0x11, &more, Some("203.0.113.9:56324"));
        good(0x21, 0x21, &v6, Some("[2001::7]:80"));
        good(0x21, 0x00, &[], None);
        good(0x21, 0x00, &v4, None);
        good(0x21, 0x12, &v4, None);
        good(0x21, 0x31, &[7; 216], None);
        good(0x20, 0x00, &[], None);
        good(0x20, 0x11, &v4, None);
        good(0x20, 0x11, &[1, 2, 3], None);
        let most = PROXY_HEADER_BYTES_MAX - FIXED_BYTES;
        good(
            0x21,
            0x11,
            &[9; PROXY_HEADER_BYTES_MAX - FIXED_BYTES],
            Some("9.9.9.9:2313"),
        );
        let bad = |command, family, length: usize| {
            let length = u16::try_from(length).unwrap();
            check(&v2(command, family, length, &[0; 300]), Err(NotProxyHeader));
        };
        bad(0x11, 0x11, 12);
        bad(0x22, 0x11, 12);
        bad(0x21, 0x41, 12);
        bad(0x21, 0x13, 12);
        bad(0x21, 0x11, 11);
        bad(0x21, 0x21, 35);
        bad(0x21, 0x31, 215);
        bad(0x21, 0x11, most + 1);
        bad(0x20, 0x00, 65_535);
        check(b"\r\n\r\n\0\r\nQUIX\n", Err(NotProxyHeader));
    }
}
