//! A worker's mailbox: what other threads hand over to it, bounded.
//!
//! It never blocks a sender. At its bound a topic is marked and its deliveries are not queued.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::Asked;
use super::missed::{MissedTopics, Part};
use crate::channel::{Player, ReplyTo};
use crate::clock::UnixMicros;
use crate::protocol::{CloseReason, Fastlane, Reply, Topic};
use crate::socket::ChannelId;

/// Bytes that an entry counts besides its payload.
const ENTRY_BYTES: usize = 64;

/// Names a socket within its worker; a slot may be used again, a serial number never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId {
    /// The slot in the worker's table.
    pub slot: u32,
    /// The number of the connection in its worker.
    pub serial: u32,
}

/// A broadcast or record for a topic's subscribers.
#[derive(Debug, Clone)]
pub struct Deliver {
    /// What to deliver, encoded once.
    pub fastlane: Arc<Fastlane>,
    /// A record's id; subscribers whose floor is not below it don't get it.
    pub id: Option<u64>,
    /// The epoch that the id belongs to; `None` for an id of any.
    pub epoch: Option<Arc<str>>,
    /// Whether the topic's numbering starts anew behind the id, so that floors of other epochs are void.
    pub reset: bool,
    /// When a node accepted it, by that node's clock.
    pub accepted_at: UnixMicros,
    /// Whether another node published it.
    pub remote: bool,
}

/// What a worker is handed.
#[derive(Debug, Clone)]
pub enum Entry {
    /// For the subscribers of a topic.
    Deliver(Deliver),
    /// The answer to one socket's message.
    Reply {
        /// The socket.
        socket: SocketId,
        /// Its channel.
        channel: ChannelId,
        /// The message.
        to: ReplyTo,
        /// The answer.
        reply: Reply,
    },
    /// Close every socket with this id.
    Disconnect {
        /// The socket id, such as `user:42`.
        socket_id: Arc<str>,
    },
    /// A long-poll request for a session of this worker.
    Ask(Asked),
    /// A player's row changed: replace the sockets' copies.
    Player(Arc<Player>),
    /// Count the live subscribers of a topic.
    Count {
        /// The topic.
        topic: Topic,
        /// Where the number goes.
        answer: mpsc::Sender<usize>,
    },
    /// Stop accepting connections.
    StopAccepting,
    /// Close one socket in so many, of those that are open.
    CloseOneIn {
        /// In how many; 1 closes all.
        share: u32,
        /// Why.
        reason: CloseReason,
    },
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    bytes: usize,
    missed: MissedTopics,
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.missed.is_news()
    }
}

/// A bounded queue from any thread to one worker.
#[derive(Debug)]
pub struct Mailbox {
    inner: Mutex<Inner>,
    waker: AtomicWaker,
    /// Woken when a marked topic can be healed: the worker has taken what was queued.
    healable: Notify,
    entries_max: usize,
    bytes_max: usize,
}

impl Mailbox {
    /// Starts empty, with `limits.mailbox_entries` and `limits.mailbox_bytes`.
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            inner: Mutex::default(),
            waker: AtomicWaker::new(),
            healable: Notify::new(),
            entries_max,
            bytes_max,
        }
    }

    /// Queues an entry and wakes the worker.
    ///
    /// At the bound a delivery's topic is marked and a question is dropped, which its asker notices;
    /// other entries are always queued, since each belongs to a socket or a command and their number is
    /// bounded by those. Records of a marked topic wait in the store until those before them were read there.
    pub fn push(&self, entry: Entry) {
        let mut inner = self.inner.lock();
        match entry {
            Entry::Deliver(deliver) => {
                let from = deliver.id.unwrap_or_default();
                self.push_deliver(&mut inner, deliver, from);
            }
            Entry::Ask(asked) => {
                let bytes = asked.bytes() + ENTRY_BYTES;
                if !self.is_full(&inner, bytes) {
                    inner.bytes += bytes;
                    inner.entries.push_back(Entry::Ask(asked));
                }
            }
            entry @ (Entry::Reply { .. }
            | Entry::Disconnect { .. }
            | Entry::Player(_)
            | Entry::Count { .. }
            | Entry::StopAccepting
            | Entry::CloseOneIn { .. }) => inner.entries.push_back(entry),
        }
        drop(inner);
        self.waker.wake();
    }

    /// As `push`, for a delivery that stands for all ids from this one to its own.
    pub(super) fn push_range(&self, deliver: Deliver, from: u64) {
        self.push_deliver(&mut self.inner.lock(), deliver, from);
        self.waker.wake();
    }

    fn push_deliver(&self, inner: &mut Inner, deliver: Deliver, from: u64) {
        let bytes = deliver.fastlane.payload_bytes() + ENTRY_BYTES;
        let topic = &deliver.fastlane.broadcast().topic;
        let waits = deliver.id.is_some() && inner.missed.has_records(topic);
        if waits || self.is_full(inner, bytes) {
            inner.missed.note(topic, &deliver, from);
        } else {
            inner.bytes += bytes;
            inner.entries.push_back(Entry::Deliver(deliver));
        }
    }

    fn is_full(&self, inner: &Inner, bytes: usize) -> bool {
        inner.entries.len() >= self.entries_max || inner.bytes + bytes > self.bytes_max
    }

    /// Takes all that is queued, and the topics of which broadcasts were dropped; pending while there is nothing.
    pub fn poll_take(
        &self,
        task: &mut Context<'_>,
        entries: &mut VecDeque<Entry>,
        overloaded: &mut Vec<Topic>,
    ) -> Poll<()> {
        self.waker.register(task.waker());
        let mut inner = self.inner.lock();
        if inner.is_empty() {
            return Poll::Pending;
        }
        std::mem::swap(&mut inner.entries, entries);
        inner.bytes = 0;
        inner.missed.take_news(overloaded);
        if inner.missed.is_any() {
            self.healable.notify_one();
        }
        Poll::Ready(())
    }

    /// Says whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().is_empty()
    }

    /// Waits until marked topics can be healed, and there is room for it.
    pub(super) async fn healable(&self) {
        self.healable.notified().await;
    }

    /// Returns the marked topics that can be healed.
    pub(super) fn healing(&self) -> Vec<Topic> {
        self.inner.lock().missed.healing()
    }

    /// Returns what a marked topic needs next; when that is nothing it is marked no more.
    pub(super) fn part(&self, topic: &Topic) -> Option<Part> {
        self.inner.lock().missed.part(topic)
    }

    /// Marks a topic no more, since nobody at this worker wants it.
    pub(super) fn forget(&self, topic: &Topic) {
        self.inner.lock().missed.forget(topic);
    }

    /// Queues a part of what a marked topic needs; false when there is no room.
    pub(super) fn push_healed(&self, deliver: Deliver) -> bool {
        let mut inner = self.inner.lock();
        let bytes = deliver.fastlane.payload_bytes() + ENTRY_BYTES;
        if self.is_full(&inner, bytes) {
            return false;
        }
        let topic = deliver.fastlane.broadcast().topic.clone();
        if inner.missed.healed(&topic, &deliver) {
            inner.bytes += bytes;
            inner.entries.push_back(Entry::Deliver(deliver));
        }
        drop(inner);
        self.waker.wake();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::protocol::{Broadcast, Payload};

    fn deliver(topic: &str, id: Option<u64>) -> Entry {
        Entry::Deliver(Deliver {
            fastlane: Arc::new(Fastlane::new(Broadcast {
                topic: topic.try_into().unwrap(),
                event: "e".into(),
                payload: Payload::EMPTY,
            })),
            id,
            epoch: None,
            reset: false,
            accepted_at: 0,
            remote: false,
        })
    }

    /// Takes what is queued: `e` an entry, the id of a record, and `!` a topic that was overloaded.
    fn taken(mailbox: &Mailbox) -> String {
        let (mut entries, mut overloaded) = (VecDeque::new(), Vec::new());
        let mut task = Context::from_waker(Waker::noop());
        if mailbox
            .poll_take(&mut task, &mut entries, &mut overloaded)
            .is_pending()
        {
            return String::from("nothing");
        }
        let say = |entry: &Entry| match entry {
            Entry::Deliver(Deliver { id: Some(id), .. }) => id.to_string(),
            _ => String::from("e"),
        };
        let mut said: Vec<String> = entries.iter().map(say).collect();
        said.extend(overloaded.iter().map(|topic| format!("!{topic}")));
        said.join(" ")
    }

    fn record(id: u64, epoch: &str, reset: bool) -> Deliver {
        let Entry::Deliver(plain) = deliver("t", Some(id)) else {
            unreachable!("it is a delivery");
        };
        Deliver {
            epoch: Some(epoch.into()),
            reset,
            ..plain
        }
    }

    fn part(mailbox: &Mailbox) -> Option<Part> {
        mailbox.part(&"t".try_into().unwrap())
    }

    #[test]
    fn records_beyond_the_bound_wait_in_one_range_and_replies_are_queued() {
        let mailbox = Mailbox::new(1, 1_000_000);
        for id in 4..8 {
            mailbox.push(Entry::Deliver(record(id, "a", false)));
        }
        mailbox.push(Entry::StopAccepting);
        assert!(
            mailbox.healing().is_empty(),
            "the worker has not seen 4 yet"
        );
        assert_eq!(taken(&mailbox), "4 e");
        assert_eq!(mailbox.healing().len(), 1);
        assert_eq!(part(&mailbox), Some(Part::Records("a".into(), 5, 7)));
        assert_eq!(taken(&mailbox), "nothing");
        // What comes now must not overtake them.
        mailbox.push(Entry::Deliver(record(8, "a", false)));
        assert_eq!(taken(&mailbox), "nothing");
        for id in 5..=8 {
            assert!(mailbox.push_healed(record(id, "a", false)));
            assert!(
                !mailbox.push_healed(record(id + 1, "a", false)),
                "there is no room"
            );
            assert_eq!(taken(&mailbox), id.to_string());
        }
        assert_eq!(part(&mailbox), None);
        mailbox.push(Entry::Deliver(record(9, "a", false)));
        assert_eq!(taken(&mailbox), "9");
    }

    #[test]
    fn a_range_that_is_gone_is_missed_whole() {
        let mailbox = Mailbox::new(1, 1_000_000);
        mailbox.push(Entry::Deliver(record(4, "a", false)));
        mailbox.push_range(record(9, "a", false), 5);
        mailbox.push(Entry::Deliver(record(10, "a", false)));
        assert_eq!(taken(&mailbox), "4");
        assert_eq!(part(&mailbox), Some(Part::Records("a".into(), 5, 10)));
    }

    #[test]
    fn broadcasts_beyond_the_bound_are_told_and_later_ones_are_queued() {
        let mailbox = Mailbox::new(10, 100);
        mailbox.push(deliver("a", None));
        mailbox.push(deliver("b", None));
        assert_eq!(taken(&mailbox), "e !b");
        mailbox.push(deliver("b", None));
        assert_eq!(taken(&mailbox), "e");
    }

    #[test]
    fn broadcasts_are_told_while_records_of_their_topic_are_healed() {
        let mailbox = Mailbox::new(1, 1_000_000);
        mailbox.push(Entry::Deliver(record(4, "a", false)));
        mailbox.push(Entry::Deliver(record(5, "a", false)));
        assert_eq!(taken(&mailbox), "4");
        mailbox.push(deliver("t", None));
        mailbox.push(deliver("t", None));
        assert_eq!(taken(&mailbox), "e !t");
        assert_eq!(part(&mailbox), Some(Part::Records("a".into(), 5, 5)));
    }

    #[test]
    fn a_new_epoch_that_is_missed_is_told_first_and_voids_what_came_before() {
        let mailbox = Mailbox::new(1, 1_000_000);
        for one in [
            record(4, "a", false),
            record(5, "a", false),
            record(0, "b", true),
            record(1, "b", false),
        ] {
            mailbox.push(Entry::Deliver(one));
        }
        assert_eq!(taken(&mailbox), "4");
        assert_eq!(part(&mailbox), Some(Part::Renewal("b".into(), 0)));
        assert!(mailbox.push_healed(record(5, "a", false)));
        assert_eq!(taken(&mailbox), "nothing", "it is of the epoch before");
        assert!(mailbox.push_healed(record(0, "b", true)));
        assert_eq!(taken(&mailbox), "0");
        assert_eq!(part(&mailbox), Some(Part::Records("b".into(), 1, 1)));
    }
}
