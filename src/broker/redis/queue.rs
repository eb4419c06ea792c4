//! The queue of what is to be published, bounded in letters and bytes.
//!
//! Who queues never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::broker::{BrokerError, Config, Letter, Metrics};
use crate::clock::{self, UnixMicros};
use crate::protocol::Topic;

/// What a letter takes in the queue besides its bytes.
const LETTER_OVERHEAD_BYTES: usize = 128;

/// One of so many parts of the room is kept for the node's own letters.
const KEPT_PART: usize = 16;

/// A letter on its way out.
pub(super) struct Outgoing {
    pub(super) topic: Topic,
    pub(super) letter: Letter,
    pub(super) accepted_at: UnixMicros,
    pub(super) queued: Instant,
    pub(super) bytes: usize,
}

/// Where callers put letters.
pub(super) struct Queue {
    sender: mpsc::Sender<Outgoing>,
    room: Arc<Room>,
    metrics: Metrics,
}

/// The receiving end of the queue.
pub(super) struct Letters {
    pub(super) receiver: mpsc::Receiver<Outgoing>,
    pub(super) room: Arc<Room>,
}

/// How much may be under way, from a caller's push to Redis' answer.
pub(super) struct Room {
    letters: AtomicUsize,
    bytes: AtomicUsize,
    letters_max: usize,
    bytes_max: usize,
}

impl Room {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            letters: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            letters_max: config.publish_queue,
            bytes_max: config.publish_queue_bytes,
        }
    }

    /// Says whether a letter fits and a part is left for those that nobody asks about.
    pub(super) fn has_some(&self) -> bool {
        let is_below =
            |held: &AtomicUsize, max: usize| held.load(Ordering::Relaxed) < max - max / KEPT_PART;
        is_below(&self.letters, self.letters_max) && is_below(&self.bytes, self.bytes_max)
    }

    fn take(&self, bytes: usize) -> bool {
        let letters = self.letters.fetch_add(1, Ordering::Relaxed);
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = letters < self.letters_max && held.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.give_back(1, bytes);
        }
        fits
    }

    pub(super) fn give_back(&self, letters: usize, bytes: usize) {
        self.letters.fetch_sub(letters, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn new(config: &Config, room: Arc<Room>, metrics: Metrics) -> (Self, Letters) {
        let (sender, receiver) = mpsc::channel(config.publish_queue.max(1));
        let letters = Letters {
            receiver,
            room: Arc::clone(&room),
        };
        (
            Self {
                sender,
                room,
                metrics,
            },
            letters,
        )
    }

    /// Queues a letter; never waits.
    pub(super) fn push(&self, topic: &Topic, letter: Letter) -> Result<(), BrokerError> {
        let bytes = topic.as_str().len() + letter.len() + LETTER_OVERHEAD_BYTES;
        if !self.room.take(bytes) {
            self.metrics.refused.inc();
            return Err(BrokerError::Full);
        }
        let outgoing = Outgoing {
            topic: topic.clone(),
            letter,
            accepted_at: clock::unix_us(),
            queued: clock::now(),
            bytes,
        };
        self.sender.try_send(outgoing).map_err(|refused| {
            self.room.give_back(1, bytes);
            match refused {
                mpsc::error::TrySendError::Full(_) => {
                    self.metrics.refused.inc();
                    BrokerError::Full
                }
                mpsc::error::TrySendError::Closed(_) => BrokerError::Closed,
            }
        })
    }
}
