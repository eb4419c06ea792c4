//! A client: publishes, listens, goes away, comes back to another node with its position.
//!
//! It never judges; what it did and saw is its story.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use super::session::Session;
use super::story::{End, Event, Gap, Name, Sound, Story};
use super::twin::Twin;
use super::verdict::HISTORY;
use super::wire::Socket;
use crate::support::token;

/// What all clients of a run share.
pub struct Plan {
    /// When it began.
    pub begun: Instant,
    /// The way to each node.
    pub roads: Vec<SocketAddr>,
    /// The slow way to each node.
    pub slow_roads: Vec<SocketAddr>,
    /// Whether every fifth client goes the slow way.
    pub has_slow: bool,
    /// How long a client whose connection ended waits before it connects again, in milliseconds.
    pub back_ms: Range<u64>,
    /// The seed.
    pub seed: u64,
    /// Rooms.
    pub rooms: u32,
    /// Relay topics.
    pub relays: u32,
    /// The mean time between two records of a client.
    pub record_every: Duration,
    /// The mean time between two relayed messages of a client.
    pub sound_every: Duration,
    /// The mean time after which a client goes by itself.
    pub stay: Duration,
    /// How many in a hundred records are sent through two nodes at once.
    pub twins_percent: u64,
    /// Padding of a record, at most.
    pub padding: u64,
    /// A small receive buffer, where a client shall be felt as slow.
    pub buffer_bytes: Option<usize>,
    /// Whether clients publish and go away.
    pub publishing: AtomicBool,
    /// Ends the clients.
    pub over: watch::Sender<bool>,
    /// How many in a hundred stop reading, and for how long; counted.
    pub stalls: watch::Sender<(u64, Duration)>,
}

impl Plan {
    /// Milliseconds since the run began.
    pub fn now_ms(&self) -> u32 {
        u32::try_from(self.begun.elapsed().as_millis()).expect("a run of days")
    }
}

/// How far a client is, for those who wait.
#[derive(Debug, Default)]
pub struct Progress {
    /// Whether its room and its relay are joined.
    pub joined: AtomicBool,
    /// Its position in its room.
    pub position: AtomicU64,
    /// Records without an answer.
    pub pending: AtomicU32,
    /// Records and messages that arrived.
    pub heard: AtomicU64,
}

/// A record on its way.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its number.
    pub number: u32,
    /// Its padding, the same at each attempt.
    pub padding: usize,
    /// Whether it was sent on this connection.
    pub sent_at: Option<Instant>,
    /// Not to be sent before.
    pub not_before: Instant,
}

/// What a client keeps over its connections.
pub struct Client {
    /// The run's plan.
    pub plan: Arc<Plan>,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// Its own chance.
    pub dice: Dice,
    /// What it did and saw.
    pub story: Story,
    /// Its position: id and epoch.
    pub position: Option<(u64, Arc<str>)>,
    /// Records without an answer, oldest first.
    pub pending: Vec<Pending>,
    /// How many records it made.
    pub records: u32,
    /// How many connections it made.
    pub connections: u32,
    /// Twins under way.
    pub twins: JoinSet<Option<(u32, u64, u128)>>,
    token: String,
}

impl Client {
    /// Makes client `number` of a plan.
    pub fn new(plan: Arc<Plan>, progress: Arc<Progress>, number: u32) -> Self {
        let (id, dice) = (
            format!("p{number}"),
            Dice::new(plan.seed, u64::from(number)),
        );
        let story = Story {
            client: number,
            room: number % plan.rooms,
            relay: number % plan.relays,
            is_slow: plan.has_slow && number.is_multiple_of(5),
            events: Vec::new(),
        };
        Self {
            plan,
            progress,
            dice,
            story,
            position: None,
            pending: Vec::new(),
            records: 0,
            connections: 0,
            twins: JoinSet::new(),
            token: token::player(&id, &id),
        }
    }

    /// Lives until the plan is over; its story.
    pub async fn live(mut self) -> Story {
        let mut over = self.plan.over.subscribe();
        let mut road = self.story.client as usize % self.plan.roads.len();
        loop {
            let is_over = tokio::select! {
                _ = over.wait_for(|over| *over) => true,
                () = self.visit(road) => false,
            };
            if is_over {
                return self.story;
            }
            // To another node, mostly.
            let step = self.dice.within(1..self.plan.roads.len().max(2) as u64 + 1);
            road = (road + step as usize) % self.plan.roads.len();
        }
    }

    /// One connection to a node, to its end.
    async fn visit(&mut self, node: usize) {
        let roads = match self.story.is_slow {
            true => &self.plan.slow_roads,
            false => &self.plan.roads,
        };
        let to = roads[node];
        let opened = Socket::connect(to, &self.token, self.plan.buffer_bytes).await;
        let Some(socket) = opened else {
            return sleep(self.dice.ms(100..400)).await;
        };
        self.connections += 1;
        self.note(Event::Opened { node });
        self.forget_sending();
        let end = Session::new(self, socket).run().await;
        self.progress.joined.store(false, Ordering::Release);
        self.note(Event::Ended(end));
        let back = match end {
            // One that went by itself sometimes is back at once.
            End::Own if self.dice.percent(30) => Duration::from_millis(1),
            End::Own | End::Silent | End::Closed(_) | End::Broken => {
                self.dice.ms(self.plan.back_ms.clone())
            }
        };
        sleep(back).await;
    }

    /// Writes an entry.
    pub fn note(&mut self, event: Event) {
        self.story.events.push((self.plan.now_ms(), event));
    }

    /// Takes the answer to the room's join.
    pub fn joined(&mut self, epoch: Arc<str>, last_id: u64, gaps: Vec<Gap>) {
        let reset = gaps.iter().find(|gap| gap.reset);
        let position = match (&self.position, reset) {
            (None, _) => last_id.saturating_sub(HISTORY),
            (Some(_), Some(gap)) => gap.to,
            (Some((position, _)), None) => {
                gaps.iter().fold(
                    *position,
                    |at, gap| if gap.from == at + 1 { gap.to } else { at },
                )
            }
        };
        self.stand(position, epoch.clone());
        self.note(Event::Joined {
            epoch,
            last_id,
            gaps,
        });
    }

    /// Takes a record.
    pub fn received(&mut self, id: u64, uid: u128, name: Name) {
        if let Some((_, epoch)) = &self.position {
            self.stand(id, epoch.clone());
        }
        self.progress.heard.fetch_add(1, Ordering::Relaxed);
        self.note(Event::Received { id, uid, name });
    }

    /// Takes a gap of the room.
    pub fn told(&mut self, gap: Gap) {
        if let Some((position, epoch)) = &self.position {
            let epoch = gap.epoch.clone().unwrap_or_else(|| epoch.clone());
            let position = match gap.reset {
                true => gap.to,
                false => gap.to.max(*position),
            };
            self.stand(position, epoch);
        }
        self.note(Event::Told(gap));
    }

    /// Takes a relayed message.
    pub fn heard(&mut self, sound: Sound) {
        self.progress.heard.fetch_add(1, Ordering::Relaxed);
        self.note(Event::Heard(sound));
    }

    fn stand(&mut self, id: u64, epoch: Arc<str>) {
        self.progress.position.store(id, Ordering::Release);
        self.position = Some((id, epoch));
    }

    /// Makes a record to be sent.
    pub fn write(&mut self) {
        self.records += 1;
        let padding = self.dice.within(0..self.plan.padding) as usize;
        self.pending.push(Pending {
            number: self.records,
            padding,
            sent_at: None,
            not_before: Instant::now(),
        });
        self.count_pending();
    }

    /// Takes the acknowledgement of a record.
    pub fn acked(&mut self, number: u32, id: u64, uid: u128) {
        self.pending.retain(|pending| pending.number != number);
        self.count_pending();
        self.note(Event::Acked { number, id, uid });
    }

    /// Has a record sent through some other way, too.
    pub fn send_twin(&mut self, topic: String, record: Value, number: u32) {
        let road = self.dice.within(0..self.plan.roads.len() as u64) as usize;
        let twin = Twin {
            to: self.plan.roads[road],
            token: self.token.clone(),
            topic,
            record,
            number,
        };
        self.twins.spawn(twin.send());
    }

    /// Takes what twins were answered.
    pub fn hear_twins(&mut self) {
        while let Some(answer) = self.twins.try_join_next() {
            if let Some((number, id, uid)) = answer.expect("a twin that does not panic") {
                self.acked(number, id, uid);
            }
        }
        self.count_pending();
    }

    /// Takes the refusal of a record: it is sent again later.
    pub fn refused(&mut self, number: u32) {
        let later = Instant::now() + self.dice.ms(100..500);
        if let Some(pending) = self.pending.iter_mut().find(|one| one.number == number) {
            pending.sent_at = None;
            pending.not_before = later;
        }
        self.note(Event::Refused(number));
    }

    /// Has all records without an answer sent again.
    pub fn forget_sending(&mut self) {
        for pending in &mut self.pending {
            pending.sent_at = None;
        }
    }

    fn count_pending(&self) {
        let count = (self.pending.len() + self.twins.len()) as u32;
        self.progress.pending.store(count, Ordering::Release);
    }

    /// Stops reading for a while, without a word.
    pub async fn stall(&mut self, time: Duration) {
        self.note(Event::Stalled);
        let mut over = self.plan.over.subscribe();
        // The end of the run ends it early; the time is its usual end.
        let _ = timeout(time, over.wait_for(|over| *over)).await;
    }
}
