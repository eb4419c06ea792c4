//! Secrets on every way into a node that logs all it can: none of them reaches the log.
//!
//! Each secret is a word of its own, so that a leak says where it came in.

mod support;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};
use support::http;
use support::node::{self, Node, Setup};
use support::phoenix::{Socket, Version};
use support::redis::Redis;
use support::token::SECRET;
use support::ws::{Handshake, Op};

/// The password of Redis.
const PASSWORD: &str = "swordfish-redis";

fn noisy(redis: &Redis) -> Node {
    let url = redis
        .url()
        .replace("redis://", &format!("redis://:{PASSWORD}@"));
    let setup = Setup::new().secret(SECRET).redis(&url);
    let setup = setup
        .flag("--anonymous", "allow")
        .flag("--log-level", "trace");
    setup
        .env(
            "FANFARE_AUTH__JWT_SECRET",
            "swordfish-jwt-secret-of-more-than-32-bytes",
        )
        .start()
}

/// What comes before the upgrade: queries, headers, subprotocols, and no HTTP at all.
fn knock(node: &Node) {
    for name in ["token", "apikey", "access_token", "password", "other"] {
        // A refused token, and parameters that are not looked at.
        let query = format!("{name}=swordfish-query-{name}&vsn=2.0.0");
        let _ = Handshake::new(node.clients, &query).open();
        let _ = Handshake::new(node.clients, &format!("{query}&vsn=9")).open();
        http::get(node.clients, &format!("/nowhere?{query}"));
        http::get(node.admin, &format!("/nowhere?{query}"));
    }
    let headers = [
        "x-phoenix-authtoken",
        "authorization",
        "x-api-key",
        "cookie",
    ];
    for name in headers {
        let handshake = Handshake::new(node.clients, "vsn=2.0.0");
        let _ = handshake
            .header(name, &format!("swordfish-header-{name}"))
            .open();
    }
    for bearer in [
        STANDARD_NO_PAD.encode("swordfish-bearer"),
        String::from("swordfish*bearer"),
    ] {
        let offer = format!("phoenix, base64url.bearer.phx.{bearer}");
        let handshake = Handshake::new(node.clients, "vsn=2.0.0");
        let _ = handshake.header("sec-websocket-protocol", &offer).open();
    }
    for request in [
        "GET /?token=swordfish-raw\u{1} HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nswordfish raw: x\r\n\r\n",
        "swordfish-raw\r\n\r\n",
    ] {
        raw(node, request);
    }
}

/// Sends what may be no HTTP, and waits for the node to hang up.
fn raw(node: &Node, request: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(node.clients).expect("the node listens");
    stream.write_all(request.as_bytes()).expect("sent");
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).expect("a limit above 0");
    // Whatever it answers; the end is what is waited for.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

/// What comes over an open socket: joins, renewals, pushes, and frames that are no messages.
fn talk(node: &Node) -> String {
    let token = node::token("swordfish-jwt-secret-of-more-than-32-bytes", "42", "ada");
    let mut ada = Socket::open(node.clients, &token);
    ada.join("chat_room:a", &json!({"token": "swordfish-join"}));
    ada.joined("chat_room:a", &json!({"token": token}));
    for key in ["token", "access_token"] {
        ada.call(
            "chat_room:a",
            "access_token",
            &json!({key: "swordfish-renewal"}),
        );
        ada.call("chat_room:a", "access_token", &json!({key: token}));
    }
    ada.call(
        "chat_room:a",
        "new_message",
        &json!({"message": "swordfish-message"}),
    );
    ada.call(
        "chat_room:a",
        "login",
        &json!({"password": "swordfish-password"}),
    );
    ada.call(
        "nowhere:a",
        "phx_join",
        &json!({"token": "swordfish-unmatched"}),
    );
    ada.push(
        &Value::Null,
        "chat_room:a",
        "new_message",
        &json!("swordfish-payload"),
    );
    ada.wire.text(r#"["swordfish-malformed""#);
    ada.wire.binary(b"\x09swordfish-binary");
    ada.settle();
    ada.wire.unmasked(Op::Text, b"swordfish-unmasked");
    ada.wire.close_code();
    let mut other = Socket::try_open(node.clients, Version::V1, &token).expect("accepted");
    other
        .wire
        .text(&format!("\"{}\"", "swordfish-large".repeat(10_000)));
    other.wire.close_code();
    token
}

#[test]
fn no_secret_reaches_the_log_even_at_trace() {
    let mut redis = Redis::start_with(&["--requirepass", PASSWORD]);
    let mut node = noisy(&redis);
    knock(&node);
    let token = talk(&node);
    redis.kill();
    node.await_log("the broker is not connected", Duration::from_secs(20));
    assert_eq!(
        node.end("INT", Duration::from_secs(30)),
        Some(0),
        "{}",
        node.log()
    );
    let log = node.log();
    let signature = token.rsplit('.').next().expect("a signature");
    let encoded = STANDARD_NO_PAD.encode("swordfish");
    for secret in ["swordfish", signature, &token[..20], SECRET, &encoded[..11]] {
        let leak = log.lines().find(|line| line.contains(secret));
        assert_eq!(leak, None, "{secret}");
    }
    let mut deep = 0;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let target = line["target"].as_str().expect("a target");
        if matches!(line["level"].as_str(), Some("DEBUG" | "TRACE")) {
            assert!(target.starts_with("fanfare"), "{line}");
            deep += 1;
        }
    }
    assert!(deep > 5, "the level is not on: {log}");
    // What leaves no line could not leak either: each way in must have left one.
    for (said, at_least) in [
        ("\"a token is refused\"", 5),
        ("\"http connection ended\"", 3),
        ("\"a socket opened\"", 2),
        ("\"code\":1002", 1),
        ("\"code\":1009", 1),
        ("\"a frame is no message\"", 2),
        ("\"a message is refused\"", 1),
        ("\"a join is refused\"", 1),
    ] {
        let found = log.lines().filter(|line| line.contains(said)).count();
        assert!(found >= at_least, "{said}: {found} lines in {log}");
    }
}

#[test]
fn not_even_the_crates_below_a_socket_show_raw_traffic() {
    let level = "info,fanfare=trace,tungstenite=trace,hyper=trace,mio=trace";
    let mut node = Setup::new().flag("--log-level", level).start();
    let mut guest = Socket::open(node.clients, "");
    guest.call(
        "chat_room:a",
        "phx_join",
        &json!({"token": "swordfish-join"}),
    );
    node.end("INT", Duration::from_secs(30));
    let log = node.log();
    assert!(
        log.contains("a socket closed"),
        "the level is not on: {log}"
    );
    assert!(!log.contains("swordfish-join"), "{log}");
}

#[test]
fn other_crates_must_be_named_to_be_heard() {
    let levels = |given: &str| fanfare::config::log_directives(given);
    assert_eq!(levels("info"), "info");
    assert_eq!(levels("debug"), "info,fanfare=debug");
    assert_eq!(levels("trace"), "info,fanfare=trace");
    assert_eq!(
        levels("warn,fanfare::broker=trace"),
        "warn,fanfare::broker=trace"
    );
    assert_eq!(
        levels("debug,tungstenite=trace"),
        "info,fanfare=debug,tungstenite=trace"
    );
}

#[test]
fn a_password_is_not_in_the_line_that_stops_a_start() {
    let urls = [
        (
            "FANFARE_DATABASE_URL",
            "postgres://ada:swordfish@127.0.0.1:1/db?sslmode=nonsense",
        ),
        ("FANFARE_DATABASE_URL", "mysql://ada:swordfish@127.0.0.1/db"),
        ("FANFARE_REDIS_URL", "http://:swordfish@127.0.0.1"),
        (
            "FANFARE_REDIS_URL",
            "redis+cluster://:swordfish@127.0.0.1/7",
        ),
        (
            "FANFARE_REDIS_URL",
            "redis+sentinel://:swordfish@127.0.0.1?sentinel_password=swordfish",
        ),
        (
            "FANFARE_AUTH__JWKS_URL",
            "https://ada:swordfish@issuer.example/keys",
        ),
        ("FANFARE_SECRET_KEY_BASE", "swordfish"),
        ("FANFARE_AUTH__JWT_SECRET", "swordfish"),
    ];
    for (name, value) in urls {
        let setup = Setup::new().env(name, value).flag("--log-level", "trace");
        let finished = setup.run(Duration::from_secs(20));
        assert!(matches!(finished.code, Some(1 | 2)), "{name}: {finished:?}");
        assert!(
            !finished.stderr.contains("swordfish"),
            "{name}: {finished:?}"
        );
    }
}
