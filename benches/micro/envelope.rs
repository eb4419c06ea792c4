//! The envelope between nodes: written once a publish, read once a node.
//!
//! Its payload is a slice of what was received, so its size must hardly count when reading.

use divan::{Bencher, black_box};
use fanfare::broker::Letter;
use fanfare::broker::envelope::Envelope;
use fanfare::protocol::{Payload, Topic};

fn envelope(bytes: usize) -> Envelope {
    Envelope {
        incarnation: 1,
        sequence: 2,
        previous: 1,
        nth: 2,
        accepted_at: 3,
        topic: Topic::try_from("bench:a").expect("a topic"),
        letter: Letter::Broadcast {
            event: String::from("m"),
            payload: Payload::json(format!(r#"{{"message":"{}"}}"#, "x".repeat(bytes))),
        },
    }
}

#[divan::bench(args = [64, 16_384])]
fn encode(bencher: Bencher, bytes: usize) {
    let envelope = envelope(bytes);
    bencher.bench_local(|| black_box(&envelope).encode());
}

#[divan::bench(args = [64, 16_384])]
fn decode(bencher: Bencher, bytes: usize) {
    let written = envelope(bytes).encode().expect("it fits");
    bencher.bench_local(|| Envelope::decode(black_box(&written)));
}
