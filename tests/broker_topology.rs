//! Where the broker finds its servers: a cluster, a master behind sentinels, a socket file.
//!
//! Failovers and migrations lose nothing: every run counts what was published.

#[path = "support/broker_node.rs"]
mod broker_node;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker_node::{Node, config, letter, number, topic};
use fanfare::broker::{Broker, Config, Metrics, Notice, RedisBroker};
use fanfare::protocol::Topic;
use futures_util::future::join_all;
use support::cluster::{Cluster, until};
use support::port::free_port;
use support::redis::Redis;
use tokio::task::JoinHandle;

fn rooms(count: usize) -> Vec<Topic> {
    (0..count).map(|n| topic(&format!("room:{n}"))).collect()
}

/// Publishes on all topics in turn, until it is told to stop; answers how many letters a topic got.
fn keep_publishing(
    node: Node,
    topics: Vec<Topic>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<(Node, usize)> {
    tokio::spawn(async move {
        let mut n = 0;
        while !stop.load(Ordering::Acquire) {
            for topic in &topics {
                node.publish_patiently(topic, n).await;
            }
            n += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (node, n)
    })
}

/// What arrived on each topic.
struct Ledger {
    topics: Vec<Topic>,
    next: Vec<usize>,
}

impl Ledger {
    /// Takes the next notice: each letter must be the next one of its topic.
    async fn take(&mut self, node: &mut Node) {
        match node.notice().await {
            Notice::Delivery(delivery) => {
                let is_it = |topic: &Topic| *topic == delivery.topic;
                let at = self.topics.iter().position(is_it).unwrap();
                assert_eq!(number(&delivery), self.next[at], "on {}", delivery.topic);
                self.next[at] += 1;
            }
            Notice::Hole { topic, missed } => panic!("{missed:?} lost on {topic}"),
            Notice::Connected | Notice::Disconnected => {}
        }
    }
}

/// Two nodes, one of which publishes on many topics, while something happens; the other one gets all of it in order.
async fn check_nothing_is_lost(config: &Config, disturb: impl FnOnce()) {
    let (mut a, b) = (Node::connect(config).await, Node::connect(config).await);
    let topics = rooms(64);
    join_all(topics.iter().map(|topic| a.subscribe(topic))).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = keep_publishing(b, topics.clone(), Arc::clone(&stop));
    let mut ledger = Ledger {
        next: vec![0; topics.len()],
        topics,
    };
    while ledger.next.contains(&0) {
        ledger.take(&mut a).await;
    }
    tokio::task::block_in_place(disturb);
    // All topics go on after it: half a second of letters.
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Release);
    let (b, count) = publishing.await.unwrap();
    while ledger.next.iter().any(|next| *next < count) {
        ledger.take(&mut a).await;
    }
    assert_eq!((a.metrics.lost.get(), a.metrics.malformed.get()), (0, 0));
    assert_eq!(b.metrics.refused.get(), 0);
    let links = [&a, &b].map(|node| node.metrics.reconnects.get());
    eprintln!(
        "{count} letters a topic, {} healed, reconnects {links:?}",
        a.metrics.healed.get()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_spread_over_the_masters_of_a_cluster() {
    let cluster = Cluster::start(3, 0, &[]);
    let config = config(&cluster.url());
    check_nothing_is_lost(&config, || {
        let channels = [0, 1, 2].map(|n| cluster.shard_channels(n));
        for (n, channels) in channels.iter().enumerate() {
            let topics = channels
                .iter()
                .filter(|name| name.contains("}t:room:"))
                .count();
            assert!(
                (8..=40).contains(&topics),
                "{topics} of 64 topics on server {n}"
            );
            // Five or six lanes a server, each with the channel of all nodes.
            let lanes = channels
                .iter()
                .filter(|name| name.ends_with("}!nodes"))
                .count();
            assert!((5..=6).contains(&lanes), "{lanes} lanes");
        }
    })
    .await;
    let node = Node::connect(&config).await;
    assert_eq!(
        node.broker.describe(),
        "cluster, masters: 3, replicas: 0, sharded pub/sub in 16 lanes"
    );
}

/// Returns the slots of the lanes of which a server has the channel of all nodes.
fn lane_slots(cluster: &Cluster, n: usize) -> Vec<u16> {
    let channels = cluster.shard_channels(n);
    let nodes = channels.iter().filter(|name| name.ends_with("}!nodes"));
    nodes
        .map(|name| {
            let said = cluster.servers[n].command(&["CLUSTER", "KEYSLOT", name]);
            said.trim()
                .trim_start_matches(':')
                .parse()
                .expect("a slot is a number")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_of_slots_is_followed() {
    let cluster = Cluster::start(3, 0, &[]);
    check_nothing_is_lost(&config(&cluster.url()), || {
        let slots = lane_slots(&cluster, 0);
        assert!(slots.len() >= 5);
        for slot in slots {
            cluster.migrate(slot, 0, 1);
        }
        until(|| cluster.shard_channels(0).is_empty());
        until(|| lane_slots(&cluster, 1).len() >= 10);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_over_from_a_killed_master_is_followed() {
    let mut cluster = Cluster::start(3, 1, &[]);
    let url = cluster.url();
    check_nothing_is_lost(&config(&url), || {
        let slots = lane_slots(&cluster, 0).len();
        cluster.servers[0].kill();
        // The first replica is the first master's.
        until(|| lane_slots(&cluster, 3).len() == slots);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_of_a_cluster_is_followed() {
    let cluster = Cluster::start(3, 1, &[]);
    check_nothing_is_lost(&config(&cluster.url()), || {
        let slots = lane_slots(&cluster, 0).len();
        cluster.servers[3].command(&["CLUSTER", "FAILOVER"]);
        until(|| lane_slots(&cluster, 3).len() == slots);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_sharded_pubsub_carries_everything_to_everyone() {
    let cluster = Cluster::start(3, 0, &["--rename-command", "SSUBSCRIBE", ""]);
    let config = config(&cluster.url());
    check_nothing_is_lost(&config, || {}).await;
    let node = Node::connect(&config).await;
    assert_eq!(
        node.broker.describe(),
        "cluster, masters: 3, replicas: 0, plain pub/sub"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sharded_pubsub_can_be_turned_off() {
    let mut cluster = Cluster::start(3, 0, &[]);
    let config = Config {
        cluster_lanes: 0,
        ..config(&cluster.url())
    };
    check_nothing_is_lost(&config, || {
        // Whichever masters were taken, others will do: the first with a listener goes.
        let nodes = |server: &Redis| server.command(&["PUBSUB", "NUMSUB", "fanfare:!nodes"]);
        let listened = |server: &&mut Redis| !nodes(server).ends_with(":0\r\n");
        let first = cluster.servers.iter_mut().find(listened);
        first.expect("somebody listens").kill();
    })
    .await;
}

/// A master with a replica, three sentinels that watch them, and the URL.
struct Watched {
    master: Redis,
    replica: Redis,
    sentinels: Vec<Redis>,
}

impl Watched {
    fn start() -> Self {
        let secrets = ["--requirepass", "sesame", "--masterauth", "sesame"];
        let master = Redis::start_with(&secrets);
        let port = master.port().to_string();
        let replica =
            Redis::start_with(&[&secrets[..], &["--replicaof", "127.0.0.1", &port]].concat());
        let lines = format!(
            "requirepass watchword\nsentinel sentinel-pass watchword\nsentinel monitor main 127.0.0.1 {port} 2\n\
             sentinel auth-pass main sesame\nsentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 5000\n"
        );
        let sentinels = (0..3).map(|_| Redis::start_sentinel(&lines)).collect();
        let watched = Self {
            master,
            replica,
            sentinels,
        };
        for sentinel in &watched.sentinels {
            until(|| {
                let said = sentinel.authorized("watchword", &["SENTINEL", "MASTER", "main"]);
                said.contains("num-slaves\r\n$1\r\n1")
                    && said.contains("num-other-sentinels\r\n$1\r\n2")
            });
        }
        until(|| watched.role(&watched.replica).contains("connected"));
        watched
    }

    /// Says whether both nodes listen to a server.
    fn are_listening(&self, server: &Redis) -> bool {
        let said = server.authorized_again("sesame", &["PUBSUB", "NUMSUB", "fanfare:!nodes"]);
        said.trim_end().ends_with(":2")
    }

    fn role(&self, server: &Redis) -> String {
        server.authorized_again("sesame", &["ROLE"])
    }

    fn url(&self) -> String {
        let names: Vec<String> = self
            .sentinels
            .iter()
            .map(|one| format!("127.0.0.1:{}", one.port()))
            .collect();
        let names = names.join(",");
        format!("redis+sentinel://:sesame@{names}/main?sentinel_password=watchword")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_master_is_followed_by_what_the_sentinels_say() {
    let mut watched = Watched::start();
    let config = config(&watched.url());
    let master = watched.master.port();
    let node = Node::connect(&config).await;
    let found = format!("master main at 127.0.0.1:{master}, replicas: 1, sentinels: 3");
    assert_eq!(node.broker.describe(), found);
    check_nothing_is_lost(&config, || {
        watched.master.kill();
        // One sentinel of three may be gone too.
        watched.sentinels[0].kill();
        until(|| watched.role(&watched.replica).contains("master"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_master_that_still_answers_is_left() {
    let watched = Watched::start();
    check_nothing_is_lost(&config(&watched.url()), || {
        watched.sentinels[0].authorized("watchword", &["SENTINEL", "FAILOVER", "main"]);
        until(|| {
            watched
                .role(&watched.replica)
                .starts_with("*3\r\n$6\r\nmaster")
        });
        until(|| watched.are_listening(&watched.replica));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_master_is_left_and_stays_left_when_it_goes_on() {
    let watched = Watched::start();
    check_nothing_is_lost(&config(&watched.url()), || {
        watched.master.pause();
        until(|| {
            watched
                .role(&watched.replica)
                .starts_with("*3\r\n$6\r\nmaster")
        });
        until(|| watched.are_listening(&watched.replica));
        // It still takes itself for the master, and has what was sent to it to publish.
        watched.master.resume();
        until(|| watched.role(&watched.master).contains("slave"));
        assert!(watched.are_listening(&watched.replica));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_file_is_a_server_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redis.sock").display().to_string();
    let _redis = Redis::start_with(&["--unixsocket", &path]);
    for scheme in ["unix", "redis+unix", "valkey+unix"] {
        let config = config(&format!("{scheme}://{path}"));
        let (mut a, b) = (Node::connect(&config).await, Node::connect(&config).await);
        a.subscribe(&topic("room:a")).await;
        assert_eq!(b.broker.publish(&topic("room:a"), letter(7)), Ok(()));
        assert_eq!(number(&a.delivery().await), 7);
        assert_eq!(a.broker.describe(), format!("one server at {path}"));
    }
}

/// A URL that cannot work is refused in one line that says why, without the password.
async fn check_refused(url: String, expected: &str) {
    let config = Config {
        prefix: String::from("{fanfare}:"),
        ..config(&url)
    };
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let Err(cause) = RedisBroker::connect(&config, Arc::new(|_: Notice| {}), metrics).await else {
        panic!("{expected}: connected");
    };
    let said = cause.to_string();
    let is_clear = said.contains(expected) && !said.contains("sesame") && !said.contains('\n');
    assert!(is_clear, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_cannot_work_is_refused_clearly() {
    let (redis, nobody) = (Redis::start(), free_port());
    let at = format!("127.0.0.1:{}", redis.port());
    check_refused(
        format!("redis+cluster://:sesame@127.0.0.1:{nobody}"),
        "cannot use redis at 127.0.0.1:",
    )
    .await;
    check_refused(format!("redis+cluster://{at}"), "cluster support disabled").await;
    check_refused(format!("redis+sentinel://{at}/main"), "unknown command").await;
    let sentinel = Redis::start_sentinel(&format!("sentinel monitor main 127.0.0.1 {nobody} 1\n"));
    let watch = format!("redis+sentinel://:sesame@127.0.0.1:{}", sentinel.port());
    check_refused(format!("{watch}/other"), "No such master").await;
    check_refused(format!("{watch}/main"), "cannot use redis at").await;
    let cluster = Cluster::start(3, 0, &[]);
    check_refused(cluster.url(), "must not have a brace").await;
}
