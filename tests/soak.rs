//! Clients that come and go for long: memory, descriptors and threads of a node stay as they were.
//!
//! `make soak` runs both tests; `SOAK_SECONDS` says for how long the second one goes on.

mod support;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use support::http;
use support::node::{Node, Setup};
use support::phoenix::Socket;
use support::postgres::Postgres;
use support::redis::Redis;
use support::token::{self, SECRET};

/// Clients that come and go at once.
const CLIENTS: u64 = 8;

/// Topics that they share.
const TOPICS: u64 = 40;

const CHANNELS: &str = r#"
[[channels]]
topic = "chat_room:*"
kind = "chat_room"
keep_records = 200

[[channels]]
topic = "relay:*"
kind = "relay"
events = ["tick"]

[store]
sweep_every = "5s"
sweep_grace = "1s"

[limits]
connects_per_second = 100000
"#;

/// What a node holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    rss_kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn of(node: &Node) -> Self {
        let of = |what: &str| format!("/proc/{}/{what}", node.pid());
        let status = fs::read_to_string(of("status")).expect("a running node");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let count = |what: &str| fs::read_dir(of(what)).expect("a running node").count();
        Self {
            rss_kib: rss
                .expect("Linux says it")
                .trim()
                .parse()
                .expect("a number"),
            descriptors: count("fd"),
            threads: count("task"),
        }
    }

    /// The larger of each.
    fn max(self, other: Self) -> Self {
        Self {
            rss_kib: self.rss_kib.max(other.rss_kib),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

/// One client's visit: joins, a record, a relayed event; it goes without a word.
fn visit(node: &Node, number: u64) {
    let player = format!("p{}", number % 100);
    let mut socket = Socket::open(node.clients, &token::player(&player, &player));
    let (room, relay) = (
        format!("chat_room:{}", number % TOPICS),
        format!("relay:{}", number % 7),
    );
    socket.joined(&room, &json!({}));
    socket.joined(&relay, &json!({}));
    let (status, said) = socket.call(&room, "new_message", &json!({ "message": "x" }));
    assert_eq!(status, "ok", "{said}");
    assert_eq!(socket.call(&relay, "tick", &json!({})).0, "ok");
}

/// Has clients come and go until it is over, over all nodes; how often they did.
fn churn(nodes: &[Node], over: impl Fn(u64) -> bool + Sync, each: impl Fn() + Send) -> u64 {
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if over(number) {
                        is_over.store(true, Ordering::Relaxed);
                        return;
                    }
                    visit(&nodes[number as usize % nodes.len()], number);
                }
            });
        }
        while !is_over.load(Ordering::Relaxed) {
            each();
            thread::sleep(Duration::from_millis(50));
        }
    });
    next.load(Ordering::Relaxed) - CLIENTS
}

/// Waits until every connection has ended.
fn empty(node: &Node) {
    let end = Instant::now() + Duration::from_secs(30);
    let open = || {
        let page = http::get(node.admin, "/metrics").body;
        let lines = page.lines();
        let counts = lines.filter(|line| line.starts_with("fanfare_connections{"));
        counts.filter(|line| !line.ends_with(" 0")).count()
    };
    while open() > 0 {
        assert!(Instant::now() < end, "connections that never end");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "10,000 connections; `make soak` runs it"]
fn ten_thousand_visits_leave_no_memory_behind() {
    // The records are another process's: only what visits leave in the node counts.
    let postgres = Postgres::start();
    // A pool opens its connections when it needs them; one of one has it from the first visit on.
    let setup = Setup::new().secret(SECRET).config(CHANNELS);
    let setup = setup.env("FANFARE_STORE__POOL_SIZE", "1");
    let nodes = [setup.database(&postgres.create_database()).start()];
    churn(&nodes, |number| number >= 3_000, || {});
    empty(&nodes[0]);
    let before = Held::of(&nodes[0]);
    churn(&nodes, |number| number >= 10_000, || {});
    empty(&nodes[0]);
    let after = Held::of(&nodes[0]);
    println!("before {before:?}, after {after:?}");
    let ratio = after.rss_kib as f64 / before.rss_kib as f64;
    assert!(
        ratio <= 1.05,
        "memory grew by {ratio:.3}: {before:?}, {after:?}"
    );
    assert_eq!(after.threads, before.threads);
    assert!(
        after.descriptors <= before.descriptors,
        "{before:?}, {after:?}"
    );
}

#[test]
#[ignore = "an hour; `make soak` runs it"]
fn an_hour_of_visits_leaves_everything_flat() {
    let Ok(seconds) = std::env::var("SOAK_SECONDS") else {
        println!("skipped: no SOAK_SECONDS; `make soak` sets it");
        return;
    };
    let whole = Duration::from_secs(seconds.parse().expect("SOAK_SECONDS must be a number"));
    let (redis, postgres) = (Redis::start(), Postgres::start());
    let database = postgres.create_database();
    let start = |_| {
        let setup = Setup::new().secret(SECRET).config(CHANNELS);
        let url = format!("redis://127.0.0.1:{}/", redis.port());
        setup.redis(&url).database(&database).start()
    };
    let nodes: Vec<Node> = (0..3).map(start).collect();
    let begun = Instant::now();
    // The most that was held in each sixth of the time, by node.
    let sixths = std::sync::Mutex::new(vec![Vec::<Held>::new(); 6]);
    let sample = || {
        let share = begun.elapsed().as_secs_f64() / whole.as_secs_f64();
        let held: Vec<Held> = nodes.iter().map(Held::of).collect();
        let mut sixths = sixths.lock().expect("no panic");
        let sixth = &mut sixths[((share * 6.0) as usize).min(5)];
        *sixth = match sixth.is_empty() {
            true => held,
            false => sixth
                .iter()
                .zip(held)
                .map(|(one, now)| one.max(now))
                .collect(),
        };
    };
    let visits = churn(&nodes, |_| begun.elapsed() > whole, sample);
    let sixths = sixths.into_inner().expect("no panic");
    println!("{visits} visits in {whole:?}");
    for (number, node) in nodes.iter().enumerate() {
        empty(node);
        let of: Vec<Held> = sixths.iter().map(|sixth| sixth[number]).collect();
        for (sixth, held) in of.iter().enumerate() {
            println!("node {number}, sixth {}: {held:?}", sixth + 1);
        }
        // The first sixth warms up; from the second on it must be flat.
        let (early, late) = (of[1].max(of[2]), of[4].max(of[5]));
        let ratio = late.rss_kib as f64 / early.rss_kib as f64;
        assert!(ratio <= 1.05, "node {number}: memory grew by {ratio:.3}");
        assert!(late.threads <= early.threads, "node {number}: threads");
        // As many clients at once as before, and a few connections to the others.
        assert!(
            late.descriptors <= early.descriptors + 8,
            "node {number}: descriptors"
        );
    }
}
