//! The transcripts on the pure socket: no network, no runtime, no clock.
//!
//! It never sends a byte. What a worker does with a socket's outputs is done here by doubles.

#[path = "support/fixture_channels.rs"]
mod fixture_channels;
#[path = "support/transcript.rs"]
mod transcript;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fanfare::channel::{
    Accepted, Audience, AuthError, Authenticated, Client, ConnectInfo, Effect, Game, Gate, History,
    Info, Membership, Params, PendingTurn, Ports, Position, TrackError, Unavailable, Video,
};
use fanfare::clock;
use fanfare::protocol::{Broadcast, Fastlane, Frame, FrameKind, Payload, Serializer, Topic};
use fanfare::socket::{ChannelId, Host, Metrics, Output, Socket, Surroundings};
use futures_util::future::{BoxFuture, LocalBoxFuture};
use transcript::{Got, Sent, Transport, bad_cases_fail, play_all};

/// A node without a store: the fixture channels ask it for nothing.
struct NoStore;

impl Ports for NoStore {
    fn history(
        &self,
        _: Topic,
        _: Position,
        _: usize,
    ) -> BoxFuture<'static, Result<History, Unavailable>> {
        Box::pin(ready(Err(Unavailable)))
    }

    fn subscribers(&self, _: Topic) -> BoxFuture<'static, usize> {
        Box::pin(ready(0))
    }

    fn game(&self, _: String, _: bool) -> BoxFuture<'static, Result<Option<Game>, Unavailable>> {
        Box::pin(ready(Err(Unavailable)))
    }

    fn video(&self, _: i64, _: bool) -> BoxFuture<'static, Result<Option<Video>, Unavailable>> {
        Box::pin(ready(Err(Unavailable)))
    }

    fn authenticate(&self, _: String) -> BoxFuture<'static, Result<Authenticated, AuthError>> {
        Box::pin(ready(Err(AuthError::Unavailable)))
    }
}

/// One channel of one client.
type Seat = (usize, ChannelId);

/// How deliveries reach a subscriber.
enum Mode {
    /// Its join is not answered yet.
    Held(Vec<Arc<Fastlane>>),
    Live(&'static [&'static str]),
}

struct Subscriber {
    seat: Seat,
    topic: Topic,
    mode: Mode,
}

type Table = Rc<RefCell<Vec<Subscriber>>>;

/// A channel's place in its topic.
struct Place {
    table: Table,
    seat: Seat,
    topic: Topic,
}

impl Membership for Place {
    fn subscribe(&self) -> LocalBoxFuture<'static, Result<(), Unavailable>> {
        let mut table = self.table.borrow_mut();
        if !table.iter().any(|one| one.seat == self.seat) {
            table.push(Subscriber {
                seat: self.seat,
                topic: self.topic.clone(),
                mode: Mode::Held(Vec::new()),
            });
        }
        Box::pin(ready(Ok(())))
    }

    fn set_floor(&self, _: u64, _: &str) {}

    fn track(&self, _: &str, _: &Payload) -> Result<(), TrackError> {
        Err(TrackError::Refused)
    }

    fn update(&self, _: &str, _: &Payload) -> Result<(), TrackError> {
        Err(TrackError::NoPresence)
    }

    fn untrack(&self, _: &str) {}

    fn presences(&self) -> Payload {
        Payload::EMPTY
    }
}

/// Makes the places of one client's channels.
struct Places {
    table: Table,
    client: usize,
}

impl Host for Places {
    fn membership(&self, channel: ChannelId, topic: &Topic) -> Rc<dyn Membership> {
        Rc::new(Place {
            table: self.table.clone(),
            seat: (self.client, channel),
            topic: topic.clone(),
        })
    }
}

struct Peer {
    name: String,
    serializer: Serializer,
    socket: Socket,
    inbox: VecDeque<Got>,
}

impl Peer {
    fn take(&mut self, frame: &Frame) {
        let bytes = frame.payload();
        self.inbox.push_back(match frame.kind() {
            FrameKind::Text => Got::Text(String::from_utf8(bytes.to_vec()).expect("UTF-8")),
            FrameKind::Binary => Got::Binary(bytes.to_vec()),
            FrameKind::Close => panic!("a socket closes with an output"),
        });
    }
}

/// Sockets, and the doubles that perform their outputs in the worker's order.
struct Pure {
    around: Arc<Surroundings>,
    peers: Vec<Peer>,
    table: Table,
    turns: Vec<(Seat, PendingTurn)>,
    timers: VecDeque<(Seat, Info)>,
    /// Broadcasts that go through a channel, once the outputs at hand are performed.
    intercepted: VecDeque<(Seat, Arc<Fastlane>)>,
}

impl Pure {
    fn new() -> Self {
        let registry = prometheus::Registry::new();
        let metrics = Metrics::register(&registry).expect("an empty registry");
        let waited = metrics
            .limit_reached
            .with_label_values(&["joins_in_flight"]);
        let joins = Gate::new(1_000, metrics.joins_in_flight.clone(), waited);
        Self {
            around: Arc::new(Surroundings {
                router: Arc::new(fixture_channels::router()),
                ports: Arc::new(NoStore),
                limits: Arc::new(fixture_channels::limits()),
                metrics,
                joins: Arc::new(joins),
            }),
            peers: Vec::new(),
            table: Table::default(),
            turns: Vec::new(),
            timers: VecDeque::new(),
            intercepted: VecDeque::new(),
        }
    }

    fn at(&self, client: &str) -> usize {
        let found = self.peers.iter().position(|peer| peer.name == client);
        found.unwrap_or_else(|| panic!("client `{client}` is not open"))
    }

    /// Feeds a socket, and performs what it puts out and what follows from that.
    fn drive(&mut self, client: usize, feed: impl FnOnce(&mut Socket, &mut Vec<Output>)) {
        self.feed(client, feed);
        while let Some(((client, channel), fastlane)) = self.intercepted.pop_front() {
            self.feed(client, |socket, out| {
                socket.intercepted(channel, fastlane, out)
            });
        }
    }

    fn feed(&mut self, client: usize, feed: impl FnOnce(&mut Socket, &mut Vec<Output>)) {
        let mut outputs = Vec::new();
        feed(&mut self.peers[client].socket, &mut outputs);
        self.perform(client, outputs);
    }

    fn perform(&mut self, client: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(frame) => self.peers[client].take(&frame),
                Output::Wait { channel, turn, .. } => self.turns.push(((client, channel), turn)),
                Output::Live {
                    channel,
                    intercepts,
                } => self.go_live((client, channel), intercepts),
                Output::Left { channel } => {
                    let seat = (client, channel);
                    self.turns.retain(|(at, _)| *at != seat);
                    self.table.borrow_mut().retain(|one| one.seat != seat);
                }
                Output::Perform { channel, effect } => self.effect((client, channel), effect),
                Output::Close(reason) => {
                    let closed = Got::Closed(reason.code());
                    self.peers[client].inbox.push_back(closed);
                    self.feed(client, Socket::end_all);
                }
            }
        }
    }

    fn go_live(&mut self, seat: Seat, intercepts: &'static [&'static str]) {
        let mut held = Vec::new();
        for one in self.table.borrow_mut().iter_mut() {
            if one.seat == seat
                && let Mode::Held(waiting) =
                    std::mem::replace(&mut one.mode, Mode::Live(intercepts))
            {
                held = waiting;
            }
        }
        for fastlane in held {
            self.deliver(seat, &fastlane, intercepts);
        }
    }

    fn deliver(&mut self, seat: Seat, fastlane: &Arc<Fastlane>, intercepts: &[&str]) {
        if intercepts.contains(&fastlane.broadcast().event.as_str()) {
            self.intercepted.push_back((seat, fastlane.clone()));
        } else if let Some(frame) = fastlane.frame(self.peers[seat.0].serializer) {
            self.peers[seat.0].take(frame);
        }
    }

    fn effect(&mut self, from: Seat, effect: Effect) {
        match effect {
            Effect::Broadcast {
                topic,
                event,
                payload,
                audience,
            } => {
                let event = event.into();
                let broadcast = Broadcast {
                    topic,
                    event,
                    payload,
                };
                self.broadcast(from, Arc::new(Fastlane::new(broadcast)), audience);
            }
            Effect::After { info, .. } => self.timers.push_back((from, info)),
            Effect::Push { .. } | Effect::Reply { .. } => panic!("the socket sends these itself"),
            Effect::Save { .. } | Effect::Disconnect { .. } => {
                panic!("the fixture channels do not ask for this")
            }
        }
    }

    fn broadcast(&mut self, from: Seat, fastlane: Arc<Fastlane>, audience: Audience) {
        let mut live = Vec::new();
        for one in self.table.borrow_mut().iter_mut() {
            let excepted = audience == Audience::Others && one.seat == from;
            if one.topic != fastlane.broadcast().topic || excepted {
                continue;
            }
            match &mut one.mode {
                Mode::Held(held) => held.push(fastlane.clone()),
                Mode::Live(intercepts) => live.push((one.seat, *intercepts)),
            }
        }
        for (seat, intercepts) in live {
            self.deliver(seat, &fastlane, intercepts);
        }
    }

    /// Polls the callbacks that wait until none of them gets further.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for ((client, channel), mut turn) in std::mem::take(&mut self.turns) {
                let mut task = Context::from_waker(Waker::noop());
                match Pin::new(&mut turn).poll(&mut task) {
                    Poll::Ready(end) => {
                        moved = true;
                        self.drive(client, |socket, out| socket.resume(channel, end, out));
                    }
                    Poll::Pending => {
                        self.turns.push(((client, channel), turn));
                        self.drive(client, |socket, out| socket.flush_channel(channel, out));
                    }
                }
            }
        }
    }
}

impl Transport for Pure {
    fn open(&mut self, name: &str, vsn: &str) {
        let serializer = Serializer::negotiate(Some(vsn)).expect("a version that is spoken");
        let info = ConnectInfo {
            peer: ([127, 0, 0, 1], 1).into(),
            scheme: String::from("http"),
            host: String::from("localhost"),
            port: 80,
            path: String::from("/socket/websocket"),
            query: String::new(),
            headers: Vec::new(),
            auth_token: None,
        };
        let client = Client::new(Accepted::default()).keeping(Params::default(), info);
        let host = Places {
            table: self.table.clone(),
            client: self.peers.len(),
        };
        let around = self.around.clone();
        self.peers.push(Peer {
            name: name.to_owned(),
            serializer,
            socket: Socket::new(serializer, Rc::new(client), around, Rc::new(host)),
            inbox: VecDeque::new(),
        });
    }

    fn send(&mut self, client: &str, frame: Sent) {
        let (at, now) = (self.at(client), clock::now());
        self.drive(at, |socket, out| match frame {
            Sent::Text(text) => socket.receive_text(&text.into(), now, out),
            Sent::Binary(bytes) => socket.receive_binary(&bytes.into(), now, out),
        });
        self.settle();
    }

    /// Time passes only when a client waits for a frame that needs it.
    fn next(&mut self, client: &str) -> Option<Got> {
        let at = self.at(client);
        while self.peers[at].inbox.is_empty() {
            let ((client, channel), info) = self.timers.pop_front()?;
            self.drive(client, |socket, out| socket.info(channel, info, out));
            self.settle();
        }
        self.peers[at].inbox.pop_front()
    }

    fn left_over(&mut self, client: &str) -> Option<Got> {
        let at = self.at(client);
        self.peers[at].inbox.pop_front()
    }
}

#[test]
fn every_transcript_holds_on_the_pure_socket() {
    play_all(|| Box::new(Pure::new()));
}

#[test]
fn a_bad_transcript_fails() {
    bad_cases_fail(|| Box::new(Pure::new()));
}
