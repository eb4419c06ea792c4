//! Nodes, Redis and a database, each behind proxies, and the acts that trouble them.
//!
//! It never touches a process that it did not start.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;

use super::client::Plan;
use super::fault::Fault;
use super::keep::Keep;
use super::proxy::{Proxy, Weather};
use super::script::{Act, Ways};
use super::story::{Kill, Room};
use crate::support::http;
use crate::support::node::{Node, Setup};
use crate::support::redis::Redis;
use crate::support::token::SECRET;

const CHANNELS: &str = r#"
[[channels]]
topic = "chat_room:*"
kind = "chat_room"
history = 10

[[channels]]
topic = "relay:*"
kind = "relay"
events = ["tick"]

[drain]
wait = "200ms"
spread = "1s"

[limits]
outbox_bytes = "OUTBOX"
"#;

/// How long a drain may take before the node counts as stuck.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// What nodes counted, summed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Records read from the store to fill a hole.
    pub healed: u64,
    /// Relayed messages that came again after a loss.
    pub resent: u64,
    /// Messages known to be lost between nodes.
    pub lost: u64,
    /// Links to Redis made anew.
    pub reconnects: u64,
    /// Attempts at a batch after the first.
    pub retries: u64,
    /// The most memory that a node held, in KiB.
    pub peak_kib: u64,
}

/// Everything that a run is made on.
pub struct Rig {
    runtime: Handle,
    /// First, so that their logs don't end with the end of the others.
    nodes: Vec<Option<Node>>,
    setup: Vec<Setup>,
    redis: Redis,
    keep: Keep,
    to_redis: Vec<Proxy>,
    to_postgres: Vec<Proxy>,
    to_nodes: Vec<Proxy>,
    /// The ways of slow clients; as those of the others, where the fault knows none.
    slow_to_nodes: Vec<Proxy>,
    counters: Counters,
    /// When the tables were emptied, or made what they had been: from and until when it was so.
    pub wiped_ms: Option<u32>,
    /// The nodes that were killed.
    pub kills: Vec<Kill>,
}

impl Rig {
    /// Starts everything; proxies live on the runtime. `None` where the fault can't be had here.
    pub fn start(
        runtime: &Handle,
        fault: Fault,
        nodes: usize,
        seed: u64,
        slow: Option<usize>,
    ) -> Option<Self> {
        let mut rig = Self {
            runtime: runtime.clone(),
            setup: Vec::new(),
            nodes: Vec::new(),
            to_redis: Vec::new(),
            to_postgres: Vec::new(),
            to_nodes: Vec::new(),
            slow_to_nodes: Vec::new(),
            counters: Counters::default(),
            wiped_ms: None,
            kills: Vec::new(),
            redis: Redis::start(),
            keep: Keep::start(runtime, fault.database())?,
        };
        let outbox = if slow.is_some() { "256KiB" } else { "1MiB" };
        for number in 0..nodes {
            rig.add(number, fault, seed, slow, outbox);
        }
        Some(rig)
    }

    fn add(&mut self, number: usize, fault: Fault, seed: u64, slow: Option<usize>, outbox: &str) {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let lane = |lane| seed.wrapping_mul(1_000) + 4 * number as u64 + lane;
        // Small buffers in the kernel are what makes Redis feel a slow way.
        let small = (fault == Fault::RedisOutputLimit).then_some(8 * 1024);
        let redis = local(self.redis.port());
        let to_redis = self
            .runtime
            .block_on(Proxy::before_redis(redis, lane(0), small));
        let mut setup = Setup::new()
            .config(&CHANNELS.replace("OUTBOX", outbox))
            .secret(SECRET)
            .env("FANFARE_NODE_NAME", &format!("node-{number}"));
        setup = match &self.keep {
            Keep::Sqlite(sqlite) => setup.database(&sqlite.url()),
            Keep::Postgres(postgres) => {
                let way = Proxy::start(local(postgres.port()), lane(1), None);
                let way = self.runtime.block_on(way);
                let url = postgres.url(way.addr().port());
                self.to_postgres.push(way);
                let redis = format!("redis://{}/", to_redis.addr());
                setup.redis(&redis).database(&url)
            }
        };
        let node = setup.clone().start();
        let to_node = |lane, slow| {
            self.runtime
                .block_on(Proxy::start(node.clients, lane, slow))
        };
        let (way, slow_way) = (to_node(lane(2), slow), to_node(lane(3), Some(8 * 1024)));
        self.to_nodes.push(way);
        self.slow_to_nodes.push(slow_way);
        self.to_redis.push(to_redis);
        self.setup.push(setup);
        self.nodes.push(Some(node));
    }

    /// The ways of clients to the nodes.
    pub fn roads(&self) -> Vec<SocketAddr> {
        self.to_nodes.iter().map(Proxy::addr).collect()
    }

    /// The ways of slow clients to the nodes.
    pub fn slow_roads(&self) -> Vec<SocketAddr> {
        self.slow_to_nodes.iter().map(Proxy::addr).collect()
    }

    /// Does one act.
    pub fn perform(&mut self, act: Act, plan: &Plan) {
        match act {
            Act::Wait => {}
            Act::Publish(on) => plan.publishing.store(on, Ordering::Relaxed),
            Act::RestartRedis => self.redis.restart(),
            Act::KillSubscribers => self.tell_redis(&["CLIENT", "KILL", "TYPE", "pubsub"]),
            Act::FlushRedis => self.tell_redis(&["FLUSHALL"]),
            Act::LimitSubscribers(on) => {
                let limit = match on {
                    true => "pubsub 65536 65536 1",
                    false => "pubsub 33554432 8388608 60",
                };
                self.tell_redis(&["CONFIG", "SET", "client-output-buffer-limit", limit]);
            }
            Act::PauseRedis(true) => self.redis.pause(),
            Act::PauseRedis(false) => self.redis.resume(),
            Act::Sift(sieve) => self.to_redis.iter().for_each(|way| way.sift(sieve)),
            Act::KillNode(number) => self.kill(number, plan),
            Act::DrainNode(number) => {
                self.count(number);
                let node = self.node(number);
                assert_eq!(node.end("TERM", DRAIN_LIMIT), Some(0), "a drain that fails");
                self.nodes[number] = None;
            }
            Act::StartNode(number) => {
                let node = self.setup[number].clone().start();
                self.to_nodes[number].lead_to(node.clients);
                self.slow_to_nodes[number].lead_to(node.clients);
                self.nodes[number] = Some(node);
            }
            Act::PauseNode(number, true) => self.node(number).signal("STOP"),
            Act::PauseNode(number, false) => self.node(number).signal("CONT"),
            Act::CutNode(number, true) => self.to_redis[number].set(Weather::Blackhole),
            Act::CutNode(number, false) => self.to_redis[number].set(Weather::Clear),
            Act::Change(ways, weather) => self.change(ways, weather),
            Act::ResetClients(percent) => self.to_nodes.iter().for_each(|way| way.reset(percent)),
            Act::FreezeClients(percent) => self.to_nodes.iter().for_each(|way| way.freeze(percent)),
            Act::StallClients(percent, time) => {
                plan.stalls.send_replace((percent, time));
            }
            Act::Restore | Act::Truncate => {
                self.keep.perform(act);
                self.wiped_ms = Some(plan.now_ms());
            }
            Act::StopPostgres
            | Act::StartPostgres
            | Act::PausePostgres(_)
            | Act::RefuseSessions(_)
            | Act::HoldTopics
            | Act::Standby(_)
            | Act::FillDisk(_)
            | Act::Save => self.keep.perform(act),
        }
    }

    fn tell_redis(&self, words: &[&str]) {
        let answer = self.redis.command(words);
        assert!(!answer.starts_with('-'), "{words:?}: {answer}");
    }

    fn kill(&mut self, number: usize, plan: &Plan) {
        self.count(number);
        self.node(number).kill();
        self.nodes[number] = None;
        let at = plan.now_ms();
        self.kills.push(Kill { at, node: number });
    }

    fn node(&mut self, number: usize) -> &mut Node {
        self.nodes[number]
            .as_mut()
            .expect("the script knows which nodes run")
    }

    fn change(&self, ways: Ways, weather: Weather) {
        let proxies = match ways {
            Ways::Redis => &self.to_redis,
            Ways::Postgres => &self.to_postgres,
            Ways::Clients => &self.to_nodes,
            Ways::SlowClients => &self.slow_to_nodes,
        };
        proxies.iter().for_each(|proxy| proxy.set(weather));
    }

    /// Adds what a node counted, which is forgotten with it.
    fn count(&mut self, number: usize) {
        let admin = self.node(number).admin;
        let metrics = http::get(admin, "/metrics").body;
        self.counters.healed += sum(&metrics, "fanfare_records_healed_total");
        self.counters.resent += sum(&metrics, "fanfare_broker_healed_total");
        self.counters.lost += sum(&metrics, "fanfare_broker_lost_total");
        self.counters.reconnects += sum(&metrics, "fanfare_broker_reconnects_total");
        self.counters.retries += sum(&metrics, "fanfare_writer_retries_total");
        let peak_kib = self.node(number).peak_kib();
        self.counters.peak_kib = self.counters.peak_kib.max(peak_kib);
    }

    /// What the nodes counted in all, the dead ones until shortly before their end.
    pub fn counters(&mut self) -> Counters {
        for number in 0..self.nodes.len() {
            if self.nodes[number].is_some() {
                self.count(number);
            }
        }
        self.counters
    }

    /// What the nodes logged.
    pub fn log(&self) -> String {
        let of = |(number, node): (usize, &Option<Node>)| {
            let log = node.as_ref().map_or(String::new(), Node::log);
            format!("--- node {number}\n{log}\n")
        };
        self.nodes.iter().enumerate().map(of).collect()
    }

    /// The newest id of each room.
    pub fn heads(&self, rooms: u32) -> Vec<u64> {
        self.keep.heads(rooms)
    }

    /// Everything that the database has.
    pub fn rooms(&self, rooms: u32) -> Vec<Room> {
        self.keep.rooms(rooms)
    }
}

/// The sum of a family, over its labels.
fn sum(metrics: &str, family: &str) -> u64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(family)?;
        rest.starts_with([' ', '{']).then_some(())?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    };
    metrics.lines().filter_map(value).sum::<f64>() as u64
}
