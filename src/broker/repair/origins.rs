//! The other nodes: who is alive, and since when the others are silent.
//!
//! It is bounded: a node that is silent for a minute is forgotten, but for when it was last heard.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

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
    /// The number of the last announcement on this link; 0: none yet.
    announcement: u64,
}

/// When other nodes were heard.
#[derive(Debug, Default)]
pub(super) struct Origins {
    heard: HashMap<u64, Heard>,
    forgotten: VecDeque<(u64, Instant)>,
}

impl Origins {
    pub(super) fn hear(&mut self, origin: u64, now: Instant) {
        let room = self.heard.len() < ORIGINS;
        match self.heard.get_mut(&origin) {
            Some(heard) => heard.at = now,
            None if room => {
                let announcement = 0;
                let heard = Heard {
                    at: now,
                    announcement,
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

    /// Notes an announcement and says whether others before it did not arrive.
    pub(super) fn announced(&mut self, origin: u64, number: u64) -> bool {
        let Some(heard) = self.heard.get_mut(&origin) else {
            return false;
        };
        let last = heard.announcement;
        heard.announcement = number.max(last);
        last != 0 && number > last + 1
    }

    /// Starts the clocks anew, after a time when nobody could be heard.
    pub(super) fn hear_all(&mut self, now: Instant) {
        let anew = Heard {
            at: now,
            announcement: 0,
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
