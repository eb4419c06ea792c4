//! The PROXY protocol's header, as whoever reaches the clients' listener sends it.
//!
//! It never opens a connection: only the decoder is fuzzed.

use bytes::Bytes;
use fanfare::transport::{PROXY_HEADER_BYTES_MAX, ProxyHeader, read_proxy_header};

use super::Verdict;

/// A header ends at one byte and nowhere before; what is no header stays none, whatever follows.
pub fn proxy_header(input: &Bytes) -> Verdict {
    let read = read_proxy_header(input);
    match read {
        Ok(ProxyHeader::Whole { bytes, .. }) => {
            assert!(bytes <= input.len() && bytes <= PROXY_HEADER_BYTES_MAX);
            assert_eq!(read_proxy_header(&input[..bytes]), read);
            for cut in 0..bytes {
                let cut_off = read_proxy_header(&input[..cut]);
                assert_eq!(cut_off, Ok(ProxyHeader::Partial), "cut at {cut}");
            }
        }
        Ok(ProxyHeader::Partial) => assert!(input.len() < PROXY_HEADER_BYTES_MAX),
        Err(_) => {
            let longer = [&input[..], b"\r\n\r\n"].concat();
            assert_eq!(read_proxy_header(&longer), read);
        }
    }
    Verdict::of(matches!(read, Ok(ProxyHeader::Whole { .. })))
}
