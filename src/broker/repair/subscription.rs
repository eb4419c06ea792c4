//! A subscribed topic: since when, and how far each origin's publishes on it have come.
//!
//! It never asks for what is missing.

use std::time::Instant;

use super::chain::Chain;
use super::origins::Origins;
use crate::broker::sequence::Position;

/// Origins that are followed on a topic.
const ORIGINS_OF_TOPIC: usize = 1_024;

/// A topic of this node.
#[derive(Debug)]
pub(super) struct Subscription {
    /// The link on which it was asked for.
    pub(super) link: u64,
    /// When the subscription was sent on that link.
    pub(super) sent: Instant,
    pub(super) acknowledged: bool,
    /// From here on nothing may be missing without a word.
    pub(super) since: Instant,
    /// It was subscribed on an earlier link too.
    pub(super) again: bool,
    pub(super) chains: Vec<Chain>,
}

impl Subscription {
    /// A subscription that is about to be sent on a link.
    pub(super) fn new(link: u64, now: Instant) -> Self {
        Self {
            link,
            sent: now,
            acknowledged: false,
            since: now,
            again: false,
            chains: Vec::new(),
        }
    }

    /// Returns the chain of an origin; `admit`: makes one if there is none.
    pub(super) fn chain(&mut self, incarnation: u64, admit: bool) -> Option<&mut Chain> {
        let known = |chain: &Chain| chain.incarnation == incarnation;
        let at = match self.chains.iter().position(known) {
            Some(at) => at,
            None if !admit => return None,
            None => {
                if self.chains.len() >= ORIGINS_OF_TOPIC {
                    let oldest = self.chains.iter().position(|chain| !chain.open)?;
                    self.chains.remove(oldest);
                }
                let floor = Position::default();
                self.chains.push(Chain::unsettled(incarnation, floor));
                self.chains.len() - 1
            }
        };
        self.chains.get_mut(at)
    }

    /// Returns from when on nothing of an origin may be missing without a word.
    pub(super) fn since_of(&self, origin: u64, origins: &Origins) -> Instant {
        let heard = origins.heard_before(origin);
        heard.map_or(self.since, |heard| heard.max(self.since))
    }
}
