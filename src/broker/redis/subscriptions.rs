//! Which topics this node wants, and what Redis knows of it.
//!
//! Pure bookkeeping: it sends nothing. A topic has at most one command under way; when its answer comes and
//! the wish has changed meanwhile, the next one follows. So a subscribe that overtakes an unsubscribe is
//! acknowledged after it, and never by an earlier acknowledgement.

use std::collections::VecDeque;

use hashbrown::HashMap;
use tokio::sync::watch;

use super::subscription::{Entry, Outcome, Wire};
use crate::protocol::Topic;

/// What a wish for a topic meets.
pub(super) enum Want {
    Subscribed,
    Deferred,
    Pending(watch::Receiver<Option<Outcome>>),
}

/// What an acknowledgement of a SUBSCRIBE means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// Nothing of the topic arrived here before, or nothing that counts.
    Anew,
    /// The topic was subscribed before the link was lost; what was missed meanwhile is missing.
    Again,
    /// Nobody asked, or on another link.
    Unexpected,
}

/// Topics to subscribe and to unsubscribe next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) subscribe: Vec<Topic>,
    pub(super) unsubscribe: Vec<Topic>,
}

/// Whether there is a link, and whether everything is subscribed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    Down,
    Restoring,
    Up,
}

/// The topics of this node. Its size is bounded by the node's limit of topics.
#[derive(Debug)]
pub(super) struct Table {
    topics: HashMap<Topic, Entry>,
    /// Topics whose wish and wire may differ, each once.
    dirty: VecDeque<Topic>,
    restoring: usize,
    link_state: LinkState,
    link: u64,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            topics: HashMap::new(),
            dirty: VecDeque::new(),
            restoring: 0,
            link_state: LinkState::Down,
            link: 0,
        }
    }

    /// Wants a topic; idempotent.
    pub(super) fn want(&mut self, topic: &Topic) -> Want {
        let entry = self.topics.entry(topic.clone()).or_insert_with(Entry::new);
        if !entry.wanted {
            entry.wanted = true;
            // Redis is about to forget it: it will be subscribed anew.
            entry.anew |= entry.wire == Wire::Unsubscribing;
        }
        match (self.link_state, entry.wire) {
            // Without a link there is nothing to queue for; the next one starts with everything wanted.
            (LinkState::Down, _) => Want::Deferred,
            (LinkState::Restoring | LinkState::Up, Wire::Subscribed) => Want::Subscribed,
            (
                LinkState::Restoring | LinkState::Up,
                Wire::Absent | Wire::Subscribing | Wire::Unsubscribing,
            ) => {
                enqueue(&mut self.dirty, topic, entry);
                let pending = entry
                    .pending
                    .get_or_insert_with(|| watch::Sender::new(None));
                Want::Pending(pending.subscribe())
            }
        }
    }

    /// Wants a topic no longer.
    pub(super) fn unwant(&mut self, topic: &str) {
        let Some((topic, entry)) = self.topics.get_key_value_mut(topic) else {
            return;
        };
        entry.wanted = false;
        restored(&mut self.restoring, entry);
        let topic = topic.clone();
        match entry.wire {
            Wire::Absent => self.withdraw(&topic),
            Wire::Subscribed => enqueue(&mut self.dirty, &topic, entry),
            // The answer to the command under way looks at the wish again.
            Wire::Subscribing | Wire::Unsubscribing => {}
        }
    }

    /// Ends one caller's wait that took too long, and says how.
    pub(super) fn abandon(&mut self, topic: &Topic) -> Outcome {
        let Some(entry) = self.topics.get_mut(topic) else {
            return Outcome::Refused;
        };
        let others_wait = entry
            .pending
            .as_ref()
            .is_some_and(|pending| pending.receiver_count() > 0);
        match (self.link_state, entry.wire) {
            (_, Wire::Subscribed) if entry.wanted => Outcome::Acknowledged,
            // Until everything is subscribed again the link does not count as up.
            (LinkState::Down | LinkState::Restoring, _) if entry.wanted => {
                restore(&mut self.restoring, entry);
                Outcome::Deferred
            }
            (LinkState::Down | LinkState::Restoring | LinkState::Up, _) => {
                if !others_wait {
                    self.unwant(topic.as_str());
                }
                Outcome::Refused
            }
        }
    }

    /// Takes up to `max` topics that need a command, and notes the command as sent.
    pub(super) fn take_batch(&mut self, max: usize) -> Batch {
        let mut batch = Batch::default();
        while batch.subscribe.len() + batch.unsubscribe.len() < max {
            let Some(topic) = self.dirty.pop_front() else {
                break;
            };
            let Some(entry) = self.topics.get_mut(&topic) else {
                continue;
            };
            entry.queued = false;
            match (entry.wanted, entry.wire) {
                (true, Wire::Absent) => {
                    entry.wire = Wire::Subscribing;
                    batch.subscribe.push(topic);
                }
                (false, Wire::Subscribed) => {
                    entry.wire = Wire::Unsubscribing;
                    batch.unsubscribe.push(topic);
                }
                (false, Wire::Absent) => self.withdraw(&topic),
                // Nothing to do, or nothing before the answer to the command under way.
                (true, Wire::Subscribing | Wire::Subscribed | Wire::Unsubscribing)
                | (false, Wire::Subscribing | Wire::Unsubscribing) => {}
            }
        }
        batch
    }

    /// Notes Redis' answer to a SUBSCRIBE.
    pub(super) fn subscribed(&mut self, link: u64, topic: &str) -> Acknowledged {
        let Some((topic, entry)) = self.topics.get_key_value_mut(topic) else {
            return Acknowledged::Unexpected;
        };
        if link != self.link || entry.wire != Wire::Subscribing {
            return Acknowledged::Unexpected;
        }
        entry.wire = Wire::Subscribed;
        restored(&mut self.restoring, entry);
        entry.settle(Outcome::Acknowledged);
        if !entry.wanted {
            enqueue(&mut self.dirty, &topic.clone(), entry);
        }
        match std::mem::replace(&mut entry.anew, false) {
            true => Acknowledged::Anew,
            false => Acknowledged::Again,
        }
    }

    /// Notes Redis' answer to an UNSUBSCRIBE and says whether it was expected.
    pub(super) fn unsubscribed(&mut self, link: u64, topic: &str) -> bool {
        let Some((topic, entry)) = self.topics.get_key_value_mut(topic) else {
            return false;
        };
        if link != self.link || entry.wire != Wire::Unsubscribing {
            return false;
        }
        entry.wire = Wire::Absent;
        let topic = topic.clone();
        match entry.wanted {
            true => enqueue(&mut self.dirty, &topic, entry),
            false => self.withdraw(&topic),
        }
        true
    }

    /// Notes that Redis refused a SUBSCRIBE of these topics.
    ///
    /// A topic that somebody waits for is withdrawn; one that was only being restored is tried on the next link.
    pub(super) fn refused(&mut self, topics: &[Topic]) {
        for topic in topics {
            let Some(entry) = self.topics.get_mut(topic) else {
                continue;
            };
            entry.wire = Wire::Absent;
            let awaited = entry.pending.is_some();
            restored(&mut self.restoring, entry);
            if awaited || !entry.wanted {
                self.withdraw(topic);
            }
        }
    }

    /// Starts on a new link: everything wanted is to be subscribed on it.
    pub(super) fn link_opened(&mut self, link: u64) {
        self.link = link;
        self.link_state = LinkState::Restoring;
        self.restoring = self.topics.len();
        for (topic, entry) in &mut self.topics {
            entry.restoring = true;
            enqueue(&mut self.dirty, topic, entry);
        }
    }

    /// Notes that the link is fully up, the first time that everything is subscribed again.
    pub(super) fn link_is_up_now(&mut self) -> bool {
        let up = self.link_state == LinkState::Restoring && self.restoring == 0;
        if up {
            self.link_state = LinkState::Up;
        }
        up
    }

    /// Forgets all that Redis knew, and defers everything that is wanted.
    pub(super) fn link_lost(&mut self) {
        self.link_state = LinkState::Down;
        self.topics.retain(|_, entry| entry.wanted);
        self.dirty.clear();
        self.restoring = 0;
        for entry in self.topics.values_mut() {
            // It may have been unsubscribed before: what was missed since is not missing.
            entry.anew |= entry.wire == Wire::Unsubscribing;
            entry.wire = Wire::Absent;
            entry.restoring = false;
            entry.queued = false;
            entry.settle(Outcome::Deferred);
        }
    }

    /// Ends a topic that Redis does not know; while it is queued its entry stays, so that it is queued once.
    fn withdraw(&mut self, topic: &Topic) {
        let Some(entry) = self.topics.get_mut(topic) else {
            return;
        };
        entry.wanted = false;
        entry.settle(Outcome::Refused);
        if !entry.queued {
            self.topics.remove(topic);
        }
    }
}

/// Queues a topic for a look at its wish, unless it is queued.
fn enqueue(dirty: &mut VecDeque<Topic>, topic: &Topic, entry: &mut Entry) {
    if !std::mem::replace(&mut entry.queued, true) {
        dirty.push_back(topic.clone());
    }
}

/// Holds the link's being up until the topic is subscribed.
fn restore(restoring: &mut usize, entry: &mut Entry) {
    if !std::mem::replace(&mut entry.restoring, true) {
        *restoring += 1;
    }
}

fn restored(restoring: &mut usize, entry: &mut Entry) {
    if std::mem::replace(&mut entry.restoring, false) {
        *restoring -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        name.try_into().unwrap()
    }

    /// A table on link 1 that is up.
    fn up() -> Table {
        let mut table = Table::new();
        table.link_opened(1);
        assert!(table.link_is_up_now());
        table
    }

    fn names(topics: &[Topic]) -> String {
        let names: Vec<_> = topics.iter().map(Topic::as_str).collect();
        names.join(" ")
    }

    /// Takes the next batch as `+subscribed -unsubscribed`.
    fn sent(table: &mut Table) -> String {
        let batch = table.take_batch(100);
        format!(
            "+{} -{}",
            names(&batch.subscribe),
            names(&batch.unsubscribe)
        )
    }

    fn wait(table: &mut Table, name: &str) -> watch::Receiver<Option<Outcome>> {
        match table.want(&topic(name)) {
            Want::Pending(pending) => pending,
            Want::Subscribed | Want::Deferred => panic!("{name} is not awaited"),
        }
    }

    fn subscribe(table: &mut Table, name: &str) {
        let pending = wait(table, name);
        table.take_batch(1);
        table.subscribed(1, name);
        assert_eq!(*pending.borrow(), Some(Outcome::Acknowledged));
    }

    #[test]
    fn waits_for_one_topic_share_one_command() {
        let mut table = up();
        let (first, second) = (wait(&mut table, "a"), wait(&mut table, "a"));
        assert_eq!(sent(&mut table), "+a -");
        assert_eq!(table.subscribed(1, "a"), Acknowledged::Anew);
        assert_eq!(*first.borrow(), Some(Outcome::Acknowledged));
        assert_eq!(*second.borrow(), Some(Outcome::Acknowledged));
        assert!(matches!(table.want(&topic("a")), Want::Subscribed));
        assert_eq!(sent(&mut table), "+ -");
    }

    #[test]
    fn a_topic_wanted_again_before_the_unsubscribe_is_sent_stays() {
        let mut table = up();
        subscribe(&mut table, "a");
        table.unwant("a");
        assert!(matches!(table.want(&topic("a")), Want::Subscribed));
        assert_eq!(sent(&mut table), "+ -");
    }

    #[test]
    fn a_subscribe_during_an_unsubscribe_is_acknowledged_after_it() {
        let mut table = up();
        subscribe(&mut table, "a");
        table.unwant("a");
        assert_eq!(sent(&mut table), "+ -a");
        let pending = wait(&mut table, "a");
        assert_eq!(sent(&mut table), "+ -");
        assert_eq!(table.subscribed(1, "a"), Acknowledged::Unexpected);
        assert_eq!(*pending.borrow(), None);
        assert!(table.unsubscribed(1, "a"));
        assert_eq!(sent(&mut table), "+a -");
        assert_eq!(table.subscribed(1, "a"), Acknowledged::Anew);
        assert_eq!(*pending.borrow(), Some(Outcome::Acknowledged));
    }

    #[test]
    fn an_unsubscribe_during_a_subscribe_follows_it() {
        let mut table = up();
        let _pending = wait(&mut table, "a");
        assert_eq!(sent(&mut table), "+a -");
        table.unwant("a");
        assert_eq!(sent(&mut table), "+ -");
        table.subscribed(1, "a");
        assert_eq!(sent(&mut table), "+ -a");
        table.unsubscribed(1, "a");
        assert!(table.topics.is_empty());
    }

    #[test]
    fn a_topic_that_comes_and_goes_is_queued_once() {
        let mut table = up();
        for _ in 0..1000 {
            let _ = table.want(&topic("a"));
            table.unwant("a");
        }
        assert_eq!(table.dirty.len(), 1);
        assert_eq!(sent(&mut table), "+ -");
        assert!(table.topics.is_empty());
    }

    #[test]
    fn nothing_is_kept_of_a_topic_that_came_and_went_without_a_link() {
        let mut table = Table::new();
        assert!(matches!(table.want(&topic("a")), Want::Deferred));
        table.unwant("a");
        assert!(table.topics.is_empty() && table.dirty.is_empty());
    }

    #[test]
    fn a_lost_link_defers_waits_and_the_next_restores_everything() {
        let mut table = up();
        subscribe(&mut table, "a");
        let pending = wait(&mut table, "b");
        table.take_batch(1);
        table.link_lost();
        assert_eq!(*pending.borrow(), Some(Outcome::Deferred));
        assert!(matches!(table.want(&topic("c")), Want::Deferred));
        table.link_opened(2);
        assert!(!table.link_is_up_now());
        assert_eq!(table.take_batch(100).subscribe.len(), 3);
        assert_eq!(
            table.subscribed(1, "a"),
            Acknowledged::Unexpected,
            "the old link"
        );
        assert_eq!(table.subscribed(2, "a"), Acknowledged::Again);
        assert_eq!(table.subscribed(2, "b"), Acknowledged::Anew);
        assert!(!table.link_is_up_now());
        assert_eq!(table.subscribed(2, "c"), Acknowledged::Anew);
        assert!(table.link_is_up_now());
        assert!(!table.link_is_up_now(), "said once");
    }

    #[test]
    fn a_new_topic_does_not_hold_up_the_restored_link() {
        let mut table = Table::new();
        table.link_opened(1);
        let _pending = wait(&mut table, "a");
        assert!(table.link_is_up_now());
    }

    #[test]
    fn a_wait_that_took_too_long_is_withdrawn_unless_others_wait() {
        let mut table = up();
        let (first, second) = (wait(&mut table, "a"), wait(&mut table, "a"));
        drop(first);
        assert_eq!(table.abandon(&topic("a")), Outcome::Refused);
        assert!(table.topics["a"].wanted);
        drop(second);
        assert_eq!(table.abandon(&topic("a")), Outcome::Refused);
        assert_eq!(sent(&mut table), "+ -");
        assert!(table.topics.is_empty());
    }

    #[test]
    fn a_wait_that_took_too_long_while_restoring_is_deferred() {
        let mut table = Table::new();
        let _ = table.want(&topic("old"));
        table.link_opened(1);
        drop(wait(&mut table, "a"));
        assert_eq!(table.abandon(&topic("a")), Outcome::Deferred);
        table.take_batch(100);
        table.subscribed(1, "old");
        assert!(!table.link_is_up_now());
        table.subscribed(1, "a");
        assert!(table.link_is_up_now());
    }

    #[test]
    fn a_refused_topic_is_withdrawn_when_awaited_and_kept_when_restored() {
        let mut table = Table::new();
        let _ = table.want(&topic("old"));
        table.link_opened(1);
        let pending = wait(&mut table, "a");
        let batch = table.take_batch(100);
        table.refused(&batch.subscribe);
        assert_eq!(*pending.borrow(), Some(Outcome::Refused));
        assert!(table.topics.contains_key("old") && !table.topics.contains_key("a"));
        assert!(table.link_is_up_now());
    }
}
