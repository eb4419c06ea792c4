//! What a worker says of its own load: the alert on busy workers lives on it.
//!
//! Held against the CPU time that the kernel counts for the worker's thread.

mod support;

use std::fs;

use serde_json::json;
use support::metrics::{await_metric, metric};
use support::node::{Node, Setup};
use support::phoenix::Socket;

const CONFIG: &str = r#"
[limits]
connects_per_second = 1000
messages_per_second = 0

[[channels]]
topic = "crowd:*"
kind = "relay"
events = ["wave"]
"#;

const SOCKETS: usize = 200;
const MESSAGES: usize = 300;

/// CPU seconds of the node's only worker.
fn cpu_seconds(node: &Node) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", node.pid())).expect("the node runs");
    let of_task = |task: fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let spent = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanoseconds: f64 = spent.split(' ').next()?.parse().ok()?;
        name.starts_with("fanfare-worker")
            .then_some(nanoseconds / 1e9)
    };
    let mut workers = tasks.filter_map(|task| of_task(task.ok()?));
    workers.next().expect("a worker")
}

#[test]
fn a_workers_turns_are_most_of_the_time_that_it_works() {
    let node = Setup::new()
        .flag("--anonymous", "allow")
        .flag("--workers", "1")
        .config(CONFIG)
        .start();
    let mut crowd: Vec<Socket> = (0..SOCKETS)
        .map(|_| {
            let mut socket = Socket::open(node.clients, "");
            socket.joined("crowd:all", &json!({}));
            socket
        })
        .collect();
    let turns = "fanfare_worker_turn_seconds_sum{worker=\"0\"}";
    let before = (metric(&node, turns), cpu_seconds(&node));
    for _ in 0..MESSAGES {
        crowd[0].call("crowd:all", "wave", &json!({}));
    }
    let all = (SOCKETS * MESSAGES) as f64;
    await_metric(&node, "fanfare_deliveries_total", |count| count >= all);
    let spent = (
        metric(&node, turns) - before.0,
        cpu_seconds(&node) - before.1,
    );
    // The rest is reading, and answering the one who waves.
    assert!(spent.0 > spent.1 / 2.0, "turns and CPU: {spent:?}");
}
