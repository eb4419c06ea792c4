//! Version 2 of the wire format: JSON arrays `[join_ref, ref, topic, event, payload]`.
//!
//! A payload of bytes goes out as a binary frame instead; JSON payloads are copied unchanged.

use std::fmt;

use bytes::Bytes;
use compact_str::CompactString;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::reference::{REF_BYTES_MAX, json_or_null};
use super::serializer::write_string;
use super::{
    Broadcast, DecodeError, Frame, FrameDraft, FrameKind, Message, Outgoing, Payload, Ref, binary,
};

struct Elements<'a> {
    join_ref: &'a str,
    reference: &'a str,
    topic: CompactString,
    event: CompactString,
    payload: &'a str,
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of at least five elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let short = || A::Error::custom("fewer than five elements");
        let elements = Elements {
            join_ref: seq.next_element::<&RawValue>()?.ok_or_else(short)?.get(),
            reference: seq.next_element::<&RawValue>()?.ok_or_else(short)?.get(),
            topic: seq.next_element()?.ok_or_else(short)?,
            event: seq.next_element()?.ok_or_else(short)?,
            payload: seq.next_element::<&RawValue>()?.ok_or_else(short)?.get(),
        };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

/// Reads an array; elements beyond the fifth are ignored.
pub(super) fn decode(text: &Bytes) -> Result<Message, DecodeError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let elements = reader
        .deserialize_seq(ElementsVisitor)
        .and_then(|elements| reader.end().map(|()| elements))
        .map_err(|_| DecodeError::Shape)?;
    if elements.join_ref.len() > REF_BYTES_MAX || elements.reference.len() > REF_BYTES_MAX {
        return Err(DecodeError::Shape);
    }
    Ok(Message {
        join_ref: Ref::from_json(elements.join_ref),
        reference: Ref::from_json(elements.reference),
        topic: elements.topic,
        event: elements.event,
        payload: Payload::Json(text.slice_ref(elements.payload.as_bytes())),
    })
}

/// Writes one client's frame, text or binary by its payload.
pub(super) fn encode(outgoing: Outgoing<'_>) -> Option<Frame> {
    match outgoing {
        Outgoing::Reply {
            join_ref,
            reference,
            topic,
            reply,
        } => match &reply.response {
            Payload::Json(response) => {
                let mut draft = start(join_ref, reference, topic, "phx_reply", response.len());
                let out = draft.buffer();
                out.extend_from_slice(b"{\"status\":");
                write_string(out, reply.status.as_str());
                out.extend_from_slice(b",\"response\":");
                out.extend_from_slice(response);
                out.extend_from_slice(b"}]");
                Some(draft.finish(FrameKind::Text))
            }
            Payload::Binary(bytes) => {
                binary::encode_reply(join_ref, reference, topic, reply.status.as_str(), bytes)
            }
        },
        Outgoing::Push {
            join_ref,
            topic,
            event,
            payload,
        } => match payload {
            Payload::Json(payload) => Some(plain(join_ref, None, topic, event, payload)),
            Payload::Binary(bytes) => binary::encode_push(join_ref, topic, event, bytes),
        },
        Outgoing::End {
            join_ref,
            topic,
            ending,
        } => Some(plain(
            join_ref,
            join_ref,
            topic,
            ending.event(),
            ending.payload().as_bytes(),
        )),
    }
}

/// Writes the frame of a broadcast, text or binary by its payload.
pub(super) fn encode_broadcast(broadcast: &Broadcast) -> Option<Frame> {
    let (topic, event) = (broadcast.topic.as_str(), broadcast.event.as_str());
    match &broadcast.payload {
        Payload::Json(payload) => Some(plain(None, None, topic, event, payload)),
        Payload::Binary(bytes) => binary::encode_broadcast(topic, event, bytes),
    }
}

fn plain(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    event: &str,
    payload: &[u8],
) -> Frame {
    let mut draft = start(join_ref, reference, topic, event, payload.len());
    draft.buffer().extend_from_slice(payload);
    draft.buffer().push(b']');
    draft.finish(FrameKind::Text)
}

fn start(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    event: &str,
    payload_bytes: usize,
) -> FrameDraft {
    let mut draft = FrameDraft::new(payload_bytes + topic.len() + event.len() + 80);
    let out = draft.buffer();
    out.push(b'[');
    out.extend_from_slice(json_or_null(join_ref).as_bytes());
    out.push(b',');
    out.extend_from_slice(json_or_null(reference).as_bytes());
    out.push(b',');
    write_string(out, topic);
    out.push(b',');
    write_string(out, event);
    out.push(b',');
    draft
}
