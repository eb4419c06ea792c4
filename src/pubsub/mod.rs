//! Inside the node: who wants a topic, records in order, and the way to the workers' mailboxes.
//!
//! It knows no sockets; a worker delivers to its own subscribers.

mod hub;
mod interest;
mod mailbox;
mod order;
mod repair;

pub use hub::{Metrics, PubSub, RecordLetter};
pub use interest::WORKERS_MAX;
pub use mailbox::{Deliver, Entry, Mailbox, Missed, SocketId};
pub use order::{Emitted, Hole, Observed, TopicOrder};
pub use repair::{End, Found, RecordSource};
