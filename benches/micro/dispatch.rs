//! Dispatch through the pure socket: heartbeats, pushes to one of many channels, joins.
//!
//! A frame goes in as text and the answer comes out as a frame; the worker's part is left out.

use bytes::Bytes;
use divan::Bencher;

use crate::pure::{feed, socket};

fn text(frame: &str) -> Bytes {
    Bytes::copy_from_slice(frame.as_bytes())
}

fn join(topic: &str) -> Bytes {
    text(&format!(r#"["1","1","{topic}","phx_join",{{}}]"#))
}

#[divan::bench]
fn heartbeat(bencher: Bencher) {
    let (mut socket, mut out) = (socket(), Vec::new());
    let beat = text(r#"[null,"7","phoenix","heartbeat",{}]"#);
    bencher.bench_local(|| feed(&mut socket, &beat, &mut out));
}

/// A push to the last of so many channels: the broadcast and its reply.
#[divan::bench(args = [1, 10, 100])]
fn push(bencher: Bencher, channels: usize) {
    let (mut socket, mut out) = (socket(), Vec::new());
    for channel in 0..channels {
        feed(&mut socket, &join(&format!("bench:{channel}")), &mut out);
    }
    let payload = r#"{"message":"hello to everybody in here"}"#;
    let push = text(&format!(
        r#"["1","7","bench:{}","m",{payload}]"#,
        channels - 1
    ));
    bencher.bench_local(|| feed(&mut socket, &push, &mut out));
}

#[divan::bench]
fn join_and_leave(bencher: Bencher) {
    let (mut socket, mut out) = (socket(), Vec::new());
    let (join, leave) = (
        join("bench:a"),
        text(r#"["1","2","bench:a","phx_leave",{}]"#),
    );
    bencher.bench_local(|| {
        feed(&mut socket, &join, &mut out);
        feed(&mut socket, &leave, &mut out);
    });
}
