//! The bounds on what is under way: handshakes that wait for a player, joins that wait for the store.
//!
//! Who is refused is told at once and costs the others nothing; who waits is served in the end.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http;
use crate::support::limited::{self, guest, member, setup};
use crate::support::metrics::{await_metric, metric};
use crate::support::node::Node;
use crate::support::paused::Paused;
use crate::support::phoenix::{Socket, Version};
use crate::support::postgres::Postgres;
use crate::support::token;
use crate::support::ws::{Handshake, LIMIT};

fn reached(limit: &str) -> String {
    format!("fanfare_limit_reached_total{{limit=\"{limit}\"}}")
}

fn refused(node: &Node, reason: &str) -> f64 {
    metric(
        node,
        &format!("fanfare_connect_refused_total{{reason=\"{reason}\"}}"),
    )
}

/// Waits until so many handshakes are under way.
fn await_handshakes(node: &Node, count: u64) {
    let end = Instant::now() + LIMIT;
    while http::get(node.admin, "/status").json()["handshakes_in_flight"] != json!(count) {
        assert!(Instant::now() < end, "not {count} handshakes");
        thread::yield_now();
    }
}

#[test]
fn handshakes_that_wait_for_the_store_are_bounded_and_the_rest_is_told_at_once() {
    let postgres = Postgres::start();
    let limits = "[limits]\nhandshakes_in_flight = 2\njoin_seconds = 60\n";
    let node = setup(limits).database(&postgres.create_database()).start();
    let mut bystander = member(&node, "room:a");
    let paused = Paused::postgres(&postgres);
    let waiting: Vec<_> = ["41", "42"]
        .into_iter()
        .map(|sub| {
            let (clients, token) = (node.clients, token::player(sub, "ada"));
            thread::spawn(move || Socket::try_open(clients, Version::V2, &token).is_ok())
        })
        .collect();
    await_handshakes(&node, 2);
    let asked = Instant::now();
    let answer = Handshake::new(node.clients, "vsn=2.0.0").open();
    let answer = answer.expect_err("a third handshake");
    assert_eq!(answer.status, 503);
    let seconds: u64 = answer
        .header("retry-after")
        .and_then(|text| text.parse().ok())
        .expect("when to come back");
    assert!((1..=5).contains(&seconds), "{seconds}");
    assert_eq!(answer.header("connection"), Some("close"));
    bystander.settle();
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert_eq!(refused(&node, "handshakes_in_flight"), 1.0);
    // Long-poll comes through the same door.
    let polled = http::get(node.clients, "/socket/longpoll?vsn=2.0.0");
    assert_eq!(polled.status, 503, "{polled:?}");
    assert_eq!(refused(&node, "handshakes_in_flight"), 2.0);
    drop(paused);
    for one in waiting {
        assert!(one.join().expect("no panic"), "refused after all");
    }
    await_handshakes(&node, 0);
    guest(&node).joined("room:a", &json!({}));
}

#[test]
fn a_handshake_that_is_over_holds_no_place() {
    let node = limited::node("handshakes_in_flight = 1");
    let _open: Vec<Socket> = (0..20).map(|_| guest(&node)).collect();
    for _ in 0..20 {
        let answer = Socket::try_open(node.clients, Version::V2, "nonsense");
        assert_eq!(answer.expect_err("a bad token").status, 403);
    }
    await_handshakes(&node, 0);
}

#[test]
fn joins_beyond_the_bound_wait_and_are_served_in_the_end() {
    let postgres = Postgres::start();
    let limits = "[limits]\njoins_in_flight = 1\njoin_seconds = 60\n";
    let node = setup(limits).database(&postgres.create_database()).start();
    let mut crowd: Vec<Socket> = (0..4).map(|_| guest(&node)).collect();
    assert_eq!(metric(&node, &reached("joins_in_flight")), 0.0);
    let paused = Paused::postgres(&postgres);
    let asked: Vec<_> = crowd
        .iter_mut()
        .enumerate()
        .map(|(at, socket)| {
            let topic = format!("chat_room:{at}");
            socket.push(&json!("9"), &topic, "phx_join", &json!({}))
        })
        .collect();
    await_metric(&node, &reached("joins_in_flight"), |count| count == 3.0);
    assert_eq!(metric(&node, "fanfare_joins_in_flight"), 1.0);
    // Those who wait for their join are served otherwise.
    for socket in &mut crowd {
        let (status, _) = socket.call("phoenix", "heartbeat", &json!({}));
        assert_eq!(status, "ok");
    }
    drop(paused);
    for (socket, asked) in crowd.iter_mut().zip(&asked) {
        assert_eq!(socket.reply(asked).0, "ok");
    }
    await_metric(&node, "fanfare_joins_in_flight", |count| count == 0.0);
}

#[test]
fn a_join_that_waits_is_refused_in_time_and_leaves_its_place() {
    let postgres = Postgres::start();
    let limits = "[limits]\njoins_in_flight = 1\njoin_seconds = 1\n";
    let node = setup(limits).database(&postgres.create_database()).start();
    let (mut first, mut second, mut gone) = (guest(&node), guest(&node), guest(&node));
    let paused = Paused::postgres(&postgres);
    let asked = Instant::now();
    let one = first.push(&json!("9"), "chat_room:a", "phx_join", &json!({}));
    await_metric(&node, "fanfare_joins_in_flight", |count| count == 1.0);
    let two = second.push(&json!("9"), "chat_room:b", "phx_join", &json!({}));
    gone.push(&json!("9"), "chat_room:c", "phx_join", &json!({}));
    await_metric(&node, &reached("joins_in_flight"), |count| count == 2.0);
    drop(gone);
    for (socket, reference) in [(&mut first, &one), (&mut second, &two)] {
        let (status, response) = socket.reply(reference);
        assert_eq!(
            (status.as_str(), &response["reason"]),
            ("error", &json!("unavailable"))
        );
    }
    assert!(asked.elapsed() < Duration::from_secs(4));
    assert_eq!(metric(&node, &reached("join_seconds")), 2.0);
    await_metric(&node, "fanfare_joins_in_flight", |count| count == 0.0);
    drop(paused);
    let end = Instant::now() + LIMIT;
    while second.join("chat_room:b", &json!({})).0 != "ok" {
        assert!(Instant::now() < end, "the store is back, the joins are not");
    }
}

#[test]
fn a_flood_of_refusals_does_not_hold_up_who_is_in() {
    const FLOOD: usize = 4_000;
    let node = setup("[limits]\nconnects_per_second = 1\n")
        .flag("--workers", "1")
        .start();
    let mut ada = member(&node, "room:a");
    let start = Instant::now();
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let clients = node.clients;
            thread::spawn(move || {
                let answers = (0..FLOOD / 4).map(|_| Handshake::new(clients, "vsn=2.0.0").open());
                answers.filter(Result::is_err).count()
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    while flood.iter().any(|one| !one.is_finished()) {
        let asked = Instant::now();
        ada.settle();
        slowest = slowest.max(asked.elapsed());
    }
    let refusals: usize = flood
        .into_iter()
        .map(|one| one.join().expect("no panic"))
        .sum();
    let took = start.elapsed();
    assert!(refusals > FLOOD * 9 / 10, "{refusals}");
    assert_eq!(refused(&node, "connects_per_second"), refusals as f64);
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    println!("{refusals} refusals in {took:?}, slowest heartbeat {slowest:?}");
}

#[test]
fn every_reason_is_there_from_the_start() {
    let node = limited::node("connections = 10");
    let all = http::get(node.admin, "/metrics").body;
    for reason in [
        "connections",
        "connects_per_second",
        "handshakes_in_flight",
        "connections_per_ip",
        "draining",
        "denied",
        "proxy_protocol",
    ] {
        let line = format!("fanfare_connect_refused_total{{reason=\"{reason}\"}} 0");
        assert!(all.contains(&line), "{reason}");
    }
    assert!(all.contains("\nfanfare_draining 0"));
}
