//! Storing a batch in Postgres: BEGIN to COMMIT in one flush, one round trip.
//!
//! No lock of a topic ever waits for the network between this node and the server. Nearly every batch is all new
//! and is stored as such ([`fresh`]); one that may not be is looked up first ([`known`]).

mod fresh;
mod known;

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use deadpool_postgres::Object;
use futures_util::future::{join, join5};
use tokio_postgres::Row as Line;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::Failure;
use crate::channel::NewRecord;
use crate::protocol::Topic;
use crate::store::row;
use crate::store::{Appended, Batch, Floor, Head, StoreError};

/// Makes the rows of topics that have none, in the order in which rows are locked.
///
/// A topic goes on where records of an earlier row of that topic ended.
static MAKE_TOPICS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "insert into topics (topic, last_seq, epoch)
         select n.topic, {}, n.epoch from unnest($1::text[], $2::text[]) as n (topic, epoch)
         where not exists (select from topics t where t.topic = n.topic)
         order by n.topic collate \"C\"
         on conflict (topic) do nothing",
        row::newest_seq_sql("n.topic")
    )
});

/// Locks the topics' rows, always in the same order, so that two batches can't wait for each other.
const LOCK_TOPICS: &str =
    "select topic, epoch from topics where topic = any($1::text[]) order by topic for update";

/// Gives a new epoch to topics that were set back; their rows are locked already.
const RENEW_BELOW: &str = "
    update topics t set epoch = f.fresh
    from unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) as f (topic, last_seq, epoch, fresh)
    where t.topic = f.topic and t.epoch = f.epoch and t.last_seq < f.last_seq
    returning t.topic, t.epoch";

static RENEW: LazyLock<String> = LazyLock::new(|| {
    format!(
        "insert into topics (topic, last_seq, epoch)
         select n.topic, greatest($2::bigint, {}), $3::text from (select $1::text as topic) as n
         on conflict (topic) do update
         set last_seq = case when topics.epoch = $4 then greatest(topics.last_seq, $2::bigint)
                             else topics.last_seq end,
             epoch = case when topics.epoch = $4 then excluded.epoch else topics.epoch end
         returning last_seq, epoch",
        row::newest_seq_sql("n.topic")
    )
});

/// A batch, sorted out: which topics it touches, and which records repeat an earlier one of it.
pub(super) struct Plan<'a> {
    pub(super) batch: &'a [NewRecord],
    /// For each record of the batch the place of the first one with the same uid or key; mostly its own.
    firsts: Vec<usize>,
    /// For each record of the batch the place of its topic in `topics`.
    topic_nths: Vec<usize>,
    /// The topics, sorted.
    topics: Vec<&'a Topic>,
    epochs: Vec<String>,
    floors: Floors<'a>,
}

/// Where a record of a batch is: its seq, and the uid of an earlier record that it repeats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) seq: i64,
    pub(super) known: Option<Uuid>,
}

/// The arguments of [`RENEW_BELOW`].
#[derive(Default)]
struct Floors<'a> {
    topics: Vec<&'a str>,
    seqs: Vec<i64>,
    epochs: Vec<&'a str>,
    fresh: Vec<String>,
}

impl<'a> Floors<'a> {
    fn new(floors: &'a [Floor]) -> Result<Self, StoreError> {
        Ok(Self {
            topics: floors.iter().map(|floor| floor.topic.as_str()).collect(),
            seqs: floors
                .iter()
                .map(|floor| row::seq_of(floor.last_id))
                .collect(),
            epochs: floors.iter().map(|floor| floor.epoch.as_str()).collect(),
            fresh: floors
                .iter()
                .map(|_| row::random_epoch())
                .collect::<Result<_, _>>()?,
        })
    }
}

impl<'a> Plan<'a> {
    /// Sorts a batch out.
    pub(super) fn new(batch: &'a [NewRecord], floors: &'a [Floor]) -> Result<Self, StoreError> {
        let distinct: HashSet<&Topic> = batch.iter().map(|record| &record.topic).collect();
        let mut topics: Vec<&Topic> = distinct.into_iter().collect();
        topics.sort_unstable_by_key(|topic| topic.as_str());
        let nths: HashMap<&Topic, usize> = topics.iter().copied().zip(0..).collect();
        let epochs = topics
            .iter()
            .map(|_| row::random_epoch())
            .collect::<Result<_, _>>()?;
        let topic_nths: Vec<usize> = batch.iter().map(|record| nths[&record.topic]).collect();
        let mut firsts = Vec::with_capacity(batch.len());
        let mut uids: HashMap<(usize, Uuid), usize> = HashMap::with_capacity(batch.len());
        let mut keys: HashMap<(usize, &str, &str), usize> = HashMap::new();
        for (ord, (record, topic)) in batch.iter().zip(&topic_nths).enumerate() {
            let key = row::key_of(record).map(|(player, key)| (*topic, player, key));
            let same = uids
                .get(&(*topic, record.uid))
                .or_else(|| keys.get(&key?))
                .copied();
            if same.is_none() {
                uids.insert((*topic, record.uid), ord);
                keys.extend(key.map(|key| (key, ord)));
            }
            firsts.push(same.unwrap_or(ord));
        }
        Ok(Self {
            batch,
            firsts,
            topic_nths,
            topics,
            epochs,
            floors: Floors::new(floors)?,
        })
    }

    /// The records to store, each with its place in the batch and that of its topic in the plan; no doubles.
    pub(super) fn uniques(&self) -> impl Iterator<Item = (usize, usize, &'a NewRecord)> {
        let places = self.firsts.iter().zip(&self.topic_nths).zip(self.batch);
        let places = places.enumerate();
        let uniques = places.filter(|(ord, ((first, _), _))| ord == *first);
        uniques.map(|(ord, ((_, topic), record))| (ord, *topic, record))
    }

    /// The topics, sorted.
    pub(super) fn topics(&self) -> Vec<&'a str> {
        self.topics.iter().map(|topic| topic.as_str()).collect()
    }
}

/// Stores a batch; see [`crate::store::Store::append`].
pub(super) async fn append(client: &Object, plan: &Plan<'_>) -> Result<Batch, Failure> {
    if let Some(columns) = fresh::Columns::of(plan) {
        let stored = transact(client, plan, columns.statement(), &columns.arguments()).await;
        match stored {
            // An earlier attempt was stored although it seemed to fail: nothing is stored now.
            Err(Failure::Postgres(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
            stored => {
                let (epochs, lines) = stored?;
                return Ok(plan.answer(&columns.places(&lines)?, epochs)?);
            }
        }
    }
    let columns = known::Columns::of(plan)?;
    let (epochs, lines) = transact(client, plan, known::APPEND, &columns.arguments()).await?;
    Ok(plan.answer(&known::places(&lines, plan.batch.len())?, epochs)?)
}

/// Stores a batch with one of the two statements, and returns the epoch of each topic with the statement's answer.
///
/// # Cancel safety
/// All six requests are sent at the first poll, COMMIT with them: a caller that stops waiting leaves no
/// open transaction.
async fn transact(
    client: &Object,
    plan: &Plan<'_>,
    statement: &str,
    arguments: &[&(dyn ToSql + Sync)],
) -> Result<(HashMap<String, String>, Vec<Line>), Failure> {
    let make = client.prepare_cached(&MAKE_TOPICS).await?;
    let lock = client.prepare_cached(LOCK_TOPICS).await?;
    let renew = client.prepare_cached(RENEW_BELOW).await?;
    let store = client.prepare_cached(statement).await?;
    let (topics, floors) = (plan.topics(), &plan.floors);
    // The joined futures are polled in this order, and each sends its request when it is first polled.
    let (began, made, (locked, renewed), stored, committed) = join5(
        client.batch_execute("begin isolation level read committed read write"),
        client.execute(&make, &[&topics, &plan.epochs]),
        join(
            client.query(&lock, &[&topics]),
            client.query(
                &renew,
                &[&floors.topics, &floors.seqs, &floors.epochs, &floors.fresh],
            ),
        ),
        client.query(&store, arguments),
        client.batch_execute("commit"),
    )
    .await;
    // The COMMIT of a failed transaction rolls back and reports success, so every answer counts; the first error
    // is the cause of the others.
    began?;
    made?;
    let (locked, renewed) = (locked?, renewed?);
    let stored = stored?;
    committed?;
    // Later ones win: an epoch that was renewed under the lock.
    let epochs = locked.iter().chain(&renewed);
    let epochs = epochs.map(|line| Ok::<_, Failure>((line.try_get(0)?, line.try_get(1)?)));
    Ok((epochs.collect::<Result<_, _>>()?, stored))
}

impl Plan<'_> {
    /// Puts the database's answers into the order of the batch. Places are those of [`Self::uniques`].
    fn answer(
        &self,
        places: &[Option<Place>],
        mut epochs: HashMap<String, String>,
    ) -> Result<Batch, StoreError> {
        let incomplete =
            || StoreError::Unavailable(String::from("the database's answer is incomplete"));
        let mut answers = Vec::with_capacity(self.batch.len());
        for (ord, first) in self.firsts.iter().enumerate() {
            // Without a place the topic's row was deleted meanwhile; the next attempt makes it again.
            let place = places.get(*first).copied().flatten();
            let Place { seq, known } = place.ok_or_else(incomplete)?;
            let id = row::id_of(seq);
            answers.push(match known {
                Some(uid) => Appended::Known { id, uid },
                None if ord == *first => Appended::Stored { id },
                None => Appended::Known {
                    id,
                    uid: self.batch[*first].uid,
                },
            });
        }
        let epochs = self.topics.iter().map(|topic| {
            let epoch = epochs.remove(topic.as_str()).ok_or_else(incomplete)?;
            Ok::<_, StoreError>(((*topic).clone(), epoch))
        });
        Ok(Batch {
            answers,
            epochs: epochs.collect::<Result<_, _>>()?,
        })
    }
}

/// Makes the row of a topic that is looked at for the first time.
pub(super) async fn make_topic(client: &Object, topic: &str) -> Result<(), Failure> {
    let make = client.prepare_cached(&MAKE_TOPICS).await?;
    client
        .execute(
            &make,
            &[&[topic].as_slice(), &[row::random_epoch()?].as_slice()],
        )
        .await?;
    Ok(())
}

/// Ends an epoch of a topic; see [`crate::store::Store::renew_epoch`].
pub(super) async fn renew_epoch(
    client: &Object,
    topic: &Topic,
    ended: &str,
    last_id: u64,
) -> Result<Head, Failure> {
    let renew = client.prepare_cached(&RENEW).await?;
    let (seq, epoch) = (row::seq_of(last_id), row::random_epoch()?);
    let line = client
        .query_one(&renew, &[&topic.as_str(), &seq, &epoch, &ended])
        .await?;
    Ok(Head {
        last_id: row::id_of(line.try_get(0)?),
        epoch: line.try_get(1)?,
    })
}
