//! One step of a sweep in Postgres: a short transaction that waits for nobody.
//!
//! It never locks a topic's row, and skips the records that others have locked.

use std::sync::LazyLock;

use deadpool_postgres::Object;

use super::Failure;
use super::moment::Moment;
use crate::store::retention::{self, Cut, CutSql, Next, Place, SWEPT, Step, Swept, TOPICS_MAX};

/// Takes the turn, or keeps it; no row when it is another's.
const TAKE: &str = "
    update sweeps s
    set holder = $1, held_until = clock_timestamp() + $2::float8 * interval '1 second'
    from (
      select name from sweeps
      where name = 'retention' and (holder = $1 or held_until <= clock_timestamp())
      for update skip locked
    ) as free
    where s.name = free.name
    returning s.after_topic";

const PAGE: &str = "select topic, last_seq from topics where topic > $1 order by topic limit $2";

const GO_ON: &str = "update sweeps set after_topic = $1 where name = 'retention'";

const REST: &str = "
    update sweeps
    set after_topic = '', holder = '', held_until = clock_timestamp() + $1::float8 * interval '1 second'
    where name = 'retention'";

/// Removes what may go from each table; the lateral keeps each look an index probe.
static REMOVE: LazyLock<[String; 4]> = LazyLock::new(|| {
    let cut = CutSql {
        topic: "c.topic",
        older_than: "c.older_than",
        seq_max: "c.seq_max",
        spare_older_than: "c.spare_older_than",
    };
    SWEPT.map(|table| {
        let (name, doomed) = (
            table.name(),
            retention::doomed_sql(table, cut, "$5::bigint"),
        );
        format!(
            "delete from {name} where id = any (array(
               select id from {name} where id = any (array(
                 select d.id
                 from unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::timestamptz[])
                   with ordinality as c (topic, older_than, seq_max, spare_older_than, place)
                 cross join lateral ({doomed}) as d
                 order by c.place, d.seq limit $5::bigint
               )) for update skip locked
             ))"
        )
    })
});

/// Does one step; see [`crate::store::Store::sweep`].
pub(super) async fn sweep(client: &Object, step: &Step) -> Result<Swept, Failure> {
    client
        .batch_execute("begin isolation level read committed read write")
        .await?;
    match within(client, step).await {
        Ok(swept) => {
            client.batch_execute("commit").await?;
            Ok(swept)
        }
        Err(failure) => {
            // The first error is the one to report; a lost connection rolls back as well.
            let _ = client.batch_execute("rollback").await;
            Err(failure)
        }
    }
}

async fn within(client: &Object, step: &Step) -> Result<Swept, Failure> {
    let take = client.prepare_cached(TAKE).await?;
    let lease = step.lease.as_secs_f64();
    let Some(turn) = client.query_opt(&take, &[&step.holder, &lease]).await? else {
        return Ok(Swept {
            rows: 0,
            next: Next::NotNow,
        });
    };
    let after: &str = turn.try_get(0)?;
    let statement = client.prepare_cached(PAGE).await?;
    let count = i64::try_from(TOPICS_MAX).unwrap_or(i64::MAX);
    let page: Vec<(String, i64)> = client
        .query(&statement, &[&after, &count])
        .await?
        .iter()
        .map(|line| Ok((line.try_get(0)?, line.try_get(1)?)))
        .collect::<Result<_, tokio_postgres::Error>>()?;
    let cut = |(topic, last_seq): &(String, i64)| step.retention.cut(topic, *last_seq, step.now);
    let cuts: Vec<Cut> = page.iter().filter_map(cut).collect();
    let rows = if cuts.is_empty() {
        0
    } else {
        remove(client, &cuts, step.rows_max).await?
    };
    let place = Place::of(&page, rows, step.rows_max);
    match &place {
        Place::Here => {}
        Place::After(topic) => {
            let statement = client.prepare_cached(GO_ON).await?;
            client.execute(&statement, &[topic]).await?;
        }
        Place::Start => {
            let statement = client.prepare_cached(REST).await?;
            client
                .execute(&statement, &[&step.rest.as_secs_f64()])
                .await?;
        }
    }
    Ok(Swept {
        rows: rows as u64,
        next: place.next(),
    })
}

/// Removes at most `rows_max` records; the number of those that are gone.
async fn remove(client: &Object, cuts: &[Cut], rows_max: usize) -> Result<usize, Failure> {
    let topics: Vec<&str> = cuts.iter().map(|cut| cut.topic.as_str()).collect();
    let older: Vec<Moment> = cuts.iter().map(|cut| Moment(cut.older_than)).collect();
    let seqs: Vec<i64> = cuts.iter().map(|cut| cut.seq_max).collect();
    let spare: Vec<Moment> = cuts
        .iter()
        .map(|cut| Moment(cut.spare_older_than))
        .collect();
    let mut gone = 0;
    for sql in REMOVE.iter() {
        let left = i64::try_from(rows_max.saturating_sub(gone)).unwrap_or(i64::MAX);
        if left == 0 {
            break;
        }
        let statement = client.prepare_cached(sql).await?;
        let arguments: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&topics, &older, &seqs, &spare, &left];
        let rows = client.execute(&statement, &arguments).await?;
        gone += usize::try_from(rows).unwrap_or(usize::MAX);
    }
    Ok(gone)
}
