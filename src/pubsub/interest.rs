//! Which workers of this node want a topic, and whether the broker delivers it yet.
//!
//! It is written only at a worker's first join or last leave of a topic.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;
use tokio::sync::oneshot;

use crate::channel::Unavailable;
use crate::protocol::Topic;

const SHARDS: usize = 64;

/// The most workers of a node; each has one bit in a topic's interest.
pub const WORKERS_MAX: usize = 64;

/// Answers an attach that had to wait.
pub(super) type Answer = oneshot::Sender<Result<(), Unavailable>>;

#[derive(Debug)]
enum State {
    Subscribing(Vec<Answer>),
    Ready,
}

#[derive(Debug)]
struct Interest {
    workers: u64,
    /// Tells a subscription that is under way from one for an earlier life of the entry.
    life: u64,
    state: State,
}

/// What an attach came to.
pub(super) enum Attached {
    /// The topic is delivered already.
    Ready,
    /// The answer comes later; `subscribe` says that the caller must ask the broker.
    Waits {
        answer: oneshot::Receiver<Result<(), Unavailable>>,
        subscribe: Option<u64>,
    },
    /// The node has as many topics as it may.
    Full,
}

/// The table topic -> workers, in shards.
#[derive(Debug)]
pub(super) struct InterestTable {
    shards: Vec<RwLock<HashMap<Topic, Interest>>>,
    hasher: RandomState,
    topics: AtomicUsize,
    topics_max: usize,
    lives: AtomicU64,
}

impl InterestTable {
    pub(super) fn new(topics_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            topics: AtomicUsize::new(0),
            topics_max,
            lives: AtomicU64::new(0),
        }
    }

    fn shard(&self, topic: &Topic) -> &RwLock<HashMap<Topic, Interest>> {
        // SHARDS is a power of two, so the mask takes the low bits.
        &self.shards[(self.hasher.hash_one(topic) as usize) & (SHARDS - 1)]
    }

    /// Returns the bits of the workers that want a topic.
    pub(super) fn workers(&self, topic: &Topic) -> u64 {
        let shard = self.shard(topic).read();
        shard.get(topic).map_or(0, |interest| interest.workers)
    }

    /// Adds a worker. With `at_once` the topic needs no subscription.
    pub(super) fn attach(&self, topic: &Topic, worker: usize, at_once: bool) -> Attached {
        let mut shard = self.shard(topic).write();
        if !shard.contains_key(topic) && !self.count_one_more() {
            return Attached::Full;
        }
        let mut fresh = None;
        let interest = shard.entry(topic.clone()).or_insert_with(|| {
            let life = self.lives.fetch_add(1, Ordering::Relaxed);
            fresh = Some(life);
            Interest {
                workers: 0,
                life,
                state: match at_once {
                    true => State::Ready,
                    false => State::Subscribing(Vec::new()),
                },
            }
        });
        interest.workers |= 1 << worker;
        match &mut interest.state {
            State::Ready => Attached::Ready,
            State::Subscribing(answers) => {
                let (sender, answer) = oneshot::channel();
                answers.push(sender);
                Attached::Waits {
                    answer,
                    subscribe: fresh,
                }
            }
        }
    }

    /// Removes a worker; says whether nobody is left, so that the topic can be unsubscribed.
    pub(super) fn detach(&self, topic: &Topic, worker: usize) -> bool {
        let mut shard = self.shard(topic).write();
        let Some(interest) = shard.get_mut(topic) else {
            return false;
        };
        interest.workers &= !(1 << worker);
        let empty = interest.workers == 0;
        if empty {
            shard.remove(topic);
            self.topics.fetch_sub(1, Ordering::Relaxed);
        }
        empty
    }

    /// Counts another topic, unless the node has as many as it may.
    fn count_one_more(&self) -> bool {
        let more = |count| (count < self.topics_max).then_some(count + 1);
        self.topics
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Takes the end of a subscription; a failed one is forgotten, so that the next attach tries anew.
    pub(super) fn subscribed(&self, topic: &Topic, life: u64, result: Result<(), Unavailable>) {
        let mut shard = self.shard(topic).write();
        let Some(interest) = shard.get_mut(topic) else {
            return;
        };
        if interest.life != life {
            return;
        }
        let State::Subscribing(answers) = std::mem::replace(&mut interest.state, State::Ready)
        else {
            return;
        };
        if result.is_err() {
            shard.remove(topic);
            self.topics.fetch_sub(1, Ordering::Relaxed);
        }
        drop(shard);
        for answer in answers {
            // A joiner that is gone does not listen any more.
            let _ = answer.send(result);
        }
    }

    /// Returns how many topics the node has.
    pub(super) fn topics(&self) -> usize {
        self.topics.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attach_subscribes_and_the_last_detach_unsubscribes() {
        let table = InterestTable::new(1000);
        let topic: Topic = "t".try_into().unwrap();
        let Attached::Waits {
            answer,
            subscribe: Some(life),
        } = table.attach(&topic, 3, false)
        else {
            panic!("the first attach subscribes");
        };
        let Attached::Waits {
            subscribe: None, ..
        } = table.attach(&topic, 5, false)
        else {
            panic!("the second one only waits");
        };
        table.subscribed(&topic, life, Ok(()));
        assert_eq!(answer.blocking_recv(), Ok(Ok(())));
        assert!(matches!(table.attach(&topic, 5, false), Attached::Ready));
        assert_eq!(table.workers(&topic), 1 << 3 | 1 << 5);
        assert!(!table.detach(&topic, 3));
        assert!(table.detach(&topic, 5));
        assert_eq!(table.topics(), 0);
    }

    #[test]
    fn the_bound_is_exact_and_a_topic_that_goes_makes_room() {
        let table = InterestTable::new(2);
        let attach = |name: &str| table.attach(&name.try_into().unwrap(), 0, true);
        assert!(matches!(attach("a"), Attached::Ready));
        assert!(matches!(attach("b"), Attached::Ready));
        assert!(matches!(attach("c"), Attached::Full));
        assert!(matches!(attach("a"), Attached::Ready));
        assert!(table.detach(&"a".try_into().unwrap(), 0));
        assert!(matches!(attach("c"), Attached::Ready));
        assert_eq!(table.topics(), 2);
    }

    #[test]
    fn an_earlier_lifes_subscription_does_not_count() {
        let table = InterestTable::new(1000);
        let topic: Topic = "t".try_into().unwrap();
        let Attached::Waits {
            subscribe: Some(first),
            ..
        } = table.attach(&topic, 0, false)
        else {
            panic!("the first attach subscribes");
        };
        table.detach(&topic, 0);
        let Attached::Waits {
            mut answer,
            subscribe: Some(second),
        } = table.attach(&topic, 0, false)
        else {
            panic!("a new life subscribes anew");
        };
        table.subscribed(&topic, first, Ok(()));
        assert!(answer.try_recv().is_err());
        table.subscribed(&topic, second, Ok(()));
        assert_eq!(answer.try_recv(), Ok(Ok(())));
    }
}
