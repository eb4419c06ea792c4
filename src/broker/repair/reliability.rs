//! The receiving side: tells every letter of a subscribed topic once and in order, or that it is lost.
//!
//! Fed with letters, messages and the time; it has no I/O, never waits and never blocks another topic.

use std::time::{Duration, Instant};

use super::chain::{Chain, Fit, Told, place};
use super::holes::Holes;
use super::map::{Map, Set};
use super::message::{Asked, Message, Missing, Resent, Standing};
use super::origins::Origins;
use super::rounds::{Question, Rounds};
use super::subscription::Subscription;
use crate::broker::envelope::Envelope;
use crate::broker::sequence::{Position, Recent};
use crate::protocol::Topic;

/// Topics in one request.
const REQUEST_TOPICS: usize = 64;
/// Topics that were left lately and of which is known what was told, twice over.
const DEPARTED_TOPICS: usize = 4_096;
const DEPARTED_FOR: Duration = Duration::from_secs(5);
/// How long the answer to an inquiry may take without a second one; learnt from the answers.
const ROUND_TRIP: [Duration; 3] = [
    Duration::from_millis(2),
    Duration::from_millis(20),
    Duration::from_millis(500),
];

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Every other node.
    Nodes,
    /// One node, by its incarnation.
    Node(u64),
}

/// The receiving side of a node.
#[derive(Debug)]
pub struct Reliability {
    /// Bounded by the node's topics.
    topics: Map<Topic, Subscription>,
    holes: Holes,
    origins: Origins,
    rounds: Rounds,
    /// Origins of which an announcement did not arrive.
    suspects: Set<u64>,
    departed: Recent<Vec<(u64, Position)>>,
    departed_turned: Instant,
    /// How long an answer may take, see [`ROUND_TRIP`].
    round_trip: Duration,
    /// The link that listens; none while there is none.
    link: Option<u64>,
}

impl Reliability {
    /// Knows nobody and has no topic; it is one of so many lanes of the node.
    pub fn new(lanes: usize, now: Instant) -> Self {
        Self {
            topics: Map::default(),
            holes: Holes::one_of(lanes),
            origins: Origins::default(),
            rounds: Rounds::default(),
            suspects: Set::default(),
            departed: Recent::new(DEPARTED_TOPICS),
            departed_turned: now,
            round_trip: ROUND_TRIP[1],
            link: None,
        }
    }

    /// Starts on a new link, on which everything is to be subscribed again.
    pub fn link_opened(&mut self, link: u64, now: Instant) {
        self.link = Some(link);
        self.origins.hear_all(now);
        self.holes.restart(now);
    }

    /// Stops all clocks.
    pub fn link_lost(&mut self) {
        self.link = None;
        self.rounds.clear();
        self.suspects.clear();
        for subscription in self.topics.values_mut() {
            subscription.acknowledged = false;
        }
    }

    /// Forgets topics that were not subscribed again on the link, which is restored.
    pub fn restored(&mut self) {
        let gone: Vec<Topic> = self
            .topics
            .iter()
            .filter(|(_, subscription)| Some(subscription.link) != self.link)
            .map(|(topic, _)| topic.clone())
            .collect();
        gone.iter().for_each(|topic| self.forget(topic.as_str()));
    }

    /// Notes that a subscription is about to be sent: what is published from here on may arrive.
    pub fn subscribing(&mut self, topic: &Topic, now: Instant) {
        let link = self.link.unwrap_or_default();
        let entry = self.topics.entry(topic.clone());
        let subscription = entry.or_insert_with(|| Subscription::new(link, now));
        subscription.link = link;
        subscription.sent = now;
    }

    /// Notes that a subscription is acknowledged; `anew`: what came on earlier links does not count.
    pub fn subscribed(&mut self, topic: &str, anew: bool) {
        let Some((topic, subscription)) = self.topics.get_key_value_mut(topic) else {
            return;
        };
        subscription.acknowledged = true;
        subscription.again = !anew;
        if anew {
            subscription.since = subscription.sent;
            for chain in &mut subscription.chains {
                self.holes.close(chain, topic);
                chain.settled = false;
            }
            // What was told before the topic was left is not told again.
            for (incarnation, last) in self.departed.remove(topic.as_str()).unwrap_or_default() {
                subscription
                    .chains
                    .push(Chain::unsettled(incarnation, last));
            }
        }
        self.rounds.add(topic.clone());
    }

    /// Forgets a topic: what is published while nobody here wants it is not missed.
    pub fn forget(&mut self, topic: &str) {
        let Some((topic, mut subscription)) = self.topics.remove_entry(topic) else {
            return;
        };
        for chain in &mut subscription.chains {
            self.holes.close(chain, &topic);
        }
        // A subscription that was never acknowledged knows nothing, and what is remembered of the one before stays.
        if !subscription.chains.is_empty() {
            let told = subscription.chains.iter();
            *self.departed.entry(&topic) = told.map(|one| (one.incarnation, one.last)).collect();
        }
    }

    /// Takes a letter; `resent`: it comes on this node's request. The time is asked for only when it is needed.
    pub fn letter(
        &mut self,
        envelope: Envelope,
        resent: bool,
        now: impl Fn() -> Instant,
        tell: &mut impl FnMut(Told),
    ) {
        let Some((topic, subscription)) = self.topics.get_key_value_mut(&envelope.topic) else {
            return;
        };
        if !subscription.acknowledged {
            return;
        }
        let place = place(&envelope);
        let Some(chain) = subscription.chain(envelope.incarnation, !resent) else {
            return;
        };
        if !chain.settled && !self.origins.knows(chain.incarnation) {
            // On the next link it is waited for, although it has said nothing yet but letters.
            self.origins.hear(chain.incarnation, now());
        }
        match chain.fit(place) {
            Fit::Next => {
                chain.advance(place.position());
                tell(Told::Letter {
                    envelope,
                    healed: resent,
                });
            }
            Fit::Duplicate => tell(Told::Duplicate),
            Fit::Early => self
                .holes
                .change(chain, topic, now(), tell, |open, _, tell| {
                    if !open.hole.hold(envelope, resent) {
                        tell(Told::Duplicate);
                    }
                }),
        }
    }

    /// Takes what another broker says.
    pub fn message(
        &mut self,
        origin: u64,
        message: Message,
        now: Instant,
        tell: &mut impl FnMut(Told),
    ) {
        self.origins.hear(origin, now);
        match message {
            Message::Announcement { number, topics } => {
                self.suspect(origin, number, true);
                for (topic, newest) in topics {
                    self.announced(origin, &topic, newest, now, tell);
                }
            }
            Message::Standing {
                round,
                announced,
                topics,
            } => {
                self.suspect(origin, announced, false);
                if let Some(took) = self.rounds.answered(round, origin, now) {
                    let [least, _, most] = ROUND_TRIP;
                    self.round_trip = ((self.round_trip + took * 2) / 2).clamp(least, most);
                }
                for standing in topics {
                    self.standing(origin, &standing, now, tell);
                }
            }
            Message::Outcome(topics) => {
                for resent in topics {
                    self.outcome(origin, &resent, now, tell);
                }
            }
            Message::Leaving => {
                self.origins.left(origin);
                self.rounds.left(origin);
                self.suspects.remove(&origin);
                let holes = self.holes.open.keys();
                let lost = holes.filter(|(one, _)| *one == origin).cloned().collect();
                self.give_up(lost, tell);
            }
            // Asked of the publishing side.
            Message::Inquiry { .. } | Message::Request(_) | Message::Probe(_) => {}
        }
    }

    /// Says whether something is missing, asked or suspected, so that time matters; if not, [`requests`](Self::requests) has none.
    pub fn is_restless(&self) -> bool {
        let asks = !self.suspects.is_empty() || !self.rounds.is_empty();
        self.link.is_some() && (asks || !self.holes.open.is_empty())
    }

    /// Lets time pass: gives up what took too long. To be called several times in 250 ms while it [is restless](Self::is_restless), and
    /// several times in 5 s while it is not.
    pub fn tick(&mut self, now: Instant, tell: &mut impl FnMut(Told)) {
        if self.link.is_none() {
            return;
        }
        if now.saturating_duration_since(self.departed_turned) >= DEPARTED_FOR {
            self.departed_turned = now;
            self.departed.turn();
        }
        for (silent, topics) in self.rounds.expired(now) {
            self.unanswered(&silent, topics, now, tell);
        }
        let lost = self.holes.expired(&self.origins, now);
        self.give_up(lost, tell);
        let forgotten = self.origins.forget_silent(now);
        if !forgotten.is_empty() {
            for subscription in self.topics.values_mut() {
                let chains = &mut subscription.chains;
                chains.retain(|chain| chain.open || !forgotten.contains(&chain.incarnation));
            }
        }
    }

    /// Says whether there is something to ask at once; what is to be asked again waits for its time.
    pub fn is_asking(&self) -> bool {
        self.link.is_some() && (self.holes.are_due() || self.rounds.are_due())
    }

    /// Returns what is to be asked now.
    pub fn requests(&mut self, now: Instant) -> Vec<(To, Message)> {
        let mut requests = Vec::new();
        if self.link.is_none() {
            return requests;
        }
        self.suspects.retain(|origin| {
            let busy = self.rounds.are_targeting(*origin);
            if !busy {
                self.rounds.target(*origin, self.topics.keys());
            }
            busy
        });
        let mut questions = self.rounds.repeat(now);
        if self.rounds.are_due() {
            let alive = self.origins.alive(now);
            while let Some(question) = self.rounds.start(&alive, now) {
                questions.push(question);
            }
        }
        for question in questions {
            self.ask_round(question, now, &mut requests);
        }
        self.ask_holes(now, &mut requests);
        requests
    }

    /// Asks an origin for all topics when an announcement did not arrive: it may have been the last word on any.
    fn suspect(&mut self, origin: u64, announced: u64, arrived: bool) {
        if self.origins.announced(origin, announced, arrived) {
            self.suspects.insert(origin);
        }
    }

    fn announced(
        &mut self,
        origin: u64,
        topic: &Topic,
        newest: Position,
        now: Instant,
        tell: &mut impl FnMut(Told),
    ) {
        let subscription = self.topics.get_mut(topic);
        let Some(subscription) = subscription.filter(|one| one.acknowledged) else {
            return;
        };
        if newest.sequence == 0 {
            return;
        }
        if let Some(chain) = subscription.chain(origin, true)
            && newest.sequence > chain.last.sequence
        {
            self.holes.change(chain, topic, now, tell, |open, _, _| {
                open.hole.expect(newest);
            });
        }
    }

    fn standing(
        &mut self,
        origin: u64,
        standing: &Standing,
        now: Instant,
        tell: &mut impl FnMut(Told),
    ) {
        let topic = &standing.topic;
        // An answer to a question of an earlier subscription says nothing of this one.
        let subscription = self.topics.get_mut(topic);
        let Some(subscription) = subscription.filter(|one| one.acknowledged) else {
            return;
        };
        let since = subscription.since_of(origin, &self.origins);
        let Some(chain) = subscription.chain(origin, true) else {
            return;
        };
        if chain.settled {
            return self.announced(origin, topic, standing.newest, now, tell);
        }
        let age = now.saturating_duration_since(since);
        let in_time = age <= Duration::from_micros(standing.age_us);
        self.holes
            .change(chain, topic, now, tell, |open, chain, tell| {
                open.hole.expect(standing.newest);
                if !in_time {
                    // It says nothing of what came right after the subscription; ask for older ones.
                    open.late += 1;
                    return;
                }
                let ahead = standing.baseline.sequence > chain.last.sequence;
                if ahead && !standing.complete {
                    open.hole.gone(chain, standing.baseline, topic, tell);
                } else if ahead {
                    chain.last = standing.baseline;
                }
                chain.settled = true;
            });
        if !in_time {
            self.holes.queue(&(origin, topic.clone()));
        }
    }

    fn outcome(&mut self, origin: u64, resent: &Resent, now: Instant, tell: &mut impl FnMut(Told)) {
        let topic = &resent.topic;
        let Some(subscription) = self.topics.get_mut(topic) else {
            return;
        };
        let Some(chain) = subscription.chain(origin, false).filter(|chain| chain.open) else {
            return;
        };
        self.holes
            .change(chain, topic, now, tell, |open, chain, tell| {
                if chain.settled {
                    open.hole.gone(chain, resent.gone, topic, tell);
                }
            });
        let key = (origin, topic.clone());
        if self
            .holes
            .open
            .get(&key)
            .is_some_and(|open| open.progressed)
        {
            self.holes.queue(&key);
        }
    }

    /// Ends a round that some have not answered: the living are asked again, the others count as gone.
    fn unanswered(
        &mut self,
        silent: &[u64],
        topics: Vec<Topic>,
        now: Instant,
        tell: &mut impl FnMut(Told),
    ) {
        for topic in topics {
            let Some(subscription) = self.topics.get_mut(&topic) else {
                continue;
            };
            let mut living = false;
            for origin in silent {
                if self.origins.is_alive(*origin, now) {
                    living = true;
                } else if subscription.again
                    && let Some(chain) = subscription.chain(*origin, false)
                    && !chain.open
                {
                    // It may have published while nothing arrived here, and nobody can say.
                    tell(Told::Lost {
                        topic: topic.clone(),
                        missed: None,
                    });
                }
            }
            if living {
                self.rounds.add(topic);
            }
        }
    }

    fn give_up(&mut self, lost: Vec<(u64, Topic)>, tell: &mut impl FnMut(Told)) {
        for (origin, topic) in lost {
            let subscription = self.topics.get_mut(&topic);
            if let Some(chain) = subscription.and_then(|one| one.chain(origin, false)) {
                self.holes.give_up(chain, &topic, tell);
            }
        }
    }

    fn ask_round(&self, question: Question, now: Instant, requests: &mut Vec<(To, Message)>) {
        let asked = question.topics.into_iter().filter_map(|topic| {
            let since = self.topics.get(&topic)?.since;
            let age = now.saturating_duration_since(since) + self.round_trip;
            let age_us = micros(age);
            Some(Asked { topic, age_us })
        });
        let message = Message::Inquiry {
            round: question.round,
            topics: asked.collect(),
        };
        match question.origins {
            None => requests.push((To::Nodes, message)),
            Some(origins) => {
                requests.extend(origins.iter().map(|one| (To::Node(*one), message.clone())));
            }
        }
    }

    fn ask_holes(&mut self, now: Instant, requests: &mut Vec<(To, Message)>) {
        let mut missing: Map<u64, Vec<Missing>> = Map::default();
        let mut asked: Map<u64, Vec<Asked>> = Map::default();
        while let Some(((origin, topic), open)) = self.holes.next_due(now) {
            let Some(subscription) = self.topics.get_mut(&topic) else {
                continue;
            };
            let since = subscription.since_of(origin, &self.origins);
            let Some(chain) = subscription.chain(origin, false) else {
                continue;
            };
            if chain.settled {
                let (after, until) = (chain.last.sequence, open.hole.until());
                missing.entry(origin).or_default().push(Missing {
                    topic,
                    after,
                    until,
                });
            } else {
                // An answer that came too late is asked for with more patience.
                let patience = self.round_trip * (1 << open.late.min(10));
                let age_us = micros(now.saturating_duration_since(since) + patience);
                asked
                    .entry(origin)
                    .or_default()
                    .push(Asked { topic, age_us });
            }
        }
        for (origin, missing) in missing {
            for some in missing.chunks(REQUEST_TOPICS) {
                requests.push((To::Node(origin), Message::Request(some.to_vec())));
            }
        }
        let inquiry = |(origin, topics)| (To::Node(origin), Message::Inquiry { round: 0, topics });
        requests.extend(asked.into_iter().map(inquiry));
    }
}

fn micros(age: Duration) -> u64 {
    u64::try_from(age.as_micros()).unwrap_or(u64::MAX)
}
