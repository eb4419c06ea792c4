//! What operators ask of every node at once: disconnects by socket id, and broadcasts.
//!
//! Two nodes that share a Redis; what is asked of one happens on both.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::http::{self, Response};
use crate::support::limited::{self, member, setup};
use crate::support::metrics::await_metric;
use crate::support::node::Node;
use crate::support::phoenix::Socket;
use crate::support::redis::Redis;
use crate::support::token;

fn pair(redis: &Redis) -> [Node; 2] {
    [(); 2].map(|()| setup("").redis(&redis.url()).start())
}

fn player(node: &Node, id: &str) -> Socket {
    let mut socket = Socket::open(node.clients, &token::player(id, "somebody"));
    socket.joined("room:a", &json!({}));
    socket
}

fn ask(admin: SocketAddr, what: &str, body: &str) -> Response {
    http::post(admin, &format!("/api/v1/{what}"), &[], body)
}

#[test]
fn a_disconnect_closes_one_player_on_every_node_and_nobody_else() {
    let redis = Redis::start();
    let nodes = pair(&redis);
    let mut ada: Vec<Socket> = [&nodes[0], &nodes[0], &nodes[1], &nodes[1]]
        .map(|node| player(node, "42"))
        .into();
    let mut others: Vec<Socket> = nodes.iter().map(|node| player(node, "421")).collect();
    others.extend(nodes.iter().map(|node| member(node, "room:a")));
    let said = ask(nodes[0].admin, "disconnect", r#"{"socket_id": "user:42"}"#);
    assert_eq!(said.status, 202, "{said:?}");
    assert_eq!(said.json(), json!({"socket_id": "user:42"}));
    for socket in &mut ada {
        assert_eq!(socket.wire.close_code(), Some(1001));
    }
    drop(ada);
    for node in &nodes {
        let closed = "fanfare_connections_closed_total{code=\"1001\"}";
        await_metric(node, closed, |count| count == 2.0);
    }
    for socket in &mut others {
        socket.settle();
    }
    // They may come back: a disconnect is no ban.
    player(&nodes[1], "42").settle();
}

#[test]
fn a_broadcast_reaches_the_subscribers_on_every_node_once() {
    let redis = Redis::start();
    let nodes = pair(&redis);
    let mut members: Vec<Socket> = nodes.iter().map(|node| member(node, "room:a")).collect();
    let mut stranger = member(&nodes[0], "room:b");
    let payload = r#"{"text": "caf\u00e9", "big": 12345678901234567890}"#;
    for round in 1..=2 {
        let body = format!(r#"{{"topic": "room:a", "event": "news", "payload": {payload}}}"#);
        let said = ask(nodes[round - 1].admin, "broadcast", &body);
        assert_eq!(said.status, 202, "{said:?}");
    }
    for member in &mut members {
        for _ in 1..=2 {
            let heard = member.event("room:a", "news");
            let sent: Value = serde_json::from_str(payload).expect("an object");
            assert_eq!(heard, sent);
        }
        assert!(!member.settle().iter().any(|m| m.event == "news"));
    }
    assert!(!stranger.settle().iter().any(|m| m.event == "news"));
}

#[test]
fn what_is_not_well_formed_or_not_theirs_is_refused() {
    let node = limited::node("");
    let mut ada = member(&node, "room:a");
    let refuse = |what: &str, body: &str, status: u16| {
        let said = ask(node.admin, what, body);
        assert_eq!(said.status, status, "{what} {body}: {said:?}");
    };
    let event =
        |name: &str| format!(r#"{{"topic": "room:a", "event": "{name}", "payload": {{}}}}"#);
    for name in [
        "phx_close",
        "phx_error",
        "phx_reply",
        "presence_state",
        "presence_diff",
        "gap",
        "disconnect",
        "access_token",
        "",
        &"e".repeat(1025),
    ] {
        refuse("broadcast", &event(name), 400);
    }
    for payload in ["1", "\"text\"", "[]", "null", "true"] {
        let body = format!(r#"{{"topic": "room:a", "event": "news", "payload": {payload}}}"#);
        refuse("broadcast", &body, 400);
    }
    for body in [
        "",
        "news",
        "[]",
        "{}",
        r#"{"topic": "room:a", "event": "news"}"#,
        r#"{"topic": "", "event": "news", "payload": {}}"#,
        r#"{"topic": "!nodes", "event": "news", "payload": {}}"#,
        r#"{"topic": 1, "event": "news", "payload": {}}"#,
        r#"{"topic": "room:a", "event": "news", "payload": {}, "except": 1}"#,
    ] {
        refuse("broadcast", body, 400);
    }
    for body in ["", "{}", r#"{"socket_id": ""}"#, r#"{"socket_id": 42}"#] {
        refuse("disconnect", body, 400);
    }
    refuse("broadcast", &"x".repeat(70_000), 413);
    for what in ["disconnect", "broadcast"] {
        assert_eq!(
            http::get(node.admin, &format!("/api/v1/{what}")).status,
            405
        );
        // The clients' port does not know it.
        let said = http::post(node.clients, &format!("/api/v1/{what}"), &[], "{}");
        assert_eq!(said.status, 404, "{said:?}");
    }
    let heard = ada.settle();
    assert!(heard.is_empty(), "{heard:?}");
}
