//! The limit on what waits for a socket: a client that does not read is closed, and nobody else notices.
//!
//! The node holds no more for it than the limit, and nothing once it is closed.

use serde_json::{Value, json};

use crate::support::http;
use crate::support::limited::{member, setup};
use crate::support::metrics::{await_metric, metric};
use crate::support::node::Node;
use crate::support::phoenix::Socket;
use crate::support::ws::Frame;

const SLOW: &str = "fanfare_deliveries_dropped_total{reason=\"slow\"}";
const OPEN: &str = "fanfare_connections{transport=\"websocket\"}";
const MEMORY: &str = "process_resident_memory_bytes";

/// The most rounds of a flood; the kernel holds a few megabytes for each client before the node does.
const ROUNDS_MAX: u64 = 2_000;

/// Sends to a topic, where the sender and the others hear each message, until so many clients were found to be slow.
pub fn flood(node: &Node, topic: &str, others: &mut [Socket], slow: f64) {
    let mut sender = member(node, topic);
    let body = "x".repeat(30_000);
    for round in 1..=ROUNDS_MAX {
        let said = json!({"round": round, "body": body});
        sender.push(&Value::Null, topic, "new_message", &said);
        for socket in others.iter_mut().chain([&mut sender]) {
            assert_eq!(socket.event(topic, "new_message")["round"], json!(round));
        }
        if round % 16 == 0 && metric(node, SLOW) >= slow {
            return;
        }
    }
    panic!("{} of {slow} were slow", metric(node, SLOW));
}

/// A node with small outboxes and without a rate.
pub fn node(more: &str) -> Node {
    let limits = "[limits]\noutbox_bytes = \"64KiB\"\nmessages_per_second = 0\n";
    setup(&format!("{limits}{more}")).start()
}

#[test]
fn a_client_that_does_not_read_is_closed_and_the_others_hear_everything() {
    let node = node("");
    let mut stalled: Vec<Socket> = (0..8).map(|_| member(&node, "room:flood")).collect();
    let mut readers = [member(&node, "room:flood")];
    let before = metric(&node, MEMORY);
    flood(&node, "room:flood", &mut readers, 8.0);
    let grown = metric(&node, MEMORY) - before;
    assert!(grown < 32e6, "grew by {grown} bytes for 8 slow clients");
    assert_eq!(metric(&node, SLOW), 8.0);
    // One begins to read at last, and is told why; the others never do, and are reset.
    assert_eq!(stalled[0].wire.close_code(), Some(1013));
    await_metric(&node, OPEN, |open| open == 1.0);
    // Nothing holds on to them, such as a task that waits until their streams take more.
    assert_eq!(http::get(node.admin, "/status").json()["connections"], 1);
    let closed = metric(&node, "fanfare_connections_closed_total{code=\"1013\"}");
    assert_eq!(closed, 8.0);
    let last = stalled.last_mut().expect("eight");
    let end = std::iter::repeat_with(|| last.wire.read());
    let end = { end }.find(|frame| matches!(frame, Frame::Close(_) | Frame::Ended));
    assert_eq!(end, Some(Frame::Ended));
}

#[test]
fn a_client_that_pings_and_does_not_read_is_closed_too() {
    let node = node("");
    let mut eve = member(&node, "room:a");
    let payload = [b'p'; 125];
    let ended = (0..200_000).any(|round| {
        eve.wire.frame(true, crate::support::ws::Op::Ping, &payload);
        round % 4_096 == 0 && metric(&node, SLOW) >= 1.0
    });
    assert!(
        ended,
        "pongs were heaped up for a client that does not read"
    );
    let closed = "fanfare_connections_closed_total{code=\"1013\"}";
    await_metric(&node, closed, |count| count == 1.0);
    assert_eq!(metric(&node, OPEN), 0.0);
}
