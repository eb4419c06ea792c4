//! The other nodes: copies of their presences, and how long each is believed.
//!
//! A copy is only ever what its node said, in its order; it never guesses.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::Config;
use super::entry::{Id, Key};
use super::gossip::{Change, END, Gossip, Own, digest};
use super::room::Rooms;
use crate::protocol::Topic;

/// A request is repeated after this long without progress.
const REQUEST_EVERY: Duration = Duration::from_secs(1);

/// A node that said goodbye is not listened to for this long; messages may arrive late.
const DEPARTED_FOR: Duration = Duration::from_secs(60);

/// The other nodes.
pub(super) struct Peers {
    config: Config,
    nodes: HashMap<u64, Peer>,
    departed: HashMap<u64, Instant>,
    /// Presences of all of them.
    entries: usize,
    /// Presences that there was no room for.
    refused: u64,
}

struct Peer {
    heard_at: Instant,
    copy: Extent,
    want: Want,
    requested_at: Option<Instant>,
    held: Held,
    /// Something was refused, so that digests can't agree.
    truncated: bool,
}

/// How far the copy of a node goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Nothing is sure.
    Unsure,
    /// Presences numbered below `next` are as at `version`; a snapshot brings the rest.
    Part { version: u64, next: u64 },
    /// All are as at `version`.
    Whole { version: u64 },
}

/// What to ask a node for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Nothing,
    Changes,
    Snapshot,
}

/// Where the presences of a node stand; the metas are in the rooms.
#[derive(Default)]
struct Held {
    places: BTreeMap<u64, Place>,
    digest: u64,
}

struct Place {
    topic: Topic,
    key: Key,
    version: u64,
}

impl Peers {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            nodes: HashMap::new(),
            departed: HashMap::new(),
            entries: 0,
            refused: 0,
        }
    }

    /// Says whether no other node is known.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the number of presences of other nodes.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Returns how many presences were refused for want of room.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes what a node says of itself.
    pub(super) fn receive(&mut self, rooms: &Rooms, node: u64, gossip: Gossip, now: Instant) {
        if self.departed.contains_key(&node) {
            return;
        }
        if gossip == Gossip::Goodbye {
            self.forget(rooms, node);
            if self.departed.len() < self.config.peers_max {
                self.departed.insert(node, now);
            }
            return;
        }
        if !self.nodes.contains_key(&node) && self.nodes.len() >= self.config.peers_max {
            return;
        }
        let peer = self.nodes.entry(node).or_insert_with(|| Peer::new(now));
        peer.heard_at = now;
        match gossip {
            Gossip::Delta { from, to, changes } => self.delta(rooms, node, (from, to), changes),
            Gossip::Snapshot {
                version,
                first,
                end,
                all,
            } => {
                if peer.accepts(version, first, end) {
                    peer.requested_at = Some(now);
                    self.replace(rooms, node, (first, end), all);
                }
            }
            Gossip::Heartbeat {
                version,
                count,
                digest,
                ask: _,
            } => peer.compare(version, count, digest),
            Gossip::Request { .. } | Gossip::Goodbye => {}
        }
    }

    /// Returns the requests for what is missing, to each node at most one a second.
    pub(super) fn requests(&mut self, now: Instant) -> Vec<Gossip> {
        let mut requests = Vec::new();
        for (node, peer) in &mut self.nodes {
            let from = match (peer.want, peer.copy) {
                (Want::Nothing, Extent::Whole { .. }) => continue,
                (Want::Changes, Extent::Whole { version }) => Some(version),
                _ => None,
            };
            let waited = peer
                .requested_at
                .map(|at| now.saturating_duration_since(at));
            if waited.is_none_or(|waited| waited >= REQUEST_EVERY) {
                peer.requested_at = Some(now);
                let target = *node;
                requests.push(Gossip::Request { target, from });
            }
        }
        requests
    }

    /// Forgets the nodes that were silent for too long; says whether there is something to tell or to ask for now.
    pub(super) fn expire(&mut self, rooms: &Rooms, now: Instant) -> bool {
        let lease = self.config.lease;
        let silent = |peer: &Peer| now.saturating_duration_since(peer.heard_at) >= lease;
        let expired: Vec<u64> = self
            .nodes
            .iter()
            .filter(|(_, peer)| silent(peer))
            .map(|(node, _)| *node)
            .collect();
        let mut changed = !expired.is_empty();
        for node in expired {
            self.forget(rooms, node);
        }
        self.departed
            .retain(|_, at| now.saturating_duration_since(*at) < DEPARTED_FOR);
        if self.entries < self.config.foreign_entries_max / 10 * 9 {
            for peer in self.nodes.values_mut().filter(|peer| peer.truncated) {
                peer.truncated = false;
                peer.doubt();
                changed = true;
            }
        }
        changed
    }

    /// Gives every node a whole lease from now on.
    pub(super) fn renew(&mut self, now: Instant) {
        for peer in self.nodes.values_mut() {
            peer.heard_at = now;
        }
    }

    fn forget(&mut self, rooms: &Rooms, node: u64) {
        let Some(peer) = self.nodes.remove(&node) else {
            return;
        };
        self.entries -= peer.held.places.len();
        for (seq, place) in peer.held.places {
            rooms.set(&place.topic, &place.key, Id { node, seq }, None);
        }
    }

    fn delta(&mut self, rooms: &Rooms, node: u64, range: (u64, u64), changes: Vec<Change>) {
        let Some(peer) = self.nodes.get_mut(&node) else {
            return;
        };
        let (from, to) = range;
        let version = match peer.copy {
            Extent::Unsure => return peer.doubt(),
            Extent::Part { version, .. } | Extent::Whole { version } => version,
        };
        if to <= version {
            return;
        }
        if from != version {
            return peer.lag();
        }
        peer.copy = match peer.copy {
            Extent::Part { next, .. } => Extent::Part { version: to, next },
            Extent::Whole { .. } | Extent::Unsure => Extent::Whole { version: to },
        };
        for change in changes {
            match change {
                Change::Set(own) => self.set(rooms, node, own),
                Change::Gone { seq } => self.remove(rooms, node, seq),
            }
        }
    }

    /// Makes `all` the only presences of a node in a range of numbers.
    fn replace(&mut self, rooms: &Rooms, node: u64, range: (u64, u64), all: Vec<Own>) {
        let (first, end) = range;
        let Some(peer) = self.nodes.get(&node) else {
            return;
        };
        let inside = |own: &Own| (first..end).contains(&own.seq);
        let kept: HashSet<u64> = all
            .iter()
            .filter(|own| inside(own))
            .map(|own| own.seq)
            .collect();
        let gone: Vec<u64> = peer
            .held
            .places
            .range(first..end)
            .map(|(seq, _)| *seq)
            .filter(|seq| !kept.contains(seq))
            .collect();
        for seq in gone {
            self.remove(rooms, node, seq);
        }
        for own in all.into_iter().filter(inside) {
            self.set(rooms, node, own);
        }
    }

    fn set(&mut self, rooms: &Rooms, node: u64, own: Own) {
        let Some(peer) = self.nodes.get_mut(&node) else {
            return;
        };
        let seq = own.seq;
        let moved = match peer.held.places.get(&seq) {
            Some(old) => old.topic != own.topic || old.key != own.key,
            None if self.entries >= self.config.foreign_entries_max => {
                peer.truncated = true;
                self.refused += 1;
                return;
            }
            None => false,
        };
        if moved {
            self.remove(rooms, node, seq);
            return self.set(rooms, node, own);
        }
        let place = Place {
            topic: rooms.shared(own.topic),
            key: own.key,
            version: own.entry.version,
        };
        rooms.set(&place.topic, &place.key, Id { node, seq }, Some(own.entry));
        peer.held.digest ^= digest(seq, place.version);
        match peer.held.places.insert(seq, place) {
            Some(old) => peer.held.digest ^= digest(seq, old.version),
            None => self.entries += 1,
        }
    }

    fn remove(&mut self, rooms: &Rooms, node: u64, seq: u64) {
        let Some(peer) = self.nodes.get_mut(&node) else {
            return;
        };
        if let Some(old) = peer.held.places.remove(&seq) {
            peer.held.digest ^= digest(seq, old.version);
            self.entries -= 1;
            rooms.set(&old.topic, &old.key, Id { node, seq }, None);
        }
    }
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            copy: Extent::Unsure,
            want: Want::Snapshot,
            requested_at: None,
            held: Held::default(),
            truncated: false,
        }
    }

    /// Starts over: the copy is shown until a snapshot replaces it.
    fn doubt(&mut self) {
        self.copy = Extent::Unsure;
        self.want = Want::Snapshot;
    }

    /// Notes that changes are missing.
    fn lag(&mut self) {
        match self.copy {
            Extent::Whole { .. } => self.want = Want::Changes,
            Extent::Part { .. } | Extent::Unsure => self.doubt(),
        }
    }

    /// Compares the copy with what its node says of itself.
    fn compare(&mut self, version: u64, count: u64, digest: u64) {
        match self.copy {
            Extent::Unsure => self.doubt(),
            Extent::Part { version: had, .. } | Extent::Whole { version: had } if had < version => {
                self.lag();
            }
            Extent::Whole { version: had } if had == version => {
                let same = self.held.places.len() as u64 == count && self.held.digest == digest;
                if same || self.truncated {
                    self.want = Want::Nothing;
                } else {
                    self.doubt();
                }
            }
            Extent::Part { .. } | Extent::Whole { .. } => {}
        }
    }

    /// Says whether a part of a snapshot continues (or starts) the copy, and counts it in.
    fn accepts(&mut self, version: u64, first: u64, end: u64) -> bool {
        let fits = match self.copy {
            Extent::Unsure => first == 0,
            Extent::Whole { version: had } => first == 0 && had < version,
            Extent::Part { version: had, .. } if version < had => false,
            Extent::Part { version: had, next } => {
                let fits = first == 0 || (first == next && had == version);
                if first > next || had < version && !fits {
                    self.doubt();
                }
                fits
            }
        };
        if fits {
            (self.copy, self.want) = match end {
                END => (Extent::Whole { version }, Want::Nothing),
                next => (Extent::Part { version, next }, Want::Snapshot),
            };
        }
        fits
    }
}
