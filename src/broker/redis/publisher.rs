//! The link that publishes: letters in pipelines, and what this broker says to the others.
//!
//! It never reorders letters. What was not answered when a link broke is sent again, in the same order, so
//! that receivers see it at least once and drop what they have.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, poll_immediate};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError};
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};

use super::dial::Dialed;
use super::heartbeat::{self, Heard, Loss};
use super::lane::Shared;
use super::link::RECONNECT_FIRST;
use super::queue::{Letters, Outgoing};
use super::reception::Question;
use crate::backoff::Backoff;
use crate::broker::envelope::Envelope;
use crate::broker::repair::{Message, Published, To};
use crate::broker::sequence::Place;
use crate::clock;

/// Letters in one pipeline, which is one flush.
const PIPELINE_LETTERS: usize = 512;
/// Pipelines that wait for their answers; what comes meanwhile gathers into the next one.
const PIPELINES_IN_FLIGHT: usize = 8;
/// Letters are written side by side in pieces of this size.
const ROOM_BYTES: usize = 64 * 1024;
/// The least time between two announcements: what is to be announced meanwhile gathers.
const GATHER: Duration = Duration::from_millis(50);
/// A node that leaves goes when nobody has asked it anything for so long: a little more than questions take to be repeated.
const LEAVING_QUIET: Duration = Duration::from_millis(300);
/// The longest that a node that leaves goes on answering.
const LEAVING_MOST: Duration = Duration::from_secs(2);

/// Letters that are sent together, kept until Redis has answered.
struct Batch {
    pipeline: Arc<Pipeline>,
    queued: Vec<Instant>,
    bytes: usize,
    /// The sequence of its last letter.
    through: u64,
}

/// What a pipeline carried.
#[derive(Debug, Clone, Copy)]
enum Carried {
    /// The oldest batch of letters.
    Letters,
    /// Messages, which are not sent again on the next link.
    Messages,
    /// A probe of this number.
    Probe(u64),
}

/// Why serving a link ended.
enum End {
    Drained,
    Lost(Loss),
}

type InFlight = FuturesOrdered<BoxFuture<'static, (Carried, Result<(), RedisError>)>>;

/// Numbers letters and publishes them.
pub(super) struct Publisher {
    shared: Arc<Shared>,
    letters: Letters,
    /// What other nodes ask for.
    questions: mpsc::Receiver<Question>,
    incarnation: u64,
    published: Published,
    /// Where the next letters are written, side by side: the ring keeps them.
    room: BytesMut,
    /// Sent and not answered, oldest first.
    unanswered: VecDeque<Batch>,
    probes: u64,
}

impl Publisher {
    pub(super) fn new(
        shared: Arc<Shared>,
        letters: Letters,
        questions: mpsc::Receiver<Question>,
        incarnation: u64,
    ) -> Self {
        let config = &shared.config;
        Self {
            published: Published::new(config.ring_letters, config.ring_bytes),
            shared,
            letters,
            questions,
            incarnation,
            room: BytesMut::new(),
            unanswered: VecDeque::new(),
            probes: 0,
        }
    }

    /// Publishes until the broker is closed and its queue drained, or closed without a link.
    pub(super) async fn run(mut self, first: Dialed) {
        let mut dialed = first;
        let mut backoff = Backoff::new(RECONNECT_FIRST, self.shared.config.reconnect_max);
        loop {
            match self.serve(dialed, &mut backoff).await {
                End::Drained => return,
                End::Lost(loss) => tracing::warn!(%loss, "the broker's publishing link is lost"),
            }
            dialed = tokio::select! {
                dialed = self.redial(&mut backoff) => dialed,
                () = self.shared.closing() => return self.give_up(),
            };
            self.shared.metrics.reconnects.inc();
        }
    }

    async fn redial(&self, backoff: &mut Backoff) -> Dialed {
        loop {
            sleep(backoff.next_delay()).await;
            match self.shared.dialer.publishing().await {
                Ok(dialed) => return dialed,
                Err(cause) => tracing::debug!(%cause, "the broker cannot be reached to publish"),
            }
        }
    }

    async fn serve(&mut self, dialed: Dialed, backoff: &mut Backoff) -> End {
        let Dialed { connection, server } = dialed;
        let heard = Heard::default();
        let shared = Arc::clone(&self.shared);
        let mut moved = pin!(shared.dialer.moved(&server));
        let dead = heartbeat::watch(connection.clone(), &shared.config, heard.clone());
        let mut dead = pin!(dead);
        let mut in_flight = InFlight::new();
        for batch in &self.unanswered {
            send(
                &mut in_flight,
                &connection,
                &batch.pipeline,
                Carried::Letters,
            )
            .await;
        }
        let mut gathered = Vec::with_capacity(PIPELINE_LETTERS);
        let mut earliest = clock::now();
        let mut look = pin!(sleep_until(earliest.into()));
        let (mut closing, mut drained) = (false, false);
        while !(drained && in_flight.is_empty()) {
            let room = in_flight.len() < PIPELINES_IN_FLIGHT && !drained;
            let at = self.published.announces_at();
            let at = at.map_or(earliest, |at| at.max(earliest)).into();
            if look.deadline() != at {
                look.as_mut().reset(at);
            }
            let next = tokio::select! {
                Some((carried, answer)) = in_flight.next(), if !in_flight.is_empty() => {
                    if let Err(cause) = answer {
                        return End::Lost(Loss::Broken(Some(cause)));
                    }
                    heard.note();
                    backoff.reset();
                    self.answered(carried);
                    None
                }
                count = self.letters.receiver.recv_many(&mut gathered, PIPELINE_LETTERS), if room => {
                    drained = count == 0;
                    self.batch(&mut gathered).map(|pipeline| (pipeline, Carried::Letters))
                }
                Some((origin, question)) = self.questions.recv(), if room => self.answer(origin, question),
                () = shared.reception.asking.notified(), if room => self.ask(),
                () = shared.probe.wanted.notified(), if room => Some(self.probe()),
                () = &mut look, if room => {
                    let now = clock::now();
                    earliest = now + GATHER;
                    self.announce(now)
                }
                loss = &mut dead => return End::Lost(loss),
                () = &mut moved => return End::Lost(Loss::Moved),
                () = shared.probe.redo.notified() => return End::Lost(Loss::Deaf),
                () = shared.closing(), if !closing => {
                    closing = true;
                    self.letters.receiver.close();
                    None
                }
            };
            if let Some((pipeline, carried)) = next {
                send(&mut in_flight, &connection, &pipeline, carried).await;
            }
        }
        self.leave(connection).await;
        End::Drained
    }

    /// Answers another node's question.
    fn answer(&mut self, origin: u64, question: Message) -> Option<(Arc<Pipeline>, Carried)> {
        let (letters, answer) = match question {
            Message::Inquiry { round, topics } => {
                let now = clock::now();
                (Vec::new(), self.published.standing(round, topics, now))
            }
            Message::Request(missing) => self.published.again(missing),
            Message::Announcement { .. }
            | Message::Standing { .. }
            | Message::Outcome(_)
            | Message::Probe(_)
            | Message::Leaving => return None,
        };
        let mut pipeline = redis::pipe();
        let channel = self.shared.channels.to(To::Node(origin));
        for letter in letters {
            self.shared
                .channels
                .publish(&mut pipeline, &channel, &letter);
        }
        self.say(&mut pipeline, To::Node(origin), &answer);
        Some((Arc::new(pipeline), Carried::Messages))
    }

    /// Asks other nodes what is to be asked now.
    fn ask(&mut self) -> Option<(Arc<Pipeline>, Carried)> {
        let mut pipeline = redis::pipe();
        for (to, message) in self.shared.reception.requests() {
            self.say(&mut pipeline, to, &message);
        }
        (!pipeline.is_empty()).then(|| (Arc::new(pipeline), Carried::Messages))
    }

    fn probe(&mut self) -> (Arc<Pipeline>, Carried) {
        self.probes += 1;
        let mut pipeline = redis::pipe();
        let to = To::Node(self.incarnation);
        self.say(&mut pipeline, to, &Message::Probe(self.probes));
        (Arc::new(pipeline), Carried::Probe(self.probes))
    }

    fn announce(&mut self, now: Instant) -> Option<(Arc<Pipeline>, Carried)> {
        let message = self.published.announcement(now)?;
        let mut pipeline = redis::pipe();
        self.say(&mut pipeline, To::Nodes, &message);
        Some((Arc::new(pipeline), Carried::Messages))
    }

    /// Says where this node stands, answers who misses something of it, and then that nobody need wait for it.
    async fn leave(&mut self, connection: MultiplexedConnection) {
        let end = clock::now() + LEAVING_MOST;
        let last = self.published.last_announcement();
        let mut word = redis::pipe();
        self.say(&mut word, To::Nodes, &last);
        let mut said = self.last_word(&connection, &word).await;
        while said {
            let quiet = end.saturating_duration_since(clock::now());
            let asked = timeout(quiet.min(LEAVING_QUIET), self.questions.recv()).await;
            let Ok(Some((origin, question))) = asked else {
                break;
            };
            if let Some((answer, _)) = self.answer(origin, question) {
                said = self.last_word(&connection, &answer).await;
            }
        }
        let mut word = redis::pipe();
        self.say(&mut word, To::Nodes, &Message::Leaving);
        if !self.last_word(&connection, &word).await {
            tracing::debug!("the other nodes are not told that this one leaves");
        }
    }

    /// Says something while nothing else is on its way; whether it was taken in time.
    async fn last_word(&self, connection: &MultiplexedConnection, word: &Pipeline) -> bool {
        let mut connection = connection.clone();
        let said = word.exec_async(&mut connection);
        let said = timeout(self.shared.config.ping_timeout, said).await;
        said.is_ok_and(|said| said.is_ok())
    }

    fn say(&self, pipeline: &mut Pipeline, to: To, message: &Message) {
        match message.encode(self.incarnation) {
            Ok(encoded) => {
                let channels = &self.shared.channels;
                channels.publish(pipeline, &channels.to(to), &encoded);
            }
            Err(cause) => tracing::error!(%cause, "a message cannot be published"),
        }
    }

    /// Gives letters their places and keeps them as one batch.
    fn batch(&mut self, gathered: &mut Vec<Outgoing>) -> Option<Arc<Pipeline>> {
        if gathered.is_empty() {
            return None;
        }
        let mut pipeline = redis::pipe();
        let mut queued = Vec::with_capacity(gathered.len());
        let (mut bytes, now) = (0, clock::now());
        for outgoing in gathered.drain(..) {
            let Outgoing {
                topic,
                letter,
                accepted_at,
                ..
            } = outgoing;
            let channel = self.shared.channels.of(&topic);
            let place = self.published.number(&topic, now);
            let Place {
                sequence,
                previous,
                nth,
            } = place;
            let envelope = Envelope {
                incarnation: self.incarnation,
                sequence,
                previous,
                nth,
                accepted_at,
                topic,
                letter,
            };
            bytes += outgoing.bytes;
            queued.push(outgoing.queued);
            let mut room = std::mem::take(&mut self.room);
            if room.capacity() < envelope.size() {
                room.reserve(ROOM_BYTES.max(envelope.size()));
            }
            let encoded = match envelope.encode_in(room) {
                Ok((encoded, room)) => {
                    self.room = room;
                    encoded
                }
                Err(cause) => {
                    // Its place stays empty, and receivers are told that it is lost.
                    tracing::error!(%cause, "a letter cannot be published");
                    Bytes::new()
                }
            };
            if !encoded.is_empty() {
                self.shared
                    .channels
                    .publish(&mut pipeline, &channel, &encoded);
            }
            self.published.keep(place, encoded);
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
            through: self.published.last(),
        });
        Some(pipeline)
    }

    /// Notes that Redis has published what a pipeline carried.
    fn answered(&mut self, carried: Carried) {
        match carried {
            Carried::Letters => {}
            Carried::Messages => return,
            Carried::Probe(number) => return self.shared.probe.answered(number),
        }
        let Some(batch) = self.unanswered.pop_front() else {
            debug_assert!(false, "an answer without a batch");
            return;
        };
        self.letters.room.give_back(batch.queued.len(), batch.bytes);
        let now = clock::now();
        self.published.answered(batch.through, now);
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
    carried: Carried,
) {
    let (mut connection, pipeline) = (connection.clone(), Arc::clone(pipeline));
    let mut answer = async move { (carried, pipeline.exec_async(&mut connection).await) }.boxed();
    // The first poll puts it on the wire, in this order.
    match poll_immediate(&mut answer).await {
        Some(early) => in_flight.push_back(std::future::ready(early).boxed()),
        None => in_flight.push_back(answer),
    }
}
