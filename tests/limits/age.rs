//! The age of connections: they end with 1012, not all at once, and who resumes has lost nothing.
//!
//! A node without the setting never ends a connection that speaks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::limited::{self, guest, member};
use crate::support::longpoll;
use crate::support::metrics::metric;
use crate::support::node::Node;
use crate::support::phoenix::Socket;
use crate::support::ws::Frame;

fn retired(node: &Node) -> f64 {
    let reached = "fanfare_limit_reached_total{limit=\"max_connection_age_seconds\"}";
    metric(node, reached)
}

/// Beats until the socket is closed; the code, and when.
fn closed(mut socket: Socket, since: Instant) -> (Option<u16>, f64) {
    let code = socket.wire.close_code();
    (code, since.elapsed().as_secs_f64())
}

#[test]
fn connections_of_one_instant_leave_over_two_fifths_of_the_age() {
    let node = limited::node("max_connection_age_seconds = 5");
    let since = Instant::now();
    let crowd: Vec<Socket> = (0..60).map(|_| guest(&node)).collect();
    let waiting = crowd
        .into_iter()
        .map(|socket| std::thread::spawn(move || closed(socket, since)));
    let waiting: Vec<_> = waiting.collect();
    let mut moments = Vec::new();
    for one in waiting {
        let (code, at) = one.join().expect("no panic");
        assert_eq!(code, Some(1012));
        assert!((3.9..9.5).contains(&at), "{at}");
        moments.push(at);
    }
    moments.sort_unstable_by(f64::total_cmp);
    // Half a second holds at most two looks of the sweep.
    let most = moments
        .iter()
        .map(|from| {
            let within = moments.iter();
            within.filter(|at| (*from..from + 0.5).contains(at)).count()
        })
        .max();
    assert!(most < Some(50), "{moments:?}");
    assert!(moments[59] - moments[0] > 0.9, "{moments:?}");
    assert_eq!(retired(&node), 60.0);
}

/// Takes the records that have come, each the one after the last; the end, if the node closed.
fn hear(grace: &mut Socket, seen: &mut u64) -> Result<(), Frame> {
    let pause = Instant::now() + Duration::from_millis(20);
    while let Some(message) = grace.next_or_end(pause)? {
        if message.event == "new_message" {
            *seen += 1;
            assert_eq!(message.payload["id"], json!(seen));
        }
    }
    Ok(())
}

/// Drops what has come; the end, if the node closed.
fn drain(ada: &mut Socket) -> Result<(), Frame> {
    let pause = Instant::now() + Duration::from_millis(5);
    while ada.next_or_end(pause)?.is_some() {}
    Ok(())
}

#[test]
fn who_resumes_has_lost_nothing() {
    // Long enough for a join, however slow the machine.
    let node = limited::node("max_connection_age_seconds = 2");
    let mut ada = member(&node, "chat_room:hall");
    let mut grace = member(&node, "chat_room:hall");
    let (mut seen, mut closes) = (0, 0);
    let end = Instant::now() + Duration::from_secs(60);
    while closes < 3 {
        assert!(Instant::now() < end, "{closes} closes");
        let message = json!({"message": "still here"});
        ada.push(&Value::Null, "chat_room:hall", "new_message", &message);
        if let Err(end) = drain(&mut ada) {
            assert_eq!(end, Frame::Close(Some(1012)));
            ada = member(&node, "chat_room:hall");
        }
        if let Err(end) = hear(&mut grace, &mut seen) {
            assert_eq!(end, Frame::Close(Some(1012)));
            closes += 1;
            grace = guest(&node);
            grace.joined("chat_room:hall", &json!({"last_seen_id": seen}));
        }
    }
    let mut last = guest(&node);
    let stored = last.joined("chat_room:hall", &json!({"last_seen_id": seen}))["last_id"].clone();
    while json!(seen) != stored {
        assert!(hear(&mut last, &mut seen).is_ok(), "{seen} of {stored}");
    }
    assert!(seen > 20, "{seen} records");
}

#[test]
fn a_long_poll_session_ends_as_well() {
    let node = longpoll::setup("1s")
        .env("FANFARE_LIMITS__MAX_CONNECTION_AGE_SECONDS", "2")
        .start();
    let poller = longpoll::v2(node.clients);
    let since = Instant::now();
    let new = loop {
        let body = poller.poll().json();
        if body["status"] == json!(410) {
            break body;
        }
        assert!(since.elapsed() < Duration::from_secs(8), "{body}");
    };
    assert!(since.elapsed() > Duration::from_millis(1_500));
    assert_ne!(new["token"], json!(poller.token), "no new session");
    assert_eq!(retired(&node), 1.0);
}

#[test]
fn without_the_setting_nobody_is_told_to_go() {
    let node = limited::node("idle_seconds = 60");
    let mut ada = guest(&node);
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        ada.settle();
    }
    assert_eq!(retired(&node), 0.0);
}
