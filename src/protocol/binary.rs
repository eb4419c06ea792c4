//! Binary frames of version 2: a kind, one-byte sizes, strings, then the payload.
//!
//! A client's push has a `ref`, the server's has none: kind 0, two layouts. Sizes count UTF-8 bytes.

use bytes::Bytes;
use compact_str::CompactString;

use super::{DecodeError, Frame, FrameDraft, FrameKind, Message, Payload, Ref};

/// Longest string in the header of a binary frame, in UTF-8 bytes.
pub const BINARY_HEADER_BYTES_MAX: usize = 255;

const PUSH: u8 = 0;
const REPLY: u8 = 1;
const BROADCAST: u8 = 2;

/// Reads a client's push: kind 0, sizes of join_ref, ref, topic and event, those, the payload.
///
/// An empty join_ref or ref is an absent one.
pub(super) fn decode(bytes: &Bytes) -> Result<Message, DecodeError> {
    let [kind, join_ref, reference, topic, event, ..] = bytes[..] else {
        return Err(DecodeError::Binary);
    };
    if kind != PUSH {
        return Err(DecodeError::Binary);
    }
    let mut at = 5;
    let mut string = |size: u8| {
        let end = at + usize::from(size);
        let field = bytes.get(at..end).ok_or(DecodeError::Binary)?;
        at = end;
        std::str::from_utf8(field).map_err(|_| DecodeError::NotUtf8)
    };
    let (join_ref, reference) = (string(join_ref)?, string(reference)?);
    let (topic, event) = (string(topic)?, string(event)?);
    let optional = |text: &str| (!text.is_empty()).then(|| Ref::from_text(text));
    Ok(Message {
        join_ref: optional(join_ref),
        reference: optional(reference),
        topic: CompactString::from(topic),
        event: CompactString::from(event),
        payload: Payload::Binary(bytes.slice(at..)),
    })
}

/// Writes a server's push: kind 0, sizes of join_ref, topic and event, those, the payload.
pub(super) fn encode_push(
    join_ref: Option<&Ref>,
    topic: &str,
    event: &str,
    payload: &[u8],
) -> Option<Frame> {
    write(PUSH, &[&text(join_ref), topic, event], payload)
}

/// Writes a reply: kind 1, sizes of join_ref, ref, topic and status, those, the payload.
pub(super) fn encode_reply(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    status: &str,
    payload: &[u8],
) -> Option<Frame> {
    write(
        REPLY,
        &[&text(join_ref), &text(reference), topic, status],
        payload,
    )
}

/// Writes a broadcast: kind 2, sizes of topic and event, those, the payload.
pub(super) fn encode_broadcast(topic: &str, event: &str, payload: &[u8]) -> Option<Frame> {
    write(BROADCAST, &[topic, event], payload)
}

fn text(reference: Option<&Ref>) -> String {
    reference.map(Ref::to_text).unwrap_or_default()
}

fn write(kind: u8, strings: &[&str], payload: &[u8]) -> Option<Frame> {
    let strings_bytes: usize = strings.iter().map(|string| string.len()).sum();
    let mut draft = FrameDraft::new(1 + strings.len() + strings_bytes + payload.len());
    let out = draft.buffer();
    out.push(kind);
    for string in strings {
        out.push(u8::try_from(string.len()).ok()?);
    }
    for string in strings {
        out.extend_from_slice(string.as_bytes());
    }
    out.extend_from_slice(payload);
    Some(draft.finish(FrameKind::Binary))
}
