//! Version 1 of the wire format: JSON objects with `topic`, `event`, `payload` and `ref`.
//!
//! It never writes a `join_ref` and cannot carry bytes.

use bytes::Bytes;
use compact_str::CompactString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reference::{REF_BYTES_MAX, json_or_null};
use super::serializer::write_string;
use super::{
    Broadcast, DecodeError, Frame, FrameDraft, FrameKind, Message, Outgoing, Payload, Ref,
};

#[derive(Deserialize)]
struct Envelope<'a> {
    topic: CompactString,
    event: CompactString,
    #[serde(borrow)]
    payload: &'a RawValue,
    // A missing key must be told from null, which an Option cannot.
    #[serde(borrow)]
    r#ref: &'a RawValue,
    #[serde(borrow, default)]
    join_ref: Option<&'a RawValue>,
}

/// Reads an object; further keys are ignored, each of the four must be there.
pub(super) fn decode(text: &Bytes) -> Result<Message, DecodeError> {
    if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(DecodeError::Shape);
    }
    let envelope: Envelope<'_> = serde_json::from_slice(text).map_err(|_| DecodeError::Shape)?;
    let join_ref = envelope.join_ref.map_or("null", RawValue::get);
    let reference = envelope.r#ref.get();
    if join_ref.len() > REF_BYTES_MAX || reference.len() > REF_BYTES_MAX {
        return Err(DecodeError::Shape);
    }
    Ok(Message {
        join_ref: Ref::from_json(join_ref),
        reference: Ref::from_json(reference),
        topic: envelope.topic,
        event: envelope.event,
        payload: Payload::Json(text.slice_ref(envelope.payload.get().as_bytes())),
    })
}

/// Writes one client's frame.
///
/// `phx_close` and `phx_error` carry the channel's `join_ref` as `ref`. For a join without one the
/// socket gives the join's `ref` (the rule of Phoenix up to 1.4), which every client understands and which
/// keeps a client that joined again from taking the old channel's end for the new one's.
pub(super) fn encode(outgoing: Outgoing<'_>) -> Option<Frame> {
    match outgoing {
        Outgoing::Reply {
            reference,
            topic,
            reply,
            ..
        } => {
            let response = reply.response.as_json()?;
            let mut draft = start(topic, "phx_reply", response.len());
            let out = draft.buffer();
            out.extend_from_slice(b"{\"status\":");
            write_string(out, reply.status.as_str());
            out.extend_from_slice(b",\"response\":");
            out.extend_from_slice(response);
            out.push(b'}');
            Some(finish(draft, reference))
        }
        Outgoing::Push {
            topic,
            event,
            payload,
            ..
        } => plain(topic, event, payload.as_json()?, None),
        Outgoing::End {
            join_ref,
            topic,
            ending,
        } => plain(topic, ending.event(), ending.payload().as_bytes(), join_ref),
    }
}

/// Writes the frame of a broadcast.
pub(super) fn encode_broadcast(broadcast: &Broadcast) -> Option<Frame> {
    plain(
        broadcast.topic.as_str(),
        &broadcast.event,
        broadcast.payload.as_json()?,
        None,
    )
}

fn plain(topic: &str, event: &str, payload: &[u8], reference: Option<&Ref>) -> Option<Frame> {
    let mut draft = start(topic, event, payload.len());
    draft.buffer().extend_from_slice(payload);
    Some(finish(draft, reference))
}

fn start(topic: &str, event: &str, payload_bytes: usize) -> FrameDraft {
    let mut draft = FrameDraft::new(payload_bytes + topic.len() + event.len() + 96);
    let out = draft.buffer();
    out.extend_from_slice(b"{\"topic\":");
    write_string(out, topic);
    out.extend_from_slice(b",\"event\":");
    write_string(out, event);
    out.extend_from_slice(b",\"payload\":");
    draft
}

fn finish(mut draft: FrameDraft, reference: Option<&Ref>) -> Frame {
    let out = draft.buffer();
    out.extend_from_slice(b",\"ref\":");
    out.extend_from_slice(json_or_null(reference).as_bytes());
    out.push(b'}');
    draft.finish(FrameKind::Text)
}
