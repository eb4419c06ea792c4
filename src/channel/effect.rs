//! What a channel asks for: pushes, replies, broadcasts, saves and timers.
//!
//! An effect is only a wish; the socket and its worker perform it, in order.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use super::{NewRecord, Persist};
use crate::protocol::{Payload, Ref, Reply, Topic};

/// Which message a reply answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The channel's join.
    pub join_ref: Option<Ref>,
    /// The message's own reference, echoed.
    pub reference: Option<Ref>,
}

/// A note of a channel to itself, given back to `handle_info`.
pub struct Info(Box<dyn Any>);

impl Info {
    /// Wraps any value.
    pub fn new<T: 'static>(value: T) -> Self {
        Self(Box::new(value))
    }

    /// Takes the value out, when it is a `T`.
    pub fn take<T: 'static>(self) -> Option<T> {
        self.0.downcast().ok().map(|boxed| *boxed)
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Info")
    }
}

/// Who gets a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every subscriber, the sending channel included.
    All,
    /// Every subscriber but the sending channel.
    Others,
}

/// One wish of a channel.
#[derive(Debug)]
pub enum Effect {
    /// Send an event to this channel's client.
    Push {
        /// The event.
        event: String,
        /// An object, or bytes.
        payload: Payload,
    },
    /// Answer a message.
    Reply {
        /// Which one.
        to: ReplyTo,
        /// The answer.
        reply: Reply,
    },
    /// Send an event to the subscribers of a topic, on every node.
    Broadcast {
        /// The topic.
        topic: Topic,
        /// The event.
        event: String,
        /// An object, or bytes.
        payload: Payload,
        /// Who gets it.
        audience: Audience,
    },
    /// Store a record, broadcast it, and answer `{id, uid}`.
    Save {
        /// What to store.
        record: Box<NewRecord>,
        /// Broadcast after the commit, or at once.
        persist: Persist,
        /// Which message to answer.
        to: Option<ReplyTo>,
    },
    /// Call `handle_info` after a while.
    After {
        /// How long, at most [`super::AFTER_MAX`].
        delay: Duration,
        /// What to give back.
        info: Info,
    },
    /// Close every socket with an id, on every node.
    Disconnect {
        /// The socket id.
        socket_id: String,
    },
}
