//! This node's own presences: which channel tracks what.
//!
//! The truth about this node; other nodes only ever hold copies of it.

use std::collections::BTreeMap;

use super::entry::{Entry, Id, Key, Meta};
use super::gossip::{Own, digest};
use super::journal::Journal;
use crate::channel::TrackError;
use crate::protocol::Topic;

/// One joined channel of this node; the number is unique in the process, and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// What of this node is in which topic, and what the others have to be told of it.
pub(super) struct Local {
    node: u64,
    entries_max: usize,
    channels: BTreeMap<(Owner, Topic, Key), u64>,
    /// The number of the next presence.
    next: u64,
    pub(super) table: Table,
    pub(super) journal: Journal,
}

/// The presences by number, with what a heartbeat says of them.
#[derive(Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<u64, Own>,
    /// Counts the changes of this node.
    pub(super) version: u64,
    pub(super) digest: u64,
}

impl Local {
    pub(super) fn new(node: u64, entries_max: usize, journal: Journal) -> Self {
        Self {
            node,
            entries_max,
            channels: BTreeMap::new(),
            next: 1,
            table: Table::default(),
            journal,
        }
    }

    pub(super) fn track(
        &mut self,
        owner: Owner,
        topic: &Topic,
        key: &Key,
        meta: Meta,
    ) -> Result<(Id, Entry), TrackError> {
        let place = (owner, topic.clone(), key.clone());
        if self.channels.contains_key(&place) {
            return Err(TrackError::AlreadyTracked);
        }
        if self.channels.len() >= self.entries_max {
            return Err(TrackError::Refused);
        }
        let seq = self.next;
        self.next += 1;
        self.channels.insert(place, seq);
        Ok(self.set(seq, topic, key, 0, meta))
    }

    pub(super) fn update(
        &mut self,
        owner: Owner,
        topic: &Topic,
        key: &Key,
        meta: Meta,
    ) -> Result<(Id, Entry), TrackError> {
        let place = (owner, topic.clone(), key.clone());
        let seq = *self.channels.get(&place).ok_or(TrackError::NoPresence)?;
        let old = self.table.entries.get(&seq).map(|own| own.entry.version);
        Ok(self.set(seq, topic, key, old.unwrap_or(0), meta))
    }

    pub(super) fn untrack(&mut self, owner: Owner, topic: &Topic, key: &Key) -> Option<Id> {
        let place = (owner, topic.clone(), key.clone());
        let seq = self.channels.remove(&place)?;
        Some(self.remove(seq))
    }

    /// Removes all that a channel tracks.
    pub(super) fn leave(&mut self, owner: Owner, topic: &Topic) -> Vec<(Key, Id)> {
        let from = (owner, topic.clone(), Key::FIRST);
        let keys: Vec<Key> = self
            .channels
            .range(from..)
            .take_while(|((o, t, _), _)| *o == owner && t == topic)
            .map(|((_, _, key), _)| key.clone())
            .collect();
        keys.into_iter()
            .filter_map(|key| Some((key.clone(), self.untrack(owner, topic, &key)?)))
            .collect()
    }

    fn set(&mut self, seq: u64, topic: &Topic, key: &Key, prev: u64, meta: Meta) -> (Id, Entry) {
        self.table.version += 1;
        let entry = Entry {
            version: self.table.version,
            prev,
            meta,
        };
        let own = Own {
            seq,
            topic: topic.clone(),
            key: key.clone(),
            entry: entry.clone(),
        };
        self.table.digest ^= digest(seq, entry.version);
        if let Some(old) = self.table.entries.insert(seq, own) {
            self.table.digest ^= digest(seq, old.entry.version);
        }
        self.journal.note(seq, self.table.version);
        (self.id(seq), entry)
    }

    fn remove(&mut self, seq: u64) -> Id {
        self.table.version += 1;
        if let Some(old) = self.table.entries.remove(&seq) {
            self.table.digest ^= digest(seq, old.entry.version);
        }
        self.journal.note_gone(seq, self.table.version);
        self.id(seq)
    }

    fn id(&self, seq: u64) -> Id {
        Id {
            node: self.node,
            seq,
        }
    }
}
