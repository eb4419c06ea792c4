//! The transcripts on a real WebSocket: a node of two workers that serves the fixture channels.
//!
//! It never looks into the node; every case opens connections of its own.

mod support;

#[path = "support/fixture_channels.rs"]
mod fixture_channels;
#[path = "support/fixture_node.rs"]
mod fixture_node;
#[path = "support/transcript.rs"]
mod transcript;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

use fanfare::gateway::Started;
use support::ws::{Frame, Handshake, LIMIT, Wire};
use transcript::{Got, Sent, Transport, bad_cases_fail, play_all};

/// The address of a node that serves the fixture channels; it runs as long as the tests.
fn server() -> SocketAddr {
    static STARTED: OnceLock<Started> = OnceLock::new();
    STARTED.get_or_init(fixture_node::start).clients()
}

/// A client, and what its own heartbeats are called.
struct Peer {
    wire: Wire,
    vsn: String,
    heartbeats: u32,
    ended: bool,
}

/// WebSockets to one address.
struct Sockets {
    address: SocketAddr,
    peers: BTreeMap<String, Peer>,
}

impl Sockets {
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
        Some(match self.wire.read_until(Instant::now() + LIMIT)? {
            Frame::Text(text) => Got::Text(text),
            Frame::Binary(bytes) => Got::Binary(bytes),
            Frame::Close(code) => {
                self.ended = true;
                Got::Closed(code.unwrap_or(1005))
            }
            Frame::Ended => {
                self.ended = true;
                Got::Closed(1006)
            }
            ping @ (Frame::Ping(_) | Frame::Pong(_)) => panic!("the server sent {ping:?}"),
        })
    }
}

impl Transport for Sockets {
    fn open(&mut self, client: &str, vsn: &str) {
        let opened = Handshake::new(self.address, &format!("vsn={vsn}")).open();
        let wire = opened.unwrap_or_else(|said| panic!("refused: {said:?}"));
        let peer = Peer {
            wire,
            vsn: vsn.to_owned(),
            heartbeats: 0,
            ended: false,
        };
        self.peers.insert(client.to_owned(), peer);
    }

    fn send(&mut self, client: &str, frame: Sent) {
        let wire = &mut self.peer(client).wire;
        match frame {
            Sent::Text(text) => wire.text(&text),
            Sent::Binary(bytes) => wire.binary(&bytes),
        }
    }

    fn next(&mut self, client: &str) -> Option<Got> {
        self.peer(client).read()
    }

    /// Frames are taken in order, so what came of them is here before the answer to a heartbeat.
    fn left_over(&mut self, client: &str) -> Option<Got> {
        let peer = self.peer(client);
        if peer.ended {
            return None;
        }
        peer.heartbeats += 1;
        let (ask, answer) = fixture_node::heartbeat(&peer.vsn, peer.heartbeats);
        peer.wire.text(&ask);
        let got = peer.read();
        got.filter(|got| *got != Got::Text(answer))
    }
}

#[test]
fn every_transcript_holds_on_a_websocket() {
    let address = server();
    play_all(|| Box::new(Sockets::new(address)));
}

#[test]
fn a_bad_transcript_fails() {
    let address = server();
    bad_cases_fail(|| Box::new(Sockets::new(address)));
}
