//! Retention from outside: what is swept is told as a gap, never as a reset.
//!
//! Two nodes share a database and nothing else, so that the second one remembers nothing.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::http;
use support::node::{Node, Setup};
use support::phoenix::Socket;
use support::postgres::Postgres;
use support::token::{self, SECRET};

const CHANNELS: &str = r#"
[[channels]]
topic = "chat_room:kept"
kind = "chat_room"

[[channels]]
topic = "chat_room:*"
kind = "chat_room"
keep_records = 2

[store]
sweep_every = "50ms"
sweep_grace = "0s"
"#;

fn node(database: &str) -> Node {
    let setup = Setup::new().secret(SECRET).config(CHANNELS);
    setup.database(database).start()
}

/// Waits until the nodes have removed so many records in all.
fn swept(nodes: &[&Node], records: u64) {
    let removed = |node: &&Node| -> u64 {
        let page = http::get(node.admin, "/metrics").body;
        let name = "fanfare_sweep_records_total ";
        let found = page.lines().find_map(|line| line.strip_prefix(name));
        found.map_or(0, |count| count.parse().expect("a whole number"))
    };
    let end = Instant::now() + Duration::from_secs(20);
    while nodes.iter().map(removed).sum::<u64>() < records {
        assert!(Instant::now() < end, "nobody sweeps");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_client_that_resumes_is_told_what_was_swept() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let first = node(&database);
    let mut ada = Socket::open(first.clients, &token::player("42", "ada"));
    for topic in ["chat_room:hall", "chat_room:kept"] {
        ada.joined(topic, &json!({}));
        for text in ["one", "two", "three", "four", "five"] {
            let (status, said) = ada.call(topic, "new_message", &json!({ "message": text }));
            assert_eq!(status, "ok", "{said}");
        }
    }
    let second = node(&database);
    swept(&[&first, &second], 3);
    let mut back = Socket::open(second.clients, &token::player("43", "bob"));
    let epoch = ada.join("chat_room:hall", &json!({})).1["epoch"].clone();
    let seen = json!({ "last_seen_id": 1, "last_seen_epoch": epoch });
    let joined = back.joined("chat_room:hall", &seen);
    assert_eq!(joined["gap"], json!({ "from": 2, "to": 3 }));
    assert_eq!(joined["last_id"], 5);
    for id in [4, 5] {
        assert_eq!(back.event("chat_room:hall", "new_message")["id"], id);
    }
    let kept = back.joined("chat_room:kept", &json!({ "last_seen_id": 1 }));
    assert_eq!((&kept["gap"], &kept["last_id"]), (&Value::Null, &json!(5)));
}
