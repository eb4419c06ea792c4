//! What a node says of its way out: to operators, to clients that still come, to the process that started it.
//!
//! It never looks inside: everything is read from the ports and the supervisor's socket.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::drain::{LONG, draining};
use crate::support::http;
use crate::support::limited::{guest, setup};
use crate::support::longpoll;
use crate::support::metrics::metric;
use crate::support::node::Node;
use crate::support::phoenix::Socket;
use crate::support::ws::LIMIT;

/// Waits until `/status` has the node at a stage; what it says of the drain.
fn at_stage(node: &Node, stage: &str) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        let drain = http::get(node.admin, "/status").json()["drain"].clone();
        if drain["stage"] == stage {
            return drain;
        }
        assert!(Instant::now() < end, "not {stage} but {drain}");
    }
}

#[test]
fn operators_see_how_far_a_drain_has_come() {
    let mut node = setup(&draining("60s", "8s", "5s")).start();
    let mut crowd: Vec<Socket> = (0..20).map(|_| guest(&node)).collect();
    assert_eq!(
        http::get(node.admin, "/status").json()["drain"],
        Value::Null
    );
    assert_eq!(metric(&node, "fanfare_draining"), 0.0);
    node.signal("TERM");
    let waiting = at_stage(&node, "waiting");
    assert_eq!(waiting["connections_then"], 20);
    assert_eq!(waiting["connections_left"], 20);
    assert_eq!(metric(&node, "fanfare_draining"), 1.0);
    assert_eq!(http::get(node.admin, "/readyz").status, 503);
    let mut prompt = setup(&draining("60s", "8s", "5s")).start();
    let other: Vec<Socket> = (0..20).map(|_| guest(&prompt)).collect();
    prompt.signal("INT");
    for mut socket in other {
        assert_eq!(socket.wire.close_code(), Some(1012));
        let closing = at_stage(&prompt, "closing");
        assert_eq!(closing["connections_then"], 20);
        if closing["connections_left"].as_u64() < Some(15) {
            break;
        }
    }
    node.signal("TERM");
    for socket in &mut crowd {
        assert_eq!(socket.wire.close_code(), Some(1012));
    }
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
    prompt.kill();
}

#[test]
fn a_draining_node_tells_handshakes_on_open_connections_when_to_come_back() {
    let mut node = setup(&draining("0s", "10s", "5s")).start();
    let crowd: Vec<Socket> = (0..20).map(|_| guest(&node)).collect();
    let mut kept = TcpStream::connect(node.clients).expect("it listens");
    node.signal("INT");
    at_stage(&node, "closing");
    let handshake = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
                     connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    kept.write_all(handshake.as_bytes()).expect("still open");
    let answer = http::receive(kept);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let refused = "fanfare_connect_refused_total{reason=\"draining\"}";
    assert_eq!(metric(&node, refused), 1.0);
    drop(crowd);
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
}

#[test]
fn long_poll_sessions_are_told_to_go_as_well() {
    let mut node = longpoll::setup("5s")
        .env("FANFARE_DRAIN__WAIT", "0s")
        .env("FANFARE_DRAIN__SPREAD", "1s")
        .start();
    let pollers: Vec<_> = (0..6).map(|_| longpoll::v2(node.clients)).collect();
    for poller in &pollers {
        poller.joined("room:a");
    }
    let waiting: Vec<_> = pollers.iter().map(|poller| poller.poll_aside()).collect();
    longpoll::in_turn(&node);
    node.signal("TERM");
    for one in waiting {
        let (answer, took) = one.join().expect("an answer");
        // No new session here: the client comes back, and is sent elsewhere.
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.json()["status"], json!(500));
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
}

#[test]
fn the_supervisor_is_told_when_the_node_listens_and_when_it_goes() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let path = dir.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).expect("a socket");
    supervisor.set_read_timeout(Some(LIMIT)).expect("a limit");
    let hear = || {
        let mut buffer = [0; 512];
        let len = supervisor.recv(&mut buffer).expect("a word");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    };
    let mut node = setup(&draining("0s", "0s", "5s"))
        .env("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))
        .start();
    assert!(hear().starts_with("READY=1\n"));
    let _ada = guest(&node);
    node.signal("TERM");
    assert_eq!(hear(), "STOPPING=1\nSTATUS=draining 1 connections");
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
}

#[test]
fn a_supervisor_that_is_not_there_stops_nobody() {
    let node = setup("").env("NOTIFY_SOCKET", "/nowhere/notify").start();
    guest(&node).joined("room:a", &json!({}));
}
