//! The life of a long-poll session: limits, its end in every way, and company on WebSockets.
//!
//! Ends are forced by limits, signals and other nodes, as they are in earnest.

#[path = "support/broker_node.rs"]
mod broker_node;
mod support;

use std::time::{Duration, Instant};

use fanfare::broker::{Broker, Letter, nodes_topic};
use serde_json::{Value, json};
use support::http;
use support::longpoll::{
    NDJSON, PATH, Poller, await_metric, metric, new_token, node, reply, setup, v2,
};
use support::node::Setup;
use support::npm;
use support::phoenix::Socket;
use support::redis::Redis;
use support::token;

const OPEN: &str = "fanfare_connections{transport=\"longpoll\"}";

fn closed(code: u16) -> String {
    format!("fanfare_connections_closed_total{{code=\"{code}\"}}")
}

/// The session is over: posts are told so, and the next poll opens another.
fn over(poller: &Poller) -> Poller {
    assert_eq!(poller.post(&[]), 410);
    let token = new_token(&poller.poll());
    assert_ne!(token, poller.token);
    let next = Poller {
        token,
        ..poller.clone()
    };
    assert_eq!(next.post(&[json!(["1", "2", "room:a", "say", {}])]), 200);
    assert_eq!(next.take(1)[0][4]["response"]["reason"], "unmatched topic");
    next
}

#[test]
fn a_session_and_its_presences_end_one_and_a_half_windows_after_the_last_poll() {
    let node = node("400ms");
    let mut watcher = Socket::open(node.clients, &token::player("7", "grace"));
    watcher.joined("chat_room:hall", &json!({}));
    let user = token::player("42", "ada");
    let poller = Poller::open(node.clients, &format!("vsn=2.0.0&token={user}"));
    assert_eq!(
        poller.post(&[json!(["1", "1", "chat_room:hall", "phx_join", {}])]),
        200
    );
    let came = |diff: &Value, side: &str| diff[side].get("42").is_some();
    while !came(&watcher.event("chat_room:hall", "presence_diff"), "joins") {}
    poller.poll();
    let start = Instant::now();
    // Posts do not keep it alive.
    while poller.post(&[json!([null, "h", "phoenix", "heartbeat", {}])]) == 200 {
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(550), "{took:?}");
    while !came(&watcher.event("chat_room:hall", "presence_diff"), "leaves") {}
    over(&poller);
    assert!(metric(&node, &closed(1001)) >= Some(1.0));
}

#[test]
fn polls_keep_a_session_alive() {
    let node = node("200ms");
    let poller = v2(node.clients);
    poller.joined("room:a");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1_200) {
        let expected = json!({"status": 204, "token": poller.token, "messages": []});
        assert_eq!(poller.poll().json(), expected);
    }
    assert_eq!(poller.post(&[json!(["1", "2", "room:a", "say", {}])]), 200);
    assert_eq!(poller.take(2)[1], reply("1", "2", "room:a", &json!({})));
}

#[test]
fn ten_malformed_messages_end_a_session() {
    let node = node("10s");
    let poller = v2(node.clients);
    let bad = "[not json\n!!!!\n".repeat(10);
    assert_eq!(poller.post_as(NDJSON, &bad), json!({"status": 410}));
    over(&poller);
    await_metric(&node, &closed(1008), 1.0);
}

#[test]
fn a_client_that_does_not_poll_is_too_slow() {
    let node = setup("10s")
        .env("FANFARE_LIMITS__OUTBOX_BYTES", "64KiB")
        .start();
    let poller = v2(node.clients);
    poller.joined("room:a");
    let mut socket = Socket::open(node.clients, "");
    socket.joined("room:a", &json!({}));
    let text = json!({"text": "x".repeat(30_000)});
    for _ in 0..3 {
        assert_eq!(socket.call("room:a", "say", &text).0, "ok");
    }
    await_metric(&node, &closed(1013), 1.0);
    over(&poller);
}

#[test]
fn limits_are_those_of_any_socket() {
    let limited = setup("10s").env("FANFARE_LIMITS__CHANNELS_PER_SOCKET", "1");
    let limited = limited.env("FANFARE_LIMITS__MESSAGES_BURST", "2");
    let node = limited
        .env("FANFARE_LIMITS__MESSAGES_PER_SECOND", "1")
        .start();
    let poller = v2(node.clients);
    let join = |n: &str| json!([n, n, format!("room:{n}"), "phx_join", {}]);
    assert_eq!(poller.post(&[join("1"), join("2"), join("3")]), 200);
    let taken = poller.take(3);
    assert_eq!(
        taken[1][4]["response"]["reason"],
        "too many channels joined"
    );
    assert_eq!(taken[2][4]["response"]["reason"], "rate limited");
}

#[test]
fn a_full_node_says_when_to_come_back() {
    let node = setup("10s").env("FANFARE_LIMITS__CONNECTIONS", "1").start();
    let poller = v2(node.clients);
    let answer = http::get(node.clients, &format!("{PATH}?vsn=2.0.0"));
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(answer.json(), json!({"status": 500}));
    poller.joined("room:a");
}

#[test]
fn it_can_be_turned_off() {
    let off = setup("10s")
        .env("FANFARE_TRANSPORT__LONGPOLL", "false")
        .start();
    let answer = http::get(off.clients, &format!("{PATH}?vsn=2.0.0"));
    assert_eq!(answer.status, 404);
}

#[test]
fn a_token_that_ends_ends_the_session() {
    let node = node("1s");
    let soon = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs()
        + 2;
    let user = token::jwt(&token::claims("42", "ada", soon), token::SECRET);
    let poller = Poller::open(node.clients, &format!("vsn=2.0.0&token={user}"));
    let mut answer = poller.poll();
    while answer.json()["status"] == 204 {
        answer = poller.poll();
    }
    // The session is gone and its user's token is no better.
    assert_eq!(answer.json(), json!({"status": 403}));
    await_metric(&node, &closed(1008), 1.0);
}

#[test]
fn a_disconnect_by_id_ends_the_session_and_its_poll() {
    let redis = Redis::start();
    let node = setup("9s").redis(&redis.url()).start();
    let user = token::player("42", "ada");
    let poller = Poller::open(node.clients, &format!("vsn=2.0.0&token={user}"));
    poller.joined("room:a");
    let waiting = poller.poll_aside();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let other = broker_node::Node::connect(&broker_node::config(&redis.url())).await;
        let letter = Letter::Disconnect {
            socket_id: String::from("user:42"),
        };
        assert_eq!(other.broker.publish(&nodes_topic(), letter), Ok(()));
        other.broker.close();
        other.running.await.expect("it ends");
    });
    let (answer, took) = waiting.join().expect("a poll");
    assert_ne!(new_token(&answer), poller.token);
    assert!(took < Duration::from_secs(8), "{took:?}");
    over(&poller);
}

#[test]
fn a_drain_ends_sessions_and_the_node() {
    let mut node = setup("9s").env("FANFARE_DRAIN__SPREAD", "1s").start();
    let poller = v2(node.clients);
    poller.joined("room:a");
    let waiting = poller.poll_aside();
    assert_eq!(node.end("INT", Duration::from_secs(8)), Some(0));
    let (answer, took) = waiting.join().expect("a poll");
    assert_eq!(
        (answer.status, answer.json()),
        (503, json!({"status": 500}))
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_message_that_takes_too_long_is_told_and_the_next_is_not_taken() {
    let redis = Redis::start();
    let node = setup("1s").redis(&redis.url()).start();
    let poller = v2(node.clients);
    // A join waits for the acknowledgement of its subscription.
    redis.pause();
    let start = Instant::now();
    let batch = [
        json!(["1", "1", "room:slow", "phx_join", {}]),
        json!([null, "not taken", "phoenix", "heartbeat", {}]),
    ];
    assert_eq!(poller.post(&batch), 408);
    assert!(start.elapsed() >= Duration::from_secs(1));
    // What is slow holds up its own topic only.
    let beat = json!([null, "taken", "phoenix", "heartbeat", {}]);
    assert_eq!(poller.post(&[beat]), 200);
    let answered = json!({"status": "ok", "response": {}});
    assert_eq!(
        poller.take(1),
        [json!([null, "taken", "phoenix", "phx_reply", answered])]
    );
    let said = json!(["1", "2", "room:slow", "say", {}]);
    assert_eq!(poller.post(&[said]), 408);
    redis.resume();
    let expected = [
        reply("1", "1", "room:slow", &json!({})),
        json!([null, null, "room:slow", "say", {}]),
        reply("1", "2", "room:slow", &json!({})),
    ];
    assert_eq!(poller.take(3), expected);
}

#[test]
fn long_poll_and_websocket_are_one_room() {
    let node = node("10s");
    let poller = v2(node.clients);
    assert_eq!(
        poller.post(&[json!(["1", "1", "chat_room:hall", "phx_join", {}])]),
        200
    );
    let mut socket = Socket::open(node.clients, &token::player("7", "grace"));
    socket.joined("chat_room:hall", &json!({}));
    let state = socket.event("chat_room:hall", "presence_state");
    let there: Vec<&String> = state.as_object().expect("a map").keys().collect();
    assert!(there.iter().any(|key| key.starts_with("guest:")), "{state}");
    let said = json!(["1", "2", "chat_room:hall", "new_message", {"message": "hello"}]);
    assert_eq!(poller.post(&[said]), 200);
    assert_eq!(
        socket.event("chat_room:hall", "new_message")["message"],
        "hello"
    );
    let (status, saved) = socket.call("chat_room:hall", "new_message", &json!({"message": "ho"}));
    assert_eq!(status, "ok");
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let body = poller.poll().json();
        let new = support::longpoll::messages(&body).into_iter();
        heard.extend(new.filter(|one| one[3] == "new_message"));
    }
    let texts: Vec<_> = heard.iter().map(|one| &one[4]["message"]).collect();
    assert_eq!(texts, ["hello", "ho"]);
    assert_eq!(heard[1][4]["id"], saved["id"]);
    assert_eq!(metric(&node, OPEN), Some(1.0));
}

#[test]
fn the_stock_client_joins_pushes_and_hears() {
    let node = Setup::new()
        .config(include_str!("npm/longpoll.toml"))
        .start();
    let url = format!("http://{}/socket", node.clients);
    let (token, _) = node.dev_token("ada");
    let input = json!({"url": url, "token": token, "pushes": 150});
    let heard = npm::script("longpoll.mjs", &input, Duration::from_secs(60));
    assert_eq!(heard["replies"], 150);
    let expected: Vec<u64> = (0..150).collect();
    assert_eq!(heard["seen"], json!(expected));
    assert_eq!(heard["binary"], json!({"reason": "unknown event"}));
    assert_eq!(heard["saved"]["id"], 1);
    assert_eq!(metric(&node, OPEN), Some(1.0), "it speaks long-poll");
}
