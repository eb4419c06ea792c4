//! Relay topics: allow-listed events go to every subscriber as they were sent.
//!
//! Nothing is stored, and a payload is never looked into.

use std::sync::Arc;

use super::admission;
use super::fields::invalid;
use super::saving;
use super::served::Served;
use crate::channel::{Channel, Context, JoinResult, Outcome};
use crate::protocol::{Payload, Reply};

/// The channel of a relay topic.
pub(super) struct Relay {
    served: Arc<Served>,
}

impl Relay {
    pub(super) fn new(served: Arc<Served>) -> Self {
        Self { served }
    }
}

impl Channel for Relay {
    /// Replies `{}`; never asks the store, but for a token's player.
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        admission::admit(context, &payload, &self.served).await?;
        admission::appear(context, &self.served, &[]).await?;
        Ok(Payload::EMPTY)
    }

    /// Broadcasts a listed event with any object to all, the sender included; replies `{}`.
    ///
    /// While the queue to the other nodes is full it refuses with `unavailable`.
    async fn handle_in(&mut self, context: &mut Context, event: &str, sent: Payload) -> Outcome {
        if !self.served.relays(event) {
            return saving::unknown_event();
        }
        if !sent.is_object() {
            let refusal = invalid("payload", "must be an object");
            return Outcome::Reply(Reply::error(refusal));
        }
        if !context.can_broadcast() {
            return Outcome::Reply(Reply::reason("unavailable"));
        }
        context.broadcast(event, sent);
        Outcome::Reply(Reply::ok(Payload::EMPTY))
    }
}
