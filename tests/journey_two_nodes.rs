//! Two nodes, Redis and Postgres: stock clients save on one, hear it on the other, and resume across.
//!
//! Everything is started here, privately; nothing is mocked.

mod support;

use std::time::Duration;

use support::journey::{Journey, Player};
use support::node::{self, Node, Setup};
use support::postgres::Postgres;
use support::redis::Redis;
use support::token::SECRET;
use tokio_postgres::{Client, NoTls};

const CHANNELS: &str = r#"
[[channels]]
topic = "score:*"
kind = "score"
auto_create = true

[[channels]]
topic = "chat_room:*"
kind = "chat_room"

[[channels]]
topic = "videos:*"
kind = "videos"
auto_create = true

[drain]
spread = "1s"
"#;

fn node(redis: &Redis, database: &str) -> Node {
    let setup = Setup::new().config(CHANNELS).secret(SECRET);
    setup.redis(&redis.url()).database(database).start()
}

fn player(id: &str, name: &str) -> Player {
    Player {
        id: id.to_owned(),
        name: name.to_owned(),
        token: node::token(SECRET, id, name),
    }
}

#[test]
fn what_is_saved_on_one_node_is_heard_and_resumed_on_the_other() {
    let (redis, postgres) = (Redis::start(), Postgres::start());
    let database = postgres.create_database();
    let mut first = node(&redis, &database);
    let mut second = node(&redis, &database);
    let journey = Journey::travel(
        &first.socket_url(),
        &second.socket_url(),
        [player("42", "ada"), player("43", "grace")],
        [player("44", "linus"), player("45", "barbara")],
    );
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(rows(&database, &journey));
    for node in [&mut first, &mut second] {
        assert_eq!(
            node.end("INT", Duration::from_secs(30)),
            Some(0),
            "{}",
            node.log()
        );
    }
}

/// What the tables must hold after the journey, with the fields that the server made.
async fn rows(url: &str, journey: &Journey) {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("Postgres answers");
    let connection = tokio::spawn(connection);
    let score = "select r.seq, r.uid::text, r.player_id::text, g.slug || ' ' || r.player_score \
                 from gameplays r join games g on g.id = r.game_id order by r.seq";
    let chat = "select seq, uid::text, player_id::text, room || ' ' || name || ' ' || message \
                from messages order by seq";
    let video = "select seq, uid::text, player_id::text, video_id || ' ' || body || ' ' || at \
                 from annotations order by seq";
    let ways = ["v2", "v1"];
    let chat_text = |id: usize| {
        let way = ways[(id - 1) % 2];
        format!("hall {} round {id} with {way}", journey.author(id).name)
    };
    table(&client, score, journey, "score", |id| {
        format!("chess {}", 100 + id)
    })
    .await;
    table(&client, chat, journey, "chat", chat_text).await;
    table(&client, video, journey, "video", |id| {
        format!("7 note {id} {}", 1_000 * id)
    })
    .await;
    for name in ["gameplays", "messages", "annotations"] {
        let late = format!(
            "select count(*) from {name} where abs(extract(epoch from now() - inserted_at)) > 300"
        );
        let row = client.query_one(&late, &[]).await.expect("a count");
        assert_eq!(
            row.get::<_, i64>(0),
            0,
            "{name} has a moment that is not now"
        );
    }
    let players = client
        .query("select id::text, username from players order by 1", &[])
        .await;
    let players: Vec<(String, String)> = players
        .expect("players")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let writer = |id: &str, name: &str| players.contains(&(id.to_owned(), name.to_owned()));
    assert!(writer("42", "ada") && writer("43", "grace"), "{players:?}");
    drop(client);
    connection.await.expect("no panic").expect("a clean end");
}

async fn table(
    client: &Client,
    query: &str,
    journey: &Journey,
    kind: &str,
    text: impl Fn(usize) -> String,
) {
    let rows = client
        .query(query, &[])
        .await
        .unwrap_or_else(|why| panic!("{query}: {why:?}"));
    let found: Vec<(i64, String, String, String)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect();
    let expected: Vec<(i64, String, String, String)> = (1..=journey.records())
        .map(|id| {
            let place = i64::try_from(id).expect("a small id");
            (
                place,
                journey.uid(kind, id),
                journey.author(id).id.clone(),
                text(id),
            )
        })
        .collect();
    assert_eq!(found, expected, "{kind}");
}
