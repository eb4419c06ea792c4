//! `user:<player id>`: a player's own news, such as `player_updated {id, username, rating}`.
//!
//! Nobody else ever joins it, and it takes no events.

use std::sync::Arc;

use super::admission;
use super::fields::refusal;
use super::saving;
use super::served::Served;
use crate::channel::{Channel, Context, JoinResult, Outcome};
use crate::protocol::Payload;

/// The channel of a player; its news are broadcast by the node.
pub(super) struct User {
    served: Arc<Served>,
}

impl User {
    pub(super) fn new(served: Arc<Served>) -> Self {
        Self { served }
    }
}

impl Channel for User {
    /// Replies `{}` to the player that the topic names.
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        let served = &self.served;
        admission::admit(context, &payload, served).await?;
        let named = served.name(context.topic());
        // A guest is nobody's player, whatever the declaration says.
        if context.player().is_none_or(|player| player.id != named) {
            return Err(refusal("unauthorized"));
        }
        admission::appear(context, served, &[]).await?;
        Ok(Payload::EMPTY)
    }

    /// Knows no event.
    async fn handle_in(&mut self, _: &mut Context, _: &str, _: Payload) -> Outcome {
        saving::unknown_event()
    }
}
