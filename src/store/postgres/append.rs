//! Storing a batch in Postgres: BEGIN to COMMIT in one flush, one round trip.
//!
//! No lock of a topic ever waits for the network between this node and the server.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use deadpool_postgres::Object;
use futures_util::future::{join, join5};
use tokio_postgres::Row as Line;
use uuid::Uuid;

use super::Failure;
use super::moment::Moment;
use crate::channel::NewRecord;
use crate::protocol::Topic;
use crate::store::row::{self, Cells, Table};
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

const APPEND: &str = include_str!("append.sql");

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

/// A batch, made ready: its topics in order, and its records by column, without doubles.
pub(super) struct Plan<'a> {
    batch: &'a [NewRecord],
    /// For each record of the batch the place of the first one with the same uid or key; mostly its own.
    firsts: Vec<usize>,
    topics: Vec<&'a str>,
    epochs: Vec<String>,
    floors: Floors<'a>,
    columns: Columns<'a>,
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

/// The arguments of `append.sql`, one vector a column.
#[derive(Default)]
struct Columns<'a> {
    ords: Vec<i32>,
    kinds: Vec<i16>,
    topics: Vec<&'a str>,
    uids: Vec<Uuid>,
    client_keys: Vec<Option<&'a str>>,
    player_ids: Vec<Option<&'a str>>,
    times: Vec<Moment>,
    numbers: [Vec<Option<i64>>; 2],
    texts: [Vec<Option<&'a str>>; 3],
}

impl<'a> Columns<'a> {
    fn push(&mut self, ord: usize, record: &'a NewRecord) -> Result<(), StoreError> {
        let ord = i32::try_from(ord)
            .map_err(|_| StoreError::Refused(String::from("the batch is too large")))?;
        self.ords.push(ord);
        self.kinds.push(Table::of(&record.body).number());
        self.topics.push(record.topic.as_str());
        self.uids.push(record.uid);
        self.client_keys.push(record.client_key.as_deref());
        self.player_ids
            .push(record.author.as_ref().map(|author| author.id.as_str()));
        self.times.push(Moment(record.inserted_at));
        let cells = Cells::from(&record.body);
        for (column, number) in self.numbers.iter_mut().zip(cells.numbers) {
            column.push(number);
        }
        for (column, text) in self.texts.iter_mut().zip(cells.texts) {
            column.push(text);
        }
        Ok(())
    }
}

impl<'a> Plan<'a> {
    /// Sorts a batch out.
    pub(super) fn new(batch: &'a [NewRecord], floors: &'a [Floor]) -> Result<Self, StoreError> {
        let topics: BTreeSet<&str> = batch.iter().map(|record| record.topic.as_str()).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let epochs = topics
            .iter()
            .map(|_| row::random_epoch())
            .collect::<Result<_, _>>()?;
        let mut columns = Columns::default();
        let mut firsts = Vec::with_capacity(batch.len());
        let mut uids: HashMap<(&str, Uuid), usize> = HashMap::new();
        let mut keys: HashMap<(&str, &str, &str), usize> = HashMap::new();
        for (ord, record) in batch.iter().enumerate() {
            let topic = record.topic.as_str();
            let key = row::key_of(record).map(|(player, key)| (topic, player, key));
            let same = uids
                .get(&(topic, record.uid))
                .or_else(|| keys.get(&key?))
                .copied();
            if same.is_none() {
                uids.insert((topic, record.uid), ord);
                keys.extend(key.map(|key| (key, ord)));
                columns.push(ord, record)?;
            }
            firsts.push(same.unwrap_or(ord));
        }
        Ok(Self {
            batch,
            firsts,
            topics,
            epochs,
            floors: Floors::new(floors)?,
            columns,
        })
    }
}

/// Stores a batch; see [`crate::store::Store::append`].
///
/// # Cancel safety
/// All six requests are sent at the first poll, COMMIT with them: a caller that stops waiting leaves no
/// open transaction.
pub(super) async fn append(client: &Object, plan: &Plan<'_>) -> Result<Batch, Failure> {
    let make = client.prepare_cached(&MAKE_TOPICS).await?;
    let lock = client.prepare_cached(LOCK_TOPICS).await?;
    let renew = client.prepare_cached(RENEW_BELOW).await?;
    let store = client.prepare_cached(APPEND).await?;
    let floors = &plan.floors;
    let Columns {
        ords,
        kinds,
        topics,
        uids,
        client_keys,
        player_ids,
        times,
        numbers: [number_a, number_b],
        texts: [text_a, text_b, text_c],
    } = &plan.columns;
    // The joined futures are polled in this order, and each sends its request when it is first polled.
    let (began, made, (locked, renewed), stored, committed) = join5(
        client.batch_execute("begin isolation level read committed read write"),
        client.execute(&make, &[&plan.topics, &plan.epochs]),
        join(
            client.query(&lock, &[&plan.topics]),
            client.query(
                &renew,
                &[&floors.topics, &floors.seqs, &floors.epochs, &floors.fresh],
            ),
        ),
        client.query(
            &store,
            &[
                ords,
                kinds,
                topics,
                uids,
                client_keys,
                player_ids,
                times,
                number_a,
                number_b,
                text_a,
                text_b,
                text_c,
            ],
        ),
        client.batch_execute("commit"),
    )
    .await;
    // The COMMIT of a failed transaction rolls back and reports success, so every answer counts; the first error
    // is the cause of the others.
    began?;
    made?;
    let locked = locked?;
    let renewed = renewed?;
    let stored = stored?;
    committed?;

    let places = places(&stored)?;
    let epochs: HashMap<&str, &str> = locked
        .iter()
        // Later ones win: an epoch that was renewed under the lock.
        .chain(&renewed)
        .map(|line| Ok((line.try_get(0)?, line.try_get(1)?)))
        .collect::<Result<_, tokio_postgres::Error>>()?;
    Ok(plan.answer(&places, &epochs)?)
}

/// Reads the places that a batch's records have, with the uid of the first one where they were known.
fn places(stored: &[Line]) -> Result<HashMap<i32, (i64, Option<Uuid>)>, Failure> {
    let mut places = HashMap::with_capacity(stored.len());
    for line in stored {
        // Without a place the topic's row was deleted meanwhile; the next attempt makes it again.
        let seq: Option<i64> = line.try_get(1)?;
        let seq = seq.ok_or_else(|| {
            StoreError::Unavailable(String::from("a topic was deleted during the batch"))
        })?;
        places.insert(line.try_get(0)?, (seq, line.try_get(2)?));
    }
    Ok(places)
}

impl Plan<'_> {
    /// Puts the database's answers into the order of the batch.
    fn answer(
        &self,
        places: &HashMap<i32, (i64, Option<Uuid>)>,
        epochs: &HashMap<&str, &str>,
    ) -> Result<Batch, StoreError> {
        let incomplete =
            || StoreError::Unavailable(String::from("the database's answer is incomplete"));
        let mut answers = Vec::with_capacity(self.batch.len());
        for (ord, first) in self.firsts.iter().enumerate() {
            let place = i32::try_from(*first)
                .ok()
                .and_then(|first| places.get(&first));
            let (seq, known) = place.ok_or_else(incomplete)?;
            let id = row::id_of(*seq);
            answers.push(match known {
                Some(uid) => Appended::Known { id, uid: *uid },
                None if ord == *first => Appended::Stored { id },
                None => Appended::Known {
                    id,
                    uid: self.batch[*first].uid,
                },
            });
        }
        let mut topics: HashMap<&Topic, &str> = HashMap::with_capacity(epochs.len());
        for record in self.batch {
            let epoch = epochs.get(record.topic.as_str()).ok_or_else(incomplete)?;
            topics.insert(&record.topic, *epoch);
        }
        Ok(Batch {
            answers,
            epochs: topics
                .into_iter()
                .map(|(topic, epoch)| (topic.clone(), epoch.to_owned()))
                .collect(),
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
