//! A worker's mailbox: what other threads hand over to it, bounded.
//!
//! It never blocks a sender. At its bound a topic's delivery is noted as missed, never queued.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Asked;
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

/// What a topic's subscribers at a worker missed because the mailbox was full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missed {
    /// The lowest and highest record id that was not queued.
    pub ids: Option<(u64, u64)>,
    /// The epoch that began meanwhile; the ids are of it then.
    pub renewed: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    bytes: usize,
    missed: HashMap<Topic, Missed>,
}

/// A bounded queue from any thread to one worker.
#[derive(Debug)]
pub struct Mailbox {
    inner: Mutex<Inner>,
    waker: AtomicWaker,
    entries_max: usize,
    bytes_max: usize,
}

impl Mailbox {
    /// Starts empty, with `limits.mailbox_entries` and `limits.mailbox_bytes`.
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            inner: Mutex::default(),
            waker: AtomicWaker::new(),
            entries_max,
            bytes_max,
        }
    }

    /// Queues an entry and wakes the worker.
    ///
    /// At the bound a delivery is noted as missed and a question is dropped, which its asker notices;
    /// other entries are always queued, since each belongs to a socket or a command and their number is
    /// bounded by those.
    pub fn push(&self, entry: Entry) {
        let mut inner = self.inner.lock();
        match &entry {
            Entry::Deliver(deliver) => {
                let bytes = deliver.fastlane.payload_bytes() + ENTRY_BYTES;
                let topic = &deliver.fastlane.broadcast().topic;
                let full = inner.entries.len() >= self.entries_max
                    || inner.bytes + bytes > self.bytes_max
                    || inner.missed.contains_key(topic);
                if full {
                    note_missed(&mut inner.missed, topic, deliver);
                } else {
                    inner.bytes += bytes;
                    inner.entries.push_back(entry);
                }
            }
            Entry::Ask(asked) => {
                let bytes = asked.bytes() + ENTRY_BYTES;
                let full =
                    inner.entries.len() >= self.entries_max || inner.bytes + bytes > self.bytes_max;
                if !full {
                    inner.bytes += bytes;
                    inner.entries.push_back(entry);
                }
            }
            Entry::Reply { .. }
            | Entry::Disconnect { .. }
            | Entry::Player(_)
            | Entry::Count { .. }
            | Entry::StopAccepting
            | Entry::CloseOneIn { .. } => inner.entries.push_back(entry),
        }
        drop(inner);
        self.waker.wake();
    }

    /// Takes all that is queued, and what was missed behind it; pending while there is nothing.
    pub fn poll_take(
        &self,
        task: &mut Context<'_>,
        entries: &mut VecDeque<Entry>,
        missed: &mut HashMap<Topic, Missed>,
    ) -> Poll<()> {
        self.waker.register(task.waker());
        let mut inner = self.inner.lock();
        if inner.entries.is_empty() && inner.missed.is_empty() {
            return Poll::Pending;
        }
        std::mem::swap(&mut inner.entries, entries);
        std::mem::swap(&mut inner.missed, missed);
        inner.bytes = 0;
        Poll::Ready(())
    }
}

/// Once a topic has missed something, later deliveries are missed too, so that its gap has one range.
fn note_missed(missed: &mut HashMap<Topic, Missed>, topic: &Topic, deliver: &Deliver) {
    let known = missed.entry(topic.clone()).or_default();
    if deliver.reset {
        // Ids of the epoch before mean nothing any more.
        known.renewed.clone_from(&deliver.epoch);
        known.ids = deliver.id.map(|to| (1, to));
        return;
    }
    known.ids = match (known.ids, deliver.id) {
        (Some((from, to)), Some(id)) => Some((from.min(id), to.max(id))),
        (None, Some(id)) => Some((id, id)),
        (ids, None) => ids,
    };
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

    #[test]
    fn at_the_bound_deliveries_are_missed_in_one_range_and_replies_are_not() {
        let mailbox = Mailbox::new(1, 1_000_000);
        for id in 4..8 {
            mailbox.push(deliver("t", Some(id)));
        }
        mailbox.push(Entry::StopAccepting);
        let (mut entries, mut missed) = (VecDeque::new(), HashMap::new());
        let mut task = Context::from_waker(Waker::noop());
        assert!(
            mailbox
                .poll_take(&mut task, &mut entries, &mut missed)
                .is_ready()
        );
        assert_eq!(entries.len(), 2);
        let expected = Missed {
            ids: Some((5, 7)),
            renewed: None,
        };
        assert_eq!(missed["t"], expected);
        entries.clear();
        missed.clear();
        assert!(
            mailbox
                .poll_take(&mut task, &mut entries, &mut missed)
                .is_pending()
        );
        mailbox.push(deliver("t", Some(8)));
        assert!(
            mailbox
                .poll_take(&mut task, &mut entries, &mut missed)
                .is_ready()
        );
        assert_eq!((entries.len(), missed.len()), (1, 0));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mailbox = Mailbox::new(10, 100);
        mailbox.push(deliver("a", None));
        mailbox.push(deliver("b", None));
        let (mut entries, mut missed) = (VecDeque::new(), HashMap::new());
        let mut task = Context::from_waker(Waker::noop());
        assert!(
            mailbox
                .poll_take(&mut task, &mut entries, &mut missed)
                .is_ready()
        );
        assert_eq!((entries.len(), &missed["b"]), (1, &Missed::default()));
    }

    #[test]
    fn a_new_epoch_that_is_missed_is_told_with_its_ids() {
        let mailbox = Mailbox::new(1, 1_000_000);
        mailbox.push(deliver("t", Some(4)));
        mailbox.push(deliver("t", Some(5)));
        let Entry::Deliver(renewal) = deliver("t", Some(0)) else {
            unreachable!("it is a delivery");
        };
        mailbox.push(Entry::Deliver(Deliver {
            epoch: Some("b".into()),
            reset: true,
            ..renewal
        }));
        mailbox.push(deliver("t", Some(1)));
        mailbox.push(deliver("t", Some(2)));
        let (mut entries, mut missed) = (VecDeque::new(), HashMap::new());
        let mut task = Context::from_waker(Waker::noop());
        let _ = mailbox.poll_take(&mut task, &mut entries, &mut missed);
        let expected = Missed {
            ids: Some((1, 2)),
            renewed: Some("b".into()),
        };
        assert_eq!(missed["t"], expected);
    }
}
