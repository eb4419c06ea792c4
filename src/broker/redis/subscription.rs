//! One topic of this node: whether it is wanted, and what Redis knows of it.
//!
//! It decides nothing; the table of all topics does.

use tokio::sync::watch;

/// How waiting for a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Redis has acknowledged it.
    Acknowledged,
    /// The link went down; it is made when the link is back.
    Deferred,
    /// It was not acknowledged in time, refused, or withdrawn.
    Refused,
}

/// What Redis knows of a topic, by its answers on the current link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Absent,
    Subscribing,
    Subscribed,
    Unsubscribing,
}

/// One topic: the wish, and what Redis knows.
#[derive(Debug)]
pub(super) struct Entry {
    /// A caller wants it; it is to be subscribed.
    pub(super) wanted: bool,
    /// What Redis knows.
    pub(super) wire: Wire,
    /// It waits for a look at the wish.
    pub(super) queued: bool,
    /// What arrived before does not count.
    pub(super) anew: bool,
    /// The link is not fully up before this one is subscribed.
    pub(super) restoring: bool,
    /// Callers that wait share one channel.
    pub(super) pending: Option<watch::Sender<Option<Outcome>>>,
}

impl Entry {
    /// A topic that was just wanted, of which Redis knows nothing.
    pub(super) fn new() -> Self {
        Self {
            wanted: true,
            wire: Wire::Absent,
            queued: false,
            anew: true,
            restoring: false,
            pending: None,
        }
    }

    /// Ends all waits for the topic.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        if let Some(pending) = self.pending.take() {
            pending.send_replace(Some(outcome));
        }
    }
}
