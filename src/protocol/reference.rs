//! A client's message reference: an opaque JSON value, echoed with its type.
//!
//! It is never interpreted: `1` and `"1"` are different references.

use std::fmt;

use compact_str::CompactString;

/// Longest reference in bytes of JSON text; a longer one makes the frame malformed.
pub const REF_BYTES_MAX: usize = 1024;

/// A `ref` or `join_ref` as its JSON text; `null` is `None` of an `Option<Ref>`.
///
/// Strings are kept in one form, so that `"\u0061"` equals `"a"`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Ref(CompactString);

impl Ref {
    /// Takes a reference from the JSON text of a frame; `None` for `null`.
    pub fn from_json(text: &str) -> Option<Self> {
        if text == "null" {
            return None;
        }
        if text.contains('\\')
            && let Ok(string) = serde_json::from_str::<String>(text)
        {
            return Some(Self::from_text(&string));
        }
        Some(Self(CompactString::from(text)))
    }

    /// Takes a reference that a binary frame carries as text; it equals the JSON string.
    pub fn from_text(text: &str) -> Self {
        Self(CompactString::from(
            serde_json::Value::from(text).to_string(),
        ))
    }

    /// Returns the JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Returns what a binary frame carries: a string's text, or a number's decimal text.
    pub fn to_text(&self) -> String {
        serde_json::from_str::<String>(&self.0).unwrap_or_else(|_| self.0.to_string())
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the JSON text of an optional reference.
pub fn json_or_null(reference: Option<&Ref>) -> &str {
    reference.map_or("null", Ref::as_json)
}
