//! Reading SQLite: slices, heads, games, videos and players.
//!
//! It writes only rows that a first look makes.

use std::sync::LazyLock;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use uuid::Uuid;

use super::Failure;
use super::append::topic_row;
use crate::protocol::Topic;
use crate::store::row::{self, Cells, Keep, Row};
use crate::store::{Game, Head, Player, Range, Slice, Video};

static NEWEST: LazyLock<String> = LazyLock::new(|| row::slice_sql('?', Keep::Newest));
static OLDEST: LazyLock<String> = LazyLock::new(|| row::slice_sql('?', Keep::Oldest));

/// Reads a uid's text.
pub(super) fn uid_at(row: &rusqlite::Row<'_>, column: usize) -> Result<Uuid, rusqlite::Error> {
    let text: String = row.get(column)?;
    Uuid::parse_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// Reads head and records in one statement, so in one snapshot; makes the topic's row if it is missing.
pub(super) fn slice(
    connection: &mut Connection,
    topic: &Topic,
    range: Range,
) -> Result<Slice, Failure> {
    if let Some(slice) = find_slice(connection, topic, range)? {
        return Ok(slice);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    topic_row(&transaction, topic)?;
    let slice = find_slice(&transaction, topic, range)?;
    transaction.commit()?;
    Ok(slice.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
}

fn find_slice(
    connection: &Connection,
    topic: &Topic,
    range: Range,
) -> Result<Option<Slice>, Failure> {
    let (keep, from, to, count) = row::bounds(range);
    let sql = match keep {
        Keep::Newest => &NEWEST,
        Keep::Oldest => &OLDEST,
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![topic.as_str(), from, to, count])?;
    let mut head = None;
    let mut records = Vec::new();
    while let Some(line) = rows.next()? {
        head = Some(Head {
            last_id: row::id_of(line.get(0)?),
            epoch: line.get(1)?,
        });
        if let Some(table) = line.get(2)? {
            records.push(row_at(line, table)?.into_record(topic)?);
        }
    }
    Ok(head.map(|head| Slice { head, records }))
}

fn row_at(line: &rusqlite::Row<'_>, table: i32) -> Result<Row, rusqlite::Error> {
    Ok(Row {
        table,
        seq: line.get(3)?,
        uid: uid_at(line, 4)?,
        client_key: line.get(5)?,
        player_id: line.get(6)?,
        username: line.get(7)?,
        inserted_at: line.get(8)?,
        cells: Cells {
            numbers: [line.get(9)?, line.get(10)?],
            texts: [line.get(11)?, line.get(12)?, line.get(13)?],
        },
    })
}

/// Reads many heads, in one transaction.
pub(super) fn heads(
    connection: &mut Connection,
    topics: &[Topic],
) -> Result<Vec<Option<Head>>, Failure> {
    let transaction = connection.transaction()?;
    let mut statement =
        transaction.prepare_cached("select last_seq, epoch from topics where topic = ?1")?;
    let mut heads = Vec::with_capacity(topics.len());
    for topic in topics {
        let head = statement
            .query_row([topic.as_str()], |row| {
                Ok(Head {
                    last_id: row::id_of(row.get(0)?),
                    epoch: row.get(1)?,
                })
            })
            .optional()?;
        heads.push(head);
    }
    Ok(heads)
}

/// Finds a game, or makes it when asked to.
pub(super) fn game(
    connection: &mut Connection,
    slug: &str,
    create: bool,
) -> Result<Option<Game>, Failure> {
    let find = || {
        connection
            .prepare_cached("select id, slug, name from games where slug = ?1")?
            .query_row([slug], |row| {
                Ok(Game {
                    id: row.get(0)?,
                    slug: row.get(1)?,
                    name: row.get(2)?,
                })
            })
            .optional()
    };
    match (find()?, create) {
        (None, true) => {
            connection
                .prepare_cached(
                    "insert into games (slug, name) values (?1, ?1) on conflict (slug) do nothing",
                )?
                .execute([slug])?;
            Ok(find()?)
        }
        (found, _) => Ok(found),
    }
}

/// Finds a video, or makes it when asked to.
pub(super) fn video(
    connection: &mut Connection,
    id: i64,
    create: bool,
) -> Result<Option<Video>, Failure> {
    let find = || {
        connection
            .prepare_cached("select id, title, url from videos where id = ?1")?
            .query_row([id], |row| {
                Ok(Video {
                    id: row.get(0)?,
                    title: row.get(1)?,
                    url: row.get(2)?,
                })
            })
            .optional()
    };
    match (find()?, create) {
        (None, true) => {
            connection
                .prepare_cached(
                    "insert into videos (id, title, url) values (?1, 'Video ' || ?1, '')
                     on conflict (id) do nothing",
                )?
                .execute([id])?;
            Ok(find()?)
        }
        (found, _) => Ok(found),
    }
}

/// Finds a player; one that is missing is made when a name is given.
pub(super) fn player(
    connection: &mut Connection,
    id: &str,
    username: Option<&str>,
) -> Result<Option<Player>, Failure> {
    let found = connection
        .prepare_cached("select id, username, rating from players where id = ?1")?
        .query_row([id], player_at)
        .optional()?;
    match (found, username) {
        (None, Some(username)) => {
            // Another process may have been faster: its name stays, and is returned.
            let made = connection
                .prepare_cached(
                    "insert into players (id, username) values (?1, ?2)
                     on conflict (id) do update set username = username
                     returning id, username, rating",
                )?
                .query_row([id, username], player_at)?;
            Ok(Some(made))
        }
        (found, _) => Ok(found),
    }
}

/// Raises a rating; never lowers it.
pub(super) fn raise_rating(
    connection: &mut Connection,
    id: &str,
    rating: i64,
) -> Result<Option<Player>, Failure> {
    Ok(connection
        .prepare_cached(
            "update players set rating = max(rating, ?2) where id = ?1
             returning id, username, rating",
        )?
        .query_row(params![id, rating], player_at)
        .optional()?)
}

fn player_at(row: &rusqlite::Row<'_>) -> Result<Player, rusqlite::Error> {
    Ok(Player {
        id: row.get(0)?,
        username: row.get(1)?,
        rating: row.get(2)?,
    })
}
