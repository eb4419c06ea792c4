//! The channels that Fanfare brings: score, chat_room, videos, user and relay.
//!
//! They are written with the channel trait and nothing else.

mod admission;
mod chat_room;
mod fields;
mod past;
mod relay;
mod saving;
mod score;
mod served;
mod user;
mod videos;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use crate::channel::Persist;
use crate::channel::{PatternError, Router};
use served::Served;

/// What a declaration that says nothing else gets from its node; by default, nothing is allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Whether guests may join, as `--anonymous` says. Default false.
    pub anonymous_allowed: bool,
    /// Whether a first join creates its game or video. Default false; true in development.
    pub auto_create: bool,
}

/// Makes one route a declaration, in their order: the first match wins.
///
/// # Errors
/// [`PatternError`] for the first bad topic pattern.
///
/// # Examples
/// ```
/// use fanfare::channels::{self, Declaration, Defaults};
///
/// let router = channels::router(&Declaration::defaults(), &Defaults::default()).unwrap();
/// assert!(router.serves("score:chess"));
/// assert!(!router.serves("room:lobby"));
/// ```
pub fn router(declarations: &[Declaration], node: &Defaults) -> Result<Router, PatternError> {
    let mut router = Router::new();
    for declared in declarations {
        let served = Arc::new(Served::new(declared, node)?);
        let (topic, kind) = (declared.topic.as_str(), declared.kind);
        router = match kind {
            Kind::Score => router.channel(topic, kind.as_str(), move || {
                score::Score::new(served.clone())
            }),
            Kind::ChatRoom => router.channel(topic, kind.as_str(), move || {
                chat_room::ChatRoom::new(served.clone())
            }),
            Kind::Videos => router.channel(topic, kind.as_str(), move || {
                videos::Videos::new(served.clone())
            }),
            Kind::User => router.channel(topic, kind.as_str(), move || {
                user::User::new(served.clone())
            }),
            Kind::Relay => router.channel(topic, kind.as_str(), move || {
                relay::Relay::new(served.clone())
            }),
        }?;
    }
    Ok(router)
}

/// The kind of a declared channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Scores of a game.
    Score,
    /// Messages of a chat room.
    ChatRoom,
    /// Annotations of a video.
    Videos,
    /// A player's own news.
    User,
    /// Ephemeral broadcast of allow-listed events.
    Relay,
}

impl Kind {
    /// Returns the word of the configuration and of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::ChatRoom => "chat_room",
            Self::Videos => "videos",
            Self::User => "user",
            Self::Relay => "relay",
        }
    }
}

/// One `[[channels]]` entry: a topic pattern and what is served there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// An exact topic, or a prefix ending in `*`; the first match wins.
    pub topic: String,
    /// What is served.
    pub kind: Kind,
    /// When records are stored. Default `before`.
    pub persist: Persist,
    /// Records sent to a fresh join. Default 10; 1,000 for `videos`, whose viewers need every
    /// annotation that is kept, up to what a join may carry (`limits.resume_max`).
    pub history: usize,
    /// How long a record is kept. Default: for ever.
    pub keep_for: Option<Duration>,
    /// How many of a topic's newest records are kept. Default: all.
    pub keep_records: Option<u64>,
    /// Whether members are tracked. Default true for `chat_room`, else false.
    pub presence: bool,
    /// Whether guests may join. Default: as the node's `--anonymous` says.
    pub anonymous: Option<bool>,
    /// Events that a relay passes on; `phx_*`, `presence_*`, `gap`, `disconnect` and `access_token` are refused.
    pub events: Vec<String>,
    /// Whether a first join creates the game or video. Default: only in development (no secret, loopback).
    pub auto_create: Option<bool>,
}

impl Declaration {
    /// Declares a kind on a topic pattern, with every default.
    pub fn new(topic: &str, kind: Kind) -> Self {
        Self {
            topic: topic.to_owned(),
            kind,
            persist: Persist::Before,
            history: match kind {
                Kind::Videos => 1_000,
                Kind::Score | Kind::ChatRoom | Kind::User | Kind::Relay => 10,
            },
            keep_for: None,
            keep_records: None,
            presence: kind == Kind::ChatRoom,
            anonymous: None,
            events: Vec::new(),
            auto_create: None,
        }
    }

    /// The declarations of a node without a file: `score:*`, `chat_room:*`, `videos:*`, `user:*`.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::new("score:*", Kind::Score),
            Self::new("chat_room:*", Kind::ChatRoom),
            Self::new("videos:*", Kind::Videos),
            Self::new("user:*", Kind::User),
        ]
    }
}
