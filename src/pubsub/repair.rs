//! The hub's own work: subscriptions asked for, holes filled from the store, positions compared.
//!
//! It is one future, run by the gateway; it ends when it is dropped.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;

use super::hub::{PubSub, RecordLetter};
use super::order::{Hole, Look};
use crate::channel::{Epoch, Record, Unavailable};
use crate::clock;
use crate::protocol::Topic;

/// How long a hole is waited for before the store is read: the record may just be late.
const HOLE_PATIENCE: Duration = Duration::from_millis(50);

/// How often the positions of active topics are compared with the store.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// Records read at once to fill a hole.
pub(super) const READ_MAX: usize = 500;

/// Topics compared in one query.
const COMPARE_MAX: usize = 1_000;

/// Where a topic ends in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The newest id.
    pub last_id: u64,
    /// The topic's epoch.
    pub epoch: Epoch,
}

/// Records that were found, and where the topic ends in the same snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// The topic's end.
    pub end: End,
}

/// Where missing records are read from.
pub trait RecordSource: Send + Sync {
    /// Reads the records with ids from `from` to `to`, at most `count`, oldest first, and the head
    /// of the topic in the same snapshot.
    fn between(
        &self,
        topic: Topic,
        from: u64,
        to: u64,
        count: usize,
    ) -> BoxFuture<'static, Result<Found, Unavailable>>;

    /// Reads the last id and epoch of each topic, in order; `None` for one without a row.
    fn heads(
        &self,
        topics: Vec<Topic>,
    ) -> BoxFuture<'static, Result<Vec<Option<End>>, Unavailable>>;

    /// Gives a topic a new epoch, since the store has lost records that were delivered.
    fn renew(&self, topic: Topic, last_id: u64) -> BoxFuture<'static, Result<End, Unavailable>>;
}

impl PubSub {
    /// Asks the broker for subscriptions, as long as it is polled.
    pub async fn run_subscriptions(self: Arc<Self>) {
        let Some(mut inbox) = self.wanted_inbox.lock().take() else {
            return;
        };
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                wanted = inbox.recv() => {
                    let Some(wanted) = wanted else { return };
                    let broker = self.broker().clone();
                    under_way.push(async move {
                        let result = broker.subscribe(&wanted.topic).await;
                        (wanted, result)
                    });
                }
                Some((wanted, result)) = under_way.next() => self.subscribed(&wanted, result),
            }
        }
    }

    /// Fills holes, compares positions with the store and heals full mailboxes, as long as it is polled.
    pub async fn run_repairs(self: Arc<Self>, source: Arc<dyn RecordSource>) {
        let workers = 0..self.mailboxes().len();
        let healing = workers.map(|worker| self.heal_mailbox(worker, source.as_ref()));
        futures_util::future::join(self.repair(source.as_ref()), join_all(healing)).await;
    }

    async fn repair(&self, source: &dyn RecordSource) {
        let mut compare = tokio::time::interval(COMPARE_EVERY);
        compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.uneasy.notified() => tokio::time::sleep(HOLE_PATIENCE).await,
                () = self.compare_wanted.notified() => self.compare(source).await,
                _ = compare.tick() => self.compare(source).await,
            }
            self.fill_holes(source).await;
        }
    }

    /// Compares the positions now, after the broker came back.
    pub async fn compare(&self, source: &dyn RecordSource) {
        // Positions are taken before the store is asked, so that a store behind them has lost something.
        let positions = self.positioned();
        for batch in positions.chunks(COMPARE_MAX) {
            let topics = batch.iter().map(|(topic, _)| topic.clone()).collect();
            let Ok(heads) = source.heads(topics).await else {
                return;
            };
            for ((topic, position), head) in batch.iter().zip(heads) {
                self.compare_one(source, topic, position, head).await;
            }
        }
    }

    async fn compare_one(
        &self,
        source: &dyn RecordSource,
        topic: &Topic,
        position: &End,
        head: Option<End>,
    ) {
        let behind = match &head {
            Some(head) => head.epoch == position.epoch && head.last_id < position.last_id,
            None => true,
        };
        let last_id = head.as_ref().map_or(0, |head| head.last_id);
        let head = match behind {
            true => {
                tracing::warn!(%topic, "the store has lost records; the topic starts a new epoch");
                source.renew(topic.clone(), last_id).await.ok()
            }
            false => head,
        };
        if let Some(End { last_id, epoch }) = head {
            self.observe_active(topic, last_id, &epoch);
        }
    }

    async fn fill_holes(&self, source: &dyn RecordSource) {
        let mut left = false;
        for (topic, hole) in self.holes() {
            match source
                .between(topic.clone(), hole.from, hole.to, READ_MAX)
                .await
            {
                Ok(found) => self.fill(&topic, &hole, found),
                Err(Unavailable) => left = true,
            }
        }
        if left || self.any_hole() {
            self.uneasy.notify_one();
        }
    }

    fn fill(&self, topic: &Topic, hole: &Hole, found: Found) {
        let Found { records, end } = found;
        if *end.epoch != *hole.epoch {
            // The ids are of another epoch than the hole's; what is missing now is another hole.
            self.observe_active(topic, end.last_id, &end.epoch);
            return;
        }
        let full = records.len() == READ_MAX;
        let mut next = hole.from;
        for record in records {
            let Some(id) = record.id else { continue };
            if id > next {
                self.give_up(topic, id - 1, &hole.epoch);
            }
            next = id + 1;
            self.metrics.healed.inc();
            self.offer(
                RecordLetter {
                    topic: topic.clone(),
                    id,
                    epoch: end.epoch.clone(),
                    event: record.event().to_owned(),
                    payload: record.payload(),
                    accepted_at: record.record.inserted_at,
                },
                true,
            );
        }
        // Ids up to the head that the store did not give are gone for good.
        let to = hole.to.min(end.last_id);
        if !full && next <= to {
            self.give_up(topic, to, &hole.epoch);
        }
    }

    /// Tells that what is missing up to `to` is gone, unless it came meanwhile, and goes on behind it.
    fn give_up(&self, topic: &Topic, to: u64, epoch: &str) {
        let mut orders = self.order_shard(topic).lock();
        let Some(order) = orders.get_mut(topic) else {
            return;
        };
        let Some(gone) = order.missing(to, epoch) else {
            return;
        };
        self.metrics.gone.inc_by(gone.to - gone.from + 1);
        self.tell_gap(topic, &gone);
        order.skip(to, clock::now(), &mut |emitted| self.emit(topic, emitted));
    }

    fn holes(&self) -> Vec<(Topic, Hole)> {
        let before = clock::now()
            .checked_sub(HOLE_PATIENCE)
            .unwrap_or_else(clock::now);
        let mut holes = Vec::new();
        for shard in &self.orders {
            let orders = shard.lock();
            let found = orders
                .iter()
                .filter_map(|(topic, order)| Some((topic.clone(), order.hole(before)?)));
            holes.extend(found);
        }
        holes
    }

    fn any_hole(&self) -> bool {
        self.orders.iter().any(|shard| {
            shard
                .lock()
                .values()
                .any(|order| order.hole_since().is_some())
        })
    }

    fn positioned(&self) -> Vec<(Topic, End)> {
        let mut positions = Vec::new();
        for shard in &self.orders {
            let orders = shard.lock();
            let found = orders.iter().filter_map(|(topic, order)| {
                let (last_id, epoch) = order.position()?;
                let epoch = epoch.to_string();
                Some((topic.clone(), End { last_id, epoch }))
            });
            positions.extend(found);
        }
        positions
    }

    /// As `observe`, for a topic that is still active: a detached one must not come back.
    pub(super) fn observe_active(&self, topic: &Topic, last_id: u64, epoch: &str) {
        let known = self.order_shard(topic).lock().contains_key(topic);
        if known {
            let records = &[];
            self.observe(
                topic,
                Look {
                    last_id,
                    epoch,
                    records,
                },
            );
        }
    }
}
