//! Serializers: a push as it comes in, a broadcast and a reply as they go out.
//!
//! A payload is found in its frame and never parsed, so its size must hardly count.

use bytes::Bytes;
use divan::{Bencher, black_box};
use fanfare::protocol::{Broadcast, Outgoing, Payload, Ref, Reply, Serializer, Topic};

/// Bytes of a payload's text.
const SIZES: [usize; 3] = [64, 1_024, 16_384];

fn payload(bytes: usize) -> String {
    format!(r#"{{"message":"{}"}}"#, "x".repeat(bytes))
}

#[divan::bench(args = SIZES)]
fn decode_v2(bencher: Bencher, bytes: usize) {
    let payload = payload(bytes);
    let text = Bytes::from(format!(r#"["1","7","bench:a","new_message",{payload}]"#));
    bencher.bench_local(|| Serializer::V2.decode_text(black_box(&text)));
}

#[divan::bench(args = SIZES)]
fn decode_v1(bencher: Bencher, bytes: usize) {
    let payload = payload(bytes);
    let text = Bytes::from(format!(
        r#"{{"topic":"bench:a","event":"new_message","payload":{payload},"ref":"7"}}"#
    ));
    bencher.bench_local(|| Serializer::V1.decode_text(black_box(&text)));
}

#[divan::bench(args = SIZES)]
fn decode_binary(bencher: Bencher, bytes: usize) {
    let mut frame = vec![0, 1, 1, 7, 11];
    frame.extend_from_slice(b"17bench:anew_message");
    frame.extend(std::iter::repeat_n(7, bytes));
    let frame = Bytes::from(frame);
    bencher.bench_local(|| Serializer::V2.decode_binary(black_box(&frame)));
}

#[divan::bench(args = SIZES)]
fn encode_broadcast_v2(bencher: Bencher, bytes: usize) {
    let broadcast = Broadcast {
        topic: Topic::try_from("bench:a").expect("a topic"),
        event: "new_message".into(),
        payload: Payload::json(payload(bytes)),
    };
    bencher.bench_local(|| Serializer::V2.encode_broadcast(black_box(&broadcast)));
}

#[divan::bench]
fn encode_reply_v2(bencher: Bencher) {
    let (join_ref, reference) = (Ref::from_text("1"), Ref::from_text("7"));
    let reply = Reply::ok_empty();
    bencher.bench_local(|| {
        Serializer::V2.encode(black_box(Outgoing::Reply {
            join_ref: Some(&join_ref),
            reference: Some(&reference),
            topic: "bench:a",
            reply: &reply,
        }))
    });
}
