//! The presences of each topic, and what changed since clients were last told.
//!
//! It holds what every node said; it never decides whether a node is to be believed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

use super::entry::{Entry, Id, Key};
use crate::protocol::Topic;

/// Topics are spread over this many locks.
const SHARDS: usize = 16;

/// Metas of one presence that a listing may have shown between two diffs; then the oldest is forgotten.
///
/// A diff is due 50 ms after a change, so that rate limits keep far below.
const SHOWN_MAX: usize = 1_024;

/// Where a presence stands in a listing: by key, then by node and age.
type Place = (Key, Id);

/// One meta, as a listing or a diff shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) key: Key,
    pub(super) id: Id,
    pub(super) entry: Entry,
}

/// What clients of a topic have to be told, sorted by key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Diff {
    pub(super) joins: Vec<Shown>,
    pub(super) leaves: Vec<Shown>,
}

/// What clients may believe about a presence that changed since the last diff.
struct Change {
    /// What the diffs so far made them believe.
    before: Option<Entry>,
    /// What a listing showed since then, apart from `before` and the present one.
    shown: Vec<Entry>,
    /// Whether a listing since then lacked it.
    absence_shown: bool,
    /// The number of listings at its last change.
    lists: u64,
}

#[derive(Default)]
struct Room {
    members: BTreeMap<Place, Entry>,
    changes: BTreeMap<Place, Change>,
    /// How often the room was listed.
    lists: u64,
}

impl Room {
    /// Sets or removes one presence; says whether anything changed.
    fn set(&mut self, place: Place, mut new: Option<Entry>) -> bool {
        let old = self.members.get(&place).cloned();
        if version(&old) == version(&new) {
            return false;
        }
        let lists = self.lists;
        let change = self.changes.entry(place.clone()).or_insert_with(|| Change {
            before: old.clone(),
            shown: Vec::new(),
            absence_shown: false,
            lists,
        });
        change.note_listings(&old, lists);
        if let (Some(new), Some(_)) = (&mut new, &old) {
            let known = change.before.as_ref().or(change.shown.last());
            new.prev = known.map_or(0, |entry| entry.version);
        }
        if change.is_void(&new) {
            self.changes.remove(&place);
        }
        match new {
            Some(entry) => self.members.insert(place, entry),
            None => self.members.remove(&place),
        };
        true
    }

    fn listing(&self) -> Vec<Shown> {
        self.members
            .iter()
            .map(|(place, entry)| shown(place, entry.clone()))
            .collect()
    }

    fn take(&mut self) -> Diff {
        let mut diff = Diff::default();
        for (place, change) in std::mem::take(&mut self.changes) {
            let now = self.members.get(&place);
            let newest = now.map(|entry| entry.version);
            if let Some(entry) = now
                && (change.absence_shown || version(&change.before) != newest)
            {
                diff.joins.push(shown(&place, entry.clone()));
            }
            for gone in change.before.into_iter().chain(change.shown) {
                if Some(gone.version) != newest {
                    diff.leaves.push(shown(&place, gone));
                }
            }
        }
        diff
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.changes.is_empty()
    }
}

impl Change {
    /// Remembers what the listings since the last change showed.
    fn note_listings(&mut self, old: &Option<Entry>, lists: u64) {
        if self.lists == lists {
            return;
        }
        self.lists = lists;
        match old {
            None => self.absence_shown = true,
            Some(old) if Some(old.version) == version(&self.before) => {}
            Some(old) => {
                if self.shown.len() == SHOWN_MAX {
                    self.shown.remove(0);
                }
                self.shown.push(old.clone());
            }
        }
    }

    /// Says whether nobody has to be told when the presence is now `new`.
    fn is_void(&self, new: &Option<Entry>) -> bool {
        let same = version(&self.before) == version(new);
        same && self.shown.is_empty() && (new.is_none() || !self.absence_shown)
    }
}

fn version(entry: &Option<Entry>) -> Option<u64> {
    entry.as_ref().map(|entry| entry.version)
}

fn shown(place: &Place, entry: Entry) -> Shown {
    Shown {
        key: place.0.clone(),
        id: place.1,
        entry,
    }
}

/// Every topic that somebody is in, or was until the last diff.
pub(super) struct Rooms {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    rooms: HashMap<Topic, Room>,
    changed: HashSet<Topic>,
}

impl Rooms {
    pub(super) fn new() -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
        }
    }

    /// Sets (`Some`) or removes (`None`) one presence; says whether anything changed.
    pub(super) fn set(&self, topic: &Topic, key: &Key, id: Id, new: Option<Entry>) -> bool {
        let mut shard = self.shard(topic).lock();
        let shard = &mut *shard;
        if new.is_none() && !shard.rooms.contains_key(topic) {
            return false;
        }
        let room = shard.rooms.entry(topic.clone()).or_default();
        let changed = room.set((key.clone(), id), new);
        if changed && !room.changes.is_empty() {
            shard.changed.insert(topic.clone());
        } else if changed {
            shard.changed.remove(topic);
        }
        if room.is_empty() {
            shard.rooms.remove(topic);
        }
        changed
    }

    /// Returns a topic's presences, to be shown to a client that gets every later diff.
    pub(super) fn list(&self, topic: &Topic) -> Vec<Shown> {
        let mut shard = self.shard(topic).lock();
        let Some(room) = shard.rooms.get_mut(topic) else {
            return Vec::new();
        };
        room.lists += 1;
        room.listing()
    }

    /// Returns a topic's presences without anybody being shown them.
    #[cfg(test)]
    pub(super) fn peek(&self, topic: &Topic) -> Vec<Shown> {
        let shard = self.shard(topic).lock();
        shard
            .rooms
            .get(topic)
            .map(Room::listing)
            .unwrap_or_default()
    }

    /// Takes the changes since the last call; those of topics that nobody wants are dropped.
    pub(super) fn take(&self, wanted: &dyn Fn(&Topic) -> bool) -> Vec<(Topic, Diff)> {
        let mut diffs = Vec::new();
        for shard in &self.shards {
            let changed = std::mem::take(&mut shard.lock().changed);
            for topic in changed {
                let mut shard = shard.lock();
                let Some(room) = shard.rooms.get_mut(&topic) else {
                    continue;
                };
                // Asked under the lock: whoever subscribes later lists later, and misses nothing.
                let diff = match wanted(&topic) {
                    true => room.take(),
                    false => {
                        room.changes.clear();
                        Diff::default()
                    }
                };
                if room.is_empty() {
                    shard.rooms.remove(&topic);
                }
                if diff != Diff::default() {
                    diffs.push((topic, diff));
                }
            }
        }
        diffs
    }

    /// Returns the topic that is already kept here, so that its text is shared.
    pub(super) fn shared(&self, topic: Topic) -> Topic {
        let shard = self.shard(&topic).lock();
        match shard.rooms.get_key_value(&topic) {
            Some((kept, _)) => kept.clone(),
            None => topic,
        }
    }

    fn shard(&self, topic: &Topic) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(topic.as_str());
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }
}
