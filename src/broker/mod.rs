//! Node to node: a small trait, an in-process broker and one over Redis pub/sub.
//!
//! A broker carries envelopes; it never looks at a payload and knows no sockets.

pub mod address;
pub mod config;
pub mod envelope;
pub mod local;
mod metrics;
pub mod redis;
pub mod repair;
pub mod sequence;

pub use self::redis::{ConnectError, RedisBroker};
pub use config::Config;
pub use local::LocalBroker;
pub use metrics::Metrics;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::protocol::{Payload, Topic};

/// The node topic: what is published on it reaches every node, which is always subscribed.
///
/// Node-wide letters such as [`Letter::Disconnect`] go there: `broker.publish(&nodes_topic(), letter)`.
/// The name is reserved: a router must not let a client join it.
pub const NODES: &str = "!nodes";

/// Returns the node topic, [`NODES`].
pub fn nodes_topic() -> Topic {
    Topic::parse(NODES, NODES.len()).expect("the name is not empty and as long as it is")
}

/// Returns the topic of one node: only the node of that incarnation subscribes to it.
///
/// [`Letter::Ask`] and [`Letter::Answer`] go there. As every name that begins with `!`, no client can join it.
pub fn node_topic(incarnation: u64) -> Topic {
    Topic::try_from(format!("!node:{incarnation:016x}").as_str())
        .expect("the name is not empty and shorter than the shortest limit")
}

/// What one node tells the others about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    /// An event for every subscriber of the topic.
    Broadcast {
        /// The event's name.
        event: String,
        /// Its payload, relayed byte for byte.
        payload: Payload,
    },
    /// A stored record for every subscriber of the topic, to be delivered in `id` order.
    Record {
        /// Its place in the topic.
        id: u64,
        /// The topic's epoch.
        epoch: String,
        /// The event's name.
        event: String,
        /// The wire payload, JSON.
        payload: Payload,
    },
    /// Close every socket with this id; sent on the node topic.
    Disconnect {
        /// The socket id, such as `user:42`.
        socket_id: String,
    },
    /// A change of the presence state, opaque to the broker.
    Presence(bytes::Bytes),
    /// A question to one worker of the node on whose topic it is published.
    Ask {
        /// Who asks: the incarnation that the answer goes to.
        from: u64,
        /// The number that the answer carries.
        request: u64,
        /// The worker.
        worker: u32,
        /// What is asked, opaque to the broker.
        question: bytes::Bytes,
    },
    /// The answer to a question, on the topic of the node that asked.
    Answer {
        /// The number of the question.
        request: u64,
        /// What is answered, opaque to the broker.
        answer: bytes::Bytes,
    },
}

/// What arrives from another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The topic it was published on.
    pub topic: Topic,
    /// What was said.
    pub letter: Letter,
    /// When its node accepted it: microseconds since the Unix epoch, by that node's clock.
    pub accepted_at: i64,
}

/// How a subscription was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    /// The other nodes' publishes arrive from now on.
    Acknowledged,
    /// The broker is down; it subscribes as soon as it is back.
    Deferred,
}

/// Why the broker did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerError {
    /// The queue of what is to be published is full.
    Full,
    /// The broker is up but did not acknowledge a subscription in time.
    Unacknowledged,
    /// The broker has been shut down.
    Closed,
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the publish queue is full",
            Self::Unacknowledged => "the subscription was not acknowledged in time",
            Self::Closed => "the broker is shut down",
        })
    }
}

impl std::error::Error for BrokerError {}

/// What a broker tells the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Another node published.
    Delivery(Delivery),
    /// The link to the other nodes is up (again) and every topic is resubscribed:
    /// what was published meanwhile may be missing.
    Connected,
    /// The link to the other nodes is down.
    Disconnected,
    /// Publishes of another node on this topic did not arrive; told before the delivery
    /// that showed it.
    Hole {
        /// The topic they were published on.
        topic: Topic,
        /// How many, when that is known; at least one.
        missed: Option<u64>,
    },
}

/// Where a broker hands over what arrives, in order within a topic; it must not block.
pub type Inbox = Arc<dyn Fn(Notice) + Send + Sync>;

/// The link between the nodes. A node's own publishes never come back to it.
///
/// # Ordering
/// What one node publishes on one topic arrives in order on every other node.
pub trait Broker: Send + Sync + 'static {
    /// Queues a letter for the other nodes; never blocks.
    ///
    /// # Errors
    /// [`BrokerError::Full`] when the bounded queue has no room (nothing was queued).
    fn publish(&self, topic: &Topic, letter: Letter) -> Result<(), BrokerError>;

    /// Subscribes this node to a topic; idempotent. Resolves when the other nodes' publishes arrive.
    fn subscribe<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Result<Subscribed, BrokerError>>;

    /// Ends this node's subscription; never blocks.
    fn unsubscribe(&self, topic: &Topic);

    /// Says whether the link is up; always true for a single node.
    fn connected(&self) -> bool;

    /// Says whether there is room for what clients publish; what the node itself has to say fits a while longer.
    ///
    /// Always true for a single node. A no is counted as a refusal: who asks publishes nothing then.
    fn has_room(&self) -> bool {
        true
    }
}
