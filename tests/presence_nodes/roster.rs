//! Who is in a room, as a client works it out from `presence_state` and `presence_diff`.
//!
//! It never asks the node again: what it missed, it does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::limited::setup;
use crate::support::node::Node;
use crate::support::phoenix::{Message, Socket};
use crate::support::redis::Redis;
use crate::support::token;

/// The room that everybody is in.
pub const ROOM: &str = "chat_room:hall";

/// A node of a cluster; it drains within a second.
pub fn node(redis: &Redis) -> Node {
    let drain = "[drain]\nwait = \"0s\"\nspread = \"500ms\"\n";
    setup(drain).redis(&redis.url()).start()
}

/// A player in the room.
pub fn member(node: &Node, id: &str) -> Socket {
    let mut socket = Socket::open(node.clients, &token::player(id, &format!("player {id}")));
    socket.joined(ROOM, &json!({}));
    socket
}

/// Players in the room, by the numbers.
pub fn members(node: &Node, ids: std::ops::Range<u32>) -> Vec<Socket> {
    ids.map(|id| member(node, &id.to_string())).collect()
}

/// The keys of these players.
pub fn keys(ids: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

/// A player who watches the others.
pub struct Watcher {
    socket: Socket,
    /// Whether a leave of somebody it never saw join is passed over, as stock clients do.
    forgiving: bool,
    refs: BTreeMap<String, BTreeSet<String>>,
    /// The size of its `presence_state`, as compact JSON.
    pub state_bytes: usize,
    /// Each (key, ref) that came since the state, in order.
    pub joined: Vec<(String, String)>,
    /// Each (key, ref) that left, in order.
    pub left: Vec<(String, String)>,
}

impl Watcher {
    /// Joins and takes the state.
    pub fn new(node: &Node, id: &str) -> Self {
        let mut socket = member(node, id);
        let state = socket.event(ROOM, "presence_state");
        Self {
            socket,
            forgiving: false,
            refs: listed(&state)
                .into_iter()
                .fold(BTreeMap::new(), |mut refs, (key, one)| {
                    refs.entry(key).or_insert_with(BTreeSet::new).insert(one);
                    refs
                }),
            state_bytes: state.to_string().len(),
            joined: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Passes over leaves without a join: of those who were gone again before a diff was due.
    ///
    /// Only who was listed in between has seen them, and everybody is told that they left.
    pub fn forgiving(mut self) -> Self {
        self.forgiving = true;
        self
    }

    /// Who is there.
    pub fn here(&self) -> BTreeSet<String> {
        self.refs.keys().cloned().collect()
    }

    /// Waits until exactly these are there; how long it took.
    ///
    /// # Panics
    /// At the limit, with the difference.
    pub fn until(&mut self, expected: &BTreeSet<String>, limit: Duration) -> Duration {
        let start = Instant::now();
        while self.here() != *expected {
            match self.socket.next_until(start + limit) {
                Some(message) => self.absorb(&message),
                None => panic!(
                    "after {limit:?} too many: {:?}, missing: {:?}",
                    self.here().difference(expected).collect::<Vec<_>>(),
                    expected.difference(&self.here()).collect::<Vec<_>>()
                ),
            }
        }
        start.elapsed()
    }

    /// Waits until each of these, and nobody else, is there this often; how long it took.
    ///
    /// # Panics
    /// At the limit, with both counts.
    pub fn until_counted(&mut self, wanted: &BTreeMap<String, usize>, limit: Duration) -> Duration {
        let start = Instant::now();
        loop {
            let counted = self
                .refs
                .iter()
                .map(|(key, refs)| (key.clone(), refs.len()));
            let counted: BTreeMap<String, usize> = counted.collect();
            if counted == *wanted {
                return start.elapsed();
            }
            match self.socket.next_until(start + limit) {
                Some(message) => self.absorb(&message),
                None => panic!("after {limit:?}: {counted:?} instead of {wanted:?}"),
            }
        }
    }

    /// The refs of each key.
    pub fn refs(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.refs
    }

    /// Listens for a while.
    pub fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(message) = self.socket.next_until(end) {
            self.absorb(&message);
        }
    }

    /// Forgets the joins and leaves so far; the roster stays.
    pub fn forget(&mut self) {
        self.joined.clear();
        self.left.clear();
    }

    /// Waits for the next diff; its size in bytes, as compact JSON.
    pub fn diff(&mut self) -> usize {
        let diff = self.socket.event(ROOM, "presence_diff");
        self.take(&diff);
        diff.to_string().len()
    }

    fn absorb(&mut self, message: &Message) {
        if message.topic == ROOM && message.event == "presence_diff" {
            self.take(&message.payload);
        }
    }

    fn take(&mut self, diff: &Value) {
        for (key, one) in listed(&diff["joins"]) {
            // One's own join is in the state already, as in Phoenix.
            if self
                .refs
                .entry(key.clone())
                .or_default()
                .insert(one.clone())
            {
                self.joined.push((key, one));
            }
        }
        for (key, one) in listed(&diff["leaves"]) {
            let known = self
                .refs
                .get_mut(&key)
                .is_some_and(|refs| refs.remove(&one));
            if self.forgiving && !known {
                continue;
            }
            assert!(known, "{key} left with a ref that never joined: {one}");
            self.refs.retain(|_, refs| !refs.is_empty());
            self.left.push((key, one));
        }
    }
}

/// The (key, ref) pairs of a state or of one side of a diff.
fn listed(value: &Value) -> Vec<(String, String)> {
    let entries = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"));
    let pair = |key: &String, meta: &Value| {
        let one = meta["phx_ref"].as_str().expect("a ref");
        (key.clone(), one.to_owned())
    };
    entries
        .iter()
        .flat_map(|(key, entry)| {
            let metas = entry["metas"].as_array().expect("a list of metas");
            metas.iter().map(|meta| pair(key, meta)).collect::<Vec<_>>()
        })
        .collect()
}
