//! What waits for a lane: records with their answers, bounded by number and by bytes.
//!
//! It never waits for room, and it never loses an answer.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::Notify;

use super::{Completion, Metrics, Outcome};
use crate::channel::{Body, NewRecord};

/// How many records were submitted and not answered yet, and who waits for none.
#[derive(Default)]
pub(super) struct Outstanding {
    count: AtomicUsize,
    none: Notify,
}

impl Outstanding {
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until every submitted record is answered.
    pub(super) async fn none_left(&self) {
        loop {
            // Made before the count is read: a last answer in between still wakes it.
            let none = self.none.notified();
            if self.count() == 0 {
                return;
            }
            none.await;
        }
    }
}

/// The duty to answer a record: answered once, and `Abandoned` when it is dropped before.
pub(super) struct Answer {
    completion: Option<Completion>,
    outstanding: Arc<Outstanding>,
    queue: IntGauge,
}

impl Answer {
    pub(super) fn give(mut self, outcome: Outcome) {
        self.complete(outcome);
    }

    fn complete(&mut self, outcome: Outcome) {
        let Some(completion) = self.completion.take() else {
            return;
        };
        // A panic of one answer must not take the lane, and with it everyone else's answers, along.
        if catch_unwind(AssertUnwindSafe(|| completion(outcome))).is_err() {
            tracing::error!("a record's completion panicked");
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.complete(Outcome::Abandoned);
        self.queue.dec();
        if self.outstanding.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.outstanding.none.notify_waiters();
        }
    }
}

/// A record that waits to be stored.
pub(super) struct Pending {
    record: NewRecord,
    bytes: usize,
    answer: Answer,
}

impl Pending {
    pub(super) fn new(
        record: NewRecord,
        completion: Completion,
        outstanding: &Arc<Outstanding>,
        metrics: &Metrics,
    ) -> Self {
        outstanding.count.fetch_add(1, Ordering::SeqCst);
        metrics.queue.inc();
        Self {
            bytes: size_of_record(&record),
            record,
            answer: Answer {
                completion: Some(completion),
                outstanding: Arc::clone(outstanding),
                queue: metrics.queue.clone(),
            },
        }
    }

    /// Drops it without a call of its completion: its submitter is told in another way.
    pub(super) fn forget(mut self) {
        self.answer.completion = None;
    }
}

/// About how many bytes a record holds, and sends to the store.
fn size_of_record(record: &NewRecord) -> usize {
    let author = record.author.as_ref();
    let texts = match &record.body {
        Body::Score { .. } => 0,
        Body::Message {
            room,
            name,
            message,
        } => room.len() + name.len() + message.len(),
        Body::Annotation { body, .. } => body.len(),
        Body::Custom { event, payload } => event.len() + payload.len(),
    };
    size_of::<Pending>()
        + record.topic.as_str().len()
        + record.client_key.as_ref().map_or(0, String::len)
        + author.map_or(0, |author| author.id.len() + author.username.len())
        + texts
}

/// Records of one transaction, and the answers to give after it, in the same order.
#[derive(Default)]
pub(super) struct Batch {
    pub records: Vec<NewRecord>,
    pub answers: Vec<Answer>,
}

impl Batch {
    /// Takes the later half out, when there is more than one record.
    pub(super) fn split(&mut self) -> Option<Batch> {
        let half = self.records.len() / 2;
        (half > 0).then(|| Batch {
            records: self.records.split_off(half),
            answers: self.answers.split_off(half),
        })
    }
}

#[derive(Default)]
struct Waiting {
    pendings: VecDeque<Pending>,
    bytes: usize,
    is_closed: bool,
}

/// What waits for one lane.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    records_max: usize,
    bytes_max: usize,
    changed: Notify,
}

impl Queue {
    pub(super) fn new(records_max: usize, bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            records_max,
            bytes_max,
            changed: Notify::new(),
        }
    }

    /// Appends a record; gives it back when there is no room for it.
    pub(super) fn push(&self, pending: Pending) -> Option<Pending> {
        let mut waiting = self.waiting.lock();
        // One record always fits into an empty lane, however large it is.
        let is_full = waiting.pendings.len() >= self.records_max
            || (waiting.bytes > 0 && waiting.bytes + pending.bytes > self.bytes_max);
        if waiting.is_closed || is_full {
            return Some(pending);
        }
        waiting.bytes += pending.bytes;
        waiting.pendings.push_back(pending);
        drop(waiting);
        self.changed.notify_one();
        None
    }

    /// Refuses every further record.
    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Closes it and abandons what waits.
    pub(super) fn abandon(&self) {
        self.close();
        let abandoned = {
            let mut waiting = self.waiting.lock();
            waiting.bytes = 0;
            std::mem::take(&mut waiting.pendings)
        };
        // Answered outside of the lock, because an answer may submit again.
        drop(abandoned);
    }

    /// Waits for records and takes all that there are, within limits; `None` when it is closed and empty.
    ///
    /// # Cancel safety
    /// Nothing is lost when the caller stops waiting. There is one caller, the lane.
    pub(super) async fn take(&self, records_max: usize, bytes_max: usize) -> Option<Batch> {
        loop {
            let is_closed = {
                let mut waiting = self.waiting.lock();
                if !waiting.pendings.is_empty() {
                    return Some(fill(&mut waiting, records_max, bytes_max));
                }
                waiting.is_closed
            };
            if is_closed {
                return None;
            }
            // A change since the look above has left its permit, so it is not missed.
            self.changed.notified().await;
        }
    }
}

/// Moves records from the front into a batch: at least one, and what fits with it.
fn fill(waiting: &mut Waiting, records_max: usize, bytes_max: usize) -> Batch {
    let mut batch = Batch::default();
    let mut bytes = 0;
    while let Some(next) = waiting.pendings.front() {
        let fits = batch.records.len() < records_max && bytes + next.bytes <= bytes_max;
        if !batch.records.is_empty() && !fits {
            break;
        }
        bytes += next.bytes;
        if let Some(pending) = waiting.pendings.pop_front() {
            batch.records.push(pending.record);
            batch.answers.push(pending.answer);
        }
    }
    waiting.bytes -= bytes;
    batch
}
