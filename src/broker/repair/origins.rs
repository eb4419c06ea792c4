//! The other nodes: who is alive, and since when the others are silent.
//!
//! It is bounded: a node that is silent for a minute is forgotten, but for when it was last heard.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::map::Map;

/// After this long without a sign of life nobody waits for a node.
const ALIVE: Duration = Duration::from_secs(5);
/// After this long without a sign of life a node is forgotten.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Nodes that are known at most; others are not waited for.
const ORIGINS: usize = 4_096;
/// Forgotten nodes of which the last sign of life is kept.
const FORGOTTEN: usize = 1_024;

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    /// The last announcement that is known of, 0 before the first; none since the link was opened.
    announced: Option<u64>,
}

/// When other nodes were heard.
#[derive(Debug, Default)]
pub(super) struct Origins {
    heard: Map<u64, Heard>,
    forgotten: VecDeque<(u64, Instant)>,
}

impl Origins {
    /// Notes a sign of life.
    pub(super) fn hear(&mut self, origin: u64, now: Instant) {
        let room = self.heard.len() < ORIGINS;
        match self.heard.get_mut(&origin) {
            Some(heard) => heard.at = now,
            None if room => {
                // Nobody has waited for its answers: one that lives for longer has said something unheard.
                let heard = Heard {
                    at: now,
                    announced: Some(0),
                };
                self.heard.insert(origin, heard);
            }
            None => {}
        }
    }

    /// Says whether a node was heard lately.
    pub(super) fn knows(&self, origin: u64) -> bool {
        self.heard.contains_key(&origin)
    }

    /// Notes that an origin has made its announcements up to a number; says whether one of them did not arrive.
    ///
    /// `arrived`: the last of them is at hand.
    pub(super) fn announced(&mut self, origin: u64, number: u64, arrived: bool) -> bool {
        let Some(heard) = self.heard.get_mut(&origin) else {
            return false;
        };
        let unheard = number.saturating_sub(u64::from(arrived));
        let misses = heard.announced.is_some_and(|last| unheard > last);
        heard.announced = heard.announced.max(Some(number));
        misses
    }

    /// Starts the clocks anew, after a time when nobody could be heard: who is known will be asked for everything.
    pub(super) fn hear_all(&mut self, now: Instant) {
        let anew = Heard {
            at: now,
            announced: None,
        };
        self.heard.values_mut().for_each(|heard| *heard = anew);
    }

    pub(super) fn is_alive(&self, origin: u64, now: Instant) -> bool {
        let heard = self.heard.get(&origin);
        heard.is_some_and(|heard| now.saturating_duration_since(heard.at) < ALIVE)
    }

    pub(super) fn alive(&self, now: Instant) -> Vec<u64> {
        let origins = self.heard.keys().copied();
        origins
            .filter(|origin| self.is_alive(*origin, now))
            .collect()
    }

    /// Forgets a node that said that it leaves.
    pub(super) fn left(&mut self, origin: u64) {
        self.heard.remove(&origin);
    }

    /// Forgets who was silent for too long and returns them.
    pub(super) fn forget_silent(&mut self, now: Instant) -> Vec<u64> {
        let mut silent = Vec::new();
        self.heard.retain(|origin, heard| {
            let keep = now.saturating_duration_since(heard.at) < REMEMBERED;
            if !keep {
                silent.push(*origin);
                self.forgotten.push_back((*origin, heard.at));
            }
            keep
        });
        while self.forgotten.len() > FORGOTTEN {
            self.forgotten.pop_front();
        }
        silent
    }

    /// Returns until when a node was heard before it was forgotten: what it said until then has arrived.
    pub(super) fn heard_before(&self, origin: u64) -> Option<Instant> {
        let known = self.forgotten.iter().rev();
        known
            .clone()
            .find(|(one, _)| *one == origin)
            .map(|(_, at)| *at)
    }
}
