//! The door, over a real node: methods, origins, subprotocols, versions, tokens and the upgrade itself.
//!
//! The order of the checks and the bodies are those of Phoenix; where we differ, the case says so.

mod support;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use fanfare::channel::Router;
use fanfare::limits::Limits;
use fanfare::transport::{Mount, Open, open};
use serde_json::json;
use support::http;
use support::node::{Node, Setup};
use support::phoenix::{Socket, Version};
use support::token::{self, OTHER_SECRET, SECRET};
use support::ws::Handshake;

/// A node with a secret that lets nobody in without a token.
fn strict() -> Node {
    let setup = Setup::new().secret(SECRET);
    setup.flag("--anonymous", "deny").start()
}

/// A node with a secret that lets guests in.
fn lenient() -> Setup {
    Setup::new().secret(SECRET).flag("--anonymous", "allow")
}

/// The status of a handshake and its body.
fn knock(handshake: Handshake) -> (u16, String) {
    match handshake.open() {
        Ok(_) => (101, String::new()),
        Err(said) => (said.status, said.body),
    }
}

#[test]
fn other_methods_get_400_and_nothing_else() {
    let node = lenient().start();
    let upgrade = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"] {
        // The method is looked at before anything else: this version is bad as well.
        let path = "/socket/websocket?vsn=9";
        let said = http::request(node.clients, method, path, &upgrade, "");
        assert_eq!((said.status, said.body.as_str()), (400, ""), "{method}");
    }
}

#[test]
fn the_upgrade_is_checked_last_and_says_what_is_missing() {
    let node = strict();
    let good = token::player("42", "ada");
    let check = |query: &str, headers: &[(&str, &str)], status: u16, body: &str| {
        let path = format!("/socket/websocket?{query}");
        let said = http::request(node.clients, "GET", &path, headers, "");
        assert_eq!(said.status, status, "{query} {headers:?}");
        assert!(said.body.contains(body), "{headers:?}: {}", said.body);
        assert_eq!(said.body.is_empty(), body.is_empty(), "{}", said.body);
    };
    let (bad, good) = ("token=nonsense", format!("token={good}"));
    check("", &[], 403, "");
    check(bad, &[], 403, "");
    check(&format!("{good}&vsn=3.0.0"), &[], 403, "");
    check(&good, &[("origin", "http://elsewhere.example")], 403, "");
    // `support::http` always sends `connection: close`.
    check(
        &good,
        &[],
        400,
        "'connection' header must contain 'upgrade'",
    );
    let keep = ("connection", "keep-alive, Upgrade");
    check(&good, &[keep], 400, "'upgrade' header must be 'websocket'");
    let other = ("upgrade", "h2c");
    check(&good, &[keep, other], 400, "'upgrade' header");
    let upgrade = ("upgrade", "WebSocket");
    check(
        &good,
        &[keep, upgrade],
        400,
        "'sec-websocket-version' header must be '13'",
    );
    let old = ("sec-websocket-version", "8");
    check(&good, &[keep, upgrade, old], 400, "'sec-websocket-version'");
    let version = ("sec-websocket-version", "13");
    check(
        &good,
        &[keep, upgrade, version],
        400,
        "'sec-websocket-key' header is missing",
    );
}

#[test]
fn a_version_must_be_one_that_is_spoken() {
    let node = lenient().start();
    let table = [
        ("", Some(Version::V1)),
        ("vsn=1.0.0", Some(Version::V1)),
        ("vsn=1.0.7", Some(Version::V1)),
        ("vsn=2.0.0", Some(Version::V2)),
        ("vsn=2.0.3", Some(Version::V2)),
        ("vsn=1.0.0&vsn=2.0.0", Some(Version::V2)),
        ("vsn=2.0.0&vsn=1.0.0", Some(Version::V1)),
        ("a=1&&b=2&&vsn=2.0.0&", Some(Version::V2)),
        ("nested%5Ba%5D%5B0%5D=1&&vsn=2.0.0", Some(Version::V2)),
        ("VSN=9", Some(Version::V1)),
        ("vsn=", None),
        ("vsn=2", None),
        ("vsn=2.0", None),
        ("vsn=2.1.0", None),
        ("vsn=3.0.0", None),
        ("vsn=2.0.0-rc.1", None),
        ("vsn=v2.0.0", None),
        ("vsn=2.0.0%00", None),
        ("vsn[]=2.0.0", None),
        ("vsn%5B%5D=2.0.0", None),
        ("vsn[a]=2.0.0", None),
        ("vsn=2.0.0&vsn=3.0.0", None),
    ];
    for (query, expected) in table {
        let opened = Handshake::new(node.clients, query).open();
        match (opened, expected) {
            (Ok(wire), Some(version)) => {
                // The answer to a heartbeat has the shape of the version.
                let mut socket = Socket::on(wire, version);
                let (status, _) = socket.call("phoenix", "heartbeat", &json!({}));
                assert_eq!(status, "ok", "{query}");
            }
            (Err(said), None) => {
                assert_eq!((said.status, said.body.as_str()), (403, ""), "{query}");
            }
            (Ok(_), None) => panic!("{query} was accepted"),
            (Err(said), Some(_)) => panic!("{query} was refused: {said:?}"),
        }
    }
}

#[test]
fn an_origin_must_be_allowed() {
    let (allowed, refused) = (true, false);
    let list = "//example.com, http://scheme.example, //port.example:81, //*.wild.example";
    let tables: [(&str, &[(&str, bool)]); 4] = [
        (
            "host",
            &[
                ("http://127.0.0.1", allowed),
                ("https://127.0.0.1:9", allowed),
                ("http://localhost", refused),
                ("http://127.0.0.1.example", refused),
                ("null", refused),
                ("file://", refused),
                ("", refused),
                ("127.0.0.1", refused),
            ],
        ),
        (
            list,
            &[
                ("http://example.com", allowed),
                ("https://example.com:8443", allowed),
                ("http://EXAMPLE.com", allowed),
                ("http://www.example.com", refused),
                ("http://scheme.example", allowed),
                ("http://scheme.example:80", allowed),
                ("https://scheme.example", refused),
                ("http://scheme.example:81", refused),
                ("https://port.example:81", allowed),
                ("http://port.example", refused),
                ("http://a.wild.example", allowed),
                ("http://a.b.wild.example", allowed),
                ("http://wild.example", allowed),
                ("http://prefix-wild.example", refused),
                ("http://127.0.0.1", refused),
                ("null", refused),
            ],
        ),
        (
            "connection",
            &[
                ("http://127.0.0.1", refused),
                ("https://127.0.0.1", refused),
            ],
        ),
        (
            "off",
            &[("http://anywhere.example", allowed), ("null", allowed)],
        ),
    ];
    for (policy, table) in tables {
        let node = lenient().env("FANFARE_TRANSPORT__ORIGINS", policy).start();
        let check = |origin: Option<&str>, allowed: bool| {
            let mut handshake = Handshake::new(node.clients, "vsn=2.0.0");
            if let Some(origin) = origin {
                handshake = handshake.header("origin", origin);
            }
            let expected = if allowed { 101 } else { 403 };
            let said = knock(handshake);
            assert_eq!(said, (expected, String::new()), "{policy}: {origin:?}");
        };
        check(None, true);
        for (origin, allowed) in table {
            check(Some(origin), *allowed);
        }
        // The origin as the node itself is addressed.
        let own = format!("http://{}", node.clients);
        check(Some(&own), policy != list);
    }
}

#[test]
fn a_token_may_come_as_a_subprotocol() {
    let node = strict();
    let token = token::player("42", "ada");
    let bearer = |encoded: &str| format!("base64url.bearer.phx.{encoded}");
    let plain = bearer(&STANDARD_NO_PAD.encode(&token));
    let table = [
        (format!("phoenix, {plain}"), 101, Some("phoenix")),
        (format!("{plain}, phoenix"), 101, Some("phoenix")),
        (format!("phoenix,{plain}"), 101, Some("phoenix")),
        (format!("phoenix, {plain}=="), 101, Some("phoenix")),
        (format!("graphql, phoenix, {plain}"), 101, Some("phoenix")),
        // Only the token offered: as if nothing had been, so nothing is answered.
        (plain.clone(), 101, None),
        (format!("graphql, {plain}"), 403, None),
        (String::from("phoenix"), 403, None),
        (String::from("graphql"), 403, None),
        (format!("phoenix, {}", bearer("*")), 403, None),
        (format!("phoenix, {}", bearer("")), 403, None),
        (format!("phoenix, {}", bearer("a")), 403, None),
        (format!("phoenix, {}", bearer("/3Rvaw")), 403, None),
        (
            format!("phoenix, {}", bearer(&STANDARD_NO_PAD.encode("x.y.z"))),
            403,
            None,
        ),
        (format!("phoenix, {}, {plain}", bearer("*")), 403, None),
    ];
    for (offer, status, chosen) in table {
        let handshake = Handshake::new(node.clients, "vsn=2.0.0");
        let opened = handshake.header("sec-websocket-protocol", &offer).open();
        match opened {
            Ok(wire) => {
                assert_eq!((101, wire.subprotocol()), (status, chosen), "{offer}");
                let mut socket = Socket::on(wire, Version::V2);
                socket.joined("user:42", &json!({}));
            }
            Err(said) => assert_eq!((said.status, said.body.as_str()), (status, ""), "{offer}"),
        }
    }
    // Over two header lines, as RFC 6455 allows.
    let handshake = Handshake::new(node.clients, "vsn=2.0.0");
    let handshake = handshake.header("sec-websocket-protocol", "phoenix");
    let wire = handshake.header("sec-websocket-protocol", &plain).open();
    assert_eq!(wire.expect("accepted").subprotocol(), Some("phoenix"));
}

#[test]
fn the_bytes_of_a_bearer_are_the_same_in_either_alphabet() {
    // The text of a JWT has the same base64 in both; a token of an embedder's may be any bytes.
    let limits = Arc::new(Limits::default());
    let mut mount = Mount::new("/live", Arc::new(Router::new()), Arc::new(Open), limits);
    mount.auth_token = true;
    let check = |encoded: &str, expected: Option<&[u8]>| {
        let offer = format!("phoenix, base64url.bearer.phx.{encoded}");
        let request = hyper::Request::get("/live/websocket?vsn=2.0.0");
        let request = request.header("sec-websocket-protocol", offer).body(());
        let (parts, ()) = request.expect("a request").into_parts();
        let peer = ([127, 0, 0, 1], 9).into();
        let opened = open(&parts, peer, &mount, Vec::new());
        let token = opened
            .ok()
            .map(|opening| opening.info.auth_token.expect("a token"));
        assert_eq!(token.as_deref(), expected, "{encoded}");
    };
    check("/3Rvaw", Some(b"\xfftok"));
    check("_3Rvaw", Some(b"\xfftok"));
    check("+/+/", Some(b"\xfb\xff\xbf"));
    check("-_-_", Some(b"\xfb\xff\xbf"));
    check("-_-_-w==", Some(b"\xfb\xff\xbf\xfb"));
    check("", Some(b""));
    for broken in ["+_+_", "a", "a b", "YQ=YQ", "YR", "é"] {
        check(broken, None);
    }
}

#[test]
fn without_a_subprotocol_setting_others_are_not_answered() {
    let node = lenient().start();
    let said = Handshake::new(node.clients, "vsn=2.0.0").open();
    assert_eq!(said.expect("accepted").subprotocol(), None);
    let phoenix = Handshake::new(node.clients, "").header("sec-websocket-protocol", "phoenix");
    assert_eq!(
        phoenix.open().expect("accepted").subprotocol(),
        Some("phoenix")
    );
}

#[test]
fn the_last_of_doubled_parameters_counts() {
    let node = strict();
    let good = token::player("42", "ada");
    let bad = token::jwt(&token::claims("42", "ada", token::FUTURE), OTHER_SECRET);
    let table = [
        (format!("token={good}"), 101),
        (format!("token={bad}&token={good}"), 101),
        (format!("token={good}&token={bad}"), 403),
        (format!("&&token={good}&&vsn=2.0.0&"), 101),
        (format!("token={good}&token="), 403),
        (format!("token[]={good}"), 403),
        (format!("Token={good}"), 403),
        (format!("token={bad}"), 403),
        (
            format!(
                "token={}",
                token::jwt(&token::claims("42", "ada", token::PAST), SECRET)
            ),
            403,
        ),
        (String::from("token="), 403),
        (String::from("token"), 403),
        (String::from("token=%00"), 403),
        (String::from("token=%FF%FE"), 403),
        (format!("token={}", "a".repeat(9_000)), 403),
    ];
    for (query, status) in table {
        let shown: String = query.chars().take(80).collect();
        let said = knock(Handshake::new(node.clients, &query));
        assert_eq!(said, (status, String::new()), "{shown}");
    }
    // A token that came as a subprotocol goes before the parameter.
    let bearer = |token: &str| {
        format!(
            "phoenix, base64url.bearer.phx.{}",
            STANDARD_NO_PAD.encode(token)
        )
    };
    for (offered, parameter, status) in [(&good, &bad, 101), (&bad, &good, 403)] {
        let handshake = Handshake::new(node.clients, &format!("token={parameter}"));
        let handshake = handshake.header("sec-websocket-protocol", &bearer(offered));
        assert_eq!(knock(handshake), (status, String::new()));
    }
}

#[test]
fn paths_match_by_segments() {
    let node = lenient().start();
    let table = [
        ("/socket/websocket", 101),
        ("/socket/websocket/", 101),
        ("//socket//websocket", 101),
        ("/socket/websocket/more", 404),
        ("/socket", 404),
        ("/Socket/websocket", 404),
        ("/websocket", 404),
    ];
    for (path, status) in table {
        let (found, _) = knock(Handshake::at(node.clients, path));
        assert_eq!(found, status, "{path}");
    }
}
