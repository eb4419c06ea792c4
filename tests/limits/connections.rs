//! The limits on connections: how many, how fast, from one address, and for how long without a word.
//!
//! A refusal comes before the upgrade, and says when to come back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::{self, Response};
use crate::support::limited::{self, guest, setup, wire};
use crate::support::metrics::{await_metric, metric};
use crate::support::node::Node;
use crate::support::phoenix::{Socket, Version};
use crate::support::ws::{Handshake, Wire};

const OPEN: &str = "fanfare_connections{transport=\"websocket\"}";

fn handshake(node: &Node) -> Handshake {
    Handshake::new(node.clients, "vsn=2.0.0")
}

/// The seconds after which a refused client may come back.
fn refused(answer: Result<Wire, Response>) -> u64 {
    let answer = answer.expect_err("a refusal");
    assert_eq!(answer.status, 503, "{answer:?}");
    let seconds = answer.header("retry-after").expect("when to come back");
    seconds.parse().expect("whole seconds")
}

fn count_refused(node: &Node, reason: &str) -> f64 {
    metric(
        node,
        &format!("fanfare_connect_refused_total{{reason=\"{reason}\"}}"),
    )
}

#[test]
fn a_full_node_refuses_before_the_upgrade_until_one_goes() {
    let node = limited::node("connections = 2");
    let first = guest(&node);
    let mut second = guest(&node);
    let seconds = refused(handshake(&node).open());
    assert!((5..=12).contains(&seconds), "{seconds}");
    assert_eq!(count_refused(&node, "connections"), 1.0);
    await_metric(&node, OPEN, |open| open == 2.0);
    assert_eq!(http::get(node.admin, "/readyz").status, 503);
    second.joined("room:a", &json!({}));
    drop(first);
    await_metric(&node, OPEN, |open| open == 1.0);
    assert_eq!(http::get(node.admin, "/readyz").status, 200);
    guest(&node).joined("room:a", &json!({}));
}

#[test]
fn a_rush_is_told_to_come_back_spread_out() {
    let node = limited::node("connects_per_second = 3");
    let (mut open, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        match handshake(&node).open() {
            Ok(wire) => open.push(wire),
            answer @ Err(_) => waits.push(refused(answer)),
        }
    }
    assert!(open.len() >= 3 && waits.len() >= 30, "{}", open.len());
    let all: BTreeSet<u64> = waits.iter().copied().collect();
    assert!(all.iter().all(|wait| (1..=5).contains(wait)), "{all:?}");
    assert!(all.len() > 1, "a crowd that comes back at once: {all:?}");
    let counted = count_refused(&node, "connects_per_second");
    assert_eq!(counted, waits.len() as f64);
}

#[test]
fn an_address_has_its_share_and_only_a_trusted_proxy_tells_it() {
    let limits =
        "[limits]\nconnections_per_ip = 2\n[transport]\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let node = setup(limits).start();
    let from = |addresses: &str| handshake(&node).header("x-forwarded-for", addresses).open();
    let first = from("203.0.113.9").expect("let in");
    let _second = from("203.0.113.9").expect("let in");
    refused(from("203.0.113.9"));
    // What the client wrote itself is to the left of what the proxy saw.
    refused(from("198.51.100.1, 203.0.113.9"));
    assert_eq!(count_refused(&node, "connections_per_ip"), 2.0);
    let _other = from("198.51.100.1").expect("another address");
    let _v6 = ["2001:db8::1", "2001:db8::2"].map(|address| from(address).expect("let in"));
    refused(from("2001:db8::3"));
    drop(first);
    await_metric(&node, OPEN, |open| open == 4.0);
    from("203.0.113.9").expect("there is room again");
}

#[test]
fn a_header_of_a_stranger_counts_for_nothing() {
    let node = limited::node("connections_per_ip = 2");
    let from = |address: &str| handshake(&node).header("x-forwarded-for", address).open();
    let _both = ["203.0.113.1", "203.0.113.2"].map(|address| from(address).expect("let in"));
    refused(from("203.0.113.3"));
    assert_eq!(count_refused(&node, "connections_per_ip"), 1.0);
}

#[test]
fn refused_handshakes_give_their_seat_back() {
    let more = "[limits]\nconnections = 1\n";
    let node = setup(more).start();
    for _ in 0..5 {
        let answer = Socket::try_open(node.clients, Version::V2, "nonsense");
        assert_eq!(answer.expect_err("a bad token").status, 403);
    }
    guest(&node).joined("room:a", &json!({}));
}

#[test]
fn a_silent_client_is_closed_and_one_with_a_heartbeat_is_not() {
    let node = limited::node("idle_seconds = 1");
    let mut alive = guest(&node);
    let mut silent = wire(&node);
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        alive.settle();
        let pause = Instant::now() + Duration::from_millis(300);
        assert_eq!(alive.wire.read_until(pause), None);
    }
    assert_eq!(silent.close_code(), Some(1001));
    drop(silent);
    let closed = "fanfare_connections_closed_total{code=\"1001\"}";
    await_metric(&node, closed, |count| count == 1.0);
    alive.settle();
}
