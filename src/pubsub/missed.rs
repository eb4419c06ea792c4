//! What a full mailbox could not take: topics that are marked, and what is to be read from the store for them.
//!
//! It holds no deliveries, only ranges; a topic is marked once, however much it misses.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Deliver;
use crate::protocol::Topic;

/// What a topic's subscribers at one worker have missed.
#[derive(Debug, Clone, Default)]
struct Missed {
    /// Broadcasts that are no records: nothing brings them back.
    plain: bool,
    /// The lowest and the highest id that were not queued.
    ids: Option<(u64, u64)>,
    /// The epoch of the ids.
    epoch: Option<Arc<str>>,
    /// The id behind which the epoch began, when that was missed too.
    renewed: Option<u64>,
    /// The worker has seen all that was queued before.
    healing: bool,
}

impl Missed {
    fn has_records(&self) -> bool {
        self.ids.is_some() || self.renewed.is_some()
    }
}

/// What is to be put into a mailbox next, for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// The news that an epoch began behind an id.
    Renewal(Arc<str>, u64),
    /// Records of an epoch, from one id to another.
    Records(Arc<str>, u64, u64),
}

/// The marked topics of a mailbox.
#[derive(Debug, Default)]
pub(super) struct MissedTopics {
    topics: HashMap<Topic, Missed>,
    /// Those of which the worker does not know yet, each once.
    fresh: Vec<Topic>,
}

impl MissedTopics {
    /// Says whether records of a topic wait to be read from the store: later ones must not overtake them.
    pub(super) fn has_records(&self, topic: &Topic) -> bool {
        !self.topics.is_empty() && self.topics.get(topic).is_some_and(Missed::has_records)
    }

    /// Says whether there is news for the worker.
    pub(super) fn is_news(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Says whether any topic is marked.
    pub(super) fn is_any(&self) -> bool {
        !self.topics.is_empty()
    }

    /// Notes a delivery that was not queued; it stands for the ids from this one to its own.
    pub(super) fn note(&mut self, topic: &Topic, deliver: &Deliver, first: u64) {
        let missed = self.topics.entry(topic.clone()).or_insert_with(|| {
            self.fresh.push(topic.clone());
            Missed::default()
        });
        match (deliver.id, deliver.reset) {
            (None, _) => {
                if missed.healing && !missed.plain {
                    self.fresh.push(topic.clone());
                }
                missed.plain = true;
            }
            (Some(id), true) => {
                // Ids of the epoch before mean nothing any more.
                (missed.ids, missed.renewed) = (None, Some(id));
                missed.epoch.clone_from(&deliver.epoch);
            }
            (Some(id), false) => {
                missed.ids = match missed.ids {
                    Some((from, to)) => Some((from.min(first), to.max(id))),
                    None => Some((first, id)),
                };
                missed.epoch.clone_from(&deliver.epoch);
            }
        }
    }

    /// Takes the news: topics whose subscribers are to be told that broadcasts are gone.
    ///
    /// Records are healed from here on: the worker has seen all that was queued before them.
    pub(super) fn take_news(&mut self, overloaded: &mut Vec<Topic>) {
        for topic in self.fresh.drain(..) {
            let Some(missed) = self.topics.get_mut(&topic) else {
                continue;
            };
            let (plain, has_records) = (std::mem::take(&mut missed.plain), missed.has_records());
            missed.healing = true;
            if !has_records {
                self.topics.remove(&topic);
            }
            if plain {
                overloaded.push(topic);
            }
        }
    }

    /// Returns the topics that can be healed.
    pub(super) fn healing(&self) -> Vec<Topic> {
        let healing = self.topics.iter().filter(|(_, missed)| missed.healing);
        healing.map(|(topic, _)| topic.clone()).collect()
    }

    /// Returns what is next for a topic; when that is nothing it is marked no more.
    pub(super) fn part(&mut self, topic: &Topic) -> Option<Part> {
        let missed = self.topics.get(topic)?;
        let epoch = missed.epoch.clone();
        match (epoch, missed.renewed, missed.ids) {
            (Some(epoch), Some(behind), _) => Some(Part::Renewal(epoch, behind)),
            (Some(epoch), None, Some((from, to))) => Some(Part::Records(epoch, from, to)),
            (_, None, None) | (None, _, _) => {
                self.forget(topic);
                None
            }
        }
    }

    /// Notes that a part is about to be queued; false when it is of an epoch that has ended.
    pub(super) fn healed(&mut self, topic: &Topic, deliver: &Deliver) -> bool {
        let missed = self.topics.get_mut(topic);
        let Some(missed) = missed.filter(|missed| missed.epoch == deliver.epoch) else {
            return false;
        };
        let through = deliver.id.unwrap_or_default();
        if deliver.reset {
            return missed
                .renewed
                .take_if(|behind| *behind == through)
                .is_some();
        }
        missed.ids = missed.ids.and_then(|(from, to)| {
            let from = from.max(through + 1);
            (from <= to).then_some((from, to))
        });
        true
    }

    /// Marks a topic no more: nobody at this worker wants it, or nothing is missing.
    pub(super) fn forget(&mut self, topic: &Topic) {
        if self.topics.get(topic).is_some_and(|missed| !missed.plain) {
            self.topics.remove(topic);
        }
    }
}
