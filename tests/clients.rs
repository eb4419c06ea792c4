//! The stock clients of many versions, unmodified, against channels of one's own.
//!
//! Each version is a node.js process of its own; what they heard is judged here.

mod support;

#[path = "support/fixture_channels.rs"]
mod fixture_channels;
#[path = "support/fixture_node.rs"]
mod fixture_node;
#[path = "support/forwarder.rs"]
mod forwarder;
#[path = "support/member_channels.rs"]
mod member_channels;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use forwarder::Forwarder;
use serde_json::{Value, json};
use support::npm;
use support::phoenix::Socket;

/// How long a script may take to its next line: more than it waits for anything itself.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a poll waits: longer than any step takes.
const WINDOW: Duration = Duration::from_secs(9);

/// Every client: its version and its transport.
const CLIENTS: [(&str, &str); 13] = [
    ("1.8.16", "websocket"),
    ("1.7.21", "websocket"),
    ("1.5.14", "websocket"),
    ("1.4.17", "websocket"),
    ("1.3.4", "websocket"),
    ("1.2.1", "websocket"),
    ("elm", "websocket"),
    ("1.8.16", "longpoll"),
    ("1.7.21", "longpoll"),
    ("1.5.14", "longpoll"),
    ("1.4.17", "longpoll"),
    ("1.3.4", "longpoll"),
    ("1.2.1", "longpoll"),
];

/// A script that runs; it is killed with its owner.
struct Script {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Script {
    fn start(file: &str, input: &Value) -> Self {
        let directory = npm::directory();
        let installed = directory.join("node_modules").is_dir();
        assert!(installed, "tests/npm has no packages yet: run `make setup`");
        let mut command = Command::new("node");
        command.arg(file).arg(input.to_string());
        command.current_dir(directory).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A test that failed listens no more.
                let _ = sender.send(line);
            }
        });
        let name = format!("{file} {input}");
        Self { name, child, lines }
    }

    fn line(&self) -> Value {
        let line = self.lines.recv_timeout(LIMIT);
        let line = line.unwrap_or_else(|why| panic!("{}: {why}", self.name));
        serde_json::from_str(&line).unwrap_or_else(|why| panic!("{}: {why}: {line}", self.name))
    }

    fn ready(&self, expected: &str) {
        assert_eq!(self.line(), json!({ "ready": expected }), "{}", self.name);
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("a child of ours");
    }
}

fn url(address: SocketAddr, transport: &str) -> String {
    let scheme = if transport == "longpoll" {
        "http"
    } else {
        "ws"
    };
    format!("{scheme}://{address}/socket")
}

/// Each client goes through all that a channel does, a drain and the death of its node.
#[test]
fn every_version_joins_hears_leaves_and_comes_back() {
    let node = || fixture_node::serve(fixture_channels::router(), WINDOW);
    let (drained, killed, last) = (node(), node(), node());
    let forwarder = Forwarder::to(drained.clients());
    let start = |(version, transport): (&str, &str)| {
        let url = url(forwarder.address(), transport);
        let input = json!({ "version": version, "transport": transport, "url": url });
        Script::start("versions_calls.mjs", &input)
    };
    let scripts = CLIENTS.map(start);
    for script in &scripts {
        script.ready("drain");
    }
    forwarder.point(killed.clients());
    drained.stop().expect("nothing to store");
    for script in &scripts {
        script.ready("kill");
    }
    forwarder.cut();
    // Every client may come back now; some of them were refused before.
    forwarder.await_refused(1);
    forwarder.point(last.clients());
    for (script, (version, transport)) in scripts.iter().zip(CLIENTS) {
        judge(&script.line(), &format!("{version} {transport}"), transport);
    }
}

fn judge(heard: &Value, name: &str, transport: &str) {
    let ok = |response: Value| json!(["ok", response]);
    let hear = |numbers: &[(&str, u32)]| json!(numbers);
    let (drain, kill) = match transport {
        "websocket" => (json!([1012, 1012]), json!([1006, 1006])),
        // Long-poll has no close codes of the server's.
        _ => (heard["drain"].clone(), heard["kill"].clone()),
    };
    let expected = json!({
        "joins": [ok(json!({})), ok(json!({}))],
        "echo": ok(json!({ "text": "é\u{2028}\"\\", "list": [1, null] })),
        "unknown": ["error", { "reason": "unknown event" }],
        "left": ok(json!({})),
        "again": ok(json!({})),
        "crashes": [1, 0],
        "drain": drain,
        "kill": kill,
        "seen": [
            hear(&[("pushed", 1), ("new_msg", 2), ("new_msg", 4), ("new_msg", 5), ("new_msg", 6), ("new_msg", 7), ("new_msg", 8)]),
            hear(&[("new_msg", 2), ("others", 3), ("new_msg", 5), ("new_msg", 6), ("new_msg", 7), ("new_msg", 8)]),
        ],
    });
    assert_eq!(*heard, expected, "{name}");
}

/// How many members there are, and how often one of them comes, changes or goes.
const MEMBERS: usize = 30;
const CHANGES: u32 = 1_200;
const TOPIC: &str = "members:all";

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        // Knuth's MMIX; the upper bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }
}

#[test]
fn presence_lists_what_the_server_lists_whatever_races() {
    let node = fixture_node::serve(member_channels::router(), WINDOW);
    let start = |version: &str| {
        let url = url(node.clients(), "websocket");
        let input = json!({ "version": version, "url": url, "topic": TOPIC });
        Script::start("versions_presence.mjs", &input)
    };
    let scripts = ["1.8.16", "1.5.14"].map(start);
    for script in &scripts {
        script.ready("churn");
    }
    let (members, connected) = churn(node.clients());
    for script in &scripts {
        let seen = script.line();
        assert_eq!(seen["members"], json!(members), "{}", script.name);
        let diffs = seen["diffs"].as_array().expect("a list");
        assert!(diffs.len() > 1, "no viewer came meanwhile: {seen}");
        assert!(diffs[0].as_u64() > Some(1), "no diff came: {seen}");
    }
    drop(connected);
}

fn key(at: usize) -> String {
    format!("p{:02}", at / 2)
}

/// Members come, change and go; then everybody is shown the list. Returns who is there, and what keeps them there.
fn churn(address: SocketAddr) -> (Vec<String>, Vec<Socket>) {
    let mut dice = Dice(7);
    let mut members: Vec<Socket> = (0..MEMBERS).map(|_| Socket::open(address, "")).collect();
    let mut there = [false; MEMBERS];
    for change in 0..CHANGES {
        let at = dice.below(MEMBERS);
        let meta = json!({ "change": change });
        // Some share a key, as a player with two tabs does.
        let key = key(at);
        let member = &mut members[at];
        let (event, payload, stays) = match (there[at], dice.below(3)) {
            (false, _) => ("phx_join", json!({ "key": key, "meta": meta }), true),
            (true, 0) => ("phx_leave", json!({}), false),
            (true, _) => ("update", meta, true),
        };
        let (status, response) = member.call(TOPIC, event, &payload);
        assert_eq!(status, "ok", "{event} of {key}: {response}");
        // What it was told of the others is not needed.
        member.forget();
        there[at] = stays;
    }
    let mut viewer = Socket::open(address, "");
    viewer.joined(TOPIC, &json!({}));
    viewer.call(TOPIC, "final", &json!({}));
    let mut keys: Vec<String> = (0..MEMBERS).filter(|at| there[*at]).map(key).collect();
    keys.sort();
    keys.dedup();
    (keys, members)
}
