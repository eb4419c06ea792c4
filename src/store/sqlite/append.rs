//! Storing a batch in SQLite: one immediate transaction, record after record.
//!
//! It never numbers a record that is known.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::Failure;
use super::read::uid_at;
use crate::channel::{Epoch, NewRecord};
use crate::protocol::Topic;
use crate::store::row::{self, Cells, TABLES, Table};
use crate::store::{Appended, Batch, Floor, Head};

/// Makes a topic's row: it goes on where records of an earlier row of that topic ended.
static MAKE_TOPIC: LazyLock<String> = LazyLock::new(|| {
    format!(
        "insert into topics (topic, last_seq, epoch) values (?1, {}, ?2) returning last_seq, epoch",
        row::newest_seq_sql("?1")
    )
});

/// Finds a record by its uid, for each table.
static BY_UID: LazyLock<[String; 4]> = LazyLock::new(|| {
    TABLES.map(|table| {
        format!(
            "select seq, uid from {} where uid = ?1 and topic = ?2",
            table.name()
        )
    })
});

/// Finds a record by its topic, player and client key, in whichever table it is.
static BY_KEY: LazyLock<String> = LazyLock::new(|| {
    TABLES
        .map(|table| {
            format!(
                "select seq, uid from {} where topic = ?1 and player_id = ?2 and client_key = ?3",
                table.name()
            )
        })
        .join(" union all ")
});

/// Stores a batch; see [`crate::store::Store::append`].
pub(super) fn append(
    connection: &mut Connection,
    batch: &[NewRecord],
    floors: &[Floor],
) -> Result<Batch, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut heads: BTreeMap<&Topic, (i64, Epoch)> = BTreeMap::new();
    let mut answers = Vec::with_capacity(batch.len());
    for record in batch {
        let head = match heads.entry(&record.topic) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let floor = floors.iter().find(|floor| floor.topic == record.topic);
                entry.insert(row_above(&transaction, &record.topic, floor)?)
            }
        };
        answers.push(match known(&transaction, record)? {
            Some((seq, uid)) => Appended::Known {
                id: row::id_of(seq),
                uid,
            },
            None => {
                head.0 += 1;
                insert(&transaction, record, head.0)?;
                Appended::Stored {
                    id: row::id_of(head.0),
                }
            }
        });
    }
    for (topic, (last_seq, _)) in &heads {
        transaction
            .prepare_cached("update topics set last_seq = ?2 where topic = ?1")?
            .execute(params![topic.as_str(), last_seq])?;
    }
    transaction.commit()?;
    let epochs = heads
        .into_iter()
        .map(|(topic, (_, epoch))| (topic.clone(), epoch))
        .collect();
    Ok(Batch { answers, epochs })
}

/// As [`topic_row`]; a topic that was set back gets a new epoch.
fn row_above(
    transaction: &Transaction<'_>,
    topic: &Topic,
    floor: Option<&Floor>,
) -> Result<(i64, Epoch), Failure> {
    let (last_seq, epoch) = topic_row(transaction, topic)?;
    let is_below = |floor: &Floor| floor.epoch == epoch && last_seq < row::seq_of(floor.last_id);
    if !floor.is_some_and(is_below) {
        return Ok((last_seq, epoch));
    }
    let epoch = row::random_epoch()?;
    transaction
        .prepare_cached("update topics set epoch = ?2 where topic = ?1")?
        .execute(params![topic.as_str(), epoch])?;
    Ok((last_seq, epoch))
}

/// Reads a topic's row, and makes it if it is missing; needs a transaction that may write.
pub(super) fn topic_row(
    transaction: &Transaction<'_>,
    topic: &Topic,
) -> Result<(i64, Epoch), Failure> {
    let found = transaction
        .prepare_cached("select last_seq, epoch from topics where topic = ?1")?
        .query_row([topic.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        Some(head) => Ok(head),
        None => Ok(transaction
            .prepare_cached(&MAKE_TOPIC)?
            .query_row(params![topic.as_str(), row::random_epoch()?], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?),
    }
}

/// Finds what was stored for the same uid, or for the same player's key, in the record's topic.
fn known(
    transaction: &Transaction<'_>,
    record: &NewRecord,
) -> Result<Option<(i64, Uuid)>, rusqlite::Error> {
    let place = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, uid_at(row, 1)?));
    let topic = record.topic.as_str();
    let table = Table::of(&record.body);
    let by_uid = transaction
        .prepare_cached(&BY_UID[usize::from(table.number().unsigned_abs())])?
        .query_row(params![record.uid.to_string(), topic], place)
        .optional()?;
    match (by_uid, row::key_of(record)) {
        (Some(found), _) => Ok(Some(found)),
        (None, Some((player, key))) => transaction
            .prepare_cached(&BY_KEY)?
            .query_row(params![topic, player, key], place)
            .optional(),
        (None, None) => Ok(None),
    }
}

fn insert(
    transaction: &Transaction<'_>,
    record: &NewRecord,
    seq: i64,
) -> Result<(), rusqlite::Error> {
    // Arguments 7 to 11 are the cells: two numbers, three texts.
    let sql = match Table::of(&record.body) {
        Table::Gameplays => {
            "insert into gameplays (topic, seq, uid, client_key, player_id, inserted_at, game_id, player_score)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        }
        Table::Messages => {
            "insert into messages (topic, seq, uid, client_key, player_id, inserted_at, room, name, message)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?9, ?10, ?11)"
        }
        Table::Annotations => {
            "insert into annotations (topic, seq, uid, client_key, player_id, inserted_at, video_id, at, body)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        }
        Table::Records => {
            "insert into records (topic, seq, uid, client_key, player_id, inserted_at, event, payload)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?9, ?10)"
        }
    };
    let Cells {
        numbers: [number_a, number_b],
        texts: [text_a, text_b, text_c],
    } = Cells::from(&record.body);
    let mut statement = transaction.prepare_cached(sql)?;
    statement.raw_bind_parameter(1, record.topic.as_str())?;
    statement.raw_bind_parameter(2, seq)?;
    statement.raw_bind_parameter(3, record.uid.to_string())?;
    statement.raw_bind_parameter(4, record.client_key.as_deref())?;
    statement.raw_bind_parameter(5, record.author.as_ref().map(|author| author.id.as_str()))?;
    statement.raw_bind_parameter(6, record.inserted_at)?;
    let count = statement.parameter_count();
    for (place, number) in (7..=count).zip([number_a, number_b]) {
        statement.raw_bind_parameter(place, number)?;
    }
    for (place, text) in (9..=count).zip([text_a, text_b, text_c]) {
        statement.raw_bind_parameter(place, text)?;
    }
    statement.raw_execute()?;
    Ok(())
}

fn exists(transaction: &Transaction<'_>, topic: &Topic) -> Result<bool, rusqlite::Error> {
    transaction
        .prepare_cached("select 1 from topics where topic = ?1")?
        .exists([topic.as_str()])
}

/// Ends an epoch of a topic; see [`crate::store::Store::renew_epoch`].
pub(super) fn renew_epoch(
    connection: &mut Connection,
    topic: &Topic,
    ended: &str,
    last_id: u64,
) -> Result<Head, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_new = !exists(&transaction, topic)?;
    let (mut last_seq, mut epoch) = topic_row(&transaction, topic)?;
    if is_new || epoch == ended {
        last_seq = last_seq.max(row::seq_of(last_id));
        epoch = row::random_epoch()?;
        transaction
            .prepare_cached("update topics set last_seq = ?2, epoch = ?3 where topic = ?1")?
            .execute(params![topic.as_str(), last_seq, epoch])?;
    }
    transaction.commit()?;
    Ok(Head {
        last_id: row::id_of(last_seq),
        epoch,
    })
}
