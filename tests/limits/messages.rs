//! The limits on what a client sends: sizes, names, topics, channels and the rate.
//!
//! Whoever stays below is not disturbed.

use serde_json::{Value, json};

use crate::support::limited::{self, guest, member};
use crate::support::metrics::{await_metric, metric};
use crate::support::node::Node;
use crate::support::phoenix::Socket;
use crate::support::ws::Op;

fn reached(node: &Node, limit: &str) -> f64 {
    let series = format!("fanfare_limit_reached_total{{limit=\"{limit}\"}}");
    metric(node, &series)
}

/// The reason of a refused join.
fn refusal(socket: &mut Socket, topic: &str) -> Value {
    let (status, response) = socket.join(topic, &json!({}));
    assert_eq!(status, "error", "{topic}: {response}");
    response["reason"].clone()
}

#[test]
fn frames_and_messages_have_bounds_of_their_own() {
    let node = limited::node("frame_bytes = \"1KiB\"\nmessage_bytes = \"2KiB\"");
    let heartbeat = r#"["","1","phoenix","heartbeat",{}]"#;
    let filled = |bytes: usize| format!("{heartbeat}{}", " ".repeat(bytes - heartbeat.len()));
    let mut ada = guest(&node);
    ada.wire.text(&filled(1024));
    ada.reply(&json!("1"));
    let whole = filled(2048);
    let (head, tail) = whole.as_bytes().split_at(1024);
    ada.wire.fragments(Op::Text, &[head, tail]);
    ada.reply(&json!("1"));
    ada.wire.fragments(Op::Text, &[head, tail, b" "]);
    assert_eq!(ada.wire.close_code(), Some(1009));
    let mut eve = guest(&node);
    eve.wire.text(&filled(1025));
    assert_eq!(eve.wire.close_code(), Some(1009));
    let closed = "fanfare_connections_closed_total{code=\"1009\"}";
    await_metric(&node, closed, |count| count == 2.0);
}

#[test]
fn long_topics_and_events_are_invalid() {
    let node = limited::node("topic_bytes = 16");
    let mut ada = guest(&node);
    let longest = format!("room:{}", "a".repeat(11));
    ada.joined(&longest, &json!({}));
    assert_eq!(refusal(&mut ada, &format!("{longest}a")), "invalid");
    assert_eq!(reached(&node, "topic_bytes"), 1.0);
    let (status, response) = ada.call(&longest, &"e".repeat(17), &json!({}));
    assert_eq!(
        (status.as_str(), &response["reason"]),
        ("error", &json!("invalid"))
    );
    let (_, response) = ada.call(&longest, &"e".repeat(16), &json!({}));
    assert_eq!(response["reason"], "unknown event");
    assert_eq!(reached(&node, "topic_bytes"), 2.0);
}

#[test]
fn a_node_has_so_many_topics_and_no_more() {
    let node = limited::node("topics = 2");
    let mut ada = member(&node, "room:a");
    let mut eve = member(&node, "room:b");
    assert_eq!(refusal(&mut eve, "room:c"), "unavailable");
    assert_eq!(metric(&node, "fanfare_topics_refused_total"), 1.0);
    eve.joined("room:a", &json!({}));
    ada.call("room:a", "phx_leave", &json!({}));
    eve.call("room:a", "phx_leave", &json!({}));
    eve.joined("room:c", &json!({}));
}

#[test]
fn a_socket_has_so_many_channels_and_no_more() {
    let node = limited::node("channels_per_socket = 2");
    let mut ada = guest(&node);
    ada.joined("room:a", &json!({}));
    ada.joined("room:b", &json!({}));
    assert_eq!(refusal(&mut ada, "room:c"), "too many channels joined");
    assert_eq!(reached(&node, "channels_per_socket"), 1.0);
    // A second join of a topic takes no second place.
    ada.joined("room:b", &json!({}));
    ada.call("room:a", "phx_leave", &json!({}));
    ada.joined("room:c", &json!({}));
}

#[test]
fn whoever_goes_on_above_the_rate_is_closed_and_heartbeats_count_for_nothing() {
    let node = limited::node("messages_per_second = 1\nmessages_burst = 5");
    let mut eve = member(&node, "room:a");
    let mut ada = member(&node, "room:a");
    for _ in 0..50 {
        ada.settle();
    }
    for _ in 0..100 {
        eve.push(&Value::Null, "room:a", "new_message", &json!({}));
    }
    let limited = eve.find(|m| m.payload["response"]["reason"] == "rate limited");
    assert_eq!(limited.payload["status"], "error");
    assert_eq!(eve.wire.close_code(), Some(1008));
    assert_eq!(metric(&node, "fanfare_rate_limited_total"), 50.0);
    let closed = "fanfare_connections_closed_total{code=\"1008\"}";
    await_metric(&node, closed, |count| count == 1.0);
    ada.push(&Value::Null, "room:a", "new_message", &json!({"by": "ada"}));
    ada.find(|m| m.event == "new_message" && m.payload["by"] == "ada");
}

#[test]
fn a_rate_of_zero_is_no_limit() {
    let node = limited::node("messages_per_second = 0");
    let mut ada = member(&node, "room:a");
    let last = (0..1_000).map(|_| ada.push(&Value::Null, "room:a", "new_message", &json!({})));
    let last = last.last().expect("a thousand");
    assert_eq!(ada.reply(&last).0, "ok");
    assert_eq!(metric(&node, "fanfare_rate_limited_total"), 0.0);
}
