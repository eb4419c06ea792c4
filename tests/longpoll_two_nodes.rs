//! Long-poll across two nodes over Redis: any request may reach any node, and a dead node is noticed.
//!
//! Redis is real and private; a node that dies is killed.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::longpoll::{NDJSON, Poller, in_turn, messages, metric, new_token, reply, setup, v2};
use support::node::Node;
use support::phoenix::Socket;
use support::redis::Redis;
use support::token;

const OWNER_TIMEOUT: Duration = Duration::from_millis(700);

fn node(redis: &Redis, window: &str) -> Node {
    let limit = format!("{}ms", OWNER_TIMEOUT.as_millis());
    setup(window)
        .redis(&redis.url())
        .env("FANFARE_TRANSPORT__LONGPOLL_OWNER_TIMEOUT", &limit)
        .start()
}

/// The same session, asked for at another node.
fn at(poller: &Poller, node: &Node) -> Poller {
    Poller {
        addr: node.clients,
        ..poller.clone()
    }
}

#[test]
fn a_session_is_served_by_whichever_node_is_asked() {
    let redis = Redis::start();
    let (owner, other) = (node(&redis, "1s"), node(&redis, "1s"));
    let poller = v2(owner.clients);
    let away = at(&poller, &other);
    away.joined("room:a");
    // A batch with a binary line, answered at either node.
    let lines = format!(
        "{}\nAAEBBgMzNnJvb206YWJpbv8A\n{}",
        json!(["1", "2", "room:a", "say", {"n": 2}]),
        json!([null, "h", "phoenix", "heartbeat", {}]),
    );
    assert_eq!(away.post_as(NDJSON, &lines), json!({"status": 200}));
    let taken = poller.take(3);
    assert_eq!(taken[0], json!([null, null, "room:a", "say", {"n": 2}]));
    assert_eq!(taken[1], reply("1", "2", "room:a", &json!({})));
    assert_eq!(taken[2][1], "h");
    // One message alone, and an empty window.
    let body = json!([null, "i", "phoenix", "heartbeat", {}]).to_string();
    assert_eq!(away.post_as("text/plain", &body), json!({"status": 200}));
    assert_eq!(away.take(1)[0][1], "i");
    let start = Instant::now();
    let expected = json!({"status": 204, "token": poller.token, "messages": []});
    assert_eq!(away.poll().json(), expected);
    assert!(start.elapsed() >= Duration::from_secs(1));
    // Too large is told across nodes, too, and ends the session for both.
    let long = json!(["1", "3", "room:a", "say", {"text": "x".repeat(70_000)}]);
    let headers = [("content-type", NDJSON)];
    let answer = support::http::post(other.clients, &away.path(), &headers, &long.to_string());
    assert_eq!(answer.status, 400);
    assert_eq!((poller.post(&[]), away.post(&[])), (json!(410), json!(410)));
    assert_eq!(
        metric(&owner, "fanfare_connections{transport=\"longpoll\"}"),
        Some(0.0)
    );
}

#[test]
fn a_poll_at_another_node_is_ended_by_a_frame() {
    let redis = Redis::start();
    let (owner, other) = (node(&redis, "9s"), node(&redis, "9s"));
    let poller = v2(owner.clients);
    let away = at(&poller, &other);
    away.joined("room:a");
    let mut socket = Socket::open(other.clients, "");
    socket.joined("room:a", &json!({}));
    for round in 0..5 {
        let polled = away.poll_aside();
        in_turn(&other);
        socket.push(&Value::Null, "room:a", "say", &json!({"round": round}));
        let (answer, took) = polled.join().expect("a poll");
        let expected = json!([null, null, "room:a", "say", {"round": round}]);
        assert_eq!(messages(&answer.json()), [expected]);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    assert_eq!(
        away.post(&[json!(["1", "2", "room:a", "say", {"back": true}])]),
        200
    );
    assert_eq!(socket.event("room:a", "say")["round"], 0);
    assert_eq!(away.take(2)[1], reply("1", "2", "room:a", &json!({})));
}

#[test]
fn presence_is_one_across_transports_and_nodes() {
    let redis = Redis::start();
    let (owner, other) = (node(&redis, "1s"), node(&redis, "1s"));
    let mut watcher = Socket::open(other.clients, &token::player("7", "grace"));
    watcher.joined("chat_room:hall", &json!({}));
    let user = token::player("42", "ada");
    let poller = Poller::open(owner.clients, &format!("vsn=2.0.0&token={user}"));
    let join = json!(["1", "1", "chat_room:hall", "phx_join", {}]);
    assert_eq!(at(&poller, &other).post(&[join]), 200);
    let came = |diff: &Value, side: &str| diff[side].get("42").is_some();
    while !came(&watcher.event("chat_room:hall", "presence_diff"), "joins") {}
    // Nobody polls any more: the session ends where it lives, and leaves everywhere.
    while !came(&watcher.event("chat_room:hall", "presence_diff"), "leaves") {}
    assert_eq!(at(&poller, &other).post(&[]), 410);
}

#[test]
fn a_dead_owner_is_noticed_in_time() {
    let redis = Redis::start();
    let (mut owner, other) = (node(&redis, "1s"), node(&redis, "1s"));
    let user = token::player("42", "ada");
    let poller = Poller::open(owner.clients, &format!("vsn=2.0.0&token={user}"));
    let away = at(&poller, &other);
    assert_eq!(away.post(&[]), 200);
    let waiting = away.poll_aside();
    in_turn(&other);
    owner.kill();
    let within = |limit: Duration, start: Instant| {
        let took = start.elapsed();
        let slack = Duration::from_secs(2);
        assert!(took >= OWNER_TIMEOUT && took < limit + slack, "{took:?}");
    };
    let start = Instant::now();
    assert_eq!(away.post(&[]), 410);
    within(OWNER_TIMEOUT, start);
    let start = Instant::now();
    let token = new_token(&away.poll());
    within(OWNER_TIMEOUT, start);
    // A poll that the owner had taken ends with the window, and opens a session, too.
    let (answer, took) = waiting.join().expect("a poll");
    assert_ne!(new_token(&answer), token);
    assert!(
        took < Duration::from_secs(1) + OWNER_TIMEOUT + Duration::from_secs(2),
        "{took:?}"
    );
    // The user's token is still the user's.
    let next = Poller { token, ..away };
    assert_eq!(
        next.post(&[json!(["1", "1", "user:42", "phx_join", {}])]),
        200
    );
    assert_eq!(next.take(1)[0][4]["status"], "ok");
}
