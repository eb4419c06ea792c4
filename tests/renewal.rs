//! Tokens that end while their sockets and channels live, and how `access_token` renews them in place.
//!
//! One worker a node, so that a socket that is closed in time tells that its neighbours were looked at.

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::node::{Node, Setup};
use support::phoenix::{Socket, Version};
use support::token::{self, FUTURE, OTHER_SECRET, PAST, SECRET};

const CHANNELS: &str = r#"
[[channels]]
topic = "chat_room:*"
kind = "chat_room"
presence = false

[[channels]]
topic = "user:*"
kind = "user"

[[channels]]
topic = "room:*"
kind = "relay"
events = ["new_message"]
"#;

/// A node with a secret that lets guests in.
fn node() -> Node {
    let setup = Setup::new().config(CHANNELS).secret(SECRET);
    setup
        .flag("--anonymous", "allow")
        .flag("--workers", "1")
        .start()
}

fn signed(sub: &str, name: &str, exp: u64) -> String {
    token::jwt(&token::claims(sub, name, exp), SECRET)
}

/// The time in so many seconds.
fn soon(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    (now.expect("after 1970") + Duration::from_secs(seconds)).as_secs()
}

fn renew(socket: &mut Socket, topic: &str, token: &str) -> (String, Value) {
    socket.call(topic, "access_token", &json!({"token": token}))
}

fn renewed() -> (String, Value) {
    (String::from("ok"), json!({}))
}

fn refused(reason: &str) -> (String, Value) {
    (String::from("error"), json!({"reason": reason}))
}

fn is_alive(socket: &mut Socket) {
    let (status, _) = socket.call("phoenix", "heartbeat", &json!({}));
    assert_eq!(status, "ok");
}

#[test]
fn a_token_renewed_in_place_keeps_the_socket_beyond_its_first_end() {
    let node = node();
    let end = soon(5);
    let short = signed("42", "ada", end);
    let mut sockets: Vec<Socket> = (0..4).map(|_| Socket::open(node.clients, &short)).collect();
    let mut old = Socket::try_open(node.clients, Version::V1, &short).expect("accepted");
    let mut lasting = Socket::open(node.clients, &token::player("43", "grace"));
    for socket in sockets.iter_mut().chain([&mut old, &mut lasting]) {
        socket.joined("room:a", &json!({}));
    }
    let long = signed("42", "ada", FUTURE);
    let [kept, theirs, forever, left] = &mut sockets[..] else {
        panic!("four sockets");
    };
    assert_eq!(renew(kept, "room:a", &long), renewed());
    // The key that realtime-js sends.
    let said = theirs.call("room:a", "access_token", &json!({"access_token": long}));
    assert_eq!(said, renewed());
    let endless = token::jwt(&json!({"sub": "42"}), SECRET);
    assert_eq!(renew(forever, "room:a", &endless), renewed());
    assert_eq!(renew(&mut old, "room:a", &long), renewed());
    let ending = signed("43", "grace", end);
    assert_eq!(renew(&mut lasting, "room:a", &ending), renewed());
    assert_eq!(left.wire.close_code(), Some(1008));
    assert_eq!(lasting.wire.close_code(), Some(1008));
    assert!(soon(0) >= end, "closed too early");
    for socket in [kept, theirs, forever, &mut old] {
        is_alive(socket);
    }
}

#[test]
fn a_token_that_is_refused_changes_nothing() {
    let node = node();
    let end = soon(5);
    let mut ada = Socket::open(node.clients, &signed("42", "ada", end));
    ada.joined("chat_room:a", &json!({}));
    let others = [
        signed("43", "ada", FUTURE),
        signed("42", "ada", PAST),
        token::jwt(&token::claims("42", "eve", FUTURE), OTHER_SECRET),
        String::from("nonsense"),
        String::new(),
    ];
    for other in &others {
        assert_eq!(
            renew(&mut ada, "chat_room:a", other),
            refused("unauthorized"),
            "{other}"
        );
    }
    for payload in [
        json!({}),
        json!({"token": 7}),
        json!({"token": null}),
        json!([]),
        json!("x"),
        json!(null),
    ] {
        let (status, response) = ada.call("chat_room:a", "access_token", &payload);
        assert_eq!(
            (status.as_str(), &response["reason"]),
            ("error", &json!("invalid")),
            "{payload}"
        );
    }
    let good = signed("42", "eve", FUTURE);
    assert_eq!(
        renew(&mut ada, "chat_room:b", &good),
        refused("unmatched topic")
    );
    let mut guest = Socket::open(node.clients, "");
    guest.joined("room:a", &json!({}));
    assert_eq!(renew(&mut guest, "room:a", &good), refused("unauthorized"));
    let message = json!({"message": "still ada"});
    let (status, _) = ada.call("chat_room:a", "new_message", &message);
    assert_eq!(status, "ok");
    assert_eq!(ada.event("chat_room:a", "new_message")["name"], "ada");
    assert_eq!(ada.wire.close_code(), Some(1008));
    assert!(soon(0) >= end, "closed too early");
}

#[test]
fn a_renewed_token_brings_its_name() {
    let node = node();
    let mut ada = Socket::open(node.clients, &token::player("42", "ada"));
    ada.joined("chat_room:a", &json!({}));
    ada.joined("chat_room:b", &json!({}));
    let heard = |ada: &mut Socket, topic: &str| {
        ada.push(
            &Value::Null,
            topic,
            "new_message",
            &json!({"message": "hello"}),
        );
        ada.event(topic, "new_message")["name"].clone()
    };
    assert_eq!(heard(&mut ada, "chat_room:a"), "ada");
    assert_eq!(
        renew(&mut ada, "chat_room:a", &token::player("42", "ada l.")),
        renewed()
    );
    assert_eq!(heard(&mut ada, "chat_room:a"), "ada l.");
    assert_eq!(heard(&mut ada, "chat_room:b"), "ada l.");
}

#[test]
fn a_token_is_never_relayed() {
    let node = node();
    let mut ada = Socket::open(node.clients, &token::player("42", "ada"));
    let mut grace = Socket::open(node.clients, &token::player("43", "grace"));
    for socket in [&mut ada, &mut grace] {
        socket.joined("room:a", &json!({}));
        socket.joined("chat_room:a", &json!({}));
    }
    let good = token::player("42", "ada");
    for topic in ["room:a", "chat_room:a"] {
        for payload in [json!({"token": good}), json!({"token": "bad"}), json!({})] {
            ada.call(topic, "access_token", &payload);
        }
    }
    ada.push(
        &Value::Null,
        "room:a",
        "new_message",
        &json!({"last": true}),
    );
    grace.event("room:a", "new_message");
    let events: Vec<String> = grace.settle().into_iter().map(|m| m.event).collect();
    assert_eq!(events, Vec::<String>::new());
}

#[test]
fn a_join_token_that_ends_ends_its_channel_only() {
    let node = node();
    let mut guest = Socket::open(node.clients, "");
    let end = soon(4);
    let join = |end| json!({"token": signed("42", "ada", end)});
    guest.joined("user:42", &join(end));
    guest.joined("chat_room:a", &join(end));
    guest.joined("chat_room:b", &join(FUTURE));
    guest.joined("room:a", &json!({}));
    // Renewed for one topic, and not for one whose player is another, or none.
    assert_eq!(
        renew(&mut guest, "chat_room:a", &signed("42", "ada l.", FUTURE)),
        renewed()
    );
    let grace = signed("43", "grace", FUTURE);
    assert_eq!(
        renew(&mut guest, "user:42", &grace),
        refused("unauthorized")
    );
    assert_eq!(renew(&mut guest, "room:a", &grace), refused("unauthorized"));
    let ended = guest.find(|message| message.event == "phx_error");
    assert_eq!(ended.topic, "user:42");
    assert_eq!(ended.payload, json!({"reason": "token expired"}));
    assert!(soon(0) >= end, "ended too early");
    let rest: Vec<_> = guest.settle();
    assert!(
        rest.iter().all(|message| message.event != "phx_error"),
        "{rest:?}"
    );
    let said = guest.call("user:42", "anything", &json!({}));
    assert_eq!(said, refused("unmatched topic"));
    for (topic, name) in [("chat_room:a", "ada l."), ("chat_room:b", "ada")] {
        guest.push(
            &Value::Null,
            topic,
            "new_message",
            &json!({"message": "here"}),
        );
        assert_eq!(guest.event(topic, "new_message")["name"], name);
    }
    assert_eq!(guest.join("user:42", &join(PAST)), refused("unauthorized"));
    guest.joined("user:42", &join(FUTURE));
}

#[test]
fn one_renewal_serves_the_channel_and_the_socket_of_the_same_player() {
    let node = node();
    let end = soon(4);
    let short = signed("42", "ada", end);
    let mut ada = Socket::open(node.clients, &short);
    let mut left = Socket::open(node.clients, &short);
    ada.joined("chat_room:a", &json!({"token": short}));
    left.joined("chat_room:a", &json!({"token": short}));
    assert_eq!(
        renew(&mut ada, "chat_room:a", &token::player("42", "ada")),
        renewed()
    );
    assert_eq!(left.wire.close_code(), Some(1008));
    let (status, _) = ada.call("chat_room:a", "new_message", &json!({"message": "hello"}));
    assert_eq!(status, "ok");
}
