//! The operators' endpoints: `/metrics`, `/healthz`, `/readyz`, `/status` and `/api/v1/*`.
//!
//! They belong on a private address: they ask for no token.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use prometheus::Registry;
use serde_json::{Value, json};

use super::{Answer, answer, api, text};
use crate::broker::{Letter, nodes_topic};
use crate::channel::Player;
use crate::clock;
use crate::metrics;
use crate::protocol::{Broadcast, Fastlane, Payload, Topic};
use crate::pubsub::Entry;
use crate::store::{PlayerCache, Store, StoreError};
use crate::worker::Node;

/// The event that tells a player, and the other nodes, of the player's fresh row.
pub(crate) const PLAYER_UPDATED: &str = "player_updated";

/// How long `/status` waits for the database.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// What `/status` says of the node besides what it measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The node's name.
    pub node: String,
    /// Where clients connect.
    pub clients: std::net::SocketAddr,
    /// Where operators connect.
    pub admin: std::net::SocketAddr,
    /// `local` or `redis`.
    pub broker: &'static str,
    /// When the node started, in microseconds since the Unix epoch.
    pub started_at: clock::UnixMicros,
}

/// The operators' side of a node.
pub struct Admin {
    /// The node.
    pub node: Arc<Node>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The players that the node remembers.
    pub players: Arc<PlayerCache>,
    /// Every family.
    pub registry: Registry,
    /// What doesn't change.
    pub facts: Facts,
}

impl Admin {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().trim_end_matches('/').to_owned();
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match path.as_str() {
            "/metrics" | "/healthz" | "/readyz" | "/status" if !read => {
                text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n")
            }
            "/metrics" => answer(
                StatusCode::OK,
                metrics::CONTENT_TYPE,
                metrics::text(&self.registry),
            ),
            "/healthz" if self.node.is_alive() => text(StatusCode::OK, "ok\n"),
            "/healthz" => text(StatusCode::SERVICE_UNAVAILABLE, "a worker does not turn\n"),
            "/readyz" if self.node.admission.is_ready() => text(StatusCode::OK, "ok\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "draining or full\n"),
            "/status" => super::json(StatusCode::OK, &self.status().await),
            "/api/v1/disconnect" | "/api/v1/broadcast" if request.method() != Method::POST => {
                text(StatusCode::METHOD_NOT_ALLOWED, "use POST\n")
            }
            "/api/v1/disconnect" => api::disconnect(&self.node.pubsub, request).await,
            "/api/v1/broadcast" => api::broadcast(&self.node.pubsub, request).await,
            path => match path.strip_prefix("/api/v1/players/") {
                Some(id) => self.player(&decoded(id), request).await,
                None => text(StatusCode::NOT_FOUND, "not found\n"),
            },
        }
    }

    async fn status(&self) -> Value {
        let facts = &self.facts;
        // An operator asks just when a database stands still: the rest must not wait for it.
        let store = match tokio::time::timeout(PING_TIMEOUT, self.store.ping()).await {
            Ok(Ok(())) => json!("up"),
            Ok(Err(error)) => json!(error.to_string()),
            Err(_) => json!("no answer"),
        };
        let hub = &self.node.pubsub;
        json!({
            "node": facts.node,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": (clock::unix_us() - facts.started_at) / 1_000_000,
            "clients": facts.clients.to_string(),
            "admin": facts.admin.to_string(),
            "ready": self.node.admission.is_ready(),
            "workers": hub.mailboxes().len(),
            "connections": self.node.admission.open(),
            "handshakes_in_flight": self.node.admission.handshakes(),
            "drain": self.drain(),
            "topics": hub.topics(),
            "broker": {"kind": facts.broker, "connected": hub.broker().connected()},
            "store": {"kind": self.store.kind(), "state": store},
            "writer": {"unanswered": self.node.writer.unanswered()},
        })
    }

    /// `null` until the node is told to go.
    fn drain(&self) -> Value {
        let admission = &self.node.admission;
        let Some(departure) = admission.departure() else {
            return Value::Null;
        };
        json!({
            "stage": admission.stage().label(),
            "seconds": (clock::unix_us() - departure.told_at).max(0) / 1_000_000,
            "connections_then": departure.connections_then,
            "connections_left": admission.open(),
        })
    }

    /// `POST /api/v1/players/<id>` `{"rating": n}` raises a player's rating to at least n.
    async fn player(&self, id: &str, request: Request<Incoming>) -> Answer {
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "use POST\n");
        }
        let body = match api::body(request).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        let Some(rating) = parsed
            .as_ref()
            .and_then(|value| value.get("rating")?.as_i64())
        else {
            return text(
                StatusCode::BAD_REQUEST,
                "the body must be {\"rating\": <integer>}\n",
            );
        };
        match self.store.raise_rating(id, rating).await {
            Ok(Some(player)) => {
                let value = self.announce_player(&player);
                super::json(StatusCode::OK, &value)
            }
            Ok(None) | Err(StoreError::Refused(_)) => {
                text(StatusCode::NOT_FOUND, "unknown player\n")
            }
            Err(StoreError::Unavailable(_)) => {
                text(StatusCode::SERVICE_UNAVAILABLE, "unavailable\n")
            }
        }
    }

    /// Replaces the player's copies on every node and pushes `player_updated` on `user:<id>`.
    fn announce_player(&self, player: &Player) -> Value {
        let value = json!({"id": player.id, "username": player.username, "rating": player.rating});
        let payload = Payload::from_value(&value);
        // Before the workers: a socket that is made meanwhile finds it in one place or the other.
        self.players.changed(player, clock::now());
        let node = &self.node;
        node.pubsub
            .tell_workers(&Entry::Player(Arc::new(player.clone())));
        node.pubsub.tell_nodes(
            &nodes_topic(),
            Letter::Broadcast {
                event: PLAYER_UPDATED.to_owned(),
                payload: payload.clone(),
            },
        );
        if let Ok(topic) = Topic::try_from(format!("user:{}", player.id).as_str()) {
            let broadcast = Broadcast {
                topic,
                event: PLAYER_UPDATED.into(),
                payload,
            };
            let fastlane = Arc::new(Fastlane::new(broadcast));
            node.pubsub.broadcast(&fastlane, None, clock::unix_us());
        }
        value
    }
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8_lossy()
        .into_owned()
}
