//! File descriptors: the soft limit is raised, and a node that has run out of them waits instead of spinning.
//!
//! What it could not take waits in the kernel's queue, and is served as soon as there is room.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::limited::{guest, setup};
use crate::support::metrics::metric;
use crate::support::node::Node;

/// The processor time that a node has had, in seconds.
fn busy(node: &Node) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", node.pid())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    // 100 ticks a second, on every Linux there is.
    (ticks(11) + ticks(12)) / 100.0
}

/// Sets a running node's limit.
fn limit(node: &Node, descriptors: usize) {
    let set = Command::new("prlimit")
        .args([
            &format!("--pid={}", node.pid()),
            &format!("--nofile={descriptors}:{descriptors}"),
        ])
        .status();
    assert!(set.expect("prlimit of util-linux").success());
}

fn open(node: &Node) -> usize {
    let listed = fs::read_dir(format!("/proc/{}/fd", node.pid()));
    listed.expect("it runs").count()
}

#[test]
fn without_descriptors_a_node_waits_and_then_goes_on() {
    let node = setup("[limits]\nconnections = 10000\n")
        .flag("--workers", "2")
        .start();
    let mut ada = guest(&node);
    ada.joined("room:a", &json!({}));
    limit(&node, open(&node) + 20);
    // More than there is room for: the last ones wait in the kernel's queue.
    let streams: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(node.clients).expect("the kernel takes it"))
        .collect();
    let end = Instant::now() + Duration::from_secs(10);
    while !node.log().contains("accept failed") {
        assert!(Instant::now() < end, "no want of descriptors");
        ada.settle();
    }
    let (before, since) = (busy(&node), Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let share = (busy(&node) - before) / since.elapsed().as_secs_f64();
    assert!(share < 0.3, "{share} of a processor");
    ada.settle();
    drop(streams);
    guest(&node).joined("room:a", &json!({}));
    let errors = metric(&node, "fanfare_accept_errors_total");
    // Two workers, each every 50 ms at most.
    let most = since.elapsed().as_secs_f64() * 40.0 + 200.0;
    assert!(errors >= 1.0 && errors < most, "{errors} of {most}");
    let told = node.log().matches("accept failed").count();
    assert!(told < 20, "{told} lines");
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one_and_both_are_logged() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let binary = env!("CARGO_BIN_EXE_fanfare");
    let line = format!(
        "ulimit -Sn 256; ulimit -Hn 4000; exec {binary} --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --log json"
    );
    let mut child = Command::new("sh")
        .args(["-c", &line])
        .current_dir(dir.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let found = stderr.lines().map_while(Result::ok).find_map(|line| {
        let fields: Value = serde_json::from_str(&line).ok()?;
        (fields["message"] == "file descriptors").then_some(fields)
    });
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    let fields = found.expect("the line about descriptors");
    let logged = ["soft", "hard", "now", "connections"].map(|name| fields[name].as_u64());
    assert_eq!(logged, [Some(256), Some(4_000), Some(4_000), Some(3_488)]);
}
