//! The link that publishes: a bounded queue, drained in pipelines.
//!
//! Who queues never waits. What was not answered when a link broke is sent again, in the same order, so
//! that receivers see it at least once and drop what they have.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::future::{BoxFuture, poll_immediate};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Shared;
use super::heartbeat::{self, Heard, Loss};
use super::link::RECONNECT_FIRST;
use crate::backoff::Backoff;
use crate::broker::envelope::Envelope;
use crate::broker::sequence::{Numbering, Place};
use crate::broker::{BrokerError, Config, Letter, Metrics};
use crate::clock::{self, UnixMicros};
use crate::protocol::Topic;

/// Letters in one pipeline, which is one flush.
const PIPELINE_LETTERS: usize = 512;
/// Pipelines that wait for their answers; what comes meanwhile gathers into the next one.
const PIPELINES_IN_FLIGHT: usize = 8;
/// What a letter takes in the queue besides its bytes.
const LETTER_OVERHEAD_BYTES: usize = 128;

/// A letter on its way out.
pub(super) struct Outgoing {
    topic: Topic,
    letter: Letter,
    accepted_at: UnixMicros,
    queued: Instant,
    bytes: usize,
}

/// Where callers put letters.
pub(super) struct Queue {
    sender: mpsc::Sender<Outgoing>,
    room: Arc<Room>,
    metrics: Metrics,
}

/// The receiving end of the queue.
pub(super) struct Letters {
    receiver: mpsc::Receiver<Outgoing>,
    room: Arc<Room>,
}

/// How much may be under way, from a caller's push to Redis' answer.
struct Room {
    letters: AtomicUsize,
    bytes: AtomicUsize,
    letters_max: usize,
    bytes_max: usize,
}

impl Room {
    fn take(&self, bytes: usize) -> bool {
        let letters = self.letters.fetch_add(1, Ordering::Relaxed);
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = letters < self.letters_max && held.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.give_back(1, bytes);
        }
        fits
    }

    fn give_back(&self, letters: usize, bytes: usize) {
        self.letters.fetch_sub(letters, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn new(config: &Config, metrics: Metrics) -> (Self, Letters) {
        let (sender, receiver) = mpsc::channel(config.publish_queue.max(1));
        let room = Arc::new(Room {
            letters: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            letters_max: config.publish_queue,
            bytes_max: config.publish_queue_bytes,
        });
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

/// Letters that are sent together, kept until Redis has answered.
struct Batch {
    pipeline: Arc<Pipeline>,
    queued: Vec<Instant>,
    bytes: usize,
}

/// Why serving a link ended.
enum End {
    Drained,
    Lost(Loss),
}

type InFlight = FuturesOrdered<BoxFuture<'static, Result<(), RedisError>>>;

/// Numbers letters and publishes them.
pub(super) struct Publisher {
    shared: Arc<Shared>,
    letters: Letters,
    incarnation: u64,
    numbering: Numbering,
    /// Sent and not answered, oldest first. A ring for retransmission would take from its front.
    unanswered: VecDeque<Batch>,
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>, letters: Letters, incarnation: u64) -> Self {
        Self {
            shared,
            letters,
            incarnation,
            numbering: Numbering::new(),
            unanswered: VecDeque::new(),
        }
    }

    /// Publishes until the broker is closed and its queue drained, or closed without a link.
    pub(super) async fn run(mut self, first: MultiplexedConnection) {
        let mut connection = first;
        let mut backoff = Backoff::new(RECONNECT_FIRST, self.shared.config.reconnect_max);
        loop {
            match self.serve(connection, &mut backoff).await {
                End::Drained => return,
                End::Lost(loss) => tracing::warn!(%loss, "the broker's publishing link is lost"),
            }
            connection = tokio::select! {
                connection = self.redial(&mut backoff) => connection,
                () = self.shared.closing() => return self.give_up(),
            };
            self.shared.metrics.reconnects.inc();
        }
    }

    async fn redial(&self, backoff: &mut Backoff) -> MultiplexedConnection {
        loop {
            sleep(backoff.next_delay()).await;
            match self.shared.dialer.publishing().await {
                Ok(connection) => return connection,
                Err(cause) => tracing::debug!(%cause, "the broker cannot be reached to publish"),
            }
        }
    }

    async fn serve(&mut self, connection: MultiplexedConnection, backoff: &mut Backoff) -> End {
        let heard = Heard::default();
        let shared = Arc::clone(&self.shared);
        let dead = heartbeat::watch(connection.clone(), &shared.config, heard.clone());
        let mut dead = pin!(dead);
        let mut in_flight = InFlight::new();
        for batch in &self.unanswered {
            send(&mut in_flight, &connection, &batch.pipeline).await;
        }
        let mut gathered = Vec::with_capacity(PIPELINE_LETTERS);
        let (mut closing, mut drained) = (false, false);
        while !(drained && in_flight.is_empty()) {
            tokio::select! {
                Some(answer) = in_flight.next(), if !in_flight.is_empty() => match answer {
                    Ok(()) => {
                        heard.note();
                        backoff.reset();
                        self.answered();
                    }
                    Err(cause) => return End::Lost(Loss::Broken(Some(cause))),
                },
                count = self.letters.receiver.recv_many(&mut gathered, PIPELINE_LETTERS),
                    if in_flight.len() < PIPELINES_IN_FLIGHT && !drained =>
                {
                    drained = count == 0;
                    if let Some(pipeline) = self.batch(&mut gathered) {
                        send(&mut in_flight, &connection, &pipeline).await;
                    }
                }
                loss = &mut dead => return End::Lost(loss),
                () = shared.closing(), if !closing => {
                    closing = true;
                    self.letters.receiver.close();
                }
            }
        }
        End::Drained
    }

    /// Gives letters their places and keeps them as one batch.
    fn batch(&mut self, gathered: &mut Vec<Outgoing>) -> Option<Arc<Pipeline>> {
        if gathered.is_empty() {
            return None;
        }
        let mut pipeline = redis::pipe();
        let mut queued = Vec::with_capacity(gathered.len());
        let mut bytes = 0;
        for outgoing in gathered.drain(..) {
            let Outgoing {
                topic,
                letter,
                accepted_at,
                ..
            } = outgoing;
            let channel = self.shared.channels.of(&topic);
            let Place { sequence, previous } = self.numbering.next(&topic);
            let incarnation = self.incarnation;
            let envelope = Envelope {
                incarnation,
                sequence,
                previous,
                accepted_at,
                topic,
                letter,
            };
            bytes += outgoing.bytes;
            queued.push(outgoing.queued);
            match envelope.encode() {
                Ok(encoded) => {
                    pipeline
                        .cmd("PUBLISH")
                        .arg(channel)
                        .arg(&encoded[..])
                        .ignore();
                }
                // Its place stays empty, and receivers are told of a hole.
                Err(cause) => tracing::error!(%cause, "a letter cannot be published"),
            }
        }
        if pipeline.is_empty() {
            // The batch still has its answer to come.
            pipeline.cmd("PING").ignore();
        }
        let pipeline = Arc::new(pipeline);
        self.unanswered.push_back(Batch {
            pipeline: Arc::clone(&pipeline),
            queued,
            bytes,
        });
        Some(pipeline)
    }

    /// Notes that Redis has published the oldest batch.
    fn answered(&mut self) {
        let Some(batch) = self.unanswered.pop_front() else {
            debug_assert!(false, "an answer without a batch");
            return;
        };
        self.letters.room.give_back(batch.queued.len(), batch.bytes);
        let now = clock::now();
        for queued in batch.queued {
            let took = now.duration_since(queued);
            self.shared
                .metrics
                .publish_seconds
                .observe(took.as_secs_f64());
        }
    }

    fn give_up(mut self) {
        self.letters.receiver.close();
        let unanswered: usize = self.unanswered.iter().map(|batch| batch.queued.len()).sum();
        let letters = unanswered + self.letters.receiver.len();
        if letters > 0 {
            tracing::error!(
                letters,
                "the broker closes without its link; letters stay unpublished"
            );
        }
    }
}

async fn send(
    in_flight: &mut InFlight,
    connection: &MultiplexedConnection,
    pipeline: &Arc<Pipeline>,
) {
    let (mut connection, pipeline) = (connection.clone(), Arc::clone(pipeline));
    let mut answer = async move { pipeline.exec_async(&mut connection).await }.boxed();
    // The first poll puts it on the wire, in this order.
    match poll_immediate(&mut answer).await {
        Some(early) => in_flight.push_back(std::future::ready(early).boxed()),
        None => in_flight.push_back(answer),
    }
}
