//! The hub of a node: publishes to workers and broker, takes what other nodes publish.
//!
//! It never blocks and never encodes; a frame is made by the first worker that needs it.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::interest::{Attached, InterestTable};
use super::metrics::Metrics;
use super::notices::{gap, notice, renewal};
use super::order::{Hole, Offered};
use super::{Deliver, Emitted, Entry, Look, Mailbox, Observed, TopicOrder};
use crate::broker::{Broker, Letter, Subscribed};
use crate::channel::{Epoch, Past, Unavailable};
use crate::clock::{self, UnixMicros};
use crate::limits::Limits;
use crate::protocol::{Broadcast, Fastlane, Payload, Topic, events};

const ORDER_SHARDS: usize = 64;

/// Subscriptions that may wait to be asked for; a join beyond waits for its turn.
const SUBSCRIPTIONS_WAITING_MAX: usize = 65_536;

/// A stored record on its way out.
#[derive(Debug, Clone)]
pub struct RecordLetter {
    /// Its topic.
    pub topic: Topic,
    /// Its place in the topic.
    pub id: u64,
    /// The topic's epoch.
    pub epoch: String,
    /// The event.
    pub event: String,
    /// The wire payload.
    pub payload: Payload,
    /// When the node accepted it.
    pub accepted_at: UnixMicros,
}

/// A join's past from this node's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// The records, oldest first.
    pub records: Vec<Past>,
    /// The position of this node; what follows is still to be delivered here.
    pub last_id: u64,
    /// The topic's epoch.
    pub epoch: Epoch,
}

/// A subscription to ask the broker for.
pub(super) struct Wanted {
    pub(super) topic: Topic,
    pub(super) life: u64,
}

/// The hub; one a node, shared by every thread.
pub struct PubSub {
    interest: InterestTable,
    mailboxes: Vec<Arc<Mailbox>>,
    broker: Arc<dyn Broker>,
    single_node: bool,
    wanted: mpsc::Sender<Wanted>,
    pub(super) wanted_inbox: Mutex<Option<mpsc::Receiver<Wanted>>>,
    pub(super) orders: Vec<Mutex<HashMap<Topic, TopicOrder>>>,
    hasher: RandomState,
    /// Woken when a topic has a hole.
    pub(super) uneasy: Notify,
    pub(super) compare_wanted: Notify,
    pub(super) metrics: Metrics,
}

impl PubSub {
    /// Makes the hub of a node with one mailbox a worker. A `single_node` needs no acknowledgements.
    pub fn new(
        mailboxes: Vec<Arc<Mailbox>>,
        broker: Arc<dyn Broker>,
        single_node: bool,
        limits: &Limits,
        metrics: Metrics,
    ) -> Self {
        let (wanted, wanted_inbox) = mpsc::channel(SUBSCRIPTIONS_WAITING_MAX);
        Self {
            interest: InterestTable::new(limits.topics),
            mailboxes,
            broker,
            single_node,
            wanted,
            wanted_inbox: Mutex::new(Some(wanted_inbox)),
            orders: (0..ORDER_SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            uneasy: Notify::new(),
            compare_wanted: Notify::new(),
            metrics,
        }
    }

    /// Returns every worker's mailbox, in worker order.
    pub fn mailboxes(&self) -> &[Arc<Mailbox>] {
        &self.mailboxes
    }

    /// Returns the broker.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// Says whether there are no other nodes.
    pub fn is_single_node(&self) -> bool {
        self.single_node
    }

    /// Returns how many topics this node subscribes to.
    pub fn topics(&self) -> usize {
        self.interest.topics()
    }

    /// Makes a worker interested in a topic; idempotent. Resolves when other nodes' publishes arrive.
    ///
    /// # Errors
    /// [`Unavailable`] at the topic limit, or when the broker did not acknowledge in time. The
    /// caller must still [`PubSub::detach`].
    pub fn attach(
        &self,
        topic: &Topic,
        worker: usize,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send + 'static {
        let attached = self.interest.attach(topic, worker, self.single_node);
        if matches!(attached, Attached::Full) {
            self.metrics.topics_refused.inc();
        }
        let wanted = self.wanted.clone();
        let topic = topic.clone();
        async move {
            match attached {
                Attached::Ready => Ok(()),
                Attached::Full => Err(Unavailable),
                Attached::Waits { answer, subscribe } => {
                    if let Some(life) = subscribe {
                        let asked = wanted.send(Wanted { topic, life }).await;
                        asked.map_err(|_| Unavailable)?;
                    }
                    answer.await.unwrap_or(Err(Unavailable))
                }
            }
        }
    }

    /// Ends a worker's interest in a topic; the node's last one unsubscribes.
    pub fn detach(&self, topic: &Topic, worker: usize) {
        if self.interest.detach(topic, worker) {
            let mut orders = self.order_shard(topic).lock();
            // Somebody may have come meanwhile, and looked at the store already.
            if self.interest.workers(topic) == 0 {
                orders.remove(topic);
            }
            drop(orders);
            if !self.single_node {
                self.broker.unsubscribe(topic);
            }
        }
    }

    pub(super) fn subscribed(
        &self,
        wanted: &Wanted,
        result: Result<Subscribed, crate::broker::BrokerError>,
    ) {
        let result = match result {
            Ok(Subscribed::Acknowledged | Subscribed::Deferred) => Ok(()),
            Err(_) => Err(Unavailable),
        };
        self.interest.subscribed(&wanted.topic, wanted.life, result);
    }

    /// Publishes a broadcast that is no record: to the workers but `origin`, and to the other nodes.
    ///
    /// The origin worker delivers to its own subscribers itself, in program order.
    pub fn broadcast(
        &self,
        fastlane: &Arc<Fastlane>,
        origin: Option<usize>,
        accepted_at: UnixMicros,
    ) {
        self.metrics.local.inc();
        let Broadcast {
            topic,
            event,
            payload,
        } = fastlane.broadcast();
        let deliver = Deliver {
            fastlane: fastlane.clone(),
            id: None,
            epoch: None,
            reset: false,
            accepted_at,
            remote: false,
        };
        self.spread(deliver, origin);
        if !self.single_node {
            let letter = Letter::Broadcast {
                event: event.to_string(),
                payload: payload.clone(),
            };
            self.tell_nodes(topic, letter);
        }
    }

    /// Counts the channels joined to a topic on this node.
    pub async fn subscribers(&self, topic: Topic) -> usize {
        let workers = self.mailboxes.len();
        let (answer, mut answers) = mpsc::channel(workers.max(1));
        self.tell_workers(&Entry::Count { topic, answer });
        let mut count = 0;
        while let Some(here) = answers.recv().await {
            count += here;
        }
        count
    }

    /// Says whether what a client publishes now still reaches the other nodes, or waits for them.
    pub fn has_room(&self) -> bool {
        self.broker.has_room()
    }

    /// Says whether a worker of this node wants a topic.
    pub fn wants(&self, topic: &Topic) -> bool {
        self.interest.workers(topic) != 0
    }

    /// Says whether one worker of this node wants a topic.
    pub(super) fn is_wanted_by(&self, topic: &Topic, worker: usize) -> bool {
        self.interest.workers(topic) & (1 << worker) != 0
    }

    /// Tells a topic's subscribers on this node only.
    pub fn announce(&self, topic: &Topic, event: &str, payload: Payload) {
        self.spread(notice(topic, event, payload), None);
    }

    /// Publishes a stored record: to this node in id order, and to the other nodes.
    pub fn record(&self, record: RecordLetter) {
        self.metrics.local.inc();
        if !self.single_node {
            let letter = Letter::Record {
                id: record.id,
                epoch: record.epoch.clone(),
                event: record.event.clone(),
                payload: record.payload.clone(),
            };
            self.tell_nodes(&record.topic, letter);
        }
        self.offer(record, false);
    }

    /// Publishes a letter to the other nodes only.
    pub fn tell_nodes(&self, topic: &Topic, letter: Letter) {
        // The broker counts what it refuses; records are found again by their ids.
        let _ = self.broker.publish(topic, letter);
    }

    /// Takes a broadcast or record of another node.
    pub fn receive(&self, topic: Topic, letter: Letter, accepted_at: UnixMicros) {
        self.metrics.remote.inc();
        match letter {
            Letter::Broadcast { event, payload } => {
                let fastlane = Arc::new(Fastlane::new(Broadcast {
                    topic,
                    event: event.into(),
                    payload,
                }));
                self.spread(
                    Deliver {
                        fastlane,
                        id: None,
                        epoch: None,
                        reset: false,
                        accepted_at,
                        remote: true,
                    },
                    None,
                );
            }
            Letter::Record {
                id,
                epoch,
                event,
                payload,
            } => self.offer(
                RecordLetter {
                    topic,
                    id,
                    epoch,
                    event,
                    payload,
                    accepted_at,
                },
                true,
            ),
            Letter::Disconnect { .. }
            | Letter::Presence(_)
            | Letter::Ask { .. }
            | Letter::Answer { .. } => {
                debug_assert!(false, "node letters are taken by the gateway");
            }
        }
    }

    /// Hands an entry to every worker.
    pub fn tell_workers(&self, entry: &Entry) {
        for mailbox in &self.mailboxes {
            mailbox.push(entry.clone());
        }
    }

    /// Takes a look at the store, so that the topic has a position on this node.
    pub fn observe(&self, topic: &Topic, look: Look<'_>) -> Observed {
        let mut orders = self.order_shard(topic).lock();
        if self.interest.workers(topic) == 0 {
            return Observed::Fresh;
        }
        let order = orders.entry(topic.clone()).or_default();
        let observed = order.observe(look, clock::now(), &mut |emitted| {
            self.emit(topic, emitted);
        });
        if order.hole_since().is_some() {
            self.uneasy.notify_one();
        }
        observed
    }

    /// Counts a past that was read for a join, by where it came from.
    pub fn count_history(&self, source: &'static str) {
        self.metrics.histories.with_label_values(&[source]).inc();
    }

    /// Answers a join from this node's memory of the topic's newest records, when it has what is needed.
    pub fn recall(&self, topic: &Topic, after: Option<u64>, recent: usize) -> Option<Recalled> {
        let orders = self.order_shard(topic).lock();
        let (records, last_id, epoch) = orders.get(topic)?.recall(after, recent)?;
        Some(Recalled {
            records,
            last_id,
            epoch: epoch.to_string(),
        })
    }

    /// Returns the highest id of a topic that is known here to be stored, and its epoch.
    pub fn known(&self, topic: &Topic) -> Option<(u64, Arc<str>)> {
        let orders = self.order_shard(topic).lock();
        let (last_id, epoch) = orders.get(topic)?.known()?;
        Some((last_id, epoch.clone()))
    }

    /// Says whether somebody has looked at the store for this topic already.
    pub fn has_position(&self, topic: &Topic) -> bool {
        let orders = self.order_shard(topic).lock();
        orders
            .get(topic)
            .is_some_and(|order| order.position().is_some())
    }

    /// Has the positions of all topics compared with the store soon, as after a reconnect.
    pub fn compare_soon(&self) {
        self.compare_wanted.notify_one();
    }

    /// Takes the news that publishes of another node were lost on a topic.
    ///
    /// A topic of records is compared with the store; the subscribers of another are told `gap`.
    pub fn hole(&self, topic: &Topic, missed: Option<u64>) {
        let ordered = self.order_shard(topic).lock().contains_key(topic);
        if ordered {
            return self.compare_soon();
        }
        let payload =
            Payload::from_value(&serde_json::json!({ "reason": "lost", "missed": missed }));
        let deliver = Deliver {
            id: None,
            ..notice(topic, events::GAP, payload)
        };
        self.spread(deliver, None);
    }

    /// Sends what a topic's order has to the topic's subscribers on this node.
    ///
    /// # Ordering
    /// The caller holds the lock of the order, so that everyone gets it in that order.
    pub(super) fn emit(&self, topic: &Topic, emitted: Emitted) {
        let deliver = match emitted {
            Emitted::Record(deliver) => deliver,
            Emitted::Renewed(epoch, position) => renewal(topic, epoch, position),
        };
        self.spread(deliver, None);
    }

    /// Tells a topic's subscribers on this node which ids they can't get any more.
    pub(super) fn tell_gap(&self, topic: &Topic, gone: &Hole) {
        let deliver = gap(topic, gone);
        self.to_workers(topic, None, |mailbox| {
            mailbox.push_range(deliver.clone(), gone.from);
        });
    }

    pub(super) fn offer(&self, record: RecordLetter, remote: bool) {
        let RecordLetter {
            topic,
            id,
            epoch,
            event,
            payload,
            accepted_at,
        } = record;
        let mut orders = self.order_shard(&topic).lock();
        if self.interest.workers(&topic) == 0 {
            return;
        }
        let order = orders.entry(topic.clone()).or_default();
        let deliver = Deliver {
            fastlane: Arc::new(Fastlane::new(Broadcast {
                topic: topic.clone(),
                event: event.into(),
                payload,
            })),
            id: Some(id),
            epoch: None,
            reset: false,
            accepted_at,
            remote,
        };
        let offered = order.offer(id, &epoch, deliver, clock::now(), &mut |emitted| {
            self.emit(&topic, emitted);
        });
        match offered {
            Offered::Taken => {}
            Offered::Foreign => self.compare_soon(),
        }
        if order.hole_since().is_some() {
            self.uneasy.notify_one();
        }
    }

    pub(super) fn order_shard(&self, topic: &Topic) -> &Mutex<HashMap<Topic, TopicOrder>> {
        // ORDER_SHARDS is a power of two, so the mask takes the low bits.
        &self.orders[(self.hasher.hash_one(topic) as usize) & (ORDER_SHARDS - 1)]
    }

    /// Queues a delivery for every interested worker but one.
    pub(super) fn spread(&self, deliver: Deliver, except: Option<usize>) {
        let topic = &deliver.fastlane.broadcast().topic;
        self.to_workers(topic, except, |mailbox| {
            mailbox.push(Entry::Deliver(deliver.clone()));
        });
    }

    fn to_workers(&self, topic: &Topic, except: Option<usize>, hand: impl Fn(&Mailbox)) {
        let mut workers = self.interest.workers(topic);
        if let Some(worker) = except {
            workers &= !(1 << worker);
        }
        while workers != 0 {
            let worker = workers.trailing_zeros() as usize;
            workers &= workers - 1;
            if let Some(mailbox) = self.mailboxes.get(worker) {
                hand(mailbox);
            }
        }
    }
}
