//! Envelopes of other nodes.
//!
//! It never looks into a letter's JSON: its origin checked that.

use bytes::Bytes;
use fanfare::broker::Letter;
use fanfare::broker::envelope::Envelope;
use fanfare::protocol::Payload;

use super::{Verdict, is_slice_of};

pub fn envelope(input: &Bytes) -> Verdict {
    let Ok(envelope) = Envelope::decode(input) else {
        return Verdict::Refused;
    };
    assert_eq!(Envelope::incarnation(input), Some(envelope.incarnation));
    // There is one form only: what was read is written back to the same bytes.
    assert_eq!(envelope.encode().expect("it fits"), input);
    assert!(envelope.letter.len() + envelope.topic.as_str().len() <= input.len());
    let blob = match &envelope.letter {
        Letter::Broadcast { payload, .. } | Letter::Record { payload, .. } => match payload {
            Payload::Json(json) => {
                assert!(std::str::from_utf8(json).is_ok(), "JSON is UTF-8");
                json
            }
            Payload::Binary(bytes) => bytes,
        },
        Letter::Disconnect { .. } => return Verdict::Taken,
        Letter::Presence(blob) => blob,
        Letter::Ask { question, .. } => question,
        Letter::Answer { answer, .. } => answer,
    };
    assert!(is_slice_of(blob, input), "the payload was copied");
    Verdict::Taken
}
