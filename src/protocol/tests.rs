//! Exact bytes of the wire formats, both ways.
//!
//! Cases are those of the published protocol; the clients' captured frames among them.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn text(frame: &Frame) -> String {
    String::from_utf8(frame.payload().to_vec()).expect("text frames are utf-8")
}

fn decode_v2(text: &str) -> Result<Message, DecodeError> {
    Serializer::V2.decode_text(&Bytes::copy_from_slice(text.as_bytes()))
}

fn decode_v1(text: &str) -> Result<Message, DecodeError> {
    Serializer::V1.decode_text(&Bytes::copy_from_slice(text.as_bytes()))
}

fn json(text: &str) -> Payload {
    Payload::json(text.to_owned())
}

#[test]
fn v2_keeps_payload_text_and_ref_types() {
    let payload = r#"{"big":123456789012345678901234567890,"f":1814.7000000029802,"e":"\u00e9\/"}"#;
    let message = decode_v2(&format!(r#"["1", 7 ,"room:a","ev", {payload} ,"extra"]"#)).unwrap();
    assert_eq!(message.payload, json(payload));
    assert_eq!(message.join_ref.unwrap().as_json(), "\"1\"");
    assert_eq!(message.reference.unwrap().as_json(), "7");
}

#[test]
fn v2_refuses_other_shapes() {
    for bad in [
        "",
        "{}",
        "[]",
        "[1,2,3,4]",
        "nonsense",
        r#"["1","2",3,"e",{}]"#,
        r#"["1","2","t",null,{}]"#,
        r#"["1","2","t","e",{}"#,
        r#"["1","2","t","e",{}] x"#,
        r#"["1","2","t","e",{]"#,
    ] {
        assert_eq!(decode_v2(bad), Err(DecodeError::Shape), "{bad}");
    }
}

#[test]
fn v1_needs_its_four_keys() {
    let message = decode_v1(r#"{"topic":"t","event":"e","payload":[1.0],"ref":0,"x":1}"#).unwrap();
    assert_eq!(message.reference.unwrap().as_json(), "0");
    assert_eq!(message.join_ref, None);
    assert_eq!(message.payload, json("[1.0]"));
    for bad in [
        r#"{"event":"e","payload":{},"ref":"1"}"#,
        r#"{"topic":"t","payload":{},"ref":"1"}"#,
        r#"{"topic":"t","event":"e","ref":"1"}"#,
        r#"{"topic":"t","event":"e","payload":{}}"#,
        r#"["1","1","t","e",{}]"#,
        "null",
    ] {
        assert_eq!(decode_v1(bad), Err(DecodeError::Shape), "{bad}");
    }
}

#[test]
fn refs_are_compared_by_type_and_value() {
    let string = Ref::from_json("\"1\"");
    assert_ne!(string, Ref::from_json("1"));
    assert_eq!(string, Ref::from_json(r#""\u0031""#));
    assert_eq!(string, Some(Ref::from_text("1")));
    assert_eq!(Ref::from_json("null"), None);
}

#[test]
fn text_frames_have_the_published_form() {
    let (join_ref, reference) = (Ref::from_text("1"), Ref::from_json("2").unwrap());
    let reply = Reply::ok(json(r#"{"m":1}"#));
    let answer = Outgoing::Reply {
        join_ref: Some(&join_ref),
        reference: Some(&reference),
        topic: "t",
        reply: &reply,
    };
    let end = |ending| Outgoing::End {
        join_ref: Some(&join_ref),
        topic: "t",
        ending,
    };
    let payload = json(r#"{"m":1}"#);
    let push = Outgoing::Push {
        join_ref: Some(&join_ref),
        topic: "t\"",
        event: "e",
        payload: &payload,
    };
    let cases = [
        (
            Serializer::V2,
            answer,
            r#"["1",2,"t","phx_reply",{"status":"ok","response":{"m":1}}]"#,
        ),
        (
            Serializer::V1,
            answer,
            r#"{"topic":"t","event":"phx_reply","payload":{"status":"ok","response":{"m":1}},"ref":2}"#,
        ),
        (
            Serializer::V2,
            end(Ending::Closed),
            r#"["1","1","t","phx_close",{}]"#,
        ),
        (
            Serializer::V1,
            end(Ending::Closed),
            r#"{"topic":"t","event":"phx_close","payload":{},"ref":"1"}"#,
        ),
        (
            Serializer::V2,
            end(Ending::Crashed),
            r#"["1","1","t","phx_error",{"reason":"channel_crash"}]"#,
        ),
        (Serializer::V2, push, r#"["1",null,"t\"","e",{"m":1}]"#),
        (
            Serializer::V1,
            push,
            r#"{"topic":"t\"","event":"e","payload":{"m":1},"ref":null}"#,
        ),
    ];
    for (serializer, outgoing, expected) in cases {
        assert_eq!(text(&serializer.encode(outgoing).unwrap()), expected);
    }
}

#[test]
fn broadcasts_are_encoded_once_and_shared() {
    let fastlane = Fastlane::new(Broadcast {
        topic: "t".try_into().unwrap(),
        event: "e".into(),
        payload: json(r#"{"m":1}"#),
    });
    let first = fastlane.frame(Serializer::V2).unwrap();
    assert_eq!(text(first), r#"[null,null,"t","e",{"m":1}]"#);
    assert_eq!(
        first.bytes().as_ptr(),
        fastlane.frame(Serializer::V2).unwrap().bytes().as_ptr()
    );
    assert_eq!(
        text(fastlane.frame(Serializer::V1).unwrap()),
        r#"{"topic":"t","event":"e","payload":{"m":1},"ref":null}"#
    );
}

#[test]
fn a_binary_push_is_read_as_captured() {
    let bytes = Bytes::from_static(b"\x00\x02\x03\x05\x0512123topicevent\x65\x66\x67");
    let message = Serializer::V2.decode_binary(&bytes).unwrap();
    assert_eq!(message.join_ref, Some(Ref::from_text("12")));
    assert_eq!(message.reference, Some(Ref::from_text("123")));
    assert_eq!(
        (message.topic.as_str(), message.event.as_str()),
        ("topic", "event")
    );
    assert_eq!(
        message.payload,
        Payload::Binary(Bytes::from_static(&[0x65, 0x66, 0x67]))
    );
    let captured = Bytes::from_static(b"\x00\x01\x01\x0a\x0335room:lobbybin\x01\x02\x03");
    assert_eq!(
        Serializer::V2.decode_binary(&captured).unwrap().event,
        "bin"
    );
}

#[test]
fn binary_refuses_other_kinds_and_cut_frames() {
    for (bytes, error) in [
        (&b""[..], DecodeError::Binary),
        (b"\x00\x01\x01", DecodeError::Binary),
        (b"\x01\x00\x00\x00\x00", DecodeError::Binary),
        (b"\x00\x05\x00\x00\x00abc", DecodeError::Binary),
        (b"\x00\x00\x00\x01\x00\xff", DecodeError::NotUtf8),
    ] {
        assert_eq!(
            Serializer::V2.decode_binary(&Bytes::copy_from_slice(bytes)),
            Err(error)
        );
    }
}

#[test]
fn binary_frames_have_the_published_bytes() {
    let (join_ref, reference) = (Ref::from_text("12"), Ref::from_text("123"));
    let payload = Payload::Binary(Bytes::from_static(&[0x65, 0x66, 0x67]));
    let push = Outgoing::Push {
        join_ref: Some(&join_ref),
        topic: "topic",
        event: "event",
        payload: &payload,
    };
    let reply = Reply::ok(payload.clone());
    let answer = Outgoing::Reply {
        join_ref: Some(&join_ref),
        reference: Some(&reference),
        topic: "topic",
        reply: &reply,
    };
    assert_eq!(
        &Serializer::V2.encode(push).unwrap().payload()[..],
        b"\x00\x02\x05\x0512topicevent\x65\x66\x67"
    );
    assert_eq!(
        &Serializer::V2.encode(answer).unwrap().payload()[..],
        b"\x01\x02\x03\x05\x0212123topicok\x65\x66\x67"
    );
    assert_eq!(Serializer::V1.encode(push), None);
    let fastlane = Fastlane::new(Broadcast {
        topic: "topic".try_into().unwrap(),
        event: "event".into(),
        payload,
    });
    assert_eq!(
        &fastlane.frame(Serializer::V2).unwrap().payload()[..],
        b"\x02\x05\x05topicevent\x65\x66\x67"
    );
    assert!(fastlane.frame(Serializer::V1).is_none());
}

#[test]
fn oversized_binary_headers_are_refused() {
    let long = "t".repeat(256);
    let payload = Payload::Binary(Bytes::from_static(b"x"));
    let push = Outgoing::Push {
        join_ref: None,
        topic: &long,
        event: "e",
        payload: &payload,
    };
    assert_eq!(Serializer::V2.encode(push), None);
}

#[test]
fn versions_are_negotiated_as_phoenix_does() {
    for (vsn, expected) in [
        (None, Some(Serializer::V1)),
        (Some("1.0.0"), Some(Serializer::V1)),
        (Some("1.0.7"), Some(Serializer::V1)),
        (Some("2.0.0"), Some(Serializer::V2)),
        (Some("2.0.9"), Some(Serializer::V2)),
        (Some("2.0.0-rc.1"), None),
        (Some("2.0"), None),
        (Some("2"), None),
        (Some("2.1.0"), None),
        (Some("123.1.1"), None),
        (Some(""), None),
    ] {
        assert_eq!(Serializer::negotiate(vsn), expected, "{vsn:?}");
    }
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        for serializer in [Serializer::V1, Serializer::V2] {
            let _ = serializer.decode_text(&bytes);
            let _ = serializer.decode_binary(&bytes);
        }
    }

    #[test]
    fn any_topic_and_event_survive_v2(topic in ".{1,40}", event in ".{0,40}") {
        let payload = json("{}");
        let push = Outgoing::Push { join_ref: None, topic: &topic, event: &event, payload: &payload };
        let frame = Serializer::V2.encode(push).unwrap();
        let message = Serializer::V2.decode_text(&frame.payload()).unwrap();
        prop_assert_eq!(message.topic.as_str(), topic.as_str());
        prop_assert_eq!(message.event.as_str(), event.as_str());
    }
}
