//! One connection of a client: joins, sends, retries, heartbeats, leaves.
//!
//! It never outlives its connection; what lasts is the client's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::client::Client;
use super::story::{End, Event, Name, Sound};
use super::wire::{self, Heard, Socket};

/// How often a client looks at what is due.
const TICK: Duration = Duration::from_millis(100);

/// How often it sends a heartbeat, and how long the answer may take.
const HEARTBEAT: Duration = Duration::from_secs(2);
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(6);

/// How long a join may take, and how long a record's answer before it is sent again.
const JOIN_LIMIT: Duration = Duration::from_secs(10);
const RECORD_LIMIT: Duration = Duration::from_secs(8);

/// Records that may be under way at once.
const UNDER_WAY_MAX: usize = 8;

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    JoinRoom,
    LeaveRoom,
    JoinRelay,
    Record(u32),
    Say(Sound),
    Heartbeat,
}

/// Where a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    /// To be joined from then on.
    Out(Instant),
    /// Its join, or its leave, is asked since then.
    Waits(Instant),
    In,
}

/// A connection's state.
pub struct Session<'a> {
    client: &'a mut Client,
    socket: Socket,
    asked: HashMap<u64, Asked>,
    refs: u64,
    room: Channel,
    relay: Channel,
    room_join: u64,
    relay_join: u64,
    said: u32,
    beat_at: Instant,
    unanswered_beat: Option<Instant>,
    leaves_at: Instant,
    stalls: watch::Receiver<(u64, Duration)>,
}

impl<'a> Session<'a> {
    /// Starts on an open socket.
    pub fn new(client: &'a mut Client, socket: Socket) -> Self {
        let now = Instant::now();
        let stay = client.plan.stay.as_millis() as u64;
        let leaves_at = now + client.dice.ms(stay / 4..stay * 2);
        let mut stalls = client.plan.stalls.subscribe();
        stalls.mark_unchanged();
        Self {
            client,
            socket,
            asked: HashMap::new(),
            refs: 0,
            room: Channel::Out(now),
            relay: Channel::Out(now),
            room_join: 0,
            relay_join: 0,
            said: 0,
            beat_at: now + HEARTBEAT,
            unanswered_beat: None,
            leaves_at,
            stalls,
        }
    }

    /// Runs until the connection is over.
    pub async fn run(mut self) -> End {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                heard = self.socket.next() => match heard {
                    Ok(heard) => self.take(heard),
                    Err(end) => Err(end),
                },
                _ = tick.tick() => self.tick().await,
                Ok(()) = self.stalls.changed() => {
                    let (percent, time) = *self.stalls.borrow_and_update();
                    if self.client.dice.percent(percent) {
                        self.client.stall(time).await;
                        self.unanswered_beat = None;
                    }
                    Ok(())
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Does what is due.
    async fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        self.client.hear_twins();
        self.join(now).await?;
        if now >= self.beat_at {
            self.beat_at = now + HEARTBEAT;
            self.unanswered_beat.get_or_insert(now);
            let beat = |of| json!([null, of, "phoenix", "heartbeat", {}]);
            self.ask(Asked::Heartbeat, beat).await?;
        }
        let late = |since: Instant, limit| now.duration_since(since) > limit;
        let waits = [self.room, self.relay]
            .into_iter()
            .any(|channel| match channel {
                Channel::Waits(since) => late(since, JOIN_LIMIT),
                Channel::Out(_) | Channel::In => false,
            });
        if waits
            || self
                .unanswered_beat
                .is_some_and(|since| late(since, HEARTBEAT_LIMIT))
        {
            return Err(End::Silent);
        }
        let is_publishing = self.client.plan.publishing.load(Ordering::Relaxed);
        if is_publishing {
            self.publish().await?;
        }
        self.send_records(now).await?;
        if is_publishing && now >= self.leaves_at && self.room == Channel::In {
            return self.go(now).await;
        }
        Ok(())
    }

    /// Leaves the room to join it again, or ends the connection.
    async fn go(&mut self, now: Instant) -> Result<(), End> {
        if !self.client.dice.percent(25) {
            return Err(End::Own);
        }
        let stay = self.client.plan.stay.as_millis() as u64;
        self.leaves_at = now + self.client.dice.ms(stay / 4..stay * 2);
        self.client.progress.joined.store(false, Ordering::Release);
        self.room = Channel::Waits(now);
        // A channel that is left answers nothing more.
        self.client.forget_sending();
        let (topic, join) = (self.room_topic(), self.room_join.to_string());
        let leave = move |of| json!([join, of, topic, "phx_leave", {}]);
        self.ask(Asked::LeaveRoom, leave).await
    }

    async fn join(&mut self, now: Instant) -> Result<(), End> {
        if matches!(self.room, Channel::Out(from) if from <= now) {
            self.room = Channel::Waits(now);
            self.room_join = self.refs + 1;
            let position = match &self.client.position {
                Some((id, epoch)) => json!({"last_seen_id": id, "last_seen_epoch": &**epoch}),
                None => json!({}),
            };
            let topic = self.room_topic();
            let join = move |of: String| json!([of.clone(), of, topic, "phx_join", position]);
            self.ask(Asked::JoinRoom, join).await?;
        }
        if matches!(self.relay, Channel::Out(from) if from <= now) {
            self.relay = Channel::Waits(now);
            self.relay_join = self.refs + 1;
            let topic = self.relay_topic();
            let join = move |of: String| json!([of.clone(), of, topic, "phx_join", {}]);
            self.ask(Asked::JoinRelay, join).await?;
        }
        Ok(())
    }

    /// Makes records and says something, as often as the plan wants it on average.
    async fn publish(&mut self) -> Result<(), End> {
        let chance = |every: Duration| (100_000 * TICK.as_millis() / every.as_millis()) as u64;
        let due = |client: &mut Client, every| client.dice.within(0..100_000) < chance(every);
        let record_every = self.client.plan.record_every;
        // A third of them come in threes, so that several are under way at once.
        if due(self.client, record_every * 5 / 3) {
            let count = if self.client.dice.percent(33) { 3 } else { 1 };
            for _ in 0..count {
                self.client.write();
            }
        }
        let sound_every = self.client.plan.sound_every;
        if due(self.client, sound_every) && self.relay == Channel::In {
            self.said += 1;
            let sound = Sound {
                author: self.client.story.client,
                connection: self.client.connections,
                number: self.said,
            };
            let said = json!({"p": sound.author, "c": sound.connection, "s": sound.number});
            let (topic, join) = (self.relay_topic(), self.relay_join.to_string());
            self.client.note(Event::Said(sound));
            let say = move |of| json!([join, of, topic, "tick", said]);
            self.ask(Asked::Say(sound), say).await?;
        }
        Ok(())
    }

    /// Sends the records that are due, in their order; one without an answer is sent again.
    async fn send_records(&mut self, now: Instant) -> Result<(), End> {
        if self.room != Channel::In {
            return Ok(());
        }
        let mut due = Vec::new();
        for pending in self.client.pending.iter_mut().take(UNDER_WAY_MAX) {
            let is_late = |sent| now.duration_since(sent) > RECORD_LIMIT;
            if pending.not_before <= now && pending.sent_at.is_none_or(is_late) {
                pending.sent_at = Some(now);
                due.push((pending.number, pending.padding));
            }
        }
        for (number, padding) in due {
            let name = Name {
                author: self.client.story.client,
                number,
            };
            let key = format!("k{number}");
            let record = json!({"message": wire::text(name, padding), "client_key": key});
            let (topic, join) = (self.room_topic(), self.room_join.to_string());
            self.client.note(Event::Sent(number));
            if self.client.dice.percent(self.client.plan.twins_percent) {
                // Two attempts: whichever is stored first gives the record its place.
                self.client.note(Event::Sent(number));
                self.client.send_twin(topic.clone(), record.clone(), number);
            }
            let send = move |of| json!([join, of, topic, "new_message", record]);
            self.ask(Asked::Record(number), send).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, asked: Asked, frame: impl FnOnce(String) -> Value) -> Result<(), End> {
        self.refs += 1;
        self.asked.insert(self.refs, asked);
        let frame = frame(self.refs.to_string());
        self.socket.send(frame.to_string()).await
    }

    /// Takes what arrived.
    fn take(&mut self, heard: Heard) -> Result<(), End> {
        match heard {
            Heard::Reply { of, ok, response } => {
                if let Some(asked) = self.asked.remove(&of) {
                    self.answered(asked, ok, &response);
                }
            }
            Heard::Record { id, uid, name } => self.client.received(id, uid, name),
            Heard::Sound(sound) => self.client.heard(sound),
            Heard::Gap { of_relay: true, .. } => self.client.note(Event::RelayGap),
            Heard::Gap { gap, .. } => match gap {
                Some(gap) => self.client.told(gap),
                None => self
                    .client
                    .note(Event::Rejected("a gap without ids".into())),
            },
            // Leaving is answered before the channel's end is told, so an end in `In` is a crash.
            Heard::ChannelOver { of_relay: true } if self.relay == Channel::In => {
                return Err(End::Broken);
            }
            Heard::ChannelOver { of_relay: false } if self.room == Channel::In => {
                return Err(End::Broken);
            }
            Heard::ChannelOver { .. } | Heard::Else => {}
        }
        Ok(())
    }

    fn answered(&mut self, asked: Asked, ok: bool, response: &Value) {
        let now = Instant::now();
        let later = now + self.client.dice.ms(50..400);
        match (asked, ok) {
            (Asked::JoinRoom, true) => self.room_joined(response),
            (Asked::JoinRoom, false) => self.room = Channel::Out(later),
            (Asked::LeaveRoom, _) => self.room = Channel::Out(later),
            (Asked::JoinRelay, true) => {
                self.relay = Channel::In;
                self.client.note(Event::Listening);
            }
            (Asked::JoinRelay, false) => self.relay = Channel::Out(later),
            (Asked::Record(number), true) => {
                let uid = response["uid"]
                    .as_str()
                    .and_then(|uid| uid.parse::<uuid::Uuid>().ok());
                match (response["id"].as_u64(), uid) {
                    (Some(id), Some(uid)) => self.client.acked(number, id, uid.as_u128()),
                    _ => self.client.note(Event::Rejected(response.to_string())),
                }
            }
            (Asked::Record(number), false) => match response["reason"].as_str() {
                Some("unavailable" | "rate limited" | "unmatched topic") => {
                    self.client.refused(number);
                }
                _ => self.client.note(Event::Rejected(response.to_string())),
            },
            (Asked::Say(sound), true) => self.client.note(Event::SaidOk(sound)),
            (Asked::Say(_), false) => {}
            (Asked::Heartbeat, _) => self.unanswered_beat = None,
        }
        let both = self.room == Channel::In && self.relay == Channel::In;
        self.client.progress.joined.store(both, Ordering::Release);
    }

    fn room_joined(&mut self, response: &Value) {
        self.room = Channel::In;
        let epoch: Arc<str> = response["epoch"].as_str().unwrap_or("").into();
        let last_id = response["last_id"].as_u64().unwrap_or(0);
        let gaps = match (&response["gaps"], &response["gap"]) {
            (Value::Array(all), _) => all.iter().filter_map(wire::gap).collect(),
            (_, one) => wire::gap(one).into_iter().collect(),
        };
        self.client.joined(epoch, last_id, gaps);
    }

    fn room_topic(&self) -> String {
        format!("chat_room:{}", self.client.story.room)
    }

    fn relay_topic(&self) -> String {
        format!("relay:{}", self.client.story.relay)
    }
}
