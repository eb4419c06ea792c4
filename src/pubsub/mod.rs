//! Inside the node: who wants a topic, records in order, and the way to the workers' mailboxes.
//!
//! It knows no sockets; a worker delivers to its own subscribers.

mod calls;
mod hub;
mod interest;
mod mailbox;
mod memory;
mod metrics;
mod missed;
mod notices;
mod order;
mod overflow;
mod question;
mod repair;

pub use calls::{AnswerTo, Asked, Call, Calls};
pub use hub::{PubSub, Recalled, RecordLetter};
pub use interest::WORKERS_MAX;
pub use mailbox::{Deliver, Entry, Mailbox, SocketId};
pub use metrics::Metrics;
pub use order::{Emitted, Hole, Look, Observed, TopicOrder};
pub use question::{Answer, Question, SessionId, What};
pub use repair::{End, Found, RecordSource};
