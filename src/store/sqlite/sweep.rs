//! One step of a sweep in SQLite: a short transaction.
//!
//! It never holds the database for longer than it takes to remove a step's records.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::Failure;
use crate::clock::UnixMicros;
use crate::store::retention::{self, Cut, CutSql, Next, Place, SWEPT, Step, Swept, TOPICS_MAX};

/// Removes what may go of one topic from each table.
static REMOVE: LazyLock<[String; 4]> = LazyLock::new(|| {
    let cut = CutSql {
        topic: "?1",
        older_than: "?2",
        seq_max: "?3",
        spare_older_than: "?4",
    };
    SWEPT.map(|table| {
        let (name, doomed) = (table.name(), retention::doomed_sql(table, cut, "?5"));
        format!("delete from {name} where id in (select id from ({doomed}))")
    })
});

/// Does one step; see [`crate::store::Store::sweep`].
pub(super) fn sweep(connection: &mut Connection, step: &Step) -> Result<Swept, Failure> {
    let until = |time: std::time::Duration| {
        let us = UnixMicros::try_from(time.as_micros()).unwrap_or(UnixMicros::MAX);
        step.now.saturating_add(us)
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let turn: Option<String> = transaction
        .prepare_cached(
            "update sweeps set holder = ?1, held_until = ?2
             where name = 'retention' and (holder = ?1 or held_until <= ?3) returning after_topic",
        )?
        .query_row(params![step.holder, until(step.lease), step.now], |row| {
            row.get(0)
        })
        .optional()?;
    let Some(after) = turn else {
        return Ok(Swept {
            rows: 0,
            next: Next::NotNow,
        });
    };
    let page: Vec<(String, i64)> = transaction
        .prepare_cached(
            "select topic, last_seq from topics where topic > ?1 order by topic limit ?2",
        )?
        .query_map(params![after, TOPICS_MAX as i64], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut rows = 0;
    for (topic, last_seq) in &page {
        if let Some(cut) = step.retention.cut(topic, *last_seq, step.now) {
            rows += remove(&transaction, &cut, step.rows_max.saturating_sub(rows))?;
        }
    }
    let place = Place::of(&page, rows, step.rows_max);
    match &place {
        Place::Here => {}
        Place::After(topic) => {
            transaction
                .prepare_cached("update sweeps set after_topic = ?1 where name = 'retention'")?
                .execute([topic])?;
        }
        Place::Start => {
            transaction
                .prepare_cached(
                    "update sweeps set after_topic = '', holder = '', held_until = ?1
                     where name = 'retention'",
                )?
                .execute([until(step.rest)])?;
        }
    }
    transaction.commit()?;
    Ok(Swept {
        rows: rows as u64,
        next: place.next(),
    })
}

/// Removes at most `rows_max` records of a topic; the number of those that are gone.
fn remove(
    transaction: &Transaction<'_>,
    cut: &Cut,
    rows_max: usize,
) -> Result<usize, rusqlite::Error> {
    let mut gone = 0;
    for sql in REMOVE.iter() {
        let left = i64::try_from(rows_max.saturating_sub(gone)).unwrap_or(i64::MAX);
        if left == 0 {
            break;
        }
        gone += transaction.prepare_cached(sql)?.execute(params![
            cut.topic,
            cut.older_than,
            cut.seq_max,
            cut.spare_older_than,
            left
        ])?;
    }
    Ok(gone)
}
