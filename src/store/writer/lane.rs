//! One lane: takes what has queued, stores it, answers it, and takes again.
//!
//! It never has two batches under way, which is what keeps each topic's order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Batch, Queue};
use super::{Metrics, Outcome};
use crate::backoff::Backoff;
use crate::channel::NewRecord;
use crate::clock;
use crate::protocol::Topic;
use crate::store::{self, Appended, Config, Floor, Seen, Store, StoreError};

/// The delay before the second attempt at a batch; it doubles up to `retry_max`.
const RETRY_FIRST: Duration = Duration::from_millis(20);

/// Attempts at a batch until it is halved: the store may be too slow for all of it, or refuse one record of it in a
/// way that looks as if it were away.
const ATTEMPTS: usize = 3;

/// Why a batch was not stored.
enum Setback {
    /// The store refuses some record of it for good.
    Refused(String),
    /// The store did not take it in several attempts.
    Unavailable,
}

/// A lane of the writer; whoever made the writer runs it.
///
/// Dropping a lane closes it and answers all that it holds with [`Outcome::Abandoned`].
pub struct Lane {
    store: Arc<dyn Store>,
    queue: Arc<Queue>,
    batch_records: usize,
    batch_bytes: usize,
    retry_max: Duration,
    metrics: Metrics,
    seen: Option<Arc<dyn Seen>>,
}

impl Lane {
    pub(super) fn new(
        store: Arc<dyn Store>,
        queue: Arc<Queue>,
        config: &Config,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            queue,
            batch_records: config.batch_records.max(1),
            batch_bytes: config.batch_bytes,
            retry_max: config.retry_max,
            metrics,
            seen: None,
        }
    }

    /// Has the lane notice a store that ends before what was seen of it.
    pub fn above(mut self, seen: Arc<dyn Seen>) -> Self {
        self.seen = Some(seen);
        self
    }

    /// What was seen of a batch's topics; before their rows are locked, so that it is stored for certain.
    fn floors(&self, records: &[NewRecord]) -> Vec<Floor> {
        let Some(seen) = &self.seen else {
            return Vec::new();
        };
        let topics: HashSet<&Topic> = records.iter().map(|record| &record.topic).collect();
        let floor = |topic| seen.floor(topic);
        topics.into_iter().filter_map(floor).collect()
    }

    /// Stores records until the writer is closed and the lane is empty.
    ///
    /// Idle, it stores a record at once; busy, it takes all that came during the last commit.
    ///
    /// # Cancel safety
    /// Dropped early, every record without an answer is abandoned; a batch under way may be stored all the same.
    pub async fn run(self) {
        while let Some(batch) = self.queue.take(self.batch_records, self.batch_bytes).await {
            self.store_all(batch).await;
        }
    }

    /// Stores a batch; halves it around records that the store refuses, until those are alone, and while the
    /// store is away, so that it is stored in pieces when all of it at once is too much.
    async fn store_all(&self, batch: Batch) {
        // The last one is the next one, so that earlier records are always stored and answered first. Each
        // split adds one, so this holds at most log2(batch_records) + 1 parts.
        let mut parts = vec![batch];
        let mut backoff = Backoff::new(RETRY_FIRST, self.retry_max);
        while let Some(mut part) = parts.pop() {
            match self.attempt(&part.records, &mut backoff).await {
                Ok(stored) => {
                    backoff.reset();
                    answer(part, stored);
                }
                Err(setback) => match (part.split(), setback) {
                    (Some(rest), _) => parts.extend([rest, part]),
                    (None, Setback::Refused(reason)) => self.refuse(part, &reason),
                    (None, Setback::Unavailable) => parts.push(part),
                },
            }
        }
    }

    /// Tries a few times to store a part of a batch.
    async fn attempt(
        &self,
        records: &[NewRecord],
        backoff: &mut Backoff,
    ) -> Result<store::Batch, Setback> {
        for _ in 0..ATTEMPTS {
            let begun = clock::now();
            let floors = self.floors(records);
            match self.store.append_above(records, &floors).await {
                Ok(stored) => {
                    self.metrics
                        .commit_seconds
                        .observe(begun.elapsed().as_secs_f64());
                    self.metrics.batch_records.observe(records.len() as f64);
                    return Ok(stored);
                }
                Err(StoreError::Refused(reason)) => return Err(Setback::Refused(reason)),
                Err(StoreError::Unavailable(reason)) => {
                    self.metrics.retries.inc();
                    let delay = backoff.next_delay();
                    tracing::warn!(%reason, records = records.len(), ?delay, "batch not stored, will retry");
                    tokio::time::sleep(delay).await;
                }
            }
        }
        Err(Setback::Unavailable)
    }

    fn refuse(&self, part: Batch, reason: &str) {
        tracing::warn!(%reason, "record refused by the store");
        for answer in part.answers {
            self.metrics.refused.inc();
            answer.give(Outcome::Refused(reason.to_owned()));
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// Gives each record of a stored batch its outcome, in order.
fn answer(part: Batch, stored: store::Batch) {
    debug_assert_eq!(part.answers.len(), stored.answers.len());
    let epochs: HashMap<_, _> = stored.epochs.into_iter().collect();
    for ((record, answer), appended) in part
        .records
        .into_iter()
        .zip(part.answers)
        .zip(stored.answers)
    {
        // The store names the epoch of each topic of the batch.
        let epoch = epochs.get(&record.topic).cloned().unwrap_or_default();
        answer.give(match appended {
            Appended::Stored { id } => Outcome::Stored { id, epoch, record },
            // An earlier attempt at this very record was stored and only its answer was lost. Nobody was told
            // about it yet, so to the submitter it is stored now.
            Appended::Known { id, uid } if uid == record.uid => {
                Outcome::Stored { id, epoch, record }
            }
            Appended::Known { id, uid } => Outcome::Known { id, uid, epoch },
        });
    }
}
