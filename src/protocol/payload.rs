//! A payload: JSON text as it was sent, or raw bytes.
//!
//! JSON is relayed byte for byte: big integers, float text and escapes survive.

use bytes::Bytes;

/// The body of a message, shared and cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// One complete JSON value as UTF-8 text.
    Json(Bytes),
    /// Raw bytes; only V2 binary frames carry them.
    Binary(Bytes),
}

impl Payload {
    /// The empty JSON object, `{}`.
    pub const EMPTY: Payload = Payload::Json(Bytes::from_static(b"{}"));

    /// Takes text that is known to be one JSON value.
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self::Json(text.into())
    }

    /// Writes a value as JSON.
    pub fn from_value(value: &serde_json::Value) -> Self {
        Self::Json(Bytes::from(value.to_string()))
    }

    /// Returns the JSON text, when the payload is JSON.
    pub fn as_json(&self) -> Option<&[u8]> {
        match self {
            Self::Json(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Says whether the payload is a JSON object, by its first byte.
    pub fn is_object(&self) -> bool {
        match self {
            Self::Json(text) => text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{'),
            Self::Binary(_) => false,
        }
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(bytes) | Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Says whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
