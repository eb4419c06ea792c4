//! `chat_room:<room>`: messages, who is there, and who is typing.
//!
//! It keeps no message itself, and never lets a client speak under a player's name but its own.

use std::sync::Arc;

use serde::Deserialize;

use super::admission::{self, GUEST, player_name};
use super::fields::{self, Faults, NAME_BYTES_MAX, Raw, TEXT_BYTES_MAX, invalid, storable};
use super::past::{self, Response};
use super::saving;
use super::served::Served;
use crate::channel::{Body, Channel, Context, JoinResult, Outcome};
use crate::protocol::{Payload, Reply};

/// The channel of a room.
pub(super) struct ChatRoom {
    served: Arc<Served>,
}

#[derive(Deserialize)]
struct NewMessage<'a> {
    #[serde(borrow)]
    message: Raw<'a>,
    #[serde(borrow)]
    name: Raw<'a>,
    #[serde(borrow)]
    client_key: Raw<'a>,
}

#[derive(Deserialize)]
struct Typing {}

impl ChatRoom {
    pub(super) fn new(served: Arc<Served>) -> Self {
        Self { served }
    }

    fn new_message(&self, context: &mut Context, payload: &Payload) -> Result<Outcome, Payload> {
        let sent: NewMessage<'_> = fields::object(payload)?;
        let mut faults = Faults::default();
        let message = faults.text("message", sent.message, TEXT_BYTES_MAX);
        let player = player_name(context);
        let client_key = faults.client_key(sent.client_key, player.is_some());
        let name = match (player, sent.name) {
            (Some(name), _) => name,
            (None, Some(name)) => faults.text("name", Some(name), NAME_BYTES_MAX),
            (None, None) => GUEST.to_owned(),
        };
        let room = self.served.name(context.topic()).to_owned();
        let body = faults.settle(Body::Message {
            room,
            name,
            message,
        })?;
        Ok(saving::save(context, &self.served, body, client_key))
    }
}

fn typing(context: &mut Context, payload: &Payload) -> Result<Outcome, Payload> {
    let Typing {} = fields::object(payload)?;
    let name = player_name(context).unwrap_or_else(|| GUEST.to_owned());
    let payload = Payload::from_value(&serde_json::json!({ "name": name }));
    context.broadcast_from("typing", payload);
    Ok(Outcome::Reply(Reply::ok(Payload::EMPTY)))
}

impl Channel for ChatRoom {
    /// Replies `{last_id, epoch, gap?, gaps?}`; the messages follow one by one as `new_message`.
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        let served = &self.served;
        let position = admission::admit(context, &payload, served).await?;
        if !storable(served.name(context.topic())) {
            return Err(invalid("topic", "must not contain NUL"));
        }
        let history = past::recall(context, position, served).await?;
        admission::appear(context, served, &history.records).await?;
        Ok(Response::new().end(&history))
    }

    /// Takes `new_message {message, name?, client_key?}` and `typing {}`.
    ///
    /// `typing` is told to the others as `{"name": …}`, with a name that the server made.
    async fn handle_in(&mut self, context: &mut Context, event: &str, sent: Payload) -> Outcome {
        match event {
            "new_message" => saving::settle(self.new_message(context, &sent)),
            "typing" => saving::settle(typing(context, &sent)),
            _ => saving::unknown_event(),
        }
    }
}
