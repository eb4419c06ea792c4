//! The ledger of one simulated node: what is due on it, and what it was told.
//!
//! It fails at the first letter that comes twice, out of order, or after one that is missing without a word.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

use crate::broker::repair::Told;

/// What is due on one node, by topic and origin: the numbers that Redis took while the topic was subscribed.
pub(super) type Due = HashMap<(String, u64), VecDeque<u64>>;

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) due: Due,
    pub(super) last: HashMap<(String, u64), u64>,
    /// Topics on which something was given up since the last letter of an origin.
    pub(super) excused: HashSet<(String, u64)>,
    pub(super) delivered: u64,
    pub(super) healed: u64,
    pub(super) lost: u64,
}

impl Ledger {
    pub(super) fn told(&mut self, told: Told, origins: &[u64]) {
        match told {
            Told::Letter { envelope, healed } => {
                let key = (envelope.topic.as_str().to_owned(), envelope.incarnation);
                let last = self.last.insert(key.clone(), envelope.nth).unwrap_or(0);
                assert!(
                    envelope.nth > last,
                    "{key:?}: {} after {last}",
                    envelope.nth
                );
                let due = self.due.entry(key.clone()).or_default();
                let excused = self.excused.remove(&key);
                while let Some(next) = due.front().copied().filter(|next| *next <= envelope.nth) {
                    assert!(
                        next == envelope.nth || excused,
                        "{key:?}: {next} is missing and not told"
                    );
                    due.pop_front();
                }
                self.delivered += 1;
                self.healed += u64::from(healed);
            }
            Told::Lost { topic, missed } => {
                self.lost += missed.unwrap_or(1);
                for origin in origins {
                    self.excused.insert((topic.as_str().to_owned(), *origin));
                }
            }
            Told::Duplicate => {}
        }
    }
}
