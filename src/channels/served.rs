//! A declaration as one node serves it: defaults settled, pattern read.
//!
//! It is shared by all channels of a route and never changes.

use super::{Declaration, Defaults, Persist};
use crate::channel::{Pattern, PatternError};
use crate::protocol::{Topic, events};

/// What the channels of one route know of their declaration.
pub(super) struct Served {
    pattern: Pattern,
    /// When records without a `client_key` are stored.
    pub(super) persist: Persist,
    /// Records sent to a fresh join.
    pub(super) history: usize,
    /// Whether members are tracked.
    pub(super) presence: bool,
    /// Whether guests may join.
    pub(super) anonymous: bool,
    /// Whether a first join creates the game or video.
    pub(super) auto_create: bool,
    events: Vec<String>,
}

impl Served {
    /// Settles a declaration with the node's defaults.
    ///
    /// # Errors
    /// [`PatternError`] for a bad topic pattern.
    pub(super) fn new(declared: &Declaration, node: &Defaults) -> Result<Self, PatternError> {
        // The configuration refuses reserved events by name; an embedder's list may still have some.
        let relayed = declared.events.iter();
        let relayed = relayed.filter(|event| !events::is_reserved(event)).cloned();
        Ok(Self {
            pattern: Pattern::parse(&declared.topic)?,
            persist: declared.persist,
            history: declared.history,
            presence: declared.presence,
            anonymous: declared.anonymous.unwrap_or(node.anonymous_allowed),
            auto_create: declared.auto_create.unwrap_or(node.auto_create),
            events: relayed.collect(),
        })
    }

    /// Returns the name within the topic: the slug, room, video id or player id.
    ///
    /// It is what follows the last `:` of a prefix, so that `score:*` and `score:open*` find the same game
    /// for a topic, and the first `:` of an exact topic; without one, what follows the prefix, or the topic.
    pub(super) fn name<'a>(&self, topic: &'a Topic) -> &'a str {
        let (colon, otherwise) = match &self.pattern {
            Pattern::Exact(name) => (name.find(':'), 0),
            Pattern::Prefix(prefix) => (prefix.rfind(':'), prefix.len()),
        };
        let start = colon.map_or(otherwise, |at| at + 1);
        topic.as_str().get(start..).unwrap_or_default()
    }

    /// Says whether a relay passes an event on.
    pub(super) fn relays(&self, event: &str) -> bool {
        self.events.iter().any(|listed| listed == event)
    }
}
