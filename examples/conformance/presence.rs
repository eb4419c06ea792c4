//! `pres:*`: who is in a topic.

use fanfare::channel::{Channel, Context, JoinResult, Outcome, TrackError};
use fanfare::protocol::{Payload, Reply, Topic};
use serde_json::{Value, json};

use crate::rooms::{ok, value};

/// Adds a user's name beside the metas, below `pres:fetch:*`.
pub fn fetch(topic: &Topic, key: &str) -> Option<Payload> {
    topic.as_str().starts_with("pres:fetch:").then(|| {
        let name = format!("name-{key}");
        Payload::from_value(&json!({"user": {"name": name}}))
    })
}

/// The members of a topic.
#[derive(Default)]
pub struct Members {
    key: String,
}

impl Members {
    /// Reads `{"key", "meta"}`; the key defaults to the join's `user_id`.
    fn asked(&self, payload: &Payload) -> (String, Payload) {
        let asked = value(payload);
        let key = text(&asked["key"]).unwrap_or_else(|| self.key.clone());
        (key, meta(&asked))
    }
}

/// Returns a key as text: a number as its digits.
fn text(key: &Value) -> Option<String> {
    match key {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn meta(asked: &Value) -> Payload {
    match &asked["meta"] {
        Value::Null => Payload::EMPTY,
        meta => Payload::from_value(meta),
    }
}

fn answer(result: Result<(), TrackError>) -> Outcome {
    match result {
        Ok(()) => ok(&json!({})),
        Err(error) => Outcome::Reply(Reply::reason(error.reason())),
    }
}

impl Channel for Members {
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        let join = value(&payload);
        let member = context.membership().clone();
        // Subscribed first, so that no change falls between the state and the first diff.
        let subscribed = member.subscribe().await;
        subscribed.map_err(|error| Reply::from(error).response)?;
        if let Some(key) = text(&join["user_id"]) {
            let tracked = member.track(&key, &meta(&join));
            tracked.map_err(|error| Reply::reason(error.reason()).response)?;
            self.key = key;
        }
        context.push("presence_state", member.presences());
        Ok(Payload::EMPTY)
    }

    async fn handle_in(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
        let (key, meta) = self.asked(&payload);
        let member = context.membership();
        match event {
            "track" => answer(member.track(&key, &meta)),
            "update" => answer(member.update(&key, &meta)),
            "untrack" => {
                member.untrack(&key);
                ok(&json!({}))
            }
            "list" => Outcome::Reply(Reply::ok(member.presences())),
            "boom" => panic!("boom"),
            "echo" => Outcome::Reply(Reply::ok(payload)),
            _ => Outcome::NoReply,
        }
    }
}
