//! Frames of clients: both versions as text, binary pushes, and the bodies of long-poll.
//!
//! JSON is checked to be whole, never read into values: payloads are relayed as they came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fanfare::protocol::{Broadcast, Message, Outgoing, Payload, Ref, Reply, Serializer, Topic};
use fanfare::transport::longpoll::{Batch, LINES_MAX, Line, is_ndjson};
use serde::de::IgnoredAny;

use super::{Verdict, is_slice_of};

pub fn v1_text(input: &Bytes) -> Verdict {
    assert_eq!(
        Serializer::V1.decode_binary(input),
        Serializer::V1.decode_text(input),
        "version 1 reads bytes as text"
    );
    text(Serializer::V1, input)
}

pub fn v2_text(input: &Bytes) -> Verdict {
    text(Serializer::V2, input)
}

fn text(serializer: Serializer, input: &Bytes) -> Verdict {
    let Ok(message) = serializer.decode_text(input) else {
        return Verdict::Refused;
    };
    let json = message.payload.as_json().expect("text carries JSON");
    assert!(is_slice_of(json, input), "the payload was copied");
    assert!(
        serde_json::from_slice::<IgnoredAny>(json).is_ok(),
        "the payload is not whole"
    );
    assert!(
        bytes_of(&message) <= input.len(),
        "the message is larger than its frame"
    );
    pushed(serializer, &message);
    replied(serializer, &message);
    broadcast(serializer, &message);
    Verdict::Taken
}

fn bytes_of(message: &Message) -> usize {
    let reference = |it: &Option<Ref>| it.as_ref().map_or(0, |it| it.as_json().len());
    reference(&message.join_ref)
        + reference(&message.reference)
        + message.topic.len()
        + message.event.len()
        + message.payload.len()
}

/// What is pushed on is read back as it was, but for the references that a push does not have.
fn pushed(serializer: Serializer, message: &Message) {
    let encode = |message: &Message| {
        let frame = serializer.encode(Outgoing::Push {
            join_ref: message.join_ref.as_ref(),
            topic: &message.topic,
            event: &message.event,
            payload: &message.payload,
        });
        frame.expect("every version carries JSON").payload()
    };
    let wire = encode(message);
    let read = serializer.decode_text(&wire).expect("our own frame");
    let expected = Message {
        reference: None,
        join_ref: match serializer {
            Serializer::V1 => None,
            Serializer::V2 => message.join_ref.clone(),
        },
        ..message.clone()
    };
    assert_eq!(read, expected);
    assert_eq!(encode(&read), wire);
}

/// A reply echoes the reference, and its response is what was said, byte for byte.
fn replied(serializer: Serializer, message: &Message) {
    let frame = serializer.encode(Outgoing::Reply {
        join_ref: message.join_ref.as_ref(),
        reference: message.reference.as_ref(),
        topic: &message.topic,
        reply: &Reply::ok(message.payload.clone()),
    });
    let wire = frame.expect("every version carries JSON").payload();
    let read = serializer.decode_text(&wire).expect("our own frame");
    let json = message.payload.as_json().expect("text carries JSON");
    let response = [b"{\"status\":\"ok\",\"response\":", json, b"}"].concat();
    assert_eq!(read.reference, message.reference);
    assert_eq!(read.topic, message.topic);
    assert_eq!(read.payload, Payload::json(response));
}

fn broadcast(serializer: Serializer, message: &Message) {
    let Ok(topic) = Topic::parse(&message.topic, usize::MAX) else {
        return;
    };
    let frame = serializer.encode_broadcast(&Broadcast {
        topic,
        event: message.event.clone(),
        payload: message.payload.clone(),
    });
    let wire = frame.expect("every version carries JSON").payload();
    let read = serializer.decode_text(&wire).expect("our own frame");
    assert_eq!(
        (read.event, read.payload),
        (message.event.clone(), message.payload.clone())
    );
}

pub fn v2_binary(input: &Bytes) -> Verdict {
    let Ok(message) = Serializer::V2.decode_binary(input) else {
        return Verdict::Refused;
    };
    let Payload::Binary(payload) = &message.payload else {
        panic!("a binary push carries bytes");
    };
    assert!(is_slice_of(payload, input), "the payload was copied");
    // There is one form only: what was read is written back to the same bytes.
    let text = |it: &Option<Ref>| it.as_ref().map(Ref::to_text).unwrap_or_default();
    let (join_ref, reference) = (text(&message.join_ref), text(&message.reference));
    let strings = [
        &join_ref,
        &reference,
        message.topic.as_str(),
        &message.event,
    ];
    let mut written = vec![0];
    written.extend(strings.map(|it| u8::try_from(it.len()).expect("at most 255 bytes")));
    written.extend(strings.concat().bytes());
    written.extend_from_slice(payload);
    assert_eq!(written, input[..]);
    carried(&message);
    Verdict::Taken
}

/// Version 2 carries a push and a reply of every binary message, version 1 neither.
fn carried(message: &Message) {
    let reply = Reply::ok(message.payload.clone());
    let outgoing = [
        Outgoing::Push {
            join_ref: message.join_ref.as_ref(),
            topic: &message.topic,
            event: &message.event,
            payload: &message.payload,
        },
        Outgoing::Reply {
            join_ref: message.join_ref.as_ref(),
            reference: message.reference.as_ref(),
            topic: &message.topic,
            reply: &reply,
        },
    ];
    for (kind, outgoing) in (0u8..).zip(outgoing) {
        let frame = Serializer::V2
            .encode(outgoing)
            .expect("its strings fit")
            .payload();
        assert_eq!(frame[0], kind);
        let Payload::Binary(payload) = &message.payload else {
            panic!("a binary push carries bytes");
        };
        assert!(frame.ends_with(payload));
        assert!(Serializer::V1.encode(outgoing).is_none());
    }
}

pub fn ndjson(input: &Bytes) -> Verdict {
    let _ = is_ndjson(std::str::from_utf8(input).ok());
    let whole: Vec<Line> = Batch::whole(input.clone()).collect();
    assert_eq!(whole, [Line::Text(input.clone())]);
    let lines: Vec<Line> = Batch::lines(input.clone()).collect();
    assert!(lines.len() <= LINES_MAX);
    let mut left = &input[..];
    let mut verdict = Verdict::Taken;
    for line in &lines {
        match line {
            Line::Text(text) => {
                assert!(is_slice_of(text, input), "a line was copied");
                assert!(matches!(text.first(), Some(b'[' | b'{')) && !text.contains(&b'\n'));
                left = after(left, text);
                let _ = Serializer::V1.decode_text(text);
                let _ = Serializer::V2.decode_text(text);
            }
            Line::Binary(bytes) => {
                left = after(left, STANDARD.encode(bytes).as_bytes());
                let _ = Serializer::V2.decode_binary(bytes);
            }
            Line::Malformed | Line::TooLong => verdict = Verdict::Refused,
        }
    }
    verdict
}

/// Returns what follows a line; the lines come in order, each of them once.
fn after<'a>(body: &'a [u8], line: &[u8]) -> &'a [u8] {
    let at = body.windows(line.len()).position(|part| part == line);
    &body[at.expect("a line of the body, in order") + line.len()..]
}
