//! Frames and handshakes that clients should never send: dropped, refused or closed with the right code.
//!
//! One node serves each test; a bystander on another topic is asked after every case.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::phoenix::{Socket, Version};
use support::scene::Scene;
use support::token::{self, FUTURE, OTHER_SECRET, PAST, SECRET};
use support::ws::{Frame, Handshake, Op};

/// Ten malformed frames close with 1008; nine leave the socket as it was.
fn malformed(version: Version, send: impl Fn(&mut Socket)) {
    let mut scene = Scene::new();
    let open = |scene: &Scene| {
        let token = token::player("42", "ada");
        Socket::try_open(scene.node.clients, version, &token).expect("let in")
    };
    let mut ada = open(&scene);
    for _ in 0..9 {
        send(&mut ada);
    }
    let heard = ada.settle();
    assert!(
        heard.is_empty(),
        "malformed frames were answered: {heard:?}"
    );
    scene.undisturbed("nine malformed frames");
    let mut eve = open(&scene);
    for _ in 0..11 {
        send(&mut eve);
    }
    assert_eq!(eve.wire.close_code(), Some(1008));
    scene.undisturbed("eleven malformed frames");
    assert_eq!(scene.stored(), 0);
}

#[test]
fn malformed_v2_frames_are_dropped_then_close() {
    for text in [
        "not json",
        "",
        "{}",
        "[]",
        "null",
        r#"["1","1","room:a","phx_join"]"#,
        r#"{"topic":"room:a","event":"phx_join","payload":{},"ref":"1"}"#,
        r#"["1","1",7,"phx_join",{}]"#,
        r#"["1","1","room:a",null,{}]"#,
        r#"["1","1","room:a","phx_join",{}"#,
    ] {
        malformed(Version::V2, |socket| socket.wire.text(text));
    }
}

#[test]
fn malformed_v1_frames_are_dropped_then_close() {
    for text in [
        "not json",
        r#"{"topic":"room:a","event":"phx_join","payload":{}}"#,
        r#"{"topic":"room:a","payload":{},"ref":"1"}"#,
        r#"{"event":"phx_join","payload":{},"ref":"1"}"#,
        r#"{"topic":"room:a","event":"phx_join","ref":"1"}"#,
        r#"["1","1","room:a","phx_join",{}]"#,
    ] {
        malformed(Version::V1, |socket| socket.wire.text(text));
    }
}

#[test]
fn malformed_binary_frames_are_dropped_then_close() {
    for bytes in [
        &b""[..],
        &[0],
        &[9, 0, 0, 0, 0],
        &[0, 200, 200, 200, 200, 1],
        &[1, 0, 0, 0, 0],
    ] {
        malformed(Version::V2, |socket| socket.wire.binary(bytes));
    }
}

/// What breaks RFC 6455 or a size limit closes with this code.
fn closes(code: u16, send: impl Fn(&mut Socket)) {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    ada.joined("room:open", &json!({}));
    send(&mut ada);
    assert_eq!(ada.wire.close_code(), Some(code));
    scene.undisturbed("a close");
    assert_eq!(scene.stored(), 0);
}

#[test]
fn frames_that_break_the_rules_of_websockets_close() {
    closes(1002, |socket| socket.wire.unmasked(Op::Text, b"[]"));
    closes(1002, |socket| {
        socket.wire.frame(true, Op::Continuation, b"tail")
    });
    closes(1002, |socket| socket.wire.frame(false, Op::Ping, b""));
    closes(1002, |socket| socket.wire.frame(true, Op::Ping, &[0; 126]));
    closes(1002, |socket| socket.wire.raw(&[0x83, 0x80, 0, 0, 0, 0]));
    closes(1002, |socket| socket.wire.raw(&[0xc1, 0x80, 0, 0, 0, 0]));
    closes(1007, |socket| {
        socket.wire.frame(true, Op::Text, &[0xff, 0xfe])
    });
}

#[test]
fn frames_above_the_limit_close() {
    closes(1009, |socket| socket.wire.announce(Op::Text, 1024 * 1024));
    closes(1009, |socket| {
        socket.wire.announce(Op::Binary, 64 * 1024 + 1)
    });
    let part = [b' '; 32 * 1024];
    closes(1009, |socket| {
        socket.wire.fragments(Op::Text, &[&part, &part, &part])
    });
}

#[test]
fn a_whole_megabyte_is_never_relayed() {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    ada.joined("room:open", &json!({}));
    let big = json!({"big": "x".repeat(1024 * 1024)});
    ada.push(&Value::Null, "room:open", "new_message", &big);
    // The rest of the frame may still be on its way when the server closes; then the code is lost.
    let code = ada.wire.close_code();
    assert!(matches!(code, Some(1009) | None), "{code:?}");
    scene.undisturbed("a megabyte");
}

#[test]
fn pings_are_answered_and_closes_echoed() {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    ada.wire.frame(true, Op::Ping, b"payload");
    assert_eq!(ada.wire.read(), Frame::Pong(b"payload".to_vec()));
    ada.wire.close(1000);
    assert_eq!(ada.wire.close_code(), Some(1000));
    scene.undisturbed("a close of the client");
}

#[test]
fn the_hundred_and_first_channel_is_refused() {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    for topic in 1..=100 {
        ada.joined(&format!("room:{topic}"), &json!({}));
    }
    let (status, response) = ada.join("room:101", &json!({}));
    assert_eq!(status, "error");
    assert_eq!(response["reason"], "too many channels joined");
    ada.call("room:1", "phx_leave", &json!({}));
    ada.joined("room:101", &json!({}));
    scene.undisturbed("101 topics");
}

/// A handshake that is refused with 403 and leads nowhere.
fn forbidden(scene: &mut Scene, what: &str, handshake: Handshake) {
    match handshake.open() {
        Ok(_) => panic!("{what} was let in"),
        Err(answer) => assert_eq!(answer.status, 403, "{what}: {answer:?}"),
    }
    scene.undisturbed(what);
}

#[test]
fn bad_tokens_are_refused_at_connect() {
    let mut scene = Scene::new();
    let addr = scene.node.clients;
    let good = token::player("42", "ada");
    let claims = token::claims("42", "ada", FUTURE);
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let none = token::unsigned(&json!({"alg": "none", "typ": "JWT"}), &claims);
    let other = token::unsigned(
        &json!({"alg": "HS256", "typ": "JWT"}),
        &token::claims("1", "eve", FUTURE),
    );
    let cases = [
        (
            "an expired token",
            token::jwt(&token::claims("42", "ada", PAST), SECRET),
        ),
        (
            "a token of another secret",
            token::jwt(&claims, OTHER_SECRET),
        ),
        ("a token without its signature", format!("{head}.")),
        ("a token of two parts", head.to_owned()),
        (
            "a signature of other claims",
            format!("{other}.{signature}"),
        ),
        ("an unsigned token", format!("{none}.")),
        (
            "an unsigned token with a signature",
            format!("{none}.{signature}"),
        ),
        (
            "a token without a subject",
            token::jwt(&json!({"exp": FUTURE}), SECRET),
        ),
        ("no token at all", "nonsense".to_owned()),
    ];
    for (what, token) in &cases {
        let query = format!("vsn=2.0.0&token={token}");
        forbidden(&mut scene, what, Handshake::new(addr, &query));
    }
    let log = scene.node.log();
    for (what, token) in &cases {
        assert!(
            token.len() < 20 || !log.contains(token.as_str()),
            "{what} is in the log"
        );
    }
    assert!(!log.contains(SECRET));
}

#[test]
fn foreign_pages_and_unknown_versions_are_refused() {
    let mut scene = Scene::new();
    let addr = scene.node.clients;
    let handshake = || Handshake::new(addr, "vsn=2.0.0");
    for origin in [
        "https://evil.example",
        "http://127.0.0.1.evil.example",
        "null",
        "file://",
    ] {
        forbidden(&mut scene, origin, handshake().header("origin", origin));
    }
    for query in [
        "vsn=3.0.0",
        "vsn=2",
        "vsn[]=2.0.0",
        "vsn=2.0.0-rc.1",
        "vsn=",
    ] {
        forbidden(&mut scene, query, Handshake::new(addr, query));
    }
    let own = format!("http://{addr}");
    let let_in = handshake().header("origin", &own).open();
    assert!(let_in.is_ok(), "{let_in:?}");
}

#[test]
fn a_flood_is_limited_and_ends() {
    let mut scene = Scene::new();
    let mut ada = scene.ada();
    ada.joined("room:open", &json!({}));
    let references: Vec<Value> = (0..260)
        .map(|round| {
            ada.push(
                &Value::Null,
                "room:open",
                "new_message",
                &json!({"round": round}),
            )
        })
        .collect();
    let limited = ada.find(|m| m.payload["response"]["reason"] == "rate limited");
    assert!(references.contains(&limited.reference), "{limited:?}");
    scene.undisturbed("a flood");
}

#[test]
fn a_node_that_was_fed_rubbish_still_ends_well() {
    let mut scene = Scene::new();
    let mut eve = scene.guest();
    for _ in 0..20 {
        eve.wire.text("rubbish");
    }
    assert_eq!(eve.wire.close_code(), Some(1008));
    scene.undisturbed("rubbish");
    let code = scene.node.end("INT", Duration::from_secs(40));
    assert_eq!(code, Some(0), "{}", scene.node.log());
}
