//! A long-poll client of our own: every request as the test wants it.
//!
//! It never polls by itself, and never opens another session when its own is gone.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{self, Response};
use super::node::{Node, Setup};
use super::token::SECRET;

pub const PATH: &str = "/socket/longpoll";
pub const NDJSON: &str = "application/x-ndjson";

/// How long a test waits for a message.
const LIMIT: Duration = Duration::from_secs(10);

const CHANNELS: &str = r#"
[[channels]]
topic = "room:*"
kind = "relay"
events = ["say"]

[[channels]]
topic = "chat_room:*"
kind = "chat_room"

[[channels]]
topic = "user:*"
kind = "user"
"#;

/// A node of several workers with this poll window; guests are allowed.
pub fn setup(window: &str) -> Setup {
    let setup = Setup::new().config(CHANNELS).secret(SECRET);
    setup
        .flag("--anonymous", "allow")
        .flag("--workers", "4")
        .env("FANFARE_TRANSPORT__LONGPOLL_WINDOW", window)
}

/// The same, started.
pub fn node(window: &str) -> Node {
    setup(window).start()
}

/// A session of a guest who speaks V2.
pub fn v2(addr: SocketAddr) -> Poller {
    Poller::open(addr, "vsn=2.0.0")
}

/// The value of a line of the metrics.
pub fn metric(node: &Node, line: &str) -> Option<f64> {
    let all = http::get(node.admin, "/metrics").body;
    let found = all.lines().find(|one| one.starts_with(line))?;
    found.rsplit(' ').next()?.parse().ok()
}

/// Waits until a line of the metrics has a value.
pub fn await_metric(node: &Node, line: &str, value: f64) {
    let end = Instant::now() + LIMIT;
    while metric(node, line) != Some(value) {
        assert!(Instant::now() < end, "{line}: {:?}", metric(node, line));
        thread::yield_now();
    }
}

/// Lets every worker take what was sent before: each answers several requests behind it.
pub fn in_turn(node: &Node) {
    for _ in 0..32 {
        http::request(node.clients, "OPTIONS", PATH, &[], "");
    }
}

/// A client with a session.
#[derive(Debug, Clone)]
pub struct Poller {
    /// Where its requests go; another node is as good.
    pub addr: SocketAddr,
    /// The query without the session's token.
    pub query: String,
    /// The session's token.
    pub token: String,
}

impl Poller {
    /// Opens a session.
    ///
    /// # Panics
    /// When the answer is not exactly that of a new session.
    pub fn open(addr: SocketAddr, query: &str) -> Self {
        let answer = http::get(addr, &format!("{PATH}?{query}"));
        let token = new_token(&answer);
        Self {
            addr,
            query: query.to_owned(),
            token,
        }
    }

    /// Its path: the user's query first, as the stock clients have it.
    pub fn path(&self) -> String {
        format!("{PATH}?{}&token={}", self.query, self.token)
    }

    /// Polls once.
    pub fn poll(&self) -> Response {
        http::get(self.addr, &self.path())
    }

    /// Sends a poll; who is joined has its answer and how long it took.
    pub fn poll_aside(&self) -> JoinHandle<(Response, Duration)> {
        let start = Instant::now();
        let sent = http::send(self.addr, "GET", &self.path(), &[], "");
        thread::spawn(move || (http::receive(sent), start.elapsed()))
    }

    /// Posts a body; the answer's JSON.
    pub fn post_as(&self, content_type: &str, body: &str) -> Value {
        let headers: &[(&str, &str)] = match content_type {
            "" => &[],
            given => &[("content-type", given)],
        };
        let answer = http::post(self.addr, &self.path(), headers, body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Posts a batch of messages; the status in the body.
    pub fn post(&self, messages: &[Value]) -> Value {
        let lines: Vec<String> = messages.iter().map(Value::to_string).collect();
        self.post_as(NDJSON, &lines.join("\n"))["status"].clone()
    }

    /// Polls until there are `count` messages; their JSON.
    ///
    /// # Panics
    /// When there are more, when the session ends, or after 10 s.
    pub fn take(&self, count: usize) -> Vec<Value> {
        let (mut taken, end) = (Vec::new(), Instant::now() + LIMIT);
        while taken.len() < count {
            assert!(Instant::now() < end, "only {taken:?}");
            let answer = self.poll();
            assert_eq!(answer.status, 200, "{answer:?}");
            let body = answer.json();
            assert_eq!(body["token"], self.token, "{body} after {taken:?}");
            taken.extend(messages(&body));
        }
        assert_eq!(taken.len(), count, "{taken:?}");
        taken
    }

    /// Joins a topic that must let it in; the reply is all that comes.
    pub fn joined(&self, topic: &str) {
        assert_eq!(self.post(&[json!(["1", "1", topic, "phx_join", {}])]), 200);
        assert_eq!(self.take(1), [reply("1", "1", topic, &json!({}))]);
    }
}

/// The token of a session that an answer has just opened.
pub fn new_token(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    let token = body["token"].as_str().unwrap_or_default().to_owned();
    assert_eq!(body, json!({"status": 410, "token": token, "messages": []}));
    assert!(token.len() > 40, "{body}");
    token
}

/// The messages of an answer: strings, each JSON.
pub fn messages(body: &Value) -> Vec<Value> {
    let list = body["messages"].as_array();
    let list = list.unwrap_or_else(|| panic!("no messages: {body}"));
    let parse = |one: &Value| {
        let text = one.as_str().unwrap_or_else(|| panic!("no string: {one}"));
        serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
    };
    list.iter().map(parse).collect()
}

/// An `ok` reply in V2.
pub fn reply(join_ref: &str, reference: &str, topic: &str, response: &Value) -> Value {
    let payload = json!({"status": "ok", "response": response});
    json!([join_ref, reference, topic, "phx_reply", payload])
}
