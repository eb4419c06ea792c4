//! What a client and a server say to each other.
//!
//! Messages hold text as it was sent; they know nothing of serializers or sockets.

use compact_str::CompactString;

use super::{Payload, Ref, Topic};

/// The reserved events of the protocol.
pub mod events {
    /// Asks to join a topic.
    pub const JOIN: &str = "phx_join";
    /// Asks to leave a topic.
    pub const LEAVE: &str = "phx_leave";
    /// Answers a message.
    pub const REPLY: &str = "phx_reply";
    /// Tells that a channel ended gracefully.
    pub const CLOSE: &str = "phx_close";
    /// Tells that a channel crashed.
    pub const ERROR: &str = "phx_error";
    /// Keeps a socket alive, on the topic [`PHOENIX`].
    pub const HEARTBEAT: &str = "heartbeat";
    /// The topic of heartbeats.
    pub const PHOENIX: &str = "phoenix";
    /// Renews the token of a socket in place.
    pub const ACCESS_TOKEN: &str = "access_token";
    /// Tells which records or broadcasts a subscriber missed.
    pub const GAP: &str = "gap";

    /// Says whether an event belongs to the gateway, so that no client may have it relayed.
    pub fn is_reserved(event: &str) -> bool {
        event.starts_with("phx_")
            || event.starts_with("presence_")
            || matches!(event, GAP | "disconnect" | ACCESS_TOKEN)
    }
}

/// A message from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The join that it belongs to.
    pub join_ref: Option<Ref>,
    /// What a reply to it echoes.
    pub reference: Option<Ref>,
    /// The topic's name, not checked yet.
    pub topic: CompactString,
    /// The event's name.
    pub event: CompactString,
    /// The body.
    pub payload: Payload,
}

/// An answer's status; any text, `ok` and `error` by convention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// `ok`
    Ok,
    /// `error`
    Error,
    /// Any other text; not `timeout`, which clients use for themselves.
    Other(String),
}

impl Status {
    /// Returns the text of the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Other(text) => text,
        }
    }
}

/// An answer to a message: a status and a response of any JSON, or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How it went.
    pub status: Status,
    /// What is said to it.
    pub response: Payload,
}

impl Reply {
    /// `ok` with a response.
    pub fn ok(response: Payload) -> Self {
        Self {
            status: Status::Ok,
            response,
        }
    }

    /// `ok` with `{}`.
    pub fn ok_empty() -> Self {
        Self::ok(Payload::EMPTY)
    }

    /// `error` with a response.
    pub fn error(response: Payload) -> Self {
        Self {
            status: Status::Error,
            response,
        }
    }

    /// `error` with `{"reason": reason}`.
    pub fn reason(reason: &str) -> Self {
        Self::error(Payload::from_value(
            &serde_json::json!({ "reason": reason }),
        ))
    }
}

/// A frame's content on its way to one client.
#[derive(Debug, Clone, Copy)]
pub enum Outgoing<'a> {
    /// An answer.
    Reply {
        /// The join it belongs to.
        join_ref: Option<&'a Ref>,
        /// The message it answers.
        reference: Option<&'a Ref>,
        /// The topic, echoed.
        topic: &'a str,
        /// The answer.
        reply: &'a Reply,
    },
    /// An event for one channel.
    Push {
        /// The channel's join.
        join_ref: Option<&'a Ref>,
        /// The topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// The body: an object, or bytes.
        payload: &'a Payload,
    },
    /// `phx_close` or `phx_error`: the end of a channel.
    End {
        /// The channel's join; also the frame's `ref`.
        join_ref: Option<&'a Ref>,
        /// The topic.
        topic: &'a str,
        /// How it ended.
        ending: Ending,
    },
}

/// How a channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `phx_close`: gracefully; clients don't rejoin.
    Closed,
    /// `phx_error`: it crashed; clients rejoin.
    Crashed,
    /// `phx_error`: the token of its join has ended; clients rejoin, with a fresh one.
    Expired,
}

impl Ending {
    /// Returns the event of the wire.
    pub fn event(self) -> &'static str {
        match self {
            Self::Closed => events::CLOSE,
            Self::Crashed | Self::Expired => events::ERROR,
        }
    }

    /// Returns the payload of the wire.
    pub fn payload(self) -> &'static str {
        match self {
            Self::Closed => "{}",
            Self::Crashed => r#"{"reason":"channel_crash"}"#,
            Self::Expired => r#"{"reason":"token expired"}"#,
        }
    }
}

/// An event for every subscriber of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// The topic.
    pub topic: Topic,
    /// The event's name.
    pub event: CompactString,
    /// The body: an object, or bytes.
    pub payload: Payload,
}
