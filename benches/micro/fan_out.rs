//! Fan-out: one broadcast into the outboxes of a topic's sockets, and out again as slices.
//!
//! Encoding happens once; what counts is that nothing is allocated a subscriber.

use std::io::IoSlice;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use fanfare::protocol::{Broadcast, Fastlane, Payload, Serializer, Topic};
use fanfare::socket::{Outbox, SLICES_MAX};

fn broadcast() -> Broadcast {
    Broadcast {
        topic: Topic::try_from("bench:a").expect("a topic"),
        event: "m".into(),
        payload: Payload::json(r#"{"message":"hello to everybody in here"}"#),
    }
}

fn outboxes(count: usize) -> Vec<Outbox> {
    (0..count).map(|_| Outbox::new(1024 * 1024)).collect()
}

/// Takes what waits, as a write of all of it would.
fn written(outbox: &mut Outbox) {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let filled = outbox.slices(&mut slices);
    black_box(&slices[..filled]);
    let bytes = outbox.bytes();
    outbox.advance(bytes);
}

/// One frame a socket, each written at once.
#[divan::bench(args = [1, 100, 10_000])]
fn one_frame(bencher: Bencher, sockets: usize) {
    let mut outboxes = outboxes(sockets);
    // The first frame makes the room that an outbox then keeps.
    let warm = Fastlane::new(broadcast());
    fan_out(&warm, &mut outboxes);
    outboxes.iter_mut().for_each(written);
    bencher.counter(ItemsCount::new(sockets)).bench_local(|| {
        let fastlane = Fastlane::new(broadcast());
        fan_out(&fastlane, &mut outboxes);
        outboxes.iter_mut().for_each(written);
    });
}

/// Eight frames gather in each of 1,000 sockets and leave in one write.
#[divan::bench]
fn eight_frames(bencher: Bencher) {
    let mut outboxes = outboxes(1_000);
    let fastlane = Fastlane::new(broadcast());
    bencher.counter(ItemsCount::new(8_000u32)).bench_local(|| {
        for _ in 0..8 {
            fan_out(&fastlane, &mut outboxes);
        }
        outboxes.iter_mut().for_each(written);
    });
}

fn fan_out(fastlane: &Fastlane, outboxes: &mut [Outbox]) {
    let frame = fastlane.frame(Serializer::V2).expect("V2 carries JSON");
    for outbox in outboxes {
        outbox.push(frame.bytes().clone()).expect("there is room");
    }
}
