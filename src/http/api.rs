//! The operators' API: broadcasts to a topic, and disconnects by socket id, on every node.
//!
//! What it asks for is done soon after the answer; nobody is waited for.

use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Answer, json, text};
use crate::broker::{BrokerError, Letter, nodes_topic};
use crate::clock;
use crate::protocol::{Broadcast, Fastlane, Payload, Topic, events};
use crate::pubsub::{Entry, PubSub};

/// Largest body that an operator's request may have, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// Largest topic, event and socket id in a request, in bytes.
const NAME_BYTES_MAX: usize = 1_024;

/// `POST /api/v1/disconnect`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    socket_id: String,
}

/// `POST /api/v1/broadcast`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    topic: String,
    event: String,
    payload: Box<RawValue>,
}

/// Closes every socket with an id (1001), on every node: `{"socket_id": "user:42"}`; 202 with the same.
pub(super) async fn disconnect(hub: &PubSub, request: Request<Incoming>) -> Answer {
    let body = match body(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let socket_id = match serde_json::from_slice::<Disconnect>(&body) {
        Ok(asked) if is_name(&asked.socket_id) => asked.socket_id,
        Ok(_) | Err(_) => return bad("the body must be {\"socket_id\": <1 to 1024 bytes>}\n"),
    };
    hub.tell_workers(&Entry::Disconnect {
        socket_id: Arc::from(socket_id.as_str()),
    });
    let said = json!({ "socket_id": socket_id });
    match hub
        .broker()
        .publish(&nodes_topic(), Letter::Disconnect { socket_id })
    {
        Ok(()) => json(StatusCode::ACCEPTED, &said),
        Err(BrokerError::Full | BrokerError::Unacknowledged | BrokerError::Closed) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "done here; the other nodes can't be told now\n",
        ),
    }
}

/// Broadcasts to a topic's subscribers on every node: `{"topic", "event", "payload": {…}}`; 202 with topic and event.
pub(super) async fn broadcast(hub: &PubSub, request: Request<Incoming>) -> Answer {
    let body = match body(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let Ok(asked) = serde_json::from_slice::<Announcement>(&body) else {
        return bad("the body must be {\"topic\": …, \"event\": …, \"payload\": {…}}\n");
    };
    // Names that begin with "!" are the gateway's own, between nodes.
    let named = Topic::parse(&asked.topic, NAME_BYTES_MAX).ok();
    let Some(topic) = named.filter(|topic| !topic.as_str().starts_with('!')) else {
        return bad("topic must be 1 to 1024 bytes and not begin with '!'\n");
    };
    if !is_name(&asked.event) || events::is_reserved(&asked.event) {
        return bad("event must be 1 to 1024 bytes and none of the gateway's own\n");
    }
    let payload = Payload::json(asked.payload.get().to_owned());
    if !payload.is_object() {
        return bad("payload must be an object\n");
    }
    let said = json!({ "topic": topic.as_str(), "event": asked.event });
    let fastlane = Arc::new(Fastlane::new(Broadcast {
        topic,
        event: asked.event.as_str().into(),
        payload,
    }));
    hub.broadcast(&fastlane, None, clock::unix_us());
    json(StatusCode::ACCEPTED, &said)
}

/// Reads a body, up to its limit.
pub(super) async fn body(request: Request<Incoming>) -> Result<bytes::Bytes, Answer> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await;
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(_) => Err(text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large\n",
        )),
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
}

fn bad(why: &'static str) -> Answer {
    text(StatusCode::BAD_REQUEST, why)
}
