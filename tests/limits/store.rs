//! The limits that protect from a dependency: on joins that wait, on records that queue, on a busy worker.
//!
//! A dependency that stands still never holds up a heartbeat, and nothing that was accepted is lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::limited::{guest, member, setup};
use crate::support::metrics::{await_metric, metric};
use crate::support::node::Node;
use crate::support::paused::Paused;
use crate::support::phoenix::{Message, Socket, Version};
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::token;

/// A heartbeat is answered while other things stand still.
fn beats(socket: &mut Socket) {
    let asked = Instant::now();
    let (status, _) = socket.call("phoenix", "heartbeat", &json!({}));
    assert_eq!(status, "ok");
    assert!(
        asked.elapsed() < Duration::from_millis(500),
        "a late heartbeat"
    );
}

/// A join is refused within the limit of 1 s, and not before; heartbeats are answered meanwhile.
fn join_times_out(node: &Node, socket: &mut Socket, topic: &str) {
    let asked = Instant::now();
    let join = socket.push(&json!("9"), topic, "phx_join", &json!({}));
    beats(socket);
    beats(socket);
    let (status, response) = socket.reply(&join);
    assert_eq!(
        (status.as_str(), &response["reason"]),
        ("error", &json!("unavailable"))
    );
    let took = asked.elapsed();
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(3),
        "{took:?}"
    );
    let reached = "fanfare_limit_reached_total{limit=\"join_seconds\"}";
    assert_eq!(metric(node, reached), 1.0);
}

#[test]
fn a_join_does_not_wait_for_a_database_that_stands_still() {
    let postgres = Postgres::start();
    let limits = "[limits]\njoin_seconds = 1";
    let node = setup(limits).database(&postgres.create_database()).start();
    let mut ada = member(&node, "room:a");
    let paused = Paused::postgres(&postgres);
    join_times_out(&node, &mut ada, "chat_room:hall");
    // A token's player is in the database, too.
    let asked = Instant::now();
    let refused = Socket::try_open(node.clients, Version::V2, &token::player("42", "ada"));
    let refused = refused.expect_err("no player");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(3));
    guest(&node).joined("room:a", &json!({}));
    drop(paused);
    let end = Instant::now() + Duration::from_secs(8);
    while ada.join("chat_room:hall", &json!({})).0 != "ok" {
        assert!(
            Instant::now() < end,
            "the database is back, the joins are not"
        );
    }
}

#[test]
fn a_join_does_not_wait_for_a_redis_that_stands_still() {
    let redis = Redis::start();
    let node = setup("[limits]\njoin_seconds = 1")
        .redis(&redis.url())
        .start();
    let mut ada = member(&node, "room:a");
    redis.pause();
    join_times_out(&node, &mut ada, "room:b");
    // A topic that is subscribed already needs nobody.
    guest(&node).joined("room:a", &json!({}));
    redis.resume();
    let end = Instant::now() + Duration::from_secs(8);
    while ada.join("room:b", &json!({})).0 != "ok" {
        assert!(Instant::now() < end, "Redis is back, the joins are not");
    }
}

#[test]
fn a_relay_is_refused_when_the_queue_to_redis_is_full_and_what_was_taken_arrives() {
    let mut redis = Redis::start();
    let queue = "[broker]\npublish_queue = 64\n[limits]\nmessages_per_second = 0\n";
    let [near, far] = [(); 2].map(|()| setup(queue).redis(&redis.url()).start());
    let mut ada = member(&near, "room:a");
    let mut grace = member(&far, "room:a");
    let taken = ada.call("room:a", "new_message", &json!({"n": 0})).0;
    assert_eq!(taken, "ok");
    redis.kill();
    await_metric(&near, "fanfare_broker_connected", |up| up == 0.0);
    let mut taken = 1;
    let refused = loop {
        let (status, response) = ada.call("room:a", "new_message", &json!({"n": taken}));
        if status != "ok" {
            break response;
        }
        taken += 1;
        assert!(taken < 100, "the queue has no end");
    };
    assert_eq!(refused["reason"], "unavailable");
    assert!(taken > 30, "only {taken} were taken");
    redis.restart();
    await_metric(&near, "fanfare_broker_connected", |up| up == 1.0);
    let end = Instant::now() + Duration::from_secs(10);
    while ada.call("room:a", "new_message", &json!({"n": taken})).0 != "ok" {
        assert!(Instant::now() < end, "Redis is back, the room is not");
    }
    for n in 0..=taken {
        let next = grace.find(|m| matches!(m.event.as_str(), "new_message" | "gap"));
        assert_eq!(
            (next.event.as_str(), &next.payload["n"]),
            ("new_message", &json!(n))
        );
    }
    assert!(metric(&near, "fanfare_broker_refused_total") >= 1.0);
}

#[test]
fn a_full_lane_refuses_at_once_and_keeps_what_it_took() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let limits = "[limits]\nlane_records = 3\n[store]\nlanes = 1\nbatch_records = 1\n";
    let node = setup(limits).database(&database).start();
    let mut ada = member(&node, "chat_room:hall");
    let paused = Paused::postgres(&postgres);
    let mut asked: Vec<(String, Value)> = (0..10)
        .map(|round| {
            let text = format!("round {round}");
            let said = json!({"message": text});
            let reference = ada.push(&Value::Null, "chat_room:hall", "new_message", &said);
            (text, reference)
        })
        .collect();
    let started = Instant::now();
    let replies: Vec<Message> = ada.settle();
    assert!(started.elapsed() < Duration::from_secs(1));
    let replies: Vec<&Message> = replies.iter().filter(|m| m.event == "phx_reply").collect();
    for reply in &replies {
        assert_eq!(reply.payload["response"]["reason"], "unavailable");
        asked.retain(|(_, reference)| *reference != reply.reference);
    }
    // Three wait, and one may have been on its way to the database before them.
    assert!((3..=4).contains(&asked.len()), "{asked:?}");
    assert_eq!(asked.len() + replies.len(), 10);
    let refused = metric(&node, "fanfare_writer_refused_total");
    assert_eq!(refused, replies.len() as f64);
    assert_eq!(metric(&node, "fanfare_writer_queue"), asked.len() as f64);
    drop(paused);
    for (at, (_, reference)) in asked.iter().enumerate() {
        let (status, response) = ada.reply(reference);
        assert_eq!((status.as_str(), &response["id"]), ("ok", &json!(at + 1)));
    }
    let texts: Vec<String> = asked.into_iter().map(|(text, _)| text).collect();
    let stored = "select string_agg(message, ',' order by seq) from messages";
    assert_eq!(postgres.sql(&database, stored), texts.join(","));
}

#[test]
fn a_worker_that_is_flooded_reads_what_did_not_fit_from_the_store() {
    const RECORDS: u64 = 400;
    // Without presence: its broadcasts are no records, and a flood may cost them.
    let config = "[limits]\nmailbox_entries = 16\nmessages_per_second = 0\n\
        [[channels]]\ntopic = \"chat_room:*\"\nkind = \"chat_room\"\npresence = false\n";
    let node = setup("").config(config).flag("--workers", "1").start();
    let mut ada = member(&node, "chat_room:hall");
    let mut grace = member(&node, "chat_room:hall");
    let database = rusqlite::Connection::open(node.path("fanfare.db")).expect("the database");
    // A worker may be quick enough to have room every time: then it is flooded again.
    let mut rounds = 0..20;
    while metric(&node, "fanfare_mailboxes_healed_total") == 0.0 {
        let before = rounds.next().expect("a mailbox that is full once") * RECORDS;
        // While somebody else holds the database, the records gather; then they are committed at once.
        database.execute_batch("begin exclusive").expect("the lock");
        let asked: Vec<Value> = (1..=RECORDS)
            .map(|round| {
                let said = json!({"message": format!("round {round}")});
                ada.push(&Value::Null, "chat_room:hall", "new_message", &said)
            })
            .collect();
        await_metric(&node, "fanfare_writer_queue", |count| {
            count == RECORDS as f64
        });
        database
            .execute_batch("rollback")
            .expect("the lock is given back");
        for (id, reference) in (before + 1..).zip(&asked) {
            let (status, response) = ada.reply(reference);
            assert_eq!((status.as_str(), &response["id"]), ("ok", &json!(id)));
        }
        for id in before + 1..=before + RECORDS {
            let next = grace.find(|m| matches!(m.event.as_str(), "new_message" | "gap"));
            assert_eq!(
                (next.event.as_str(), &next.payload["id"]),
                ("new_message", &json!(id)),
                "{}",
                next.payload
            );
        }
    }
    let dropped = "fanfare_deliveries_dropped_total{reason=\"mailbox\"}";
    assert_eq!(metric(&node, dropped), 0.0);
}
