//! One client connection as a state machine: frames and ends of turns in, outputs out.
//!
//! It does no I/O, spawns nothing, and reads the clock only to time callbacks. Rows are those of the protocol's dispatch table.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::entry::{ChannelId, Entry, JoinRefs, Joining, Phase, QUEUE_MAX, Queue, Waiting};
use super::metrics::Metrics;
use super::rate::{Rate, Verdict};
use crate::channel::{
    Call, Client, Context, Effect, Farewell, Gate, Info, Membership, PendingTurn, Ports, ReplyTo,
    Router, Runner, Seat,
};
use crate::limits::Limits;
use crate::protocol::{
    CloseReason, DecodeError, Ending, Fastlane, Frame, Message, Outgoing, Ref, Reply, Serializer,
    Topic, events,
};

/// Malformed messages after which a socket is closed with 1008.
const MALFORMED_MAX: u8 = 10;

/// Where a socket lives: it gives each joining channel its place in the topic.
pub trait Host {
    /// Makes the membership of a channel that is about to join.
    fn membership(&self, channel: ChannelId, topic: &Topic) -> Rc<dyn Membership>;
}

/// What a socket needs from outside, shared by the sockets of a mount.
pub struct Surroundings {
    /// Which topics are served.
    pub router: Arc<Router>,
    /// What channels may ask of the node.
    pub ports: Arc<dyn Ports>,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// The counters.
    pub metrics: Metrics,
    /// The bound on joins under way, one for the node.
    pub joins: Arc<Gate>,
}

/// What a socket wants done, in order.
#[derive(Debug)]
pub enum Output {
    /// Write a frame.
    Send(Frame),
    /// Drive a callback that waits, then [`Socket::resume`].
    Wait {
        /// The channel.
        channel: ChannelId,
        /// The callback.
        turn: PendingTurn,
        /// Whether it is a join, which has `limits.join_seconds`.
        join: bool,
    },
    /// The join was answered: let live deliveries through.
    Live {
        /// The channel.
        channel: ChannelId,
        /// The events that go through the channel itself.
        intercepts: &'static [&'static str],
    },
    /// The channel ended: drop its subscription and presences.
    Left {
        /// The channel.
        channel: ChannelId,
    },
    /// Perform an effect other than a push or a reply.
    Perform {
        /// The channel.
        channel: ChannelId,
        /// The effect.
        effect: Effect,
    },
    /// Close the connection.
    Close(CloseReason),
}

/// One client connection.
pub struct Socket {
    pub(super) serializer: Serializer,
    pub(super) around: Arc<Surroundings>,
    client: Rc<Client>,
    host: Rc<dyn Host>,
    pub(super) entries: Vec<Entry>,
    pub(super) joins: VecDeque<ChannelId>,
    rate: Rate,
    malformed: u8,
    channels_made: u32,
    pub(super) renews: bool,
}

impl Socket {
    /// Starts without channels; the server says nothing first.
    pub fn new(
        serializer: Serializer,
        client: Rc<Client>,
        around: Arc<Surroundings>,
        host: Rc<dyn Host>,
    ) -> Self {
        let limits = &around.limits;
        let rate = Rate::new(limits.messages_per_second, limits.messages_burst);
        // The player may have changed since the handshake; later changes are told.
        let player = client.player();
        let newest = player.and_then(|player| around.ports.newest_player(&player.id));
        if let Some(newest) = newest {
            client.refresh_player(&newest);
        }
        Self {
            serializer,
            around,
            client,
            host,
            entries: Vec::new(),
            joins: VecDeque::new(),
            rate,
            malformed: 0,
            channels_made: 0,
            renews: true,
        }
    }

    /// Returns the version that the client speaks.
    pub fn serializer(&self) -> Serializer {
        self.serializer
    }

    /// Returns the bounds of the socket.
    pub fn limits(&self) -> &Limits {
        &self.around.limits
    }

    /// Returns who is at the other end.
    pub fn client(&self) -> &Rc<Client> {
        &self.client
    }

    /// Takes a text message.
    pub fn receive_text(&mut self, text: &Bytes, now: Instant, out: &mut Vec<Output>) {
        let decoded = self.serializer.decode_text(text);
        self.receive(decoded, now, out);
    }

    /// Takes a binary message.
    pub fn receive_binary(&mut self, bytes: &Bytes, now: Instant, out: &mut Vec<Output>) {
        let decoded = self.serializer.decode_binary(bytes);
        self.receive(decoded, now, out);
    }

    /// Takes a message that was read already, or what was wrong with it.
    pub fn receive(
        &mut self,
        decoded: Result<Message, DecodeError>,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        match decoded {
            Ok(message)
                if message.topic == events::PHOENIX && message.event == events::HEARTBEAT =>
            {
                self.answer(
                    None,
                    message.reference.as_ref(),
                    events::PHOENIX,
                    &Reply::ok_empty(),
                    out,
                );
            }
            Ok(message) => self.admit(message, now, out),
            Err(error) => {
                tracing::debug!(%error, "a frame is no message");
                self.around.metrics.malformed.inc();
                self.malformed = self.malformed.saturating_add(1);
                if self.malformed >= MALFORMED_MAX {
                    out.push(Output::Close(CloseReason::Malformed));
                }
            }
        }
    }

    /// Holds the message rate; a leave always passes, since it only frees.
    fn admit(&mut self, message: Message, now: Instant, out: &mut Vec<Output>) {
        if message.event == events::LEAVE {
            return self.dispatch(message, out);
        }
        match self.rate.take(now) {
            Verdict::Pass => self.dispatch(message, out),
            Verdict::Refuse => {
                self.around.metrics.rate_limited.inc();
                self.refuse(&message, "rate limited", out);
            }
            Verdict::Close => out.push(Output::Close(CloseReason::RateLimited)),
        }
    }

    /// Finds the row of the dispatch table for a message.
    pub(super) fn dispatch(&mut self, message: Message, out: &mut Vec<Output>) {
        let at = self
            .entries
            .iter()
            .position(|entry| entry.topic.as_str() == message.topic);
        match (message.event.as_str(), at) {
            (events::JOIN, None) => self.join(message, None, out),
            (events::JOIN, Some(at)) => self.rejoin(at, message, out),
            (_, Some(at)) if !self.entries[at].accepts(message.join_ref.as_ref()) => {}
            (_, Some(at)) => self.deliver(at, Waiting::Message(message), out),
            (events::LEAVE, None) => {
                let reply = Reply::ok_empty();
                let (join_ref, reference) = (message.join_ref.as_ref(), message.reference.as_ref());
                self.answer(join_ref, reference, &message.topic, &reply, out);
            }
            (_, None) => self.unmatched(&message, out),
        }
    }

    fn join(&mut self, message: Message, replaced: Option<JoinRefs>, out: &mut Vec<Output>) {
        let bytes_max = self.around.limits.topic_bytes;
        if message.topic.len() > bytes_max {
            self.count_limit("topic_bytes");
            return self.refuse(&message, "invalid", out);
        }
        // Names that begin with "!" are the gateway's own, between nodes.
        let made = Topic::parse(&message.topic, bytes_max).ok();
        let made = made.filter(|topic| !topic.as_str().starts_with('!'));
        let made = made.and_then(|topic| self.around.router.make(&topic).map(|made| (topic, made)));
        let Some((topic, (kind, channel))) = made else {
            return self.unmatched(&message, out);
        };
        if self.entries.len() >= self.around.limits.channels_per_socket {
            self.count_limit("channels_per_socket");
            return self.refuse(&message, "too many channels joined", out);
        }
        let id = ChannelId(self.channels_made);
        self.channels_made += 1;
        let refs = Self::join_refs(&message);
        let context = Context::new(
            topic.clone(),
            self.client.clone(),
            refs.own.clone(),
            self.around.ports.clone(),
            self.host.membership(id, &topic),
        );
        if self.entries.is_empty() {
            // Most sockets join one topic.
            self.entries.reserve_exact(1);
        }
        self.entries.push(Entry {
            id,
            topic,
            kind,
            refs,
            phase: Phase::Joining(Box::new(Joining {
                reference: message.reference,
                result: None,
                replaced,
            })),
            runner: Runner::new(Seat {
                channel,
                context: Box::new(context),
            }),
            waiting: Queue::default(),
            serves_client: true,
            called: None,
        });
        self.joins.push_back(id);
        self.around
            .metrics
            .channels
            .with_label_values(&[kind])
            .inc();
        self.run(
            self.entries.len() - 1,
            Call::Join(message.payload),
            None,
            out,
        );
    }

    fn join_refs(message: &Message) -> JoinRefs {
        let sent = message.join_ref.clone();
        let own = sent.clone().or_else(|| message.reference.clone());
        JoinRefs { sent, own }
    }

    /// Replaces a joined channel at once; behind a join that is under way, it waits.
    fn rejoin(&mut self, at: usize, message: Message, out: &mut Vec<Output>) {
        if matches!(self.entries[at].phase, Phase::Joining(_)) {
            return self.deliver(at, Waiting::Message(message), out);
        }
        let mut old = self.remove(at, Farewell::Rejoined, out);
        self.flush(&mut old, out);
        self.join(message, Some(old.refs), out);
        self.redispatch(old.waiting, out);
    }

    /// Hands something to a channel now, or lets it wait for its turn.
    pub(super) fn deliver(&mut self, at: usize, waiting: Waiting, out: &mut Vec<Output>) {
        let entry = &mut self.entries[at];
        if entry.is_at_rest() && entry.waiting.len() == 0 {
            return self.perform_now(at, waiting, out);
        }
        if entry.waiting.len() < QUEUE_MAX {
            entry.waiting.push(waiting);
        } else if let Waiting::Message(message) = waiting {
            self.around.metrics.rate_limited.inc();
            self.refuse(&message, "rate limited", out);
        }
    }

    /// Performs what may be performed, for a channel at rest.
    pub(super) fn perform_now(&mut self, at: usize, waiting: Waiting, out: &mut Vec<Output>) {
        match waiting {
            Waiting::Message(message) if message.event == events::LEAVE => {
                self.leave(at, &message, out)
            }
            Waiting::Message(message) if message.event == events::JOIN => {
                self.rejoin(at, message, out)
            }
            waiting => {
                if let Waiting::Message(message) = &waiting {
                    let kind = self.entries[at].kind;
                    self.around
                        .metrics
                        .messages
                        .with_label_values(&[kind])
                        .inc();
                    if message.event.len() > self.around.limits.topic_bytes {
                        self.count_limit("topic_bytes");
                        return self.refuse(message, "invalid", out);
                    }
                }
                self.entries[at].serves_client = matches!(waiting, Waiting::Message(_));
                let (call, reference) = waiting.into_call(self.renews);
                self.run(at, call, reference, out);
            }
        }
    }

    fn leave(&mut self, at: usize, message: &Message, out: &mut Vec<Output>) {
        let mut entry = self.remove(at, Farewell::Left, out);
        let (join_ref, reference) = (entry.refs.sent.as_ref(), message.reference.as_ref());
        self.answer(
            join_ref,
            reference,
            entry.topic.as_str(),
            &Reply::ok_empty(),
            out,
        );
        self.end(&entry.topic, &entry.refs, Ending::Closed, out);
        self.flush(&mut entry, out);
        self.redispatch(entry.waiting, out);
    }

    /// Gives a note back to its channel.
    pub fn info(&mut self, channel: ChannelId, info: Info, out: &mut Vec<Output>) {
        if let Some(at) = self.position(channel) {
            self.deliver(at, Waiting::Info(info), out);
        }
    }

    /// Gives an intercepted broadcast to its channel.
    pub fn intercepted(
        &mut self,
        channel: ChannelId,
        fastlane: Arc<Fastlane>,
        out: &mut Vec<Output>,
    ) {
        if let Some(at) = self.position(channel) {
            self.deliver(at, Waiting::Intercepted(fastlane), out);
        }
    }

    /// Answers a message whose work was done elsewhere; nothing when the channel is gone.
    pub fn reply(
        &mut self,
        channel: ChannelId,
        to: &ReplyTo,
        reply: &Reply,
        out: &mut Vec<Output>,
    ) {
        if let Some(at) = self.position(channel) {
            let topic = self.entries[at].topic.clone();
            self.answer(
                to.join_ref.as_ref(),
                to.reference.as_ref(),
                topic.as_str(),
                reply,
                out,
            );
        }
    }

    /// Ends every channel without a frame: the connection is going or gone.
    pub fn end_all(&mut self, out: &mut Vec<Output>) {
        while !self.entries.is_empty() {
            let mut entry = self.remove(0, Farewell::SocketClosed, out);
            self.flush(&mut entry, out);
        }
    }

    /// Says whether a client's message to a topic is still to be answered or to be looked at.
    pub fn owes(&self, topic: &str) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.topic.as_str() == topic && entry.owes())
    }

    /// Returns how many channels are joined or joining.
    pub fn channels(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn unmatched(&self, message: &Message, out: &mut Vec<Output>) {
        let reason = "unmatched topic";
        tracing::debug!(topic = %message.topic, reason, "a message is refused");
        let reply = Reply::reason(reason);
        self.answer(
            None,
            message.reference.as_ref(),
            &message.topic,
            &reply,
            out,
        );
    }

    /// Counts a limit that was met.
    pub fn count_limit(&self, limit: &str) {
        let reached = &self.around.metrics.limit_reached;
        reached.with_label_values(&[limit]).inc();
    }

    pub(super) fn refuse(&self, message: &Message, reason: &str, out: &mut Vec<Output>) {
        tracing::debug!(topic = %message.topic, reason, "a message is refused");
        let reply = Reply::reason(reason);
        let (join_ref, reference) = (message.join_ref.as_ref(), message.reference.as_ref());
        self.answer(join_ref, reference, &message.topic, &reply, out);
    }

    pub(super) fn answer(
        &self,
        join_ref: Option<&Ref>,
        reference: Option<&Ref>,
        topic: &str,
        reply: &Reply,
        out: &mut Vec<Output>,
    ) {
        self.around.metrics.replies.count(reply.status.as_str());
        let frame = self.serializer.encode(Outgoing::Reply {
            join_ref,
            reference,
            topic,
            reply,
        });
        out.extend(frame.map(Output::Send));
    }
}
