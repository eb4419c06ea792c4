//! What is fuzzed: every decoder of bytes that strangers or other nodes send, with its properties.
//!
//! A target panics only when a property is broken; it never judges by an error's text.

mod envelopes;
mod frames;
mod proxies;
mod terms;
mod tokens;

use bytes::Bytes;

/// Whether a decoder took an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    Refused,
}

impl Verdict {
    fn of(taken: bool) -> Self {
        match taken {
            true => Self::Taken,
            false => Self::Refused,
        }
    }
}

/// A decoder: its corpus is `corpus/<name>/`.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&Bytes) -> Verdict,
    /// Pieces of its grammar.
    pub dictionary: &'static [&'static [u8]],
}

const JSON: &[&[u8]] = &[
    b"null",
    b"true",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b":",
    b",",
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"1e999",
    b"-0",
    b"[[[[[[[[",
    b"\"topic\"",
    b"\"event\"",
    b"\"payload\"",
    b"\"ref\"",
    b"\"join_ref\"",
    b"phx_join",
    b"\xff",
    b"\xed\xa0\x80",
    b" ",
    b"\n",
    b"\0",
];

const BYTES: &[&[u8]] = &[
    b"\x00",
    b"\x01",
    b"\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\xfa\x01",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"\x00\x00\x00\x01a",
];

const LINES: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\n\n",
    b" ",
    b"[",
    b"{",
    b"=",
    b"==",
    b"AAAA",
    b"AAE=",
    b"-_",
    b"[null,\"1\",\"a\",\"b\",{}]",
    b"\xff",
];

const TOKENS: &[&[u8]] = &[
    b".",
    b"..",
    b"=",
    b"SFMyNTY",
    b"SFMzODQ",
    b"SFM1MTI",
    b"eyJhbGciOiJub25lIn0",
    b"eyJhbGciOiJIUzI1NiJ9",
    b"AAAA",
    b"-_",
    b"\xc3\xa9",
    b"g2gD",
];

const CLAIMS: &[&[u8]] = &[
    b"\"alg\":\"none\"",
    b"\"alg\":\"HS512\"",
    b"\"alg\":\"RS256\"",
    b"\"kid\":\"a\"",
    b"\"crit\":null",
    b"\"sub\":",
    b"\"exp\":",
    b"\"nbf\":",
    b"1e999",
    b"-1",
    b"1.5",
    b"1e308",
    b"18446744073709551616",
    b"null",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b",",
    b":",
    b"\n",
    b"\\ud800",
];

const TERMS: &[&[u8]] = &[
    b"\x83",
    b"\x61\x01",
    b"\x62\xff\xff\xff\xff",
    b"\x68\x03",
    b"\x68\x01",
    b"\x69\xff\xff\xff\xff",
    b"\x6a",
    b"\x6b\x00\x01a",
    b"\x6c\x00\x00\x00\x01",
    b"\x6d\x00\x00\x00\x01a",
    b"\x6e\x08\x00",
    b"\x6f\x00\x00\x00\x81\x00",
    b"\x73\x01\xe9",
    b"\x74\x00\x00\x00\x01",
    b"\x77\x08infinity",
    b"\x46\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\x50",
    b"\x6e\x06\x00\x00\x68\xe5\xcf\x8b\x01",
];

const PROXIES: &[&[u8]] = &[
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"\r\n",
    b" ",
    b"65535",
    b"0",
    b"::1",
    b"203.0.113.9",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x20\x00",
    b"\x21\x11\x00\x0c",
    b"\x21\x21\x00\x24",
    b"\x21\x31\x00\xd8",
    b"\x10\x00",
    b"\xff",
];

pub const TARGETS: [Target; 11] = [
    Target {
        name: "v1_text",
        run: frames::v1_text,
        dictionary: JSON,
    },
    Target {
        name: "v2_text",
        run: frames::v2_text,
        dictionary: JSON,
    },
    Target {
        name: "v2_binary",
        run: frames::v2_binary,
        dictionary: BYTES,
    },
    Target {
        name: "ndjson",
        run: frames::ndjson,
        dictionary: LINES,
    },
    Target {
        name: "token",
        run: tokens::token,
        dictionary: TOKENS,
    },
    Target {
        name: "session",
        run: tokens::session,
        dictionary: TOKENS,
    },
    Target {
        name: "phoenix",
        run: tokens::phoenix,
        dictionary: TERMS,
    },
    Target {
        name: "jwt",
        run: tokens::jwt,
        dictionary: CLAIMS,
    },
    Target {
        name: "term",
        run: terms::term,
        dictionary: TERMS,
    },
    Target {
        name: "envelope",
        run: envelopes::envelope,
        dictionary: BYTES,
    },
    Target {
        name: "proxy_header",
        run: proxies::proxy_header,
        dictionary: PROXIES,
    },
];

/// Says whether a part shares the bytes of the whole.
fn is_slice_of(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    part.start == part.end || (whole.start <= part.start && part.end <= whole.end)
}
