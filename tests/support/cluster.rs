//! A private Redis cluster for one test: masters with evenly spread slots, each with so many replicas.
//!
//! It never outlives the test, as its servers don't.

use std::time::{Duration, Instant};

use super::port::free_port;
use super::redis::Redis;

const SLOTS: usize = 16_384;
const READY_WITHIN: Duration = Duration::from_secs(30);

pub struct Cluster {
    /// The masters first, then the replicas, those of the first master first.
    pub servers: Vec<Redis>,
    buses: Vec<u16>,
    masters: usize,
}

impl Cluster {
    /// Starts a cluster and waits until every server says that it is whole.
    pub fn start(masters: usize, replicas: usize, options: &[&str]) -> Self {
        let count = masters * (1 + replicas);
        let buses: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let start = |bus: &u16| {
            let bus = bus.to_string();
            let own = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1500",
                "--cluster-port",
                &bus,
            ];
            Redis::start_with(&[&own[..], options].concat())
        };
        let servers = buses.iter().map(start).collect();
        let cluster = Self {
            servers,
            buses,
            masters,
        };
        cluster.join();
        cluster
    }

    fn join(&self) {
        for (n, server) in self.servers.iter().enumerate() {
            server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
            if n < self.masters {
                let (from, to) = (SLOTS * n / self.masters, SLOTS * (n + 1) / self.masters - 1);
                let said = server.command(&[
                    "CLUSTER",
                    "ADDSLOTSRANGE",
                    &from.to_string(),
                    &to.to_string(),
                ]);
                assert!(said.is_empty(), "{said}");
            }
            let (port, bus) = (
                self.servers[0].port().to_string(),
                self.buses[0].to_string(),
            );
            if n > 0 {
                server.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            }
        }
        let known = format!("cluster_known_nodes:{}\r", self.servers.len());
        self.until(|server| server.command(&["CLUSTER", "INFO"]).contains(&known));
        for n in self.masters..self.servers.len() {
            let id =
                self.id((n - self.masters) * self.masters / (self.servers.len() - self.masters));
            let said = self.servers[n].command(&["CLUSTER", "REPLICATE", &id]);
            assert!(said.is_empty(), "{said}");
        }
        let replicas = self.servers.len() - self.masters;
        self.until(|server| {
            server
                .command(&["CLUSTER", "INFO"])
                .contains("cluster_state:ok")
                && server
                    .command(&["CLUSTER", "NODES"])
                    .matches("slave")
                    .count()
                    == replicas
        });
        for replica in &self.servers[self.masters..] {
            until(|| {
                replica
                    .command(&["INFO", "replication"])
                    .contains("master_link_status:up")
            });
        }
    }

    fn until(&self, is_so: impl Fn(&Redis) -> bool) {
        for server in &self.servers {
            until(|| is_so(server));
        }
    }

    /// Returns the id of a server.
    pub fn id(&self, n: usize) -> String {
        let said = self.servers[n].command(&["CLUSTER", "MYID"]);
        said.split("\r\n")
            .nth(1)
            .expect("an id is a bulk string")
            .to_owned()
    }

    /// Returns the URL that names every server.
    pub fn url(&self) -> String {
        let names: Vec<String> = self
            .servers
            .iter()
            .map(|one| format!("127.0.0.1:{}", one.port()))
            .collect();
        format!("redis+cluster://{}", names.join(","))
    }

    /// Moves a slot without keys, as `redis-cli --cluster reshard` does.
    pub fn migrate(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (self.id(from), self.id(to));
        let slot = slot.to_string();
        let set = |n: usize, words: &[&str]| {
            let said = self.servers[n].command(&[&["CLUSTER", "SETSLOT", &slot], words].concat());
            assert!(said.is_empty(), "{said}");
        };
        set(to, &["IMPORTING", &source]);
        set(from, &["MIGRATING", &target]);
        for n in [to, from] {
            set(n, &["NODE", &target]);
        }
    }

    /// Returns the channels of sharded pub/sub that a server has subscribers of.
    pub fn shard_channels(&self, n: usize) -> Vec<String> {
        let said = self.servers[n].command(&["PUBSUB", "SHARDCHANNELS"]);
        said.lines()
            .filter(|line| line.contains("fanfare:"))
            .map(str::to_owned)
            .collect()
    }
}

/// Waits until something is so.
pub fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + READY_WITHIN;
    while !is_so() {
        assert!(Instant::now() < deadline, "the cluster does not get there");
        std::thread::sleep(Duration::from_millis(20));
    }
}
