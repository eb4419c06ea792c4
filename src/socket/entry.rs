//! One topic of one socket: its join, its channel's runner, and what waits for it.
//!
//! It decides nothing about the wire; the socket does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::channel::{Call, Info, JoinResult, Runner};
use crate::protocol::{Fastlane, Message, Ref, Topic, events};

/// The most messages that wait behind a callback of one channel; then: reply `rate limited`.
pub(super) const QUEUE_MAX: usize = 1_000;

/// Names a channel within its socket; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub(crate) u32);

/// How far a join has come.
pub(super) enum Phase {
    /// Its callback runs, or its answer waits for the answers of earlier joins.
    Joining {
        reference: Option<Ref>,
        result: Option<JoinResult>,
    },
    Joined,
}

/// What waits for the channel to be at rest.
pub(super) enum Waiting {
    Message(Message),
    Intercepted(Arc<Fastlane>),
    Info(Info),
}

impl Waiting {
    /// Splits a client's event or a note into a call and the reference it is about.
    ///
    /// A token to renew is for the gateway when it `renews`, else an event like any other.
    pub(super) fn into_call(self, renews: bool) -> (Call, Option<Ref>) {
        match self {
            Self::Message(message) if renews && message.event == events::ACCESS_TOKEN => {
                (Call::Renew(message.payload), message.reference)
            }
            Self::Message(message) => (Call::In(message.event, message.payload), message.reference),
            Self::Intercepted(fastlane) => (Call::Out(fastlane), None),
            Self::Info(info) => (Call::Info(info), None),
        }
    }
}

/// The `join_ref`s of a channel's frames.
#[derive(Debug, Clone)]
pub(super) struct JoinRefs {
    /// What the client sent: the join's reply and a V2 close carry it.
    pub(super) sent: Option<Ref>,
    /// What the channel's own frames carry: the same, or the join's `ref`.
    pub(super) own: Option<Ref>,
    /// What `phx_close` and `phx_error` carry.
    pub(super) end: Option<Ref>,
}

/// One topic of one socket.
pub(super) struct Entry {
    pub(super) id: ChannelId,
    pub(super) topic: Topic,
    pub(super) kind: &'static str,
    pub(super) refs: JoinRefs,
    pub(super) phase: Phase,
    pub(super) runner: Runner,
    pub(super) waiting: VecDeque<Waiting>,
    /// Whether the latest call was about a client's message, not about a note or a broadcast.
    pub(super) serves_client: bool,
    /// The callback under way and when it was called.
    pub(super) called: Option<(&'static str, Instant)>,
    /// The end of the channel that this join replaced, to be sent behind its own reply.
    pub(super) replaced: Option<JoinRefs>,
}

impl Entry {
    /// Says whether a message with this `join_ref` is for this channel: the same one, or none.
    pub(super) fn accepts(&self, join_ref: Option<&Ref>) -> bool {
        join_ref.is_none() || join_ref == self.refs.sent.as_ref()
    }

    /// Says whether a client's message waits, or the turn that it started has not ended.
    pub(super) fn owes(&self) -> bool {
        let waits = |waiting: &Waiting| matches!(waiting, Waiting::Message(_));
        matches!(self.phase, Phase::Joining { .. })
            || (self.serves_client && !self.runner.rests())
            || self.waiting.iter().any(waits)
    }

    /// Says whether the channel can take a call now.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Joined) && self.runner.rests()
    }
}
