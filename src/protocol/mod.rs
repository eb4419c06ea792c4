//! The words of the protocol: topics, messages, replies, broadcasts, frames and serializers.
//!
//! Pure: no Tokio, no I/O, no clock.

mod payload;
mod topic;

pub use payload::Payload;
pub use topic::{TOPIC_BYTES_DEFAULT, Topic, TopicError};
