//! Long-poll on one node, request by request: every answer of the protocol, and the life of a session.
//!
//! The node has several workers, so that most requests reach a session through another one.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::http::{self, Response};
use support::longpoll::{
    NDJSON, PATH, Poller, await_metric, in_turn, messages, new_token, node, reply, v2,
};
use support::phoenix::Socket;
use support::token;

#[test]
fn the_first_poll_opens_a_session_readable_by_any_page() {
    let node = node("10s");
    let answer = http::get(node.clients, &format!("{PATH}?vsn=2.0.0&"));
    assert_ne!(new_token(&answer), v2(node.clients).token);
    let header = |name| answer.header(name);
    assert_eq!(
        header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(header("cache-control"), Some("no-store"));
    assert_eq!(header("access-control-allow-origin"), Some("*"));
    await_metric(&node, "fanfare_connections{transport=\"longpoll\"}", 2.0);
}

#[test]
fn refusals_have_their_status_in_the_body() {
    let node = node("10s");
    let own = format!("http://{}", node.clients);
    let evil = [("origin", "http://evil.example")];
    let check = |method: &str, query: &str, headers: &[(&str, &str)], expected: u16| {
        let path = format!("{PATH}?{query}");
        let answer = http::request(node.clients, method, &path, headers, "");
        assert_eq!(answer.status, 200, "{method} {query}: {answer:?}");
        assert_eq!(answer.json()["status"], expected, "{method} {query}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    };
    for query in ["vsn=3.0.0", "vsn=2", "vsn=2.0.0-rc.1", "vsn[]=2.0.0"] {
        check("GET", query, &[], 403);
    }
    for method in ["GET", "POST", "OPTIONS"] {
        check(method, "vsn=2.0.0", &evil, 403);
    }
    check("GET", "vsn=2.0.0", &[("origin", &own)], 410);
    check("GET", "vsn=2.0.0&token=not-one-of-yours", &[], 403);
    for query in ["vsn=2.0.0", "token=", "token=SFMyNTY.AAAA.BBBB"] {
        check("POST", query, &[], 410);
    }
    for method in ["PUT", "DELETE", "PATCH", "HEAD"] {
        let answer = http::request(node.clients, method, PATH, &[], "");
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{method}");
    }
    let poller = v2(node.clients);
    poller.joined("room:a");
    for at in [0, poller.token.len() / 2, poller.token.len() - 1] {
        let mut other = poller.clone();
        let swapped = if &poller.token[at..=at] == "A" {
            "E"
        } else {
            "A"
        };
        other.token.replace_range(at..=at, swapped);
        assert_eq!(other.post(&[json!(["1", "2", "room:a", "say", {}])]), 410);
    }
    assert_eq!(poller.post(&[]), 200, "its own token still holds");
}

#[test]
fn a_preflight_may_ask_for_any_header() {
    let node = node("10s");
    let asked = [("access-control-request-headers", "content-type, x-a")];
    let answer = http::request(node.clients, "OPTIONS", PATH, &asked, "");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let header = |name| answer.header(name);
    assert_eq!(
        header("access-control-allow-headers"),
        Some("content-type, x-a")
    );
    assert_eq!(
        header("access-control-allow-methods"),
        Some("get, post, options")
    );
    assert_eq!(header("access-control-max-age"), Some("3600"));
    assert_eq!(header("access-control-allow-origin"), Some("*"));
}

#[test]
fn frames_are_strings_of_the_sessions_version_in_order() {
    let node = node("10s");
    let poller = v2(node.clients);
    let sent = json!({"s": "é\u{2028}\"\\"});
    let batch = [
        json!(["1", "1", "room:a", "phx_join", {}]),
        json!(["1", "2", "room:a", "say", sent]),
        json!(["old", "3", "room:a", "say", {}]),
        json!([null, "4", "room:b", "say", {}]),
        json!([null, 5, "phoenix", "heartbeat", {}]),
        json!(["1", "6", "room:a", "phx_leave", {}]),
    ];
    assert_eq!(poller.post(&batch), 200);
    let unmatched = json!({"status": "error", "response": {"reason": "unmatched topic"}});
    let expected = [
        reply("1", "1", "room:a", &json!({})),
        json!([null, null, "room:a", "say", sent]),
        reply("1", "2", "room:a", &json!({})),
        json!([null, "4", "room:b", "phx_reply", unmatched]),
        json!([null, 5, "phoenix", "phx_reply", {"status": "ok", "response": {}}]),
        reply("1", "6", "room:a", &json!({})),
        json!(["1", "1", "room:a", "phx_close", {}]),
    ];
    assert_eq!(poller.take(expected.len()), expected);
    for query in ["vsn=1.0.0", ""] {
        let poller = Poller::open(node.clients, query);
        let join = json!({"topic": "room:a", "event": "phx_join", "payload": {}, "ref": 1});
        assert_eq!(
            poller.post_as("", &join.to_string()),
            json!({"status": 200})
        );
        let payload = json!({"status": "ok", "response": {}});
        let expected =
            json!({"topic": "room:a", "event": "phx_reply", "payload": payload, "ref": 1});
        assert_eq!(poller.take(1), [expected]);
    }
}

#[test]
fn a_poll_without_frames_ends_with_the_window() {
    let node = node("300ms");
    let poller = v2(node.clients);
    let start = Instant::now();
    let body = poller.poll().json();
    let expected = json!({"status": 204, "token": poller.token, "messages": []});
    assert_eq!(body, expected);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_frame_ends_a_poll_at_once() {
    let node = node("9s");
    let poller = v2(node.clients);
    poller.joined("room:a");
    let mut socket = Socket::open(node.clients, "");
    socket.joined("room:a", &json!({}));
    for round in 0..5 {
        let polled = poller.poll_aside();
        in_turn(&node);
        socket.push(&Value::Null, "room:a", "say", &json!({"round": round}));
        let (answer, took) = polled.join().expect("a poll");
        let expected = json!([null, null, "room:a", "say", {"round": round}]);
        assert_eq!(messages(&answer.json()), [expected]);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_second_poll_replaces_the_first() {
    let node = node("2s");
    let poller = v2(node.clients);
    poller.joined("room:a");
    let first = poller.poll_aside();
    in_turn(&node);
    let second = poller.poll_aside();
    in_turn(&node);
    assert_eq!(
        poller.post(&[json!(["1", "2", "room:a", "nothing", {}])]),
        200
    );
    let status = |answer: &Response| answer.json()["status"].clone();
    let (answer, took) = second.join().expect("a poll");
    assert_eq!(messages(&answer.json()).len(), 1);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let (answer, took) = first.join().expect("a poll");
    assert_eq!(status(&answer), 204);
    assert!(took >= Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_client_that_goes_away_takes_no_frames_with_it() {
    let node = node("9s");
    let poller = v2(node.clients);
    poller.joined("room:a");
    let gone = http::send(node.clients, "GET", &poller.path(), &[], "");
    in_turn(&node);
    drop(gone);
    in_turn(&node);
    assert_eq!(
        poller.post(&[json!(["1", "2", "room:a", "say", {"n": 1}])]),
        200
    );
    assert_eq!(
        poller.take(2)[0],
        json!([null, null, "room:a", "say", {"n": 1}])
    );
}

#[test]
fn a_session_token_comes_in_the_header_or_last_in_the_query() {
    let node = node("200ms");
    let user = token::player("42", "ada");
    let mut poller = Poller::open(node.clients, &format!("token={user}&&vsn=2.0.0"));
    // Who it is was decided by the first of the two tokens.
    let join = |poller: &Poller| {
        assert_eq!(
            poller.post(&[json!(["1", "1", "user:42", "phx_join", {}])]),
            200
        );
        assert_eq!(poller.take(1)[0][4]["status"], "ok");
    };
    join(&poller);
    let header = [("x-phoenix-longpoll-token", poller.token.as_str())];
    for query in ["vsn=2.0.0", "vsn=2.0.0&token=bogus"] {
        let path = format!("{PATH}?{query}");
        let answer = http::request(node.clients, "GET", &path, &header, "");
        let expected = json!({"status": 204, "token": poller.token, "messages": []});
        assert_eq!(answer.json(), expected, "{query}");
        let answer = http::post(node.clients, &path, &header, "[]");
        assert_eq!(answer.json(), json!({"status": 200}), "{query}");
    }
    // When the session is dead, the user's token opens the next one.
    await_metric(&node, "fanfare_connections{transport=\"longpoll\"}", 0.0);
    assert_eq!(poller.post(&[]), 410);
    poller.token = new_token(&poller.poll());
    join(&poller);
}

#[test]
fn a_dead_session_alone_is_no_users_token() {
    let node = node("100ms");
    let guest = v2(node.clients);
    await_metric(&node, "fanfare_connections{transport=\"longpoll\"}", 0.0);
    assert_ne!(new_token(&guest.poll()), guest.token);
}

#[test]
fn a_token_in_its_own_header_says_who_it_is() {
    let node = node("10s");
    let user = token::player("42", "ada");
    let path = format!("{PATH}?vsn=2.0.0");
    let headers = [("X-PHOENIX-AuthToken", user.as_str())];
    let answer = http::request(node.clients, "GET", &path, &headers, "");
    let poller = Poller {
        addr: node.clients,
        query: String::from("vsn=2.0.0"),
        token: new_token(&answer),
    };
    assert_eq!(
        poller.post(&[json!(["1", "1", "user:42", "phx_join", {}])]),
        200
    );
    assert_eq!(poller.take(1)[0][4]["status"], "ok");
    let headers = [("x-phoenix-authtoken", "not one of yours")];
    let answer = http::request(node.clients, "GET", &path, &headers, "");
    assert_eq!(answer.json(), json!({"status": 403}));
}

#[test]
fn batches_are_read_leniently() {
    let node = node("10s");
    let check = |content_type: &str, body: &str, replies: usize| {
        let poller = v2(node.clients);
        assert_eq!(
            poller.post_as(content_type, body),
            json!({"status": 200}),
            "{body:?}"
        );
        poller.take(replies);
    };
    let line = r#"[null,"1","phoenix","heartbeat",{}]"#;
    for kind in ["application/json", "text/plain", ""] {
        check(kind, line, 1);
    }
    for kind in [NDJSON, "Application/X-NDJSON; charset=UTF-8"] {
        check(kind, &format!("{line}\n{line}"), 2);
        check(kind, &format!("\r\n{line}\r\n\r\n{line}\r\n"), 2);
        check(kind, &format!("{line}\n[not json\n!!\n{line}\n"), 2);
    }
}

#[test]
fn lines_beyond_the_hundredth_are_ignored() {
    let node = node("200ms");
    let poller = v2(node.clients);
    let beats: Vec<Value> = (0..101)
        .map(|n| json!([null, n, "phoenix", "heartbeat", {}]))
        .collect();
    assert_eq!(poller.post(&beats), 200);
    let taken = poller.take(100);
    assert!(taken.iter().enumerate().all(|(n, one)| one[1] == n));
    assert_eq!(poller.poll().json()["status"], 204);
}

#[test]
fn a_base64_line_is_a_binary_push() {
    let node = node("10s");
    let poller = v2(node.clients);
    let join = json!(["3", "3", "room:1", "phx_join", {}]);
    // A push of the event "bin" with ref "6" and the bytes ff 00, as a stock client sends it.
    let body = format!("{join}\nAAEBBgMzNnJvb206MWJpbv8A\n");
    assert_eq!(poller.post_as(NDJSON, &body), json!({"status": 200}));
    let refused = json!({"status": "error", "response": {"reason": "unknown event"}});
    let expected = [
        reply("3", "3", "room:1", &json!({})),
        json!(["3", "6", "room:1", "phx_reply", refused]),
    ];
    assert_eq!(poller.take(2), expected);
}

#[test]
fn what_is_too_large_is_refused() {
    let node = node("10s");
    let post = |poller: &Poller, body: &str| {
        let headers = [("content-type", NDJSON)];
        let answer = http::post(node.clients, &poller.path(), &headers, body);
        (answer.status, answer.body)
    };
    let poller = v2(node.clients);
    poller.joined("room:a");
    assert_eq!(post(&poller, &" ".repeat(8_000_001)), (400, String::new()));
    assert_eq!(post(&poller, &" ".repeat(8_000_000)).0, 200);
    // A message above its limit ends the session, as it closes a WebSocket; what came before is done.
    let long = json!(["1", "3", "room:a", "say", {"text": "x".repeat(70_000)}]);
    assert_eq!(post(&poller, &format!("[]\n{long}")), (400, String::new()));
    assert_eq!(post(&poller, "[]").1, "{\"status\":410}");
    await_metric(
        &node,
        "fanfare_connections_closed_total{code=\"1009\"}",
        1.0,
    );
}
