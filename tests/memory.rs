//! A node's memory of the newest records: joins that the store need not answer.
//!
//! Real Postgres, stopped for a while; nothing here waits by the clock.

mod support;

use serde_json::{Value, json};
use support::http;
use support::node::{Node, Setup};
use support::phoenix::Socket;
use support::postgres::Postgres;
use support::token::{self, SECRET};

fn node(database: &str) -> Node {
    let setup = Setup::new().secret(SECRET).flag("--anonymous", "allow");
    setup.database(database).start()
}

fn metric(node: &Node, line: &str) -> u64 {
    let page = http::get(node.admin, "/metrics").body;
    let found = page.lines().find_map(|text| text.strip_prefix(line));
    found.map_or(0, |value| value.trim().parse().expect("a whole number"))
}

fn say(socket: &mut Socket, topic: &str, text: &str) -> u64 {
    let (status, response) = socket.call(topic, "new_message", &json!({ "message": text }));
    assert_eq!(status, "ok", "{response}");
    response["id"].as_u64().expect("an id")
}

fn hear(socket: &mut Socket, topic: &str) -> (u64, String) {
    let message = socket.event(topic, "new_message");
    let text = message["message"].as_str().expect("a text").to_owned();
    (message["id"].as_u64().expect("an id"), text)
}

#[test]
fn a_crowd_of_joins_reads_the_store_once_a_topic() {
    let postgres = Postgres::start();
    let node = node(&postgres.create_database());
    let mut ada = Socket::open(node.clients, &token::player("42", "ada"));
    ada.joined("chat_room:hall", &json!({}));
    for text in ["one", "two", "three"] {
        say(&mut ada, "chat_room:hall", text);
    }
    let before = metric(&node, "fanfare_histories_total{source=\"store\"}");
    for _ in 0..50 {
        let mut guest = Socket::open(node.clients, "");
        let joined = guest.joined("chat_room:hall", &json!({}));
        assert_eq!(joined["last_id"], 3);
        let heard: Vec<_> = (0..3)
            .map(|_| hear(&mut guest, "chat_room:hall").0)
            .collect();
        assert_eq!(heard, [1, 2, 3]);
    }
    assert_eq!(
        metric(&node, "fanfare_histories_total{source=\"store\"}"),
        before
    );
    assert_eq!(
        metric(&node, "fanfare_histories_total{source=\"memory\"}"),
        50
    );
}

#[test]
fn while_the_store_is_down_joins_are_served_from_memory_or_refused() {
    let postgres = Postgres::start();
    let node = node(&postgres.create_database());
    let mut ada = Socket::open(node.clients, &token::player("42", "ada"));
    let epoch = ada.joined("chat_room:hall", &json!({}))["epoch"].clone();
    for text in ["one", "two", "three"] {
        say(&mut ada, "chat_room:hall", text);
    }
    postgres.stop();
    let mut fresh = Socket::open(node.clients, "");
    assert_eq!(fresh.joined("chat_room:hall", &json!({}))["last_id"], 3);
    assert_eq!(hear(&mut fresh, "chat_room:hall"), (1, String::from("one")));
    let mut back = Socket::open(node.clients, "");
    let seen = json!({ "last_seen_id": 2, "last_seen_epoch": epoch });
    let joined = back.joined("chat_room:hall", &seen);
    assert_eq!(
        (&joined["last_id"], &joined["gap"]),
        (&json!(3), &Value::Null)
    );
    assert_eq!(hear(&mut back, "chat_room:hall").0, 3);
    let (status, response) = back.join("chat_room:elsewhere", &json!({}));
    assert_eq!(
        (status.as_str(), &response["reason"]),
        ("error", &json!("unavailable"))
    );
    postgres.restart();
    assert_eq!(say(&mut ada, "chat_room:hall", "four"), 4);
    for listener in [&mut ada, &mut back] {
        while hear(listener, "chat_room:hall").0 != 4 {}
    }
}

#[test]
fn a_store_that_lost_records_gets_a_new_epoch_and_everybody_is_told() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let node = node(&database);
    let mut ada = Socket::open(node.clients, &token::player("42", "ada"));
    let epoch = ada.joined("chat_room:hall", &json!({}))["epoch"].clone();
    for text in ["one", "two", "three"] {
        say(&mut ada, "chat_room:hall", text);
    }
    // As after a restore: the newest record is gone and the sequencer knows nothing of it.
    postgres.sql(&database, "DELETE FROM messages WHERE seq = 3");
    postgres.sql(
        &database,
        "UPDATE topics SET last_seq = 2 WHERE topic = 'chat_room:hall'",
    );
    let told = ada.event("chat_room:hall", "gap");
    assert_eq!(told["reset"], true);
    assert_ne!(told["epoch"], epoch);
    assert_eq!(say(&mut ada, "chat_room:hall", "again"), 3);
    while hear(&mut ada, "chat_room:hall") != (3, String::from("again")) {}
    let mut back = Socket::open(node.clients, "");
    let seen = json!({ "last_seen_id": 3, "last_seen_epoch": epoch });
    let joined = back.joined("chat_room:hall", &seen);
    assert_eq!(joined["gap"]["reset"], true);
}
