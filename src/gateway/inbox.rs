//! What the broker hands to the node: deliveries to the hub, node letters to the workers.
//!
//! It runs where the broker reads, so it never waits.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::broker::{Delivery, Inbox, Letter, NODES, Notice};
use crate::channel::Player;
use crate::clock;
use crate::presence::Presence;
use crate::pubsub::{Entry, PubSub};
use crate::store::PlayerCache;

/// The hub, which exists only after the broker that is told of it.
pub(super) type LateHub = Arc<OnceLock<Arc<PubSub>>>;

/// Makes the inbox of a node.
pub(super) fn inbox(hub: LateHub, presence: Arc<Presence>, players: Arc<PlayerCache>) -> Inbox {
    Arc::new(move |notice| {
        if let Some(hub) = hub.get() {
            take(hub, &presence, &players, notice);
        }
    })
}

fn take(hub: &PubSub, presence: &Presence, players: &PlayerCache, notice: Notice) {
    match notice {
        Notice::Delivery(Delivery {
            topic,
            letter,
            accepted_at,
        }) => match letter {
            Letter::Disconnect { socket_id } => hub.tell_workers(&Entry::Disconnect {
                socket_id: Arc::from(socket_id.as_str()),
            }),
            Letter::Presence(bytes) => {
                if presence.receive(&bytes, clock::now()).is_err() {
                    tracing::warn!("a presence message of another node cannot be read");
                }
            }
            Letter::Broadcast { event, payload } if topic.as_str() == NODES => {
                node_event(hub, players, &event, payload.as_json());
            }
            letter @ (Letter::Broadcast { .. } | Letter::Record { .. }) => {
                hub.receive(topic, letter, accepted_at);
            }
        },
        Notice::Connected => {
            tracing::info!("the broker is connected");
            players.clear();
            presence.reconnected(clock::now());
            hub.compare_soon();
        }
        Notice::Disconnected => {
            tracing::warn!("the broker is not connected");
            presence.disconnected(clock::now());
        }
        Notice::Hole { topic, missed } => {
            if topic.as_str() == NODES {
                // A change of a player may be among what was missed.
                players.clear();
            }
            hub.hole(&topic, missed);
        }
    }
}

fn node_event(hub: &PubSub, players: &PlayerCache, event: &str, payload: Option<&[u8]>) {
    if event != crate::http::PLAYER_UPDATED {
        return;
    }
    let value: Option<Value> = payload.and_then(|text| serde_json::from_slice(text).ok());
    let player = value.and_then(|value| {
        Some(Player {
            id: value.get("id")?.as_str()?.to_owned(),
            username: value.get("username")?.as_str()?.to_owned(),
            rating: value.get("rating")?.as_i64()?,
        })
    });
    if let Some(player) = player {
        // Before the workers: a socket that is made meanwhile finds it in one place or the other.
        players.changed(&player, clock::now());
        hub.tell_workers(&Entry::Player(Arc::new(player)));
    }
}
