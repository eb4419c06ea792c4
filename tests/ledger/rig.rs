//! Nodes, Redis and Postgres, each behind proxies, and the acts that trouble them.
//!
//! It never touches a process that it did not start.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_postgres::{Client, NoTls};

use super::client::Plan;
use super::fault::{Act, Ways};
use super::proxy::{Proxy, Weather};
use super::story::{Room, Row};
use super::wire;
use crate::support::http;
use crate::support::node::{Node, Setup};
use crate::support::postgres::Postgres;
use crate::support::process;
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
}

/// Everything that a run is made on.
pub struct Rig {
    runtime: Handle,
    /// First, so that their logs don't end with the end of the others.
    nodes: Vec<Option<Node>>,
    setup: Vec<Setup>,
    redis: Redis,
    postgres: Postgres,
    /// The database, past all proxies.
    database: String,
    to_redis: Vec<Proxy>,
    to_postgres: Vec<Proxy>,
    to_nodes: Vec<Proxy>,
    counters: Counters,
    /// When the tables were emptied.
    pub wiped_ms: Option<u32>,
}

impl Rig {
    /// Starts everything; proxies live on the runtime.
    pub fn start(runtime: &Handle, nodes: usize, seed: u64, slow: Option<usize>) -> Self {
        let (redis, postgres) = (Redis::start(), Postgres::start());
        let database = postgres.create_database();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let proxy = |to, lane, slow| {
            runtime.block_on(Proxy::start(to, seed.wrapping_mul(1_000) + lane, slow))
        };
        let mut rig = Self {
            runtime: runtime.clone(),
            database: database.clone(),
            setup: Vec::new(),
            nodes: Vec::new(),
            to_redis: Vec::new(),
            to_postgres: Vec::new(),
            to_nodes: Vec::new(),
            counters: Counters::default(),
            wiped_ms: None,
            redis,
            postgres,
        };
        let outbox = if slow.is_some() { "256KiB" } else { "1MiB" };
        for number in 0..nodes {
            let lane = 3 * number as u64;
            let to_redis = proxy(local(rig.redis.port()), lane, None);
            let to_postgres = proxy(local(rig.postgres.port()), lane + 1, None);
            let url = database.replace(
                &format!(":{}/", rig.postgres.port()),
                &format!(":{}/", to_postgres.addr().port()),
            );
            let setup = Setup::new()
                .config(&CHANNELS.replace("OUTBOX", outbox))
                .secret(SECRET)
                .redis(&format!("redis://{}/", to_redis.addr()))
                .database(&url)
                .env("FANFARE_NODE_NAME", &format!("node-{number}"));
            let node = setup.clone().start();
            rig.to_nodes.push(proxy(node.clients, lane + 2, slow));
            rig.to_redis.push(to_redis);
            rig.to_postgres.push(to_postgres);
            rig.setup.push(setup);
            rig.nodes.push(Some(node));
        }
        rig
    }

    /// The ways of clients to the nodes.
    pub fn roads(&self) -> Vec<SocketAddr> {
        self.to_nodes.iter().map(Proxy::addr).collect()
    }

    /// Does one act.
    pub fn perform(&mut self, act: Act, plan: &Plan) {
        match act {
            Act::RestartRedis => self.redis.restart(),
            Act::KillSubscribers => {
                self.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
            Act::PauseRedis(true) => self.redis.pause(),
            Act::PauseRedis(false) => self.redis.resume(),
            Act::KillNode(number) => {
                self.count(number);
                self.node(number).kill();
                self.nodes[number] = None;
            }
            Act::DrainNode(number) => {
                self.count(number);
                let node = self.node(number);
                assert_eq!(node.end("TERM", DRAIN_LIMIT), Some(0), "a drain that fails");
                self.nodes[number] = None;
            }
            Act::StartNode(number) => {
                let node = self.setup[number].clone().start();
                self.to_nodes[number].lead_to(node.clients);
                self.nodes[number] = Some(node);
            }
            Act::PauseNode(number, true) => self.node(number).signal("STOP"),
            Act::PauseNode(number, false) => self.node(number).signal("CONT"),
            Act::StopPostgres => self.postgres.stop(),
            Act::StartPostgres => self.postgres.restart(),
            Act::PausePostgres(true) => self.signal_postgres("STOP"),
            Act::PausePostgres(false) => self.signal_postgres("CONT"),
            Act::Change(ways, weather) => self.change(ways, weather),
            Act::ResetClients(percent) => {
                self.to_nodes.iter().for_each(|proxy| proxy.reset(percent));
            }
            Act::StallClients(percent, time) => {
                plan.stalls.send_replace((percent, time));
            }
            Act::Truncate => {
                let empty = "truncate messages, topics";
                self.postgres.sql(&self.database, empty);
                self.wiped_ms = Some(plan.now_ms());
            }
        }
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
        };
        proxies.iter().for_each(|proxy| proxy.set(weather));
    }

    /// Signals the server and its sessions, which are its children.
    fn signal_postgres(&self, signal: &str) {
        let pid = self.postgres.pid().expect("postgres runs");
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("the kernel lists children");
        process::signal(signal, &format!("{pid} {children}"));
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
        self.runtime.block_on(async {
            let client = self.connect().await;
            let mut heads = vec![0; rooms as usize];
            for row in client
                .query("select topic, last_seq from topics", &[])
                .await
                .expect("heads")
            {
                if let Some(room) = room_of(row.get(0)) {
                    heads[room] = row.get::<_, i64>(1) as u64;
                }
            }
            heads
        })
    }

    /// Everything that the database has.
    pub fn rooms(&self, rooms: u32) -> Vec<Room> {
        let rows = "select topic, seq, uid, player_id, client_key, message \
                    from messages order by topic, seq";
        self.runtime.block_on(async {
            let client = self.connect().await;
            let mut found = vec![Room::default(); rooms as usize];
            let topics = client
                .query("select topic, last_seq, epoch from topics", &[])
                .await;
            for row in topics.expect("topics") {
                if let Some(room) = room_of(row.get(0)) {
                    found[room].last_id = row.get::<_, i64>(1) as u64;
                    found[room].epoch = row.get::<_, &str>(2).into();
                }
            }
            for row in client.query(rows, &[]).await.expect("messages") {
                let name = wire::name(row.get(5)).expect("only clients of ours write");
                let (player, key) = (format!("p{}", name.author), format!("k{}", name.number));
                let room = room_of(row.get(0)).expect("only rooms of ours are written to");
                found[room].rows.push(Row {
                    id: row.get::<_, i64>(1) as u64,
                    uid: row.get::<_, uuid::Uuid>(2).as_u128(),
                    name,
                    consistent: row.get::<_, Option<&str>>(3) == Some(&player)
                        && row.get::<_, Option<&str>>(4) == Some(&key),
                });
            }
            found
        })
    }

    async fn connect(&self) -> Client {
        let connected = tokio_postgres::connect(&self.database, NoTls).await;
        let (client, connection) = connected.expect("Postgres answers");
        tokio::spawn(connection);
        client
    }
}

fn room_of(topic: &str) -> Option<usize> {
    topic.strip_prefix("chat_room:")?.parse().ok()
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
