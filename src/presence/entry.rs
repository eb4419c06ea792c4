//! One presence: its key, its meta and the text that clients see of it.
//!
//! Checks what clients and other nodes send; it knows no topics and no time.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use compact_str::CompactString;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::Payload;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// Longest meta, in bytes of JSON text.
pub const META_BYTES_MAX: usize = 4 * 1024;

/// Names that broke clients which keep presences in a plain object (CVE-2026-56812).
const RESERVED_KEYS: [&str; 6] = [
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "valueOf",
];

/// The fields of a meta that only the node writes.
const RESERVED_FIELDS: [&str; 2] = ["phx_ref", "phx_ref_prev"];

/// Whom a presence stands for; not unique in a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(CompactString);

impl Key {
    /// The key that sorts before every other; no presence has it.
    pub(super) const FIRST: Key = Key(CompactString::const_new(""));

    /// Takes 1 to 255 bytes that are not a reserved name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fits = (1..=KEY_BYTES_MAX).contains(&text.len());
        (fits && !RESERVED_KEYS.contains(&text)).then(|| Self(CompactString::new(text)))
    }

    /// Returns the text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A JSON object as its text, without the fields that the node writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta(Arc<str>);

impl Meta {
    /// Takes a JSON object of at most [`META_BYTES_MAX`]; all but the node's fields stays as it was written.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > META_BYTES_MAX {
            return None;
        }
        without(text, &RESERVED_FIELDS).map(|text| Self(Arc::from(text)))
    }

    /// Takes the meta of a client.
    pub(super) fn from_payload(payload: &Payload) -> Option<Self> {
        Self::parse(payload.as_json()?)
    }

    /// Returns the text of the object.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which presence, in the whole cluster; it stays the same over updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    /// The incarnation of the node that owns it.
    pub(super) node: u64,
    /// Its number on that node.
    pub(super) seq: u64,
}

/// What is known of one presence now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The version of its node that made this meta; with the node it is the `phx_ref`.
    pub(super) version: u64,
    /// The version that it replaced; 0 for none.
    pub(super) prev: u64,
    /// The client's fields.
    pub(super) meta: Meta,
}

impl Entry {
    /// Writes the meta with its refs, `{…,"phx_ref":"…","phx_ref_prev":"…"}`.
    pub(super) fn write(&self, node: u64, out: &mut Vec<u8>) {
        let text = self.meta.as_str().as_bytes();
        let open = text[..text.len() - 1].trim_ascii_end();
        out.extend_from_slice(open);
        if open.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(b"\"phx_ref\":\"");
        write_ref(node, self.version, out);
        if self.prev != 0 {
            out.extend_from_slice(b"\",\"phx_ref_prev\":\"");
            write_ref(node, self.prev, out);
        }
        out.extend_from_slice(b"\"}");
    }
}

/// Writes a `phx_ref`: url-safe base64, 16 characters (22 after 2^32 changes of a node).
fn write_ref(node: u64, version: u64, out: &mut Vec<u8>) {
    let mut raw = [0u8; 16];
    raw[..8].copy_from_slice(&node.to_be_bytes());
    let used = match u32::try_from(version) {
        Ok(short) => {
            raw[8..12].copy_from_slice(&short.to_be_bytes());
            12
        }
        Err(_) => {
            raw[8..].copy_from_slice(&version.to_be_bytes());
            16
        }
    };
    let mut text = [0u8; 24];
    let written = URL_SAFE_NO_PAD
        .encode_slice(&raw[..used], &mut text)
        .expect("16 bytes are at most 22 characters");
    out.extend_from_slice(&text[..written]);
}

/// Returns the text of a JSON object without some of its fields; `None` if it is no object.
///
/// Every other field keeps its place and its text: big integers and float text survive.
pub(super) fn without(text: &[u8], dropped: &[&str]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let mut reader = serde_json::Deserializer::from_str(text);
    let kept = reader.deserialize_map(Fields { dropped }).ok()?;
    reader.end().ok()?;
    Some(kept.unwrap_or_else(|| text.to_owned()))
}

/// Reads an object; `None` when nothing had to be dropped.
struct Fields<'a> {
    dropped: &'a [&'a str],
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kept = String::from("{");
        let mut any = false;
        while let Some(name) = map.next_key::<String>()? {
            let value: &RawValue = map.next_value()?;
            if self.dropped.contains(&name.as_str()) {
                any = true;
                continue;
            }
            if kept.len() > 1 {
                kept.push(',');
            }
            kept.push_str(&serde_json::Value::String(name).to_string());
            kept.push(':');
            kept.push_str(value.get());
        }
        kept.push('}');
        Ok(any.then_some(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Option<&str>) {
        let got = Meta::parse(text.as_bytes());
        assert_eq!(got.as_ref().map(Meta::as_str), want, "{text}");
    }

    #[test]
    fn meta_keeps_its_text_but_for_the_fields_of_the_node() {
        check("{}", Some("{}"));
        check(" {\n} ", Some("{\n}"));
        check(r#"{"b":1,"a":2}"#, Some(r#"{"b":1,"a":2}"#));
        check(
            r#"{"n":12345678901234567890123, "f":1.50}"#,
            Some(r#"{"n":12345678901234567890123, "f":1.50}"#),
        );
        check(
            r#"{"z":1,"phx_ref":"mine","a":1e400,"phx_ref_prev":{"x":[]}}"#,
            Some(r#"{"z":1,"a":1e400}"#),
        );
        check(r#"{"phx\u005fref":"x"}"#, Some("{}"));
        check(
            r#"{"q\"":"\u00e9","phx_ref":0}"#,
            Some(r#"{"q\"":"\u00e9"}"#),
        );
    }

    #[test]
    fn what_is_no_object_is_no_meta() {
        for text in ["", "[]", "1", "null", "\"a\"", "{", "{}{}", "{\"a\":}"] {
            check(text, None);
        }
        assert_eq!(Meta::parse(b"{\"a\":\"\xff\"}"), None);
        check(
            &format!("{{\"a\":\"{}\"}}", "x".repeat(META_BYTES_MAX)),
            None,
        );
    }

    #[test]
    fn keys_have_1_to_255_bytes_and_no_name_of_an_object() {
        for text in ["u", "7", "__proto", &"k".repeat(255)] {
            assert!(Key::parse(text).is_some(), "{text}");
        }
        for text in ["", &"k".repeat(256)].iter().chain(&RESERVED_KEYS) {
            assert!(Key::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn refs_are_url_safe_and_differ() {
        let mut seen = std::collections::HashSet::new();
        for node in [0, 1, u64::MAX] {
            for version in [1, 2, u64::from(u32::MAX), 1 << 32, u64::MAX] {
                let mut out = Vec::new();
                write_ref(node, version, &mut out);
                let safe = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
                assert!(out.iter().all(safe));
                assert!(seen.insert(out));
            }
        }
    }
}
