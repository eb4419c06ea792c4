//! The journey of the stock clients: save on one node, hear it on another, leave, resume elsewhere.
//!
//! It judges what the clients heard; what is in the database is the matter of each test.

use std::time::Duration;

use serde_json::{Value, json};

use super::npm;

/// What is joined, by the names that the script uses, and the event of its records.
const TOPICS: [(&str, &str, &str); 3] = [
    ("score", "score:chess", "save_score"),
    ("chat", "chat_room:hall", "new_message"),
    ("video", "videos:7", "new_annotation"),
];

/// Rounds that the leaver misses; a writer saves once before and once after them.
const MISSED: usize = 2;

/// A player and the token that says so.
#[derive(Debug, Clone)]
pub struct Player {
    /// Its id.
    pub id: String,
    /// Its user name.
    pub name: String,
    /// Its token.
    pub token: String,
}

/// What a journey left behind: for each kind, the ids and uids in the order of saving.
#[derive(Debug)]
pub struct Journey {
    /// The writers: first V2, then V1.
    pub writers: [Player; 2],
    saved: Value,
}

impl Journey {
    /// Travels: `writers` save at `write`, two others listen at `read`.
    pub fn travel(write: &str, read: &str, writers: [Player; 2], readers: [Player; 2]) -> Self {
        let versions = ["v2", "v1"];
        let named = |players: &[Player; 2]| -> Vec<Value> {
            let pairs = versions.iter().zip(players);
            let entry =
                |(version, who): (&&str, &Player)| json!({"version": version, "token": who.token});
            pairs.map(entry).collect()
        };
        let topics: serde_json::Map<String, Value> = TOPICS
            .iter()
            .map(|(kind, topic, event)| {
                ((*kind).to_owned(), json!({"topic": topic, "event": event}))
            })
            .collect();
        let input = json!({
            "write": write, "read": read, "topics": topics, "missed": MISSED,
            "writers": named(&writers), "readers": named(&readers),
        });
        let heard = npm::script("journey.mjs", &input, Duration::from_secs(120));
        let journey = Self {
            writers,
            saved: heard["saved"].clone(),
        };
        journey.check(&heard);
        journey
    }

    /// How many records each topic has: every writer saved before, during and after.
    pub fn records(&self) -> usize {
        self.writers.len() * (MISSED + 2)
    }

    /// Who saved the record with this id: writers take turns.
    pub fn author(&self, id: usize) -> &Player {
        &self.writers[(id - 1) % self.writers.len()]
    }

    /// The uid that the writer was told for an id.
    pub fn uid(&self, kind: &str, id: usize) -> String {
        let uid = self.saved[kind][id - 1]["uid"].as_str();
        uid.expect("a uid in the reply").to_owned()
    }

    fn check(&self, heard: &Value) {
        let count = self.records();
        let turn = self.writers.len();
        for (kind, _, _) in TOPICS {
            assert_eq!(ids(&self.saved[kind]), upto(1, count), "replies of {kind}");
            self.same(&heard["stayer"]["seen"][kind], kind, upto(1, count));
            for writer in 0..turn {
                self.same(
                    &heard["writers"][writer]["seen"][kind],
                    kind,
                    upto(1, count),
                );
            }
            self.same(&heard["leaver"]["seen"][kind], kind, upto(1, turn));
        }
        let missed = upto(turn + 1, turn * (1 + MISSED));
        let after = upto(turn * (1 + MISSED) + 1, count);
        let back = &heard["back"];
        self.same(&back["joins"]["score"]["scores"], "score", missed.clone());
        self.same(
            &back["joins"]["video"]["annotations"],
            "video",
            missed.clone(),
        );
        self.same(&back["seen"]["score"], "score", after.clone());
        self.same(&back["seen"]["video"], "video", after.clone());
        self.same(&back["seen"]["chat"], "chat", [missed, after].concat());
        for (kind, _, _) in TOPICS {
            let join = &back["joins"][kind];
            assert_eq!(join["gap"], Value::Null, "{kind}: {join}");
            assert_eq!(
                join["epoch"], heard["leaver"]["joins"][kind]["epoch"],
                "{kind}"
            );
        }
    }

    /// The list has exactly these ids in this order, and each record is what was saved.
    fn same(&self, list: &Value, kind: &str, expected: Vec<u64>) {
        assert_eq!(ids(list), expected, "{kind}: {list}");
        for record in list.as_array().expect("a list of records") {
            self.record(kind, record);
        }
    }

    fn record(&self, kind: &str, record: &Value) {
        let id = record["id"].as_u64().expect("an id");
        let id = usize::try_from(id).expect("a small id");
        let who = self.author(id);
        // Each round saves one record of each kind, so that the round is the id.
        let mut expected = vec![("uid", json!(self.uid(kind, id)))];
        match kind {
            "score" => expected.extend([
                ("player_score", json!(100 + id)),
                ("username", json!(who.name)),
                ("player_id", json!(who.id)),
            ]),
            "chat" => expected.push(("name", json!(who.name))),
            _ => expected.extend([
                ("body", json!(format!("note {id}"))),
                ("at", json!(1_000 * id)),
                ("user", json!({"id": who.id, "username": who.name})),
            ]),
        }
        for (field, value) in expected {
            assert_eq!(record[field], value, "`{field}` of {kind}: {record}");
        }
        let moment = record["inserted_at"].as_str();
        assert!(moment.is_some_and(|text| text.contains('T')), "{record}");
        if kind == "chat" {
            let message = record["message"].as_str();
            assert!(
                message.is_some_and(|text| text.starts_with(&format!("round {id} "))),
                "{record}"
            );
        }
    }
}

fn upto(from: usize, to: usize) -> Vec<u64> {
    (from as u64..=to as u64).collect()
}

fn ids(list: &Value) -> Vec<u64> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    let id = |record: &Value| {
        record["id"]
            .as_u64()
            .unwrap_or_else(|| panic!("no id: {record}"))
    };
    list.iter().map(id).collect()
}
