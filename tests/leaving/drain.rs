//! Signals: readiness first, then the closes, then the flush, then the exit code.
//!
//! The server never closes with 1000, and never forgets a record that it answered or queued.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http;
use crate::support::limited::{guest, member, setup, wire};
use crate::support::metrics::await_metric;
use crate::support::node::Node;
use crate::support::paused::Paused;
use crate::support::phoenix::Socket;
use crate::support::postgres::Postgres;
use crate::support::ws::{Handshake, LIMIT};

pub const LONG: Duration = Duration::from_secs(15);

/// The settings of a drain.
pub fn draining(wait: &str, spread: &str, flush: &str) -> String {
    format!("[drain]\nwait = \"{wait}\"\nspread = \"{spread}\"\nflush = \"{flush}\"\n")
}

/// Waits until `/readyz` fails.
fn unready(node: &Node) {
    let end = Instant::now() + LIMIT;
    while http::get(node.admin, "/readyz").status == 200 {
        assert!(Instant::now() < end, "still ready");
    }
}

#[test]
fn sigterm_fails_readiness_first_and_then_closes_everybody_over_the_spread() {
    let mut node = setup(&draining("2s", "2s", "5s")).start();
    let mut crowd: Vec<Socket> = (0..40).map(|_| member(&node, "room:a")).collect();
    let told = Instant::now();
    node.signal("TERM");
    unready(&node);
    assert_eq!(http::get(node.admin, "/healthz").status, 200);
    // New clients are served as long as a load balancer may still send them here.
    let mut late = member(&node, "room:b");
    let closed: Vec<Duration> = crowd
        .iter_mut()
        .map(|socket| {
            assert_eq!(socket.wire.close_code(), Some(1012));
            told.elapsed()
        })
        .collect();
    assert!(closed[0] > Duration::from_millis(1_900), "{closed:?}");
    drop(crowd);
    assert_eq!(late.wire.close_code(), Some(1012));
    drop(late);
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
    assert!(
        told.elapsed() > Duration::from_millis(2_500),
        "{:?}",
        told.elapsed()
    );
}

#[test]
fn closes_are_spread_and_not_a_storm() {
    let mut node = setup(&draining("0s", "2s", "5s"))
        .flag("--workers", "1")
        .start();
    let crowd: Vec<Socket> = (0..40).map(|_| guest(&node)).collect();
    let told = Instant::now();
    node.signal("TERM");
    let waiting = crowd.into_iter().map(|mut socket| {
        std::thread::spawn(move || {
            assert_eq!(socket.wire.close_code(), Some(1012));
            told.elapsed().as_millis()
        })
    });
    let waiting: Vec<_> = waiting.collect();
    let mut moments: Vec<u128> = waiting
        .into_iter()
        .map(|one| one.join().expect("closed with 1012"))
        .collect();
    moments.sort_unstable();
    // Of 20 batches the first half goes in the first half of the time, give or take what a busy machine adds.
    assert!(
        moments[10] < 1_300 && moments[20] > 500 && moments[39] > 1_500,
        "{moments:?}"
    );
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
}

#[test]
fn after_the_wait_nobody_is_let_in() {
    let mut node = setup(&draining("0s", "3s", "5s")).start();
    let mut silent: Vec<_> = (0..4).map(|_| wire(&node)).collect();
    node.signal("TERM");
    assert_eq!(silent[0].close_code(), Some(1012));
    let refused = std::net::TcpStream::connect(node.clients).is_err()
        || Handshake::new(node.clients, "vsn=2.0.0").open().is_err();
    assert!(refused, "a draining node let somebody in");
    drop(silent);
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
}

#[test]
fn sigint_skips_the_wait_and_an_empty_node_goes_at_once() {
    let mut node = setup(&draining("60s", "0s", "5s")).start();
    let mut ada = member(&node, "room:a");
    node.signal("INT");
    assert_eq!(ada.wire.close_code(), Some(1012));
    drop(ada);
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
    let mut empty = setup(&draining("60s", "60s", "5s")).start();
    let told = Instant::now();
    assert_eq!(empty.end("TERM", LONG), Some(0), "{}", empty.log());
    assert!(told.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_second_signal_closes_everybody_now_and_still_flushes() {
    let mut node = setup(&draining("60s", "60s", "5s")).start();
    let mut crowd: Vec<Socket> = (0..20).map(|_| member(&node, "room:a")).collect();
    let told = Instant::now();
    node.signal("TERM");
    unready(&node);
    node.signal("TERM");
    for socket in &mut crowd {
        assert_eq!(socket.wire.close_code(), Some(1012));
    }
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
    assert!(
        told.elapsed() < Duration::from_secs(5),
        "{:?}",
        told.elapsed()
    );
}

/// Queues records behind a database that stands still, then tells the node to go.
fn told_with_records_queued(node: &Node, ada: &mut Socket, count: u64) {
    for round in 1..=count {
        let said = json!({"message": format!("round {round}")});
        ada.push(&Value::Null, "chat_room:hall", "new_message", &said);
    }
    await_metric(node, "fanfare_writer_queue", |queued| {
        queued == count as f64
    });
    node.signal("INT");
    assert_eq!(ada.wire.close_code(), Some(1012));
}

#[test]
fn what_was_accepted_before_the_signal_is_stored_before_the_exit() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let mut node = setup(&draining("0s", "0s", "20s"))
        .database(&database)
        .start();
    let mut ada = member(&node, "chat_room:hall");
    let paused = Paused::postgres(&postgres);
    told_with_records_queued(&node, &mut ada, 50);
    drop((ada, paused));
    assert_eq!(node.ended(LONG), Some(0), "{}", node.log());
    let stored = postgres.sql(
        &database,
        "select count(*), min(seq), max(seq) from messages",
    );
    assert_eq!(stored, "50|1|50");
}

#[test]
fn records_that_could_not_be_stored_are_counted_in_the_last_line_and_the_exit_code_is_1() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let mut node = setup(&draining("0s", "0s", "1s"))
        .database(&database)
        .start();
    let mut ada = member(&node, "chat_room:hall");
    let _paused = Paused::postgres(&postgres);
    told_with_records_queued(&node, &mut ada, 7);
    drop(ada);
    assert_eq!(node.ended(LONG), Some(1), "{}", node.log());
    let log = node.log();
    let last = log.lines().last().expect("a last line");
    assert_eq!(last, "fanfare: 7 records could not be stored");
}
