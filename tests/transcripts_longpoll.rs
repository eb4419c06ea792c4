//! The transcripts on long-poll: each frame a POST of its own, while a thread polls as clients do.
//!
//! Bytes do not reach such a client and an end has no code; all else is as on a WebSocket.

mod support;

#[path = "support/fixture_channels.rs"]
mod fixture_channels;
#[path = "support/fixture_node.rs"]
mod fixture_node;
#[path = "support/transcript.rs"]
mod transcript;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare::gateway::Started;
use serde_json::Value;
use support::longpoll::{NDJSON, Poller};
use transcript::{Got, Sent, Transport, UNTOLD, bad_cases_fail, play_all};

/// How long a test waits for a frame.
const LIMIT: Duration = Duration::from_secs(10);

fn server() -> SocketAddr {
    static STARTED: OnceLock<Started> = OnceLock::new();
    STARTED.get_or_init(fixture_node::start).clients()
}

/// A session, and what was polled.
struct Peer {
    poller: Poller,
    polled: Receiver<Got>,
    vsn: String,
    heartbeats: u32,
    ended: bool,
    /// Keeps the polling thread going.
    _needed: Arc<()>,
}

/// Polls until the session ends or is needed no more.
fn poll(poller: &Poller, tell: &Sender<Got>, needed: &Weak<()>) {
    while needed.strong_count() > 0 {
        let body = poller.poll().json();
        let frames = body["messages"].as_array().expect("a list");
        let texts = frames.iter().map(|text| text.as_str().expect("a string"));
        let ended = (body["status"] == 410).then_some(Got::Closed(UNTOLD));
        let ended_now = ended.is_some();
        for got in texts.map(|text| Got::Text(text.to_owned())).chain(ended) {
            if tell.send(got).is_err() {
                return;
            }
        }
        if ended_now {
            return;
        }
    }
}

struct Sessions {
    address: SocketAddr,
    peers: BTreeMap<String, Peer>,
}

impl Sessions {
    fn new(address: SocketAddr) -> Self {
        let peers = BTreeMap::new();
        Self { address, peers }
    }

    fn peer(&mut self, client: &str) -> &mut Peer {
        let found = self.peers.get_mut(client);
        found.unwrap_or_else(|| panic!("client `{client}` is not open"))
    }
}

impl Peer {
    fn read(&mut self) -> Option<Got> {
        let got = self.polled.recv_timeout(LIMIT).ok();
        self.ended |= matches!(got, Some(Got::Closed(_)));
        got
    }

    /// Posts a frame; one that waits is told as 408, and goes on all the same.
    fn post(&self, content_type: &str, body: &str) {
        let answer = self.poller.post_as(content_type, body);
        let known = [200, 408, 410].map(Value::from);
        assert!(known.contains(&answer["status"]), "{answer}");
    }
}

impl Transport for Sessions {
    fn open(&mut self, client: &str, vsn: &str) {
        let poller = Poller::open(self.address, &format!("vsn={vsn}"));
        let (tell, polled) = mpsc::channel();
        let (needed, own) = (Arc::new(()), poller.clone());
        let still = Arc::downgrade(&needed);
        thread::spawn(move || poll(&own, &tell, &still));
        let peer = Peer {
            poller,
            polled,
            vsn: vsn.to_owned(),
            heartbeats: 0,
            ended: false,
            _needed: needed,
        };
        self.peers.insert(client.to_owned(), peer);
    }

    fn send(&mut self, client: &str, frame: Sent) {
        match frame {
            Sent::Text(text) => self.peer(client).post("application/json", &text),
            Sent::Binary(bytes) => self.peer(client).post(NDJSON, &STANDARD.encode(bytes)),
        }
    }

    fn next(&mut self, client: &str) -> Option<Got> {
        self.peer(client).read()
    }

    /// Posts are taken in order, so what came of them is here before the answer to a heartbeat.
    fn left_over(&mut self, client: &str) -> Option<Got> {
        let peer = self.peer(client);
        if peer.ended {
            return None;
        }
        peer.heartbeats += 1;
        let (ask, answer) = fixture_node::heartbeat(&peer.vsn, peer.heartbeats);
        peer.post("application/json", &ask);
        let got = peer.read();
        got.filter(|got| *got != Got::Text(answer))
    }

    fn carries_bytes(&self) -> bool {
        false
    }
}

#[test]
fn every_transcript_holds_on_long_poll() {
    let address = server();
    play_all(|| Box::new(Sessions::new(address)));
}

#[test]
fn a_bad_transcript_fails() {
    let address = server();
    bad_cases_fail(|| Box::new(Sessions::new(address)));
}
