//! A payload: JSON text as it was sent, or raw bytes.
//!
//! JSON is relayed byte for byte: big integers, float text and escapes survive.

use bytes::Bytes;
use serde::Serialize;

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
        Self::written(value)
    }

    /// Writes what has only fields that JSON can hold.
    pub(crate) fn written(value: &impl Serialize) -> Self {
        // A record's fields fit, so that most are written without growing.
        let mut text = Vec::with_capacity(256);
        let written = serde_json::to_writer(&mut text, value);
        debug_assert!(written.is_ok(), "{written:?}");
        Self::Json(Bytes::from(text))
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
