//! Deliveries that the hub makes itself: a gap, a new epoch, an event of its own.
//!
//! They are what a topic's subscribers are told; nothing is stored.

use std::sync::Arc;

use super::Deliver;
use super::order::Hole;
use crate::clock;
use crate::protocol::{Broadcast, Fastlane, Payload, Topic, events};

/// Says which ids can't be had any more.
pub(super) fn gap(topic: &Topic, gone: &Hole) -> Deliver {
    let (from, to) = (gone.from, gone.to);
    let payload = Payload::from_value(&serde_json::json!({ "from": from, "to": to }));
    Deliver {
        id: Some(to),
        epoch: Some(gone.epoch.clone()),
        ..notice(topic, events::GAP, payload)
    }
}

/// Says that positions are void: what is known of the new epoch up to `to` is not coming.
pub(super) fn renewal(topic: &Topic, epoch: Arc<str>, to: u64) -> Deliver {
    let said = serde_json::json!({ "from": 1, "to": to, "reset": true, "epoch": &*epoch });
    Deliver {
        id: Some(to),
        epoch: Some(epoch),
        reset: true,
        ..notice(topic, events::GAP, Payload::from_value(&said))
    }
}

/// An event without an id.
pub(super) fn notice(topic: &Topic, event: &str, payload: Payload) -> Deliver {
    Deliver {
        fastlane: Arc::new(Fastlane::new(Broadcast {
            topic: topic.clone(),
            event: event.into(),
            payload,
        })),
        id: None,
        epoch: None,
        reset: false,
        accepted_at: clock::unix_us(),
        remote: false,
    }
}
