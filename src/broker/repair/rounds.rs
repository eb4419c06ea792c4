//! Rounds: asking every living origin where it stands on topics that were just subscribed.
//!
//! They hold up nobody; who does not answer is asked again, and reported in the end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::protocol::Topic;

/// Topics of one round, which is one message.
const ROUND_TOPICS: usize = 512;
/// Rounds under way; further topics wait.
const ROUNDS: usize = 16;
/// After this long the question is put again.
const REPEAT: Duration = Duration::from_millis(250);
/// After this long an origin counts as gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// A question to be sent.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) round: u64,
    /// Origins to ask; none: everybody.
    pub(super) origins: Option<Vec<u64>>,
    pub(super) topics: Vec<Topic>,
}

#[derive(Debug)]
struct Round {
    number: u64,
    topics: Vec<Topic>,
    waiting: Vec<u64>,
    started: Instant,
    asked: Instant,
}

/// The rounds under way, and the topics that wait for one.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Bounded by the node's topics.
    fresh: VecDeque<Topic>,
    /// Topics to ask one origin for; bounded by the node's topics and the living origins.
    targeted: VecDeque<(u64, Vec<Topic>)>,
    rounds: VecDeque<Round>,
    last: u64,
}

impl Rounds {
    pub(super) fn add(&mut self, topic: Topic) {
        self.fresh.push_back(topic);
    }

    /// Drops everything; the next link starts anew.
    pub(super) fn clear(&mut self) {
        self.fresh.clear();
        self.targeted.clear();
        self.rounds.clear();
    }

    /// Says whether a round can be started now.
    pub(super) fn are_due(&self) -> bool {
        self.rounds.len() < ROUNDS && !(self.fresh.is_empty() && self.targeted.is_empty())
    }

    /// Says whether nobody is asked and nothing waits to be.
    pub(super) fn is_empty(&self) -> bool {
        self.rounds.is_empty() && self.fresh.is_empty() && self.targeted.is_empty()
    }

    /// Says whether an origin is still to be asked for topics of its own.
    pub(super) fn are_targeting(&self, origin: u64) -> bool {
        self.targeted.iter().any(|(one, _)| *one == origin)
    }

    /// Asks one origin for topics, whatever was asked before.
    pub(super) fn target<'a>(&mut self, origin: u64, topics: impl Iterator<Item = &'a Topic>) {
        let topics: Vec<Topic> = topics.cloned().collect();
        for some in topics.chunks(ROUND_TOPICS) {
            self.targeted.push_back((origin, some.to_vec()));
        }
    }

    /// Starts the next round, if there is something to ask and room.
    pub(super) fn start(&mut self, living: &[u64], now: Instant) -> Option<Question> {
        if self.rounds.len() >= ROUNDS {
            return None;
        }
        let count = self.fresh.len().min(ROUND_TOPICS);
        let (origins, waiting, topics) = if count > 0 {
            let topics: Vec<Topic> = self.fresh.drain(..count).collect();
            (None, living.to_vec(), topics)
        } else {
            let (origin, topics) = self.targeted.pop_front()?;
            (Some(vec![origin]), vec![origin], topics)
        };
        self.last += 1;
        if !waiting.is_empty() {
            self.rounds.push_back(Round {
                number: self.last,
                topics: topics.clone(),
                waiting,
                started: now,
                asked: now,
            });
        }
        Some(Question {
            round: self.last,
            origins,
            topics,
        })
    }

    /// Notes an origin's answer and returns how long ago it was asked.
    pub(super) fn answered(&mut self, number: u64, origin: u64, now: Instant) -> Option<Duration> {
        let at = self
            .rounds
            .iter()
            .position(|round| round.number == number)?;
        let round = &mut self.rounds[at];
        round.waiting.retain(|waiting| *waiting != origin);
        let took = now.saturating_duration_since(round.asked);
        if round.waiting.is_empty() {
            self.rounds.remove(at);
        }
        Some(took)
    }

    /// Waits no longer for an origin that said that it leaves.
    pub(super) fn left(&mut self, origin: u64) {
        self.targeted.retain(|(one, _)| *one != origin);
        for round in &mut self.rounds {
            round.waiting.retain(|waiting| *waiting != origin);
        }
        self.rounds.retain(|round| !round.waiting.is_empty());
    }

    /// Returns the questions to put again.
    pub(super) fn repeat(&mut self, now: Instant) -> Vec<Question> {
        let mut questions = Vec::new();
        for round in &mut self.rounds {
            if now.saturating_duration_since(round.asked) >= REPEAT {
                round.asked = now;
                questions.push(Question {
                    round: round.number,
                    origins: Some(round.waiting.clone()),
                    topics: round.topics.clone(),
                });
            }
        }
        questions
    }

    /// Ends the rounds that took too long and returns their topics, with who did not answer.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(Vec<u64>, Vec<Topic>)> {
        let mut expired = Vec::new();
        let late = |round: &Round| now.saturating_duration_since(round.started) >= PATIENCE;
        while self.rounds.front().is_some_and(late) {
            if let Some(round) = self.rounds.pop_front() {
                expired.push((round.waiting, round.topics));
            }
        }
        expired
    }
}
