//! What the broker hands to the node: deliveries to the hub, node letters to the workers.
//!
//! It runs where the broker reads, so it never waits.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::broker::{Delivery, Inbox, Letter, NODES, Notice};
use crate::channel::Player;
use crate::clock;
use crate::presence::Presence;
use crate::pubsub::{Answer, AnswerTo, Asked, Calls, Entry, PubSub, Question};
use crate::store::PlayerCache;

/// The hub, which exists only after the broker that is told of it.
pub(super) type LateHub = Arc<OnceLock<Arc<PubSub>>>;

/// What a node's inbox hands over to, besides the hub.
pub(super) struct Taken {
    pub(super) presence: Arc<Presence>,
    pub(super) players: Arc<PlayerCache>,
    pub(super) calls: Arc<Calls>,
}

/// Makes the inbox of a node.
pub(super) fn inbox(hub: LateHub, taken: Taken) -> Inbox {
    Arc::new(move |notice| {
        if let Some(hub) = hub.get() {
            take(hub, &taken, notice);
        }
    })
}

fn take(hub: &PubSub, taken: &Taken, notice: Notice) {
    let Taken {
        presence,
        players,
        calls,
    } = taken;
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
            Letter::Ask {
                from: incarnation,
                request,
                worker,
                question,
            } => {
                let to = AnswerTo::Node {
                    incarnation,
                    request,
                };
                ask(hub, worker, &question, to);
            }
            Letter::Answer { request, answer } => calls.answered(request, &answer),
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

/// Hands a question of another node to the worker that it is for.
fn ask(hub: &PubSub, worker: u32, question: &Bytes, to: AnswerTo) {
    let mailbox = usize::try_from(worker).ok();
    let mailbox = mailbox.and_then(|worker| hub.mailboxes().get(worker));
    match (mailbox, Question::decode(question)) {
        (Some(mailbox), Some(question)) => mailbox.push(Entry::Ask(Asked::new(question, to))),
        (None, _) | (_, None) => to.answer(hub, Answer::Gone),
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
