//! A record: a message that is stored before (or after) it is broadcast.
//!
//! It knows its wire shape; it never touches a database.

use serde::Serialize;
use uuid::Uuid;

use crate::clock::{self, UnixMicros};
use crate::protocol::{Payload, Topic};

/// A topic's random epoch; a topic that was emptied or restored gets another one.
pub type Epoch = String;

/// When a record is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persist {
    /// Broadcast and reply after the commit.
    Before,
    /// Broadcast at once, save after.
    Behind,
}

/// The player who made a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The player's id: the `sub` of the token.
    pub id: String,
    /// The player's user name when the record was made.
    pub username: String,
}

/// What a record says; one variant a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A row of `gameplays`.
    Score {
        /// The game's id.
        game_id: i64,
        /// The score, 0 to 2^53 - 1.
        player_score: i64,
    },
    /// A row of `messages`.
    Message {
        /// The room's name, without the topic's prefix.
        room: String,
        /// The name shown beside the message.
        name: String,
        /// The text, 1 to 4096 bytes.
        message: String,
    },
    /// A row of `annotations`.
    Annotation {
        /// The video's id.
        video_id: i64,
        /// The text.
        body: String,
        /// The position in the video, in milliseconds.
        at: i64,
    },
    /// A row of `records`: a custom channel's event.
    Custom {
        /// The event's name.
        event: String,
        /// The payload, one JSON object as text.
        payload: String,
    },
}

/// A record that has no place in its topic yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic it belongs to.
    pub topic: Topic,
    /// Its unique id, made by the node that accepted it.
    pub uid: Uuid,
    /// The client's own key, up to 64 bytes; players only.
    pub client_key: Option<String>,
    /// Who made it; `None` for a guest.
    pub author: Option<Author>,
    /// When the node accepted it.
    pub inserted_at: UnixMicros,
    /// What it says.
    pub body: Body,
}

/// A stored record: a new record with its place in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the topic: contiguous from 1, in commit order. `None` for a live
    /// copy of a `behind` topic, which is broadcast before it is stored.
    pub id: Option<u64>,
    /// What was stored.
    pub record: NewRecord,
}

impl Body {
    /// Every kind that metrics name.
    pub const KINDS: [&str; 4] = ["score", "message", "annotation", "custom"];

    /// Returns the kind that metrics name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Score { .. } => "score",
            Self::Message { .. } => "message",
            Self::Annotation { .. } => "annotation",
            Self::Custom { .. } => "custom",
        }
    }

    /// Returns the event that announces such a record.
    pub fn event(&self) -> &str {
        match self {
            Self::Score { .. } => "save_score",
            Self::Message { .. } => "new_message",
            Self::Annotation { .. } => "new_annotation",
            Self::Custom { event, .. } => event,
        }
    }
}

impl Record {
    /// Returns the event that announces the record.
    pub fn event(&self) -> &str {
        self.record.body.event()
    }

    /// Returns the wire payload, as clients see the record live and in a history.
    ///
    /// - score: `{id, uid, player_score, game_id, player_id, username, inserted_at}`
    /// - message: `{id, uid, name, message, inserted_at}`
    /// - annotation: `{id, uid, body, at, user: {id, username}, inserted_at}`
    /// - custom: the payload as it was sent
    ///
    /// Times are RFC 3339 in UTC; `at` is in milliseconds.
    pub fn payload(&self) -> Payload {
        let NewRecord {
            uid,
            author,
            inserted_at,
            body,
            ..
        } = &self.record;
        let id = self.id;
        let inserted_at = &*clock::rfc3339(*inserted_at);
        let (player_id, username) = match author {
            Some(author) => (Some(&*author.id), Some(&*author.username)),
            None => (None, None),
        };
        match body {
            Body::Score {
                game_id,
                player_score,
            } => Payload::written(&Score {
                id,
                uid,
                player_score: *player_score,
                game_id: *game_id,
                player_id,
                username,
                inserted_at,
            }),
            Body::Message { name, message, .. } => Payload::written(&Message {
                id,
                uid,
                name,
                message,
                inserted_at,
            }),
            Body::Annotation { body, at, .. } => Payload::written(&Annotation {
                id,
                uid,
                body,
                at: *at,
                user: User {
                    id: player_id,
                    username,
                },
                inserted_at,
            }),
            Body::Custom { payload, .. } => Payload::json(payload.clone()),
        }
    }
}

/// The payload of a score.
#[derive(Serialize)]
struct Score<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    uid: &'a Uuid,
    player_score: i64,
    game_id: i64,
    player_id: Option<&'a str>,
    username: Option<&'a str>,
    inserted_at: &'a str,
}

/// The payload of a message.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    uid: &'a Uuid,
    name: &'a str,
    message: &'a str,
    inserted_at: &'a str,
}

/// The payload of an annotation.
#[derive(Serialize)]
struct Annotation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    uid: &'a Uuid,
    body: &'a str,
    at: i64,
    user: User<'a>,
    inserted_at: &'a str,
}

/// Who made an annotation; both are null for a guest.
#[derive(Serialize)]
struct User<'a> {
    id: Option<&'a str>,
    username: Option<&'a str>,
}
