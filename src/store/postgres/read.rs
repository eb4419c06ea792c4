//! Reading Postgres: slices, heads, games, videos and players.
//!
//! It writes only rows that a first look makes, and the rating.

use std::sync::LazyLock;

use deadpool_postgres::Object;
use tokio_postgres::Row as Line;
use tokio_postgres::types::ToSql;

use super::Failure;
use super::append::make_topic;
use super::moment::Moment;
use crate::protocol::Topic;
use crate::store::row::{self, Cells, Keep, Row};
use crate::store::{Game, Head, Player, Range, Slice, StoreError, Video};

static NEWEST: LazyLock<String> = LazyLock::new(|| row::slice_sql('$', Keep::Newest));
static OLDEST: LazyLock<String> = LazyLock::new(|| row::slice_sql('$', Keep::Oldest));

/// Reads head and records in one statement, so in one snapshot; makes the topic's row if it is missing.
pub(super) async fn slice(client: &Object, topic: &Topic, range: Range) -> Result<Slice, Failure> {
    if let Some(slice) = find_slice(client, topic, range).await? {
        return Ok(slice);
    }
    make_topic(client, topic.as_str()).await?;
    let slice = find_slice(client, topic, range).await?;
    slice.ok_or_else(|| {
        StoreError::Unavailable(String::from("the topic was deleted while it was read")).into()
    })
}

async fn find_slice(
    client: &Object,
    topic: &Topic,
    range: Range,
) -> Result<Option<Slice>, Failure> {
    let (keep, from, to, count) = row::bounds(range);
    let sql = match keep {
        Keep::Newest => &NEWEST,
        Keep::Oldest => &OLDEST,
    };
    let statement = client.prepare_cached(sql).await?;
    let lines = client
        .query(&statement, &[&topic.as_str(), &from, &to, &count])
        .await?;
    let Some(first) = lines.first() else {
        return Ok(None);
    };
    let head = Head {
        last_id: row::id_of(first.try_get(0)?),
        epoch: first.try_get(1)?,
    };
    let mut records = Vec::with_capacity(lines.len());
    for line in &lines {
        if let Some(table) = line.try_get(2)? {
            records.push(row_at(line, table)?.into_record(topic)?);
        }
    }
    Ok(Some(Slice { head, records }))
}

fn row_at(line: &Line, table: i32) -> Result<Row, tokio_postgres::Error> {
    let Moment(inserted_at) = line.try_get(8)?;
    Ok(Row {
        table,
        seq: line.try_get(3)?,
        uid: line.try_get(4)?,
        client_key: line.try_get(5)?,
        player_id: line.try_get(6)?,
        username: line.try_get(7)?,
        inserted_at,
        cells: Cells {
            numbers: [line.try_get(9)?, line.try_get(10)?],
            texts: [line.try_get(11)?, line.try_get(12)?, line.try_get(13)?],
        },
    })
}

/// Reads many heads, in one statement.
pub(super) async fn heads(client: &Object, topics: &[Topic]) -> Result<Vec<Option<Head>>, Failure> {
    let statement = client
        .prepare_cached(
            "select t.last_seq, t.epoch from unnest($1::text[]) with ordinality as n (topic, place)
             left join topics t on t.topic = n.topic order by n.place",
        )
        .await?;
    let names: Vec<&str> = topics.iter().map(Topic::as_str).collect();
    let lines = client.query(&statement, &[&names]).await?;
    let head = |line: &Line| {
        let last_seq: Option<i64> = line.try_get(0)?;
        let epoch: Option<String> = line.try_get(1)?;
        Ok(last_seq.zip(epoch).map(|(last_seq, epoch)| Head {
            last_id: row::id_of(last_seq),
            epoch,
        }))
    };
    lines.iter().map(head).collect()
}

/// Runs a prepared statement that returns at most one row.
async fn find(
    client: &Object,
    sql: &str,
    arguments: &[&(dyn ToSql + Sync)],
) -> Result<Option<Line>, tokio_postgres::Error> {
    let statement = client.prepare_cached(sql).await?;
    client.query_opt(&statement, arguments).await
}

/// Finds a game, or makes it when asked to.
pub(super) async fn game(
    client: &Object,
    slug: &str,
    create: bool,
) -> Result<Option<Game>, Failure> {
    const FIND: &str = "select id, slug, name from games where slug = $1";
    let mut found = find(client, FIND, &[&slug]).await?;
    if found.is_none() && create {
        let make = "insert into games (slug, name) values ($1, $1) on conflict (slug) do nothing";
        find(client, make, &[&slug]).await?;
        found = find(client, FIND, &[&slug]).await?;
    }
    let game = |line: Line| {
        Ok(Game {
            id: line.try_get(0)?,
            slug: line.try_get(1)?,
            name: line.try_get(2)?,
        })
    };
    found.map(game).transpose()
}

/// Finds a video, or makes it when asked to.
pub(super) async fn video(
    client: &Object,
    id: i64,
    create: bool,
) -> Result<Option<Video>, Failure> {
    const FIND: &str = "select id, title, url from videos where id = $1";
    let mut found = find(client, FIND, &[&id]).await?;
    if found.is_none() && create {
        let make =
            "insert into videos (id, title, url) values ($1, $2, '') on conflict (id) do nothing";
        find(client, make, &[&id, &format!("Video {id}")]).await?;
        found = find(client, FIND, &[&id]).await?;
    }
    let video = |line: Line| {
        Ok(Video {
            id: line.try_get(0)?,
            title: line.try_get(1)?,
            url: line.try_get(2)?,
        })
    };
    found.map(video).transpose()
}

/// Finds a player; one that is missing is made when a name is given.
pub(super) async fn player(
    client: &Object,
    id: &str,
    username: Option<&str>,
) -> Result<Option<Player>, Failure> {
    const FIND: &str = "select id, username, rating from players where id = $1";
    let mut found = find(client, FIND, &[&id]).await?;
    if let (None, Some(username)) = (&found, username) {
        let make = "insert into players (id, username) values ($1, $2) on conflict (id) do nothing";
        find(client, make, &[&id, &username]).await?;
        // Another node may have been faster: its name stays, and is returned.
        found = find(client, FIND, &[&id]).await?;
    }
    found.map(player_at).transpose()
}

/// Raises a rating; never lowers it.
pub(super) async fn raise_rating(
    client: &Object,
    id: &str,
    rating: i64,
) -> Result<Option<Player>, Failure> {
    let sql = "update players set rating = greatest(rating, $2) where id = $1
               returning id, username, rating";
    let found = find(client, sql, &[&id, &rating]).await?;
    found.map(player_at).transpose()
}

fn player_at(line: Line) -> Result<Player, Failure> {
    Ok(Player {
        id: line.try_get(0)?,
        username: line.try_get(1)?,
        rating: line.try_get(2)?,
    })
}
