//! The writer pool: bounded lanes that store records in batches, in order, exactly once.
//!
//! It never blocks a caller, never drops an answer and never lets one bad record stop a lane.

mod lane;
mod metrics;
mod queue;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Config, Store};
use crate::channel::{Epoch, NewRecord};
use crate::protocol::Topic;

pub use lane::Lane;
pub use metrics::Metrics;
use queue::{Outstanding, Pending, Queue};

/// What became of a submitted record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was stored, now or by an attempt whose answer was lost; nobody else was told of it.
    Stored {
        /// Its place in the topic.
        id: u64,
        /// The topic's epoch.
        epoch: Epoch,
        /// The record, given back.
        record: NewRecord,
    },
    /// Another record of the topic with the same player and `client_key` was stored before.
    Known {
        /// The first record's place in the topic.
        id: u64,
        /// The first record's uid.
        uid: Uuid,
        /// The topic's epoch.
        epoch: Epoch,
    },
    /// The store refuses it for good.
    Refused(String),
    /// The node gave up on it while shutting down; it may or may not be stored.
    Abandoned,
}

/// What is called with a record's outcome, exactly once, on the lane's runtime.
///
/// # Ordering
/// In commit order per topic, right after the commit. It must not block.
pub type Completion = Box<dyn FnOnce(Outcome) + Send>;

/// The record's lane is full, or the writer is closed; the completion is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the writer takes no more records now")
    }
}

impl std::error::Error for Full {}

/// Takes records and hands them to the lane of their topic. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queues: Arc<[Arc<Queue>]>,
    outstanding: Arc<Outstanding>,
    metrics: Metrics,
}

impl Writer {
    /// Makes a writer and its lanes; nothing is stored before each [`Lane::run`] runs on some runtime.
    ///
    /// A lane holds at most `lane_records` waiting records (`limits.lane_records`, default 10,000) and
    /// `config.lane_bytes`.
    pub fn new(
        store: Arc<dyn Store>,
        config: &Config,
        lane_records: usize,
        metrics: Metrics,
    ) -> (Self, Vec<Lane>) {
        let outstanding = Arc::new(Outstanding::default());
        let queues: Arc<[Arc<Queue>]> = (0..config.lanes.max(1))
            .map(|_| Arc::new(Queue::new(lane_records, config.lane_bytes)))
            .collect();
        let lanes = queues
            .iter()
            .map(|queue| {
                let (store, queue) = (Arc::clone(&store), Arc::clone(queue));
                Lane::new(store, queue, config, metrics.clone())
            })
            .collect();
        let writer = Self {
            queues,
            outstanding,
            metrics,
        };
        (writer, lanes)
    }

    /// Queues a record; `answer` is called once with what became of it. Never blocks; any thread may call it.
    ///
    /// # Errors
    /// [`Full`] when the topic's lane is full or the writer is closed: nothing happens and `answer` is not called.
    ///
    /// # Ordering
    /// Records of one topic are stored in the order of submission.
    pub fn submit(&self, record: NewRecord, answer: Completion) -> Result<(), Full> {
        let queue = self.queue(&record.topic);
        let pending = Pending::new(record, answer, &self.outstanding, &self.metrics);
        match queue.push(pending) {
            None => Ok(()),
            Some(refused) => {
                refused.forget();
                self.metrics.refused.inc();
                Err(Full)
            }
        }
    }

    /// Refuses every further record; what is queued is still stored, then the lanes end.
    pub fn close(&self) {
        for queue in self.queues.iter() {
            queue.close();
        }
    }

    /// Returns how many records were submitted and not answered yet.
    pub fn unanswered(&self) -> usize {
        self.outstanding.count()
    }

    /// Waits until every record is answered, at most `within`; returns how many are left.
    ///
    /// Close the writer first, or new records keep it waiting.
    pub async fn flush(&self, within: Duration) -> usize {
        // Whether the time was enough shows in what is left.
        let _ = tokio::time::timeout(within, self.outstanding.none_left()).await;
        self.unanswered()
    }

    fn queue(&self, topic: &Topic) -> &Arc<Queue> {
        let mut hasher = DefaultHasher::new();
        topic.hash(&mut hasher);
        let lanes = self.queues.len() as u64;
        // The remainder is below the number of lanes, which is a usize and not zero.
        &self.queues[(hasher.finish() % lanes) as usize]
    }
}
