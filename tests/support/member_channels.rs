//! A topic of members and viewers: who comes, changes and goes is told by presence.
//!
//! It checks nobody: a client says itself under which key it is a member.

use fanfare::channel::{Channel, Context, JoinResult, Outcome, Router};
use fanfare::protocol::{Payload, Reply};
use serde_json::{Value, json};

/// Serves `members:*`.
pub fn router() -> Router {
    let router = Router::new().channel("members:*", "members", Member::default);
    router.expect("a good pattern")
}

/// A member with its key, or a viewer.
#[derive(Default)]
struct Member {
    key: Option<String>,
}

fn read(payload: &Payload) -> Value {
    let text = payload.as_json().unwrap_or(b"null");
    serde_json::from_slice(text).expect("the decoder lets JSON in only")
}

impl Channel for Member {
    /// Tracks `{"key": string, "meta": object}`; without a key, the client only views.
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        let wish = read(&payload);
        let membership = context.membership().clone();
        let subscribed = membership.subscribe().await;
        subscribed.expect("a single node subscribes at once");
        if let Some(key) = wish["key"].as_str() {
            let tracked = membership.track(key, &Payload::from_value(&wish["meta"]));
            tracked.expect("a good key");
            self.key = Some(key.to_owned());
        }
        context.push("presence_state", membership.presences());
        Ok(Payload::EMPTY)
    }

    /// `update` sets the meta, `list` answers the list, `final` shows it to everybody.
    async fn handle_in(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
        let membership = context.membership().clone();
        match (event, &self.key) {
            ("update", Some(key)) => {
                let updated = membership.update(key, &payload);
                updated.expect("a key that is tracked");
            }
            ("list", _) => return Outcome::Reply(Reply::ok(membership.presences())),
            ("final", _) => context.broadcast("final", membership.presences()),
            _ => panic!("a client of the test said {event} with {}", json!(self.key)),
        }
        Outcome::Reply(Reply::ok_empty())
    }
}
