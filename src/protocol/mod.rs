//! The words of the protocol: topics, messages, replies, broadcasts, frames and serializers.
//!
//! Pure: no Tokio, no I/O, no clock.

mod binary;
mod close;
mod fastlane;
mod frame;
mod message;
mod payload;
mod reference;
mod serializer;
mod topic;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

pub use binary::BINARY_HEADER_BYTES_MAX;
pub use close::CloseReason;
pub use fastlane::Fastlane;
pub use frame::{Frame, FrameDraft, FrameKind};
pub use message::{Broadcast, Ending, Message, Outgoing, Reply, Status, events};
pub use payload::Payload;
pub use reference::{REF_BYTES_MAX, Ref};
pub use serializer::{DecodeError, Serializer};
pub use topic::{TOPIC_BYTES_DEFAULT, Topic, TopicError};
