//! A broadcast on its way to many subscribers, encoded at most once per serializer.
//!
//! Every subscriber of a version gets the same shared bytes; nothing is written per subscriber.

use std::sync::OnceLock;

use super::{Broadcast, Frame, Serializer};

/// A broadcast and its frames, made when first asked for.
#[derive(Debug)]
pub struct Fastlane {
    broadcast: Broadcast,
    v1: OnceLock<Option<Frame>>,
    v2: OnceLock<Option<Frame>>,
}

impl Fastlane {
    /// Takes a broadcast; nothing is encoded yet.
    pub fn new(broadcast: Broadcast) -> Self {
        Self {
            broadcast,
            v1: OnceLock::new(),
            v2: OnceLock::new(),
        }
    }

    /// Returns the broadcast itself, for channels that intercept it.
    pub fn broadcast(&self) -> &Broadcast {
        &self.broadcast
    }

    /// Returns the shared frame of a version; `None` when the version can't carry it.
    pub fn frame(&self, serializer: Serializer) -> Option<&Frame> {
        let slot = match serializer {
            Serializer::V1 => &self.v1,
            Serializer::V2 => &self.v2,
        };
        slot.get_or_init(|| serializer.encode_broadcast(&self.broadcast))
            .as_ref()
    }

    /// Returns the number of payload bytes, for the bounds of mailboxes.
    pub fn payload_bytes(&self) -> usize {
        self.broadcast.payload.len()
    }
}
