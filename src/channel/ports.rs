//! What a channel may ask of its node: history, rows, tokens, membership and presence.
//!
//! Only the questions; the floors above answer them.

use std::fmt;
use std::time::Duration;

use compact_str::CompactString;
use futures_util::future::{BoxFuture, LocalBoxFuture};

use super::{Epoch, Game, Player, Record, Video};
use crate::protocol::{Payload, Reply, Topic};

/// The store or the broker can't serve now; trying later may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unavailable")
    }
}

impl std::error::Error for Unavailable {}

impl From<Unavailable> for Reply {
    fn from(_: Unavailable) -> Self {
        Reply::reason("unavailable")
    }
}

/// Why a token of a join payload was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// The token is not valid, or its player is unknown.
    Unauthorized,
    /// The player could not be loaded now.
    Unavailable,
}

/// Where a joining client stands in a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// `last_seen_id`: the newest record it has; `None` for a fresh join.
    pub last_seen_id: Option<u64>,
    /// `last_seen_epoch`: the epoch that the id belongs to, where it has it.
    pub last_seen_epoch: Option<Epoch>,
    /// `last_seen_uid`: the newest record of a `behind` topic, which it may have without an id.
    pub last_seen_uid: Option<uuid::Uuid>,
}

/// A range of ids that a subscriber missed and can't get any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// First id.
    pub from: u64,
    /// Last id.
    pub to: u64,
    /// Whether the client's position was void: another epoch, or beyond the store's end.
    pub reset: bool,
}

/// A record of the past, as it is told: its place, its event and its wire payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its place in the topic.
    pub id: Option<u64>,
    /// The event that announced it.
    pub event: CompactString,
    /// The wire payload.
    pub payload: Payload,
}

impl From<&Record> for Past {
    fn from(record: &Record) -> Self {
        Self {
            id: record.id,
            event: record.event().into(),
            payload: record.payload(),
        }
    }
}

/// What a join gets of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The records, oldest first.
    pub records: Vec<Past>,
    /// The topic's newest id.
    pub last_id: u64,
    /// The topic's epoch.
    pub epoch: Epoch,
    /// Ranges that the client missed, oldest first; most often empty.
    pub gaps: Vec<Gap>,
}

/// What every channel of the node may ask, from any thread.
pub trait Ports: Send + Sync {
    /// Reads the past of a topic for a join that is subscribed already.
    ///
    /// Without a position: the newest `recent` records. With one: what came after it.
    fn history(
        &self,
        topic: Topic,
        position: Position,
        recent: usize,
    ) -> BoxFuture<'static, Result<History, Unavailable>>;

    /// Finds a game by its slug; creates it when `create`.
    fn game(
        &self,
        slug: String,
        create: bool,
    ) -> BoxFuture<'static, Result<Option<Game>, Unavailable>>;

    /// Finds a video by its id; creates it when `create`.
    fn video(
        &self,
        id: i64,
        create: bool,
    ) -> BoxFuture<'static, Result<Option<Video>, Unavailable>>;

    /// Counts the channels joined to a topic on this node, over all transports.
    fn subscribers(&self, topic: Topic) -> BoxFuture<'static, usize>;

    /// Returns the newest copy of a player that the node remembers; it looks nothing up. By default none.
    fn newest_player(&self, id: &str) -> Option<Player> {
        let _ = id;
        None
    }

    /// Verifies a token and loads its player.
    fn authenticate(&self, token: String) -> BoxFuture<'static, Result<Authenticated, AuthError>>;
}

/// Whom a token turned out to speak for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// The player.
    pub player: Player,
    /// When the token ends, in seconds since the Unix epoch.
    pub expires_at: Option<u64>,
    /// The user name that the token itself gave.
    pub name: Option<String>,
}

/// Why a presence was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackError {
    /// This channel already tracks the key.
    AlreadyTracked,
    /// This channel does not track the key.
    NoPresence,
    /// The key or meta is refused: reserved, too long, or not an object.
    Refused,
}

impl TrackError {
    /// Returns the `reason` of the wire.
    pub fn reason(self) -> &'static str {
        match self {
            Self::AlreadyTracked => "already tracked",
            Self::NoPresence => "no presence",
            Self::Refused => "invalid",
        }
    }
}

/// One channel's place in its topic, on its own worker.
pub trait Membership {
    /// Subscribes the channel; live deliveries are held back until its join is answered.
    ///
    /// Idempotent. Resolves when what other nodes publish arrives too.
    fn subscribe(&self) -> LocalBoxFuture<'static, Result<(), Unavailable>>;

    /// Never delivers a record of this epoch with this id or a lower one to the channel, nor one of an epoch before.
    fn set_floor(&self, id: u64, epoch: &str);

    /// Adds a presence under a key, with a JSON object as its meta.
    ///
    /// # Errors
    /// [`TrackError`] when nothing was changed.
    fn track(&self, key: &str, meta: &Payload) -> Result<(), TrackError>;

    /// Replaces the meta of a presence that this channel tracks.
    ///
    /// # Errors
    /// [`TrackError`] when nothing was changed.
    fn update(&self, key: &str, meta: &Payload) -> Result<(), TrackError>;

    /// Removes a presence; nothing happens when there is none.
    fn untrack(&self, key: &str);

    /// Lists the topic's presences, shaped like `presence_state`.
    fn presences(&self) -> Payload;

    /// Says whether a broadcast reaches the other nodes, or waits for them; always true without any.
    fn can_broadcast(&self) -> bool {
        true
    }
}

/// How long a channel may ask to wait before it is called again: at most a day.
pub const AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
