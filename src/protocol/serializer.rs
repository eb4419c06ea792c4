//! The two versions of the wire format, chosen by the `vsn` parameter.
//!
//! Decoding is total: it never panics and never trusts a length.

use std::fmt;

use bytes::Bytes;

use super::{Broadcast, Frame, Message, Outgoing, binary, v1, v2};

/// A version of the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Serializer {
    /// `~> 1.0.0`: JSON objects; what a client without `vsn` speaks.
    V1,
    /// `~> 2.0.0`: JSON arrays and binary frames.
    V2,
}

/// Why a frame is not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// Not JSON, or not of the version's shape.
    Shape,
    /// A binary frame of another kind than a push, or cut short.
    Binary,
    /// A header string of a binary frame is not UTF-8.
    NotUtf8,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "not a message of this version",
            Self::Binary => "not a binary push",
            Self::NotUtf8 => "a header string is not utf-8",
        })
    }
}

impl std::error::Error for DecodeError {}

impl Serializer {
    /// Chooses by the `vsn` connect parameter; `None` when no version matches.
    ///
    /// An absent `vsn` is `1.0.0`. It must be a full semantic version; `~> 1.0.0` and
    /// `~> 2.0.0` are served, pre-releases are not (Phoenix, `Phoenix.Socket`).
    pub fn negotiate(vsn: Option<&str>) -> Option<Self> {
        let version = semver::Version::parse(vsn.unwrap_or("1.0.0")).ok()?;
        match (version.major, version.minor, version.pre.is_empty()) {
            (1, 0, true) => Some(Self::V1),
            (2, 0, true) => Some(Self::V2),
            _ => None,
        }
    }

    /// Reads a text frame.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not a message of this version.
    pub fn decode_text(self, text: &Bytes) -> Result<Message, DecodeError> {
        match self {
            Self::V1 => v1::decode(text),
            Self::V2 => v2::decode(text),
        }
    }

    /// Reads a binary frame; V1 reads it as text, as Phoenix does.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not a message of this version.
    pub fn decode_binary(self, bytes: &Bytes) -> Result<Message, DecodeError> {
        match self {
            Self::V1 => v1::decode(bytes),
            Self::V2 => binary::decode(bytes),
        }
    }

    /// Writes a frame for one client; `None` when this version can't carry it.
    ///
    /// V1 has no bytes, and a binary header string holds at most 255 bytes.
    pub fn encode(self, outgoing: Outgoing<'_>) -> Option<Frame> {
        match self {
            Self::V1 => v1::encode(outgoing),
            Self::V2 => v2::encode(outgoing),
        }
    }

    /// Writes the frame that every subscriber of this version gets; `None` as for [`Self::encode`].
    pub fn encode_broadcast(self, broadcast: &Broadcast) -> Option<Frame> {
        match self {
            Self::V1 => v1::encode_broadcast(broadcast),
            Self::V2 => v2::encode_broadcast(broadcast),
        }
    }
}

/// Appends a JSON string.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a str to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}
