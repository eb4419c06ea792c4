//! Presence: who is in a topic, across nodes; mergeable state, leases for dead nodes.
//!
//! Spawns nothing, does no I/O and never asks for the time: the gateway passes it in and carries the messages.
//!
//! Each node owns the presences of its own channels and numbers their changes. The others hold
//! copies, which only the owner's numbered deltas and snapshots alter; a heartbeat with version,
//! count and digest shows a copy that is behind, and the owner is asked for what is missing.
//! A node that is silent for the lease is forgotten, with everything it owned. A tick later than a quarter of the lease means
//! that this node itself stood still; then everybody gets a new lease.

mod entry;
#[cfg(test)]
mod exchange;
mod gossip;
mod journal;
mod listing;
mod local;
mod peers;
mod room;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::channel::TrackError;
use crate::protocol::{Payload, Topic};
use entry::{Entry, Id, Key, Meta};
use gossip::Gossip;
use journal::{Heartbeat, Journal};
use local::Local;
use peers::Peers;
use room::Rooms;

pub use entry::{KEY_BYTES_MAX, META_BYTES_MAX};
pub use gossip::{MESSAGE_BYTES_MAX, Malformed};
pub use listing::Fetch;
pub use local::Owner;

/// Called when [`Presence::pending`] turns true; it must be quick and not call back.
pub type OnChange = Arc<dyn Fn() + Send + Sync>;

/// The bounds and times of presence; a node has the defaults, there are no settings for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Presences of this node's channels. Default 1,000,000. Then: track is refused.
    pub entries_max: usize,
    /// Presences of all other nodes. Default 10,000,000. Then: further ones are left out and counted.
    pub foreign_entries_max: usize,
    /// Other nodes. Default 1,024. Then: further ones are not listened to.
    pub peers_max: usize,
    /// Time between two heartbeats. Default 1 s.
    pub heartbeat: Duration,
    /// Silence after which a node is taken for dead. Default 10 s.
    pub lease: Duration,
    /// Bytes of a message between nodes, 8 KiB to 256 KiB (the default).
    pub message_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            entries_max: 1_000_000,
            foreign_entries_max: 10_000_000,
            peers_max: 1_024,
            heartbeat: Duration::from_secs(1),
            lease: Duration::from_secs(10),
            message_bytes: MESSAGE_BYTES_MAX,
        }
    }
}

/// Smallest configurable message: one presence with the longest meta, key and usual topic fits.
const MESSAGE_BYTES_MIN: usize = 8 * 1024;

/// The presences of a node's topics. Shared by the workers and the control runtime.
///
/// # Ordering
/// The calls for one [`Owner`] come from one thread at a time (its worker). A channel subscribes
/// to its topic before it lists it; a listing and the diffs taken after it then tell the whole story,
/// also when an earlier diff is delivered late.
///
/// The gateway calls [`take_diffs`](Self::take_diffs), then [`take_messages`](Self::take_messages),
/// at most 50 ms after [`pending`](Self::pending) turned true, and [`tick`](Self::tick) with both at least every second.
pub struct Presence {
    node: u64,
    config: Config,
    hooks: Hooks,
    pending: AtomicBool,
    rooms: Rooms,
    local: Mutex<Local>,
    peers: Mutex<Peers>,
    link: Mutex<Link>,
}

/// What the node was given to call.
#[derive(Default)]
struct Hooks {
    fetch: Option<Fetch>,
    on_change: Option<OnChange>,
}

/// The node's own link to the others, and its own sense of time.
struct Link {
    state: LinkState,
    beat_at: Option<Instant>,
    ticked_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    Up,
    Down,
    /// This node said goodbye.
    Left,
}

impl Presence {
    /// Makes the presence of a node; `node` is random for each process.
    pub fn new(node: u64, config: Config) -> Self {
        let message_bytes = config
            .message_bytes
            .clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX);
        let journal = Journal::new(node, message_bytes);
        Self {
            node,
            hooks: Hooks::default(),
            pending: AtomicBool::new(true),
            rooms: Rooms::new(),
            local: Mutex::new(Local::new(node, config.entries_max, journal)),
            peers: Mutex::new(Peers::new(config.clone())),
            link: Mutex::new(Link {
                state: LinkState::Up,
                beat_at: None,
                ticked_at: None,
            }),
            config,
        }
    }

    /// Adds fields next to `metas` in listings and diffs.
    pub fn with_fetch(mut self, fetch: Fetch) -> Self {
        self.hooks.fetch = Some(fetch);
        self
    }

    /// Asks to be told when something is pending.
    pub fn with_on_change(mut self, on_change: OnChange) -> Self {
        self.hooks.on_change = Some(on_change);
        self
    }

    /// Adds a presence of a channel.
    ///
    /// Keys have 1 to 255 bytes; metas are JSON objects of at most 4 KiB. `phx_ref` and
    /// `phx_ref_prev` in a meta are replaced; everything else stays as it was written.
    ///
    /// # Errors
    /// `AlreadyTracked`; `Refused` for a bad key or meta, or a node with `entries_max` presences.
    pub fn track(
        &self,
        owner: Owner,
        topic: &Topic,
        key: &str,
        meta: &Payload,
    ) -> Result<(), TrackError> {
        let (key, meta) = parse(topic, key, meta)?;
        let (id, entry) = self.local.lock().track(owner, topic, &key, meta)?;
        self.set(topic, &key, id, Some(entry));
        Ok(())
    }

    /// Replaces the meta of a presence of a channel.
    ///
    /// # Errors
    /// `NoPresence` when the channel does not track the key; `Refused` for a bad key or meta.
    pub fn update(
        &self,
        owner: Owner,
        topic: &Topic,
        key: &str,
        meta: &Payload,
    ) -> Result<(), TrackError> {
        let (key, meta) = parse(topic, key, meta)?;
        let (id, entry) = self.local.lock().update(owner, topic, &key, meta)?;
        self.set(topic, &key, id, Some(entry));
        Ok(())
    }

    /// Removes a presence of a channel; nothing happens when there is none.
    pub fn untrack(&self, owner: Owner, topic: &Topic, key: &str) {
        let Some(key) = Key::parse(key) else {
            return;
        };
        let id = self.local.lock().untrack(owner, topic, &key);
        if let Some(id) = id {
            self.set(topic, &key, id, None);
        }
    }

    /// Removes all presences of a channel; for when it ends.
    pub fn leave(&self, owner: Owner, topic: &Topic) {
        let left = self.local.lock().leave(owner, topic);
        for (key, id) in left {
            self.set(topic, &key, id, None);
        }
    }

    /// Lists a topic, sorted by key: `{"<key>":{"metas":[{…,"phx_ref":"…"}]}}`.
    pub fn list(&self, topic: &Topic) -> Payload {
        let list = self.rooms.list(topic);
        listing::state(topic, &list, self.hooks.fetch.as_ref())
    }

    /// Says whether there may be diffs or messages to take.
    pub fn pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Takes what changed since the last call: `{"joins":{…},"leaves":{…}}` for each topic.
    ///
    /// Also takes back the sign of [`pending`](Self::pending). What came and went meanwhile, unseen, is not
    /// mentioned; several updates are one, whose `phx_ref_prev` is the ref that clients know.
    pub fn take_diffs(&self) -> Vec<(Topic, Payload)> {
        self.take_diffs_where(&|_| true)
    }

    /// Like [`take_diffs`](Self::take_diffs), for topics with subscribers on this node; other changes are dropped.
    ///
    /// `subscribed` is called under a lock and must not call back.
    pub fn take_diffs_where(&self, subscribed: &dyn Fn(&Topic) -> bool) -> Vec<(Topic, Payload)> {
        self.pending.store(false, Ordering::Release);
        let diffs = self.rooms.take(subscribed);
        diffs
            .into_iter()
            .map(|(topic, diff)| {
                let payload = listing::diff(&topic, &diff, self.hooks.fetch.as_ref());
                (topic, payload)
            })
            .collect()
    }

    /// Takes what the other nodes are to be told, in order; nothing while the link is down.
    pub fn take_messages(&self, now: Instant) -> Vec<Bytes> {
        if self.link.lock().state != LinkState::Up {
            return Vec::new();
        }
        let (alone, requests) = {
            let mut peers = self.peers.lock();
            (peers.is_empty(), peers.requests(now))
        };
        let mut out: Vec<Bytes> = requests
            .into_iter()
            .map(|request| request.encode(self.node))
            .collect();
        let more = {
            let mut local = self.local.lock();
            let Local { table, journal, .. } = &mut *local;
            journal.take(table, alone, &mut out);
            journal.is_due()
        };
        if more {
            self.signal();
        }
        out
    }

    /// Takes a message of another node.
    ///
    /// # Errors
    /// [`Malformed`] when it can't be read; nothing was changed.
    pub fn receive(&self, bytes: &[u8], now: Instant) -> Result<(), Malformed> {
        let (node, gossip) = Gossip::decode(bytes)?;
        if node == self.node {
            return Ok(());
        }
        match &gossip {
            Gossip::Request { target, from } if *target == self.node => {
                self.local.lock().journal.requested(*from);
            }
            Gossip::Heartbeat { ask: true, .. } => {
                self.local.lock().journal.beat(Heartbeat::Due);
            }
            Gossip::Request { .. }
            | Gossip::Heartbeat { .. }
            | Gossip::Delta { .. }
            | Gossip::Snapshot { .. }
            | Gossip::Goodbye => {}
        }
        self.peers.lock().receive(&self.rooms, node, gossip, now);
        self.signal();
        Ok(())
    }

    /// Makes heartbeats due and forgets silent nodes; to be called at least every second.
    ///
    /// [`pending`](Self::pending) turns true only when one of the two happened: whoever takes and ticks in turn would else never rest.
    pub fn tick(&self, now: Instant) {
        let (state, blind, due) = {
            let mut link = self.link.lock();
            let slept = passed(link.ticked_at, now) > self.config.lease / 4;
            let blind = slept && link.ticked_at.is_some();
            link.ticked_at = Some(now);
            let due = passed(link.beat_at, now) >= self.config.heartbeat;
            if due {
                link.beat_at = Some(now);
                self.local.lock().journal.beat(Heartbeat::Due);
            }
            (link.state, blind, due)
        };
        let mut peers = self.peers.lock();
        if blind {
            // The node itself stood still; what the others said meanwhile is still to be read.
            peers.renew(now);
        }
        let expired = state == LinkState::Up && peers.expire(&self.rooms, now);
        drop(peers);
        if due || expired {
            self.signal();
        }
    }

    /// Notes that the link to the other nodes is down: nobody is taken for dead until it is back.
    pub fn disconnected(&self, now: Instant) {
        let mut link = self.link.lock();
        if link.state == LinkState::Up {
            link.state = LinkState::Down;
            link.ticked_at = Some(now);
        }
    }

    /// Notes that the link is up (again): every node gets a new lease and is asked for its state.
    pub fn reconnected(&self, now: Instant) {
        {
            let mut link = self.link.lock();
            if link.state == LinkState::Down {
                link.state = LinkState::Up;
            }
            link.ticked_at = Some(now);
        }
        self.peers.lock().renew(now);
        self.local.lock().journal.beat(Heartbeat::Ask);
        self.signal();
    }

    /// Returns the message with which this node leaves everywhere, at once; the last one it has.
    pub fn goodbye(&self) -> Bytes {
        self.link.lock().state = LinkState::Left;
        Gossip::Goodbye.encode(self.node)
    }

    /// Returns the number of presences of this node's own channels.
    pub fn entries(&self) -> usize {
        self.local.lock().table.entries.len()
    }

    /// Returns the number of presences that are known of other nodes.
    pub fn entries_foreign(&self) -> usize {
        self.peers.lock().entries()
    }

    /// Returns how often a presence of another node was left out for want of room.
    pub fn refused_foreign(&self) -> u64 {
        self.peers.lock().refused()
    }

    fn set(&self, topic: &Topic, key: &Key, id: Id, new: Option<Entry>) {
        self.rooms.set(topic, key, id, new);
        self.signal();
    }

    fn signal(&self) {
        if self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(on_change) = &self.hooks.on_change {
            on_change();
        }
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Checks what a client gave; a topic must fit a message between nodes.
fn parse(topic: &Topic, key: &str, meta: &Payload) -> Result<(Key, Meta), TrackError> {
    let fits = topic.as_str().len() <= usize::from(u16::MAX);
    let key = Key::parse(key).filter(|_| fits);
    let meta = Meta::from_payload(meta);
    key.zip(meta).ok_or(TrackError::Refused)
}

/// Returns how long ago something was; for ever, if it never was.
fn passed(since: Option<Instant>, now: Instant) -> Duration {
    since.map_or(Duration::MAX, |at| now.saturating_duration_since(at))
}
