//! Nodes on a bus that loses, doubles and reorders, and clients that believe every diff.
//!
//! Deterministic: a seed decides everything, and time is only a number.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use super::room::Shown;
use super::*;

mod troubles;

/// A node is ticked each 250 ms, as the gateway does, and when something is pending.
const TICK_STEPS: u64 = 5;
/// Clients that watch on a node; a new one takes the place of the oldest.
const CLIENTS_MAX: usize = 9;

/// What a phoenix.js client (1.4 or later) knows: the documented algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client(BTreeMap<String, Vec<Value>>);

impl Client {
    /// Starts from a `presence_state`.
    pub(super) fn new(state: &Value) -> Self {
        let metas = |(key, entry): (&String, &Value)| {
            (key.clone(), entry["metas"].as_array().unwrap().clone())
        };
        Self(state.as_object().unwrap().iter().map(metas).collect())
    }

    /// Applies a `presence_diff`: joins first, by ref, then leaves, by ref.
    pub(super) fn apply(&mut self, diff: &Value) {
        let same = |a: &Value, b: &Value| a["phx_ref"] == b["phx_ref"];
        for (key, entry) in diff["joins"].as_object().unwrap() {
            let known = self.0.entry(key.clone()).or_default();
            let new = entry["metas"].as_array().unwrap();
            known.retain(|meta| !new.iter().any(|other| same(meta, other)));
            known.extend(new.iter().cloned());
        }
        for (key, entry) in diff["leaves"].as_object().unwrap() {
            let Some(known) = self.0.get_mut(key) else {
                continue;
            };
            let gone = entry["metas"].as_array().unwrap();
            known.retain(|meta| !gone.iter().any(|other| same(meta, other)));
            if known.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// Returns what it knows, with the metas of a key in a fixed order.
    pub(super) fn sorted(mut self) -> Self {
        for metas in self.0.values_mut() {
            metas.sort_by_key(|meta| meta["phx_ref"].to_string());
        }
        self
    }

    /// Returns what it knows without the previous refs, which differ between nodes.
    fn without_prev(mut self) -> Self {
        for meta in self.0.values_mut().flatten() {
            meta.as_object_mut().unwrap().remove("phx_ref_prev");
        }
        self.sorted()
    }
}

pub(super) fn json(payload: &Payload) -> Value {
    serde_json::from_slice(payload.as_json().unwrap()).unwrap()
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Node {
    presence: Presence,
    clients: Vec<(Topic, Client)>,
    alive: bool,
    /// Whether its link to the bus is up.
    linked: bool,
    channels: Vec<(Owner, Topic)>,
    updates: u64,
}

struct Sim {
    rng: Rng,
    now: Instant,
    nodes: Vec<Node>,
    /// (due, to, bytes)
    bus: Vec<(Instant, usize, Bytes)>,
    topics: Vec<Topic>,
    owners: u64,
    started: u64,
    turns: u64,
    /// Percent of messages that are lost; as many are doubled and delayed.
    loss: u64,
}

fn config() -> Config {
    Config {
        message_bytes: 8 * 1024,
        ..Config::default()
    }
}

impl Sim {
    fn new(seed: u64, nodes: usize, loss: u64) -> Self {
        let topics = ["room:a", "room:b", "room:c"];
        let mut sim = Self {
            rng: Rng(seed),
            now: crate::clock::now(),
            nodes: Vec::new(),
            bus: Vec::new(),
            topics: topics
                .iter()
                .map(|t| Topic::try_from(*t).unwrap())
                .collect(),
            owners: 0,
            started: 0,
            turns: 0,
            loss,
        };
        for _ in 0..nodes {
            sim.start();
        }
        sim
    }

    fn start(&mut self) -> usize {
        self.started += 1;
        let presence = Presence::new(self.started << 40, config());
        let list = |topic: &Topic| (topic.clone(), Client::new(&json(&presence.list(topic))));
        let clients = self.topics.iter().map(list).collect();
        self.nodes.push(Node {
            presence,
            clients,
            alive: true,
            linked: true,
            channels: Vec::new(),
            updates: 0,
        });
        self.nodes.len() - 1
    }

    /// One random deed of one random channel or client.
    fn act(&mut self) {
        let alive: Vec<usize> = (0..self.nodes.len())
            .filter(|i| self.nodes[*i].alive)
            .collect();
        let at = alive[self.rng.below(alive.len() as u64) as usize];
        let node = &mut self.nodes[at];
        let key = format!("u{}", self.rng.below(6));
        let topic = self.topics[self.rng.below(3) as usize].clone();
        node.updates += 1;
        let long = self.rng.chance(10);
        let pad = "x".repeat(if long { 3_000 } else { 0 });
        let meta = Payload::from_value(&json!({"n": node.updates, "at": at, "pad": pad}));
        let channel = match node.channels.len() as u64 {
            0 => None,
            n => Some(self.rng.below(n) as usize),
        };
        match (self.rng.below(12), channel) {
            (0..=2, _) | (_, None) => {
                self.owners += 1;
                let owner = Owner(self.owners);
                node.presence.track(owner, &topic, &key, &meta).unwrap();
                node.channels.push((owner, topic));
            }
            (3..=5, Some(i)) => {
                let (owner, topic) = &node.channels[i];
                let _ = node.presence.update(*owner, topic, &key, &meta);
            }
            (6, Some(i)) => {
                let (owner, topic) = &node.channels[i];
                let _ = node.presence.track(*owner, topic, &key, &meta);
            }
            (7, Some(i)) => {
                let (owner, topic) = &node.channels[i];
                node.presence.untrack(*owner, topic, &key);
            }
            (8..=10, Some(i)) => {
                let (owner, topic) = node.channels.swap_remove(i);
                node.presence.leave(owner, &topic);
            }
            (_, Some(_)) => {
                let state = json(&node.presence.list(&topic));
                if node.clients.len() == CLIENTS_MAX {
                    node.clients.remove(0);
                }
                node.clients.push((topic, Client::new(&state)));
            }
        }
    }

    /// Takes diffs and messages of every node, and holds the clients against the listings.
    fn take(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].alive {
                self.take_of(at);
            }
        }
    }

    fn take_of(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let diffs = node.presence.take_diffs();
        let changed = !diffs.is_empty();
        for (topic, diff) in diffs {
            let diff = json(&diff);
            for (of, client) in &mut node.clients {
                if *of == topic {
                    client.apply(&diff);
                }
            }
        }
        for (topic, client) in node.clients.iter().filter(|_| changed) {
            let list: Vec<Shown> = node.presence.rooms.peek(topic);
            let list = Client::new(&json(&listing::state(topic, &list, None)));
            assert_eq!(client.clone().sorted(), list.sorted());
        }
        for message in self.nodes[at].presence.take_messages(self.now) {
            self.publish(at, &message);
        }
    }

    fn publish(&mut self, from: usize, message: &Bytes) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            if !self.nodes[from].linked || !self.nodes[to].linked {
                continue;
            }
            let copies = match self.rng.below(100) {
                roll if roll < self.loss => 0,
                roll if roll < 2 * self.loss => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let late = self.rng.chance(self.loss);
                let delay_ms = if late { self.rng.below(300) } else { 2 };
                let due = self.now + Duration::from_millis(delay_ms);
                self.bus.push((due, to, message.clone()));
            }
        }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(50);
        let now = self.now;
        let (due, later) = self.bus.drain(..).partition(|(due, _, _)| *due <= now);
        self.bus = later;
        let mut due: Vec<(Instant, usize, Bytes)> = due;
        due.sort_by_key(|(due, _, _)| *due);
        for (_, to, bytes) in due {
            if self.nodes[to].alive && self.nodes[to].linked {
                self.nodes[to].presence.receive(&bytes, now).unwrap();
            }
        }
        self.turns += 1;
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            if node.alive && (node.presence.pending() || self.turns.is_multiple_of(TICK_STEPS)) {
                node.presence.tick(now);
                self.take_of(at);
            }
        }
    }

    fn steps(&mut self, seconds: f64) {
        for _ in 0..(seconds * 20.0) as usize {
            self.step();
        }
    }

    fn busy(&mut self, seconds: f64) {
        for _ in 0..(seconds * 20.0) as usize {
            let most = if self.rng.chance(20) { 30 } else { 3 };
            for _ in 0..self.rng.below(most) {
                self.act();
            }
            self.step();
        }
    }

    fn link(&mut self, at: usize, linked: bool) {
        let node = &mut self.nodes[at];
        node.linked = linked;
        match linked {
            true => node.presence.reconnected(self.now),
            false => node.presence.disconnected(self.now),
        }
    }

    fn listings(&self, at: usize) -> Vec<Client> {
        let list = |topic| Client::new(&json(&self.nodes[at].presence.list(topic))).without_prev();
        self.topics.iter().map(list).collect()
    }

    fn own(&self, at: usize) -> usize {
        self.nodes[at].presence.entries()
    }

    /// Every living node lists what the living ones track, and nothing else.
    fn assert_agreed(&self) {
        let alive: Vec<usize> = (0..self.nodes.len())
            .filter(|i| self.nodes[*i].alive)
            .collect();
        let all: usize = alive.iter().map(|at| self.own(*at)).sum();
        for at in &alive {
            assert_eq!(self.listings(*at), self.listings(alive[0]), "node {at}");
            let foreign = self.nodes[*at].presence.entries_foreign();
            assert_eq!(self.own(*at) + foreign, all, "node {at}");
            let shown: usize = self
                .listings(*at)
                .iter()
                .flat_map(|c| c.0.values())
                .map(Vec::len)
                .sum();
            assert_eq!(shown, all, "node {at}");
        }
    }
}
