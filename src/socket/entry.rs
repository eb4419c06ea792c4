//! One topic of one socket: its join, its channel's runner, and what waits for it.
//!
//! It decides nothing about the wire; the socket does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::channel::{Call, Info, JoinResult, Runner};
use crate::protocol::{Fastlane, Message, Ref, Serializer, Topic, events};

/// The most messages that wait behind a callback of one channel; then: reply `rate limited`.
pub(super) const QUEUE_MAX: usize = 1_000;

/// Names a channel within its socket; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub(crate) u32);

/// How far a join has come.
pub(super) enum Phase {
    /// Its callback runs, or its answer waits for the answers of earlier joins.
    Joining(Box<Joining>),
    Joined,
}

/// A join that is not answered yet; boxed, since a joined channel is to be small.
pub(super) struct Joining {
    pub(super) reference: Option<Ref>,
    pub(super) result: Option<JoinResult>,
    /// The end of the channel that this join replaced, to be sent behind its own reply.
    pub(super) replaced: Option<JoinRefs>,
}

/// What waits for the channel to be at rest.
pub(super) enum Waiting {
    Message(Message),
    Intercepted(Arc<Fastlane>),
    Info(Info),
}

/// What waits, in order; it holds no memory while nothing does.
#[derive(Default)]
pub(super) struct Queue(VecDeque<Waiting>);

impl Queue {
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.0.push_back(waiting);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.0.iter()
    }
}

impl Iterator for Queue {
    type Item = Waiting;

    fn next(&mut self) -> Option<Waiting> {
        let next = self.0.pop_front();
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        next
    }
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
}

impl JoinRefs {
    /// Returns what `phx_close` and `phx_error` carry.
    ///
    /// In V1 it is the join's `ref` for want of a `join_ref`, so that no client takes it for a later join's.
    pub(super) fn end(&self, serializer: Serializer) -> Option<&Ref> {
        match serializer {
            Serializer::V1 => self.own.as_ref(),
            Serializer::V2 => self.sent.as_ref(),
        }
    }
}

/// One topic of one socket.
pub(super) struct Entry {
    pub(super) id: ChannelId,
    pub(super) topic: Topic,
    pub(super) kind: &'static str,
    pub(super) refs: JoinRefs,
    pub(super) phase: Phase,
    pub(super) runner: Runner,
    pub(super) waiting: Queue,
    /// Whether the latest call was about a client's message, not about a note or a broadcast.
    pub(super) serves_client: bool,
    /// The callback under way and when it was called.
    pub(super) called: Option<(&'static str, Instant)>,
}

impl Entry {
    /// Says whether a message with this `join_ref` is for this channel: the same one, or none.
    pub(super) fn accepts(&self, join_ref: Option<&Ref>) -> bool {
        join_ref.is_none() || join_ref == self.refs.sent.as_ref()
    }

    /// Says whether a client's message waits, or the turn that it started has not ended.
    pub(super) fn owes(&self) -> bool {
        let waits = |waiting: &Waiting| matches!(waiting, Waiting::Message(_));
        matches!(self.phase, Phase::Joining(_))
            || (self.serves_client && !self.runner.rests())
            || self.waiting.iter().any(waits)
    }

    /// Says whether the channel can take a call now.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Joined) && self.runner.rests()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every joined channel has one, so that each byte counts by the million.
    #[test]
    fn an_entry_is_no_larger_than_it_was() {
        assert!(size_of::<Entry>() <= 200);
    }
}
