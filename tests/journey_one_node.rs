//! One node without any dependency: the stock clients' journey, and two people on the demo page.
//!
//! It is started as a newcomer would: no secret, no file, no flags but free ports.

mod support;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use support::chromium;
use support::journey::{Journey, Player};
use support::node::{Node, Setup};

fn player(node: &Node, name: &str) -> Player {
    let (token, id) = node.dev_token(name);
    Player {
        id,
        name: name.to_owned(),
        token,
    }
}

fn database(node: &Node) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    Connection::open_with_flags(node.path("fanfare.db"), flags).expect("the node's database")
}

fn texts(connection: &Connection, query: &str) -> Vec<String> {
    let mut statement = connection
        .prepare(query)
        .unwrap_or_else(|why| panic!("{query}: {why}"));
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a text")).collect()
}

#[test]
fn stock_clients_save_hear_and_resume() {
    let node = Setup::new().start();
    let url = node.socket_url();
    let writers = [player(&node, "ada"), player(&node, "grace")];
    let readers = [player(&node, "linus"), player(&node, "barbara")];
    let journey = Journey::travel(&url, &url, writers, readers);
    let connection = database(&node);
    let ids = 1..=journey.records();
    let author = |id: usize| &journey.author(id).name;
    let scores = "select seq || ' ' || username || ' ' || player_score from gameplays \
                  join players on players.id = player_id order by seq";
    let expected = |id| format!("{id} {} {}", author(id), 100 + id);
    assert_eq!(
        texts(&connection, scores),
        ids.clone().map(expected).collect::<Vec<_>>()
    );
    let messages = "select seq || ' ' || room || ' ' || name from messages order by seq";
    let expected = |id| format!("{id} hall {}", author(id));
    assert_eq!(
        texts(&connection, messages),
        ids.clone().map(expected).collect::<Vec<_>>()
    );
    let notes =
        "select seq || ' ' || video_id || ' ' || body || ' ' || at from annotations order by seq";
    let expected = |id| format!("{id} 7 note {id} {}", 1_000 * id);
    assert_eq!(
        texts(&connection, notes),
        ids.map(expected).collect::<Vec<_>>()
    );
}

#[test]
fn two_people_play_and_talk_on_the_demo_page() {
    let node = Setup::new().start();
    let url = format!("http://{}/", node.clients);
    let shown = chromium::drive("demo.mjs", json!({"url": url}));
    assert_eq!(
        shown["troubles"],
        json!([]),
        "the page complained or went elsewhere"
    );
    assert_eq!(shown["title"], "Fanfare", "a message ran as a script");
    let points = shown["collected"]
        .as_str()
        .and_then(|text| text.parse::<i64>().ok());
    assert!(points.is_some_and(|points| points >= 2), "{shown}");
    let points = points.expect("just seen");
    for moment in ["live", "again"] {
        let scores = list(&shown[moment]["scores"]);
        assert_eq!(scores.len(), 1, "{moment}: {scores:?}");
        assert!(
            scores[0].contains("ada") && scores[0].contains(&points.to_string()),
            "{scores:?}"
        );
        let messages = list(&shown[moment]["messages"]);
        let said = [
            "hello from the desk",
            shown["hostile"].as_str().expect("a text"),
        ];
        in_order(&messages, &said);
    }
    let messages = list(&shown["resumed"]);
    let hostile = shown["hostile"].as_str().expect("a text");
    in_order(
        &messages,
        &["hello from the desk", hostile, "said while you were away"],
    );
    let connection = database(&node);
    let saved = texts(
        &connection,
        "select cast(player_score as text) from gameplays",
    );
    assert_eq!(saved, [points.to_string()]);
    let messages = texts(&connection, "select message from messages order by seq");
    assert_eq!(
        messages,
        ["hello from the desk", hostile, "said while you were away"]
    );
}

fn list(value: &Value) -> Vec<String> {
    let list = value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"));
    list.iter()
        .map(|text| text.as_str().expect("a text").to_owned())
        .collect()
}

/// Exactly these texts, each within its own row, in this order.
fn in_order(rows: &[String], texts: &[&str]) {
    assert_eq!(rows.len(), texts.len(), "{rows:?}");
    for (row, text) in rows.iter().zip(texts) {
        assert!(row.contains(text), "{text} is not in {row}");
    }
}
