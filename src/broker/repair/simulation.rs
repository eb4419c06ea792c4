//! Three nodes over a simulated Redis that loses and repeats: every letter once and in order, or told.
//!
//! Time is simulated and every run follows from its seed; nothing is ever reordered on one link.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;

use super::{Message, Published, Reliability, To};
use crate::broker::envelope::Envelope;
use crate::broker::{Letter, NODES, nodes_topic};
use crate::protocol::Topic;

mod ledger;
mod trouble;
mod weathers;
mod wire;

use ledger::Ledger;
use wire::{Pipe, Random};

const TOPICS: usize = 4;

enum Up {
    Publish {
        channel: String,
        bytes: Bytes,
        through: u64,
    },
    Subscribe(Topic),
    Unsubscribe(Topic),
}

enum Down {
    Message { channel: String, bytes: Bytes },
    Subscribed(Topic),
}

struct Node {
    incarnation: u64,
    published: Published,
    reliability: Reliability,
    link: u64,
    /// The link is up; up to then it is not.
    down_until: Option<u64>,
    publishing: Pipe<Up>,
    answers: Pipe<u64>,
    asking: Pipe<Up>,
    pushes: Pipe<Down>,
    wanted: BTreeSet<Topic>,
    /// Topics that were subscribed on an earlier link.
    known: BTreeSet<Topic>,
    ledger: Ledger,
}

#[derive(Debug, Clone)]
struct Weather {
    seed: u64,
    /// Of 1,000 messages on their way to a subscriber.
    lost: u64,
    repeated: u64,
    /// Of 1,000 sendings, those that take up to 100 ms longer, and hold up what follows.
    held_up: u64,
    ring: usize,
    /// Of 1,000 milliseconds, those in which a node's link breaks.
    breaks: u64,
    /// Of 1,000 milliseconds, those in which a node dies and another takes its place.
    restarts: u64,
    /// Nodes come to topics and leave them.
    churn: bool,
    run_ms: u64,
}

struct World {
    weather: Weather,
    random: Random,
    start: Instant,
    now: u64,
    nodes: Vec<Node>,
    last_incarnation: u64,
    /// Channel to nodes, as Redis knows it.
    subscribed: HashMap<String, BTreeSet<usize>>,
    burst: Vec<u64>,
    /// A digest of everything that was said.
    said: DefaultHasher,
}

impl Node {
    fn new(incarnation: u64, weather: &Weather, now: Instant) -> Self {
        Self {
            incarnation,
            published: Published::new(weather.ring, usize::MAX),
            reliability: Reliability::new(1, now),
            link: 0,
            down_until: Some(0),
            publishing: Pipe(VecDeque::new()),
            answers: Pipe(VecDeque::new()),
            asking: Pipe(VecDeque::new()),
            pushes: Pipe(VecDeque::new()),
            wanted: BTreeSet::from([nodes_topic()]),
            known: BTreeSet::new(),
            ledger: Ledger::default(),
        }
    }
}

impl World {
    fn new(weather: Weather) -> Self {
        let start = Instant::now();
        let nodes = (1..4).map(|incarnation| Node::new(incarnation, &weather, start));
        let random = Random(weather.seed | 1);
        Self {
            nodes: nodes.collect(),
            weather,
            random,
            start,
            now: 0,
            last_incarnation: 3,
            subscribed: HashMap::new(),
            burst: vec![0; 3],
            said: DefaultHasher::new(),
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn topic(&mut self) -> Topic {
        let number = self.random.below(TOPICS as u64);
        format!("room:{number}").as_str().try_into().unwrap()
    }

    fn arrival(&mut self) -> u64 {
        let held_up = match self.random.one_in(self.weather.held_up) {
            true => self.random.below(100),
            false => 0,
        };
        self.now + 1 + self.random.below(3) + held_up
    }

    fn publish(&mut self, n: usize, topic: &Topic) {
        let (at, now) = (self.arrival(), self.instant());
        let node = &mut self.nodes[n];
        let place = node.published.number(topic, now);
        let envelope = Envelope {
            incarnation: node.incarnation,
            sequence: place.sequence,
            previous: place.previous,
            nth: place.nth,
            accepted_at: 0,
            topic: topic.clone(),
            letter: Letter::Presence(Bytes::from_static(b"12345678")),
        };
        let bytes = envelope.encode().unwrap();
        node.published.keep(place, bytes.clone());
        let (channel, through) = (topic.as_str().to_owned(), place.sequence);
        node.publishing.send(
            at,
            Up::Publish {
                channel,
                bytes,
                through,
            },
        );
    }

    fn say(&mut self, n: usize, to: To, message: &Message) {
        let bytes = message.encode(self.nodes[n].incarnation).unwrap();
        self.say_bytes(n, to, bytes);
    }

    fn say_bytes(&mut self, n: usize, to: To, bytes: Bytes) {
        let at = self.arrival();
        let channel = match to {
            To::Nodes => String::from(NODES),
            To::Node(incarnation) => format!("!node:{incarnation}"),
        };
        (self.now, n, &channel, &bytes).hash(&mut self.said);
        let through = 0;
        self.nodes[n].publishing.send(
            at,
            Up::Publish {
                channel,
                bytes,
                through,
            },
        );
    }

    fn want(&mut self, n: usize, topic: &Topic) {
        let (at, now) = (self.arrival(), self.instant());
        let node = &mut self.nodes[n];
        node.wanted.insert(topic.clone());
        if node.down_until.is_none() {
            node.reliability.subscribing(topic, now);
            node.asking.send(at, Up::Subscribe(topic.clone()));
        }
    }

    fn leave(&mut self, n: usize, topic: &Topic) {
        let at = self.arrival();
        let node = &mut self.nodes[n];
        node.wanted.remove(topic);
        node.known.remove(topic);
        node.reliability.forget(topic.as_str());
        node.ledger
            .due
            .retain(|(name, _), _| name != topic.as_str());
        node.asking.send(at, Up::Unsubscribe(topic.clone()));
    }

    fn redis_takes(&mut self, n: usize, up: Up) {
        let at = self.arrival();
        match up {
            Up::Publish {
                channel,
                bytes,
                through,
            } => {
                if through != 0 {
                    self.nodes[n].answers.send(at, through);
                    self.note_due(n, &channel, &bytes);
                }
                let nodes = self.subscribed.get(&channel).cloned().unwrap_or_default();
                for to in nodes {
                    self.push(to, &channel, &bytes);
                }
            }
            Up::Subscribe(topic) => {
                let nodes = self
                    .subscribed
                    .entry(topic.as_str().to_owned())
                    .or_default();
                nodes.insert(n);
                self.nodes[n].pushes.send(at, Down::Subscribed(topic));
            }
            Up::Unsubscribe(topic) => {
                if let Some(nodes) = self.subscribed.get_mut(topic.as_str()) {
                    nodes.remove(&n);
                }
            }
        }
    }

    /// A letter is due where the topic is subscribed, or was on a link that broke.
    fn note_due(&mut self, from: usize, channel: &str, bytes: &Bytes) {
        let envelope = Envelope::decode(bytes).unwrap();
        for (n, node) in self.nodes.iter_mut().enumerate() {
            let redis_knows = self
                .subscribed
                .get(channel)
                .is_some_and(|nodes| nodes.contains(&n));
            let wanted = node.wanted.contains(channel);
            if n != from && wanted && (redis_knows || node.known.contains(channel)) {
                let key = (channel.to_owned(), envelope.incarnation);
                node.ledger
                    .due
                    .entry(key)
                    .or_default()
                    .push_back(envelope.nth);
            }
        }
    }

    fn push(&mut self, to: usize, channel: &str, bytes: &Bytes) {
        if self.burst[to] > 0 {
            self.burst[to] -= 1;
            return;
        }
        if self.random.one_in(self.weather.lost) {
            // Now and then a run.
            self.burst[to] = if self.random.one_in(100) { 20 } else { 0 };
            return;
        }
        let copies = if self.random.one_in(self.weather.repeated) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let at = self.arrival();
            let (channel, bytes) = (channel.to_owned(), bytes.clone());
            self.nodes[to]
                .pushes
                .send(at, Down::Message { channel, bytes });
        }
    }

    fn node_takes(&mut self, n: usize, down: Down) {
        let now = self.instant();
        let origins: Vec<u64> = self.nodes.iter().map(|node| node.incarnation).collect();
        let node = &mut self.nodes[n];
        match down {
            Down::Subscribed(topic) => {
                if node.wanted.contains(&topic) {
                    let anew = node.known.insert(topic.clone());
                    node.reliability.subscribed(topic.as_str(), anew);
                }
            }
            Down::Message { channel, bytes } => {
                if Envelope::incarnation(&bytes) == Some(node.incarnation) {
                    return;
                }
                let ledger = &mut node.ledger;
                let mut tell = |told| ledger.told(told, &origins);
                if !Message::is(&bytes) {
                    let envelope = Envelope::decode(&bytes).unwrap();
                    let resent = channel.starts_with("!node:");
                    node.reliability.letter(envelope, resent, || now, &mut tell);
                    return;
                }
                let (from, message) = Message::decode(&bytes).unwrap();
                node.reliability
                    .message(from, message.clone(), now, &mut tell);
                self.answer(n, from, message);
            }
        }
    }

    fn answer(&mut self, n: usize, from: u64, message: Message) {
        let now = self.instant();
        let published = &mut self.nodes[n].published;
        let (letters, answer) = match message {
            Message::Inquiry { round, topics } => {
                (Vec::new(), published.standing(round, topics, now))
            }
            Message::Request(missing) => published.again(missing),
            _ => return,
        };
        for letter in letters {
            self.say_bytes(n, To::Node(from), letter);
        }
        self.say(n, To::Node(from), &answer);
    }

    /// One millisecond: what arrives, what is asked and announced.
    fn step(&mut self) {
        self.now += 1;
        let now = self.instant();
        let origins: Vec<u64> = self.nodes.iter().map(|node| node.incarnation).collect();
        for n in 0..self.nodes.len() {
            if self.nodes[n]
                .down_until
                .is_some_and(|until| until <= self.now)
            {
                self.mend_link(n);
            }
            while let Some(up) = self.nodes[n].publishing.receive(self.now) {
                self.redis_takes(n, up);
            }
            while let Some(up) = self.nodes[n].asking.receive(self.now) {
                self.redis_takes(n, up);
            }
            while let Some(through) = self.nodes[n].answers.receive(self.now) {
                self.nodes[n].published.answered(through, now);
            }
            while let Some(down) = self.nodes[n].pushes.receive(self.now) {
                self.node_takes(n, down);
            }
            let node = &mut self.nodes[n];
            let mut asks = node.reliability.is_asking();
            let rests = !node.reliability.is_restless();
            if self.now.is_multiple_of(if rests { 1_000 } else { 50 }) {
                let ledger = &mut node.ledger;
                node.reliability
                    .tick(now, &mut |told| ledger.told(told, &origins));
                asks = node.reliability.is_restless();
            }
            let announces = node.published.announces_at().is_none_or(|at| at <= now);
            let announcement = announces
                .then(|| node.published.announcement(now))
                .flatten();
            let requests = asks.then(|| node.reliability.requests(now));
            for (to, message) in requests.unwrap_or_default() {
                self.say(n, to, &message);
            }
            if let Some(message) = announcement {
                self.say(n, To::Nodes, &message);
            }
        }
    }

    /// Starts with every topic wanted by every node.
    fn start(weather: Weather) -> Self {
        let mut world = Self::new(weather);
        world.step();
        for n in 0..3 {
            for number in 0..TOPICS {
                let topic = format!("room:{number}").as_str().try_into().unwrap();
                world.want(n, &topic);
            }
        }
        world
    }

    /// Runs, rests until everything must have come, and checks that nothing is due without a word.
    fn run(weather: Weather) -> (u64, u64, u64) {
        Self::run_through(weather).settled()
    }

    fn run_through(weather: Weather) -> Self {
        let mut world = Self::start(weather);
        // What is published during a subscription may be sent again, which is no fault.
        let quiet = if world.weather.churn { 0 } else { 100 };
        (0..quiet).for_each(|_| world.step());
        for _ in 0..world.weather.run_ms {
            world.disturb();
            world.step();
        }
        world.weather.lost /= 10;
        for _ in 0..12_000 {
            world.step();
        }
        world
    }

    /// Returns how many were delivered, healed and lost, when nothing is due without a word.
    fn settled(&self) -> (u64, u64, u64) {
        let mut sum = (0, 0, 0);
        for node in &self.nodes {
            for (key, due) in &node.ledger.due {
                let excused = node.ledger.excused.contains(key);
                assert!(
                    due.is_empty() || excused,
                    "{key:?}: {due:?} never came in {:?}",
                    self.weather
                );
            }
            sum.0 += node.ledger.delivered;
            sum.1 += node.ledger.healed;
            sum.2 += node.ledger.lost;
        }
        sum
    }
}
