//! The channels that Fanfare brings: score, chat_room, videos, user and relay.
//!
//! They are written with the channel trait and nothing else.

pub use crate::channel::Persist;

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

/// One `[[channels]]` entry: a topic pattern and what is served there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// An exact topic, or a prefix ending in `*`; the first match wins.
    pub topic: String,
    /// What is served.
    pub kind: Kind,
    /// When records are stored. Default `before`.
    pub persist: Persist,
    /// Records sent to a fresh join. Default 10.
    pub history: usize,
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
            history: 10,
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

/// Defaults.
pub struct Defaults {
    /// x
    pub anonymous: bool,
    /// y
    pub auto_create: bool,
}
/// Stub.
pub fn router(
    _d: &[Declaration],
    _n: &Defaults,
) -> Result<crate::channel::Router, crate::channel::PatternError> {
    crate::channel::Router::new().channel("room:*", "relay", || Stub)
}
struct Stub;
impl crate::channel::Channel for Stub {
    async fn join(
        &mut self,
        _: &mut crate::channel::Context,
        _: crate::protocol::Payload,
    ) -> crate::channel::JoinResult {
        Ok(crate::protocol::Payload::EMPTY)
    }
    async fn handle_in(
        &mut self,
        c: &mut crate::channel::Context,
        e: &str,
        p: crate::protocol::Payload,
    ) -> crate::channel::Outcome {
        c.broadcast(e, p);
        crate::channel::Outcome::Reply(crate::protocol::Reply::ok_empty())
    }
}
