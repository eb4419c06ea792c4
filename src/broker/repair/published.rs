//! What this node published: numbered, kept in the ring, announced, and sent again on request.
//!
//! It sends nothing itself and never asks for the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::message::{Asked, Message, Missing, Resent, Standing};
use super::ring::Ring;
use crate::broker::sequence::{Numbering, Place, Position};
use crate::protocol::Topic;

/// How long after a publish its topic is announced, and then how long after each announcement.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];
/// Topics and about how many bytes of names in one announcement.
const ANNOUNCED_TOPICS: usize = 2_048;
const ANNOUNCED_BYTES: usize = 64 * 1024;
/// A sign of life goes out when nothing was announced for so long.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// Letters and about how many bytes that are sent again for one topic of a request, and for all of them.
const AGAIN_LETTERS: usize = 256;
const AGAIN_BYTES: usize = 64 * 1024;
const AGAIN_BYTES_ALL: usize = 256 * 1024;

/// A topic that is going to be announced.
#[derive(Debug)]
struct Due {
    at: Instant,
    topic: Topic,
    /// What was the newest when it was put here.
    sequence: u64,
}

/// Everything that this node keeps of what it published.
#[derive(Debug)]
pub struct Published {
    numbering: Numbering,
    ring: Ring,
    /// One queue a pause, each in order of time; a topic is in one of them at most.
    announcing: [VecDeque<Due>; PAUSES.len()],
    announcing_max: usize,
    announced_at: Option<Instant>,
    announcements: u64,
}

impl Published {
    /// Keeps up to so many letters and bytes.
    pub fn new(letters_max: usize, bytes_max: usize) -> Self {
        Self {
            numbering: Numbering::new(),
            ring: Ring::new(letters_max, bytes_max),
            announcing: Default::default(),
            announcing_max: letters_max,
            announced_at: None,
            announcements: 0,
        }
    }

    /// Gives the next publish on a topic its place.
    pub fn number(&mut self, topic: &Topic, now: Instant) -> Place {
        let waiting: usize = self.announcing.iter().map(VecDeque::len).sum();
        let (place, tail) = self.numbering.next(topic);
        if !tail.announcing && waiting < self.announcing_max {
            tail.announcing = true;
            self.announcing[0].push_back(Due {
                at: now + PAUSES[0],
                topic: topic.clone(),
                sequence: place.sequence,
            });
        }
        place
    }

    /// Keeps what was written of the publish that was numbered last; empty when it could not be.
    pub fn keep(&mut self, place: Place, encoded: Bytes) {
        self.ring.keep(place, encoded);
    }

    /// Notes that Redis has everything up to a sequence.
    pub fn answered(&mut self, through: u64, now: Instant) {
        self.ring.answered(through, now);
    }

    /// Returns the sequence of the last publish.
    pub fn last(&self) -> u64 {
        self.numbering.last()
    }

    /// Returns when [`announcement`](Self::announcement) is to be asked again, if nothing is published until then; none: now.
    pub fn announces_at(&self) -> Option<Instant> {
        let sign = self.announced_at? + SIGN_OF_LIFE;
        let first = |queue: &VecDeque<Due>| queue.front().map(|due| due.at);
        let firsts = self.announcing.iter().filter_map(first);
        Some(firsts.fold(sign, Instant::min))
    }

    /// Returns what is to be announced now; what does not fit waits for the next call.
    ///
    /// A topic that was published on meanwhile starts anew: what came later tells of what came before.
    pub fn announcement(&mut self, now: Instant) -> Option<Message> {
        let (mut topics, mut bytes) = (Vec::new(), 0);
        for pause in 0..PAUSES.len() {
            while topics.len() < ANNOUNCED_TOPICS && bytes < ANNOUNCED_BYTES {
                let queue = &mut self.announcing[pause];
                if queue.front().is_none_or(|due| due.at > now) {
                    break;
                }
                let Some(due) = queue.pop_front() else {
                    break;
                };
                let Some(tail) = self.numbering.tail(due.topic.as_str()) else {
                    continue;
                };
                let (position, next) = match tail.position {
                    newer if newer.sequence != due.sequence => (newer, 0),
                    same => {
                        bytes += due.topic.as_str().len() + 20;
                        topics.push((due.topic.clone(), same));
                        (same, pause + 1)
                    }
                };
                match PAUSES.get(next) {
                    Some(pause) => self.announcing[next].push_back(Due {
                        at: now + *pause,
                        topic: due.topic,
                        sequence: position.sequence,
                    }),
                    None => tail.announcing = false,
                }
            }
        }
        let silent = self
            .announced_at
            .is_none_or(|at| now.saturating_duration_since(at) >= SIGN_OF_LIFE);
        if topics.is_empty() && !silent {
            return None;
        }
        self.announced_at = Some(now);
        Some(self.numbered(topics))
    }

    /// Returns the positions of all topics that are still to be announced, for the last word of a node.
    pub fn last_announcement(&mut self) -> Message {
        let mut topics = Vec::new();
        for due in self.announcing.iter_mut().flat_map(std::mem::take) {
            if let Some(tail) = self.numbering.tail(due.topic.as_str()) {
                topics.push((due.topic, tail.position));
            }
        }
        topics.truncate(ANNOUNCED_TOPICS);
        self.numbered(topics)
    }

    fn numbered(&mut self, topics: Vec<(Topic, Position)>) -> Message {
        self.announcements += 1;
        Message::Announcement {
            number: self.announcements,
            topics,
        }
    }

    /// Answers where this node stands on topics; those it has not published on are left out.
    pub fn standing(&mut self, round: u64, asked: Vec<Asked>, now: Instant) -> Message {
        let mut topics = Vec::new();
        for Asked { topic, age_us } in asked {
            let Some(newest) = self.numbering.tail(topic.as_str()) else {
                continue;
            };
            let newest = newest.position;
            let before = now.checked_sub(Duration::from_micros(age_us));
            let (baseline, complete) = self.ring.baseline(newest, before);
            topics.push(Standing {
                topic,
                age_us,
                baseline,
                complete,
                newest,
            });
        }
        Message::Standing {
            round,
            announced: self.announcements,
            topics,
        }
    }

    /// Returns letters to send again, in order, and what to say after them.
    pub fn again(&mut self, request: Vec<Missing>) -> (Vec<Bytes>, Message) {
        let (mut letters, mut outcomes, mut bytes) = (Vec::new(), Vec::new(), 0);
        for missing in request {
            if bytes >= AGAIN_BYTES_ALL {
                // The others are asked for again.
                break;
            }
            let newest = self.numbering.tail(missing.topic.as_str());
            let newest = newest.map_or_else(Default::default, |tail| tail.position);
            let (after, until) = (missing.after, missing.until);
            let again = self
                .ring
                .again(newest, after, until, AGAIN_LETTERS, AGAIN_BYTES);
            bytes += again.letters.iter().map(Bytes::len).sum::<usize>();
            letters.extend(again.letters);
            outcomes.push(Resent {
                topic: missing.topic,
                gone: again.gone,
            });
        }
        (letters, Message::Outcome(outcomes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        published: Published,
        start: Instant,
        now_ms: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                published: Published::new(100, 10_000),
                start: Instant::now(),
                now_ms: 0,
            }
        }

        fn publish(&mut self, topic: &str) {
            let now = self.start + Duration::from_millis(self.now_ms);
            let place = self.published.number(&topic.try_into().unwrap(), now);
            self.published.keep(place, Bytes::from_static(b"letter"));
        }

        /// Looks every 10 ms until a time and returns what was announced when, which must be when it said.
        fn until(&mut self, ms: u64) -> Vec<(u64, usize)> {
            let mut announced = Vec::new();
            while self.now_ms < ms {
                self.now_ms += 10;
                let now = self.start + Duration::from_millis(self.now_ms);
                let early = self.published.announces_at().is_some_and(|at| at > now);
                let said = self.published.announcement(now);
                assert!(!early || said.is_none(), "{} ms: {said:?}", self.now_ms);
                if let Some(Message::Announcement { topics, .. }) = said
                    && !topics.is_empty()
                {
                    announced.push((self.now_ms, topics.len()));
                }
            }
            announced
        }
    }

    #[test]
    fn a_publish_is_announced_four_times_within_two_seconds() {
        let mut bench = Bench::new();
        bench.publish("a");
        bench.publish("b");
        bench.publish("a");
        // The first look finds that a topic was published on again and waits once more.
        bench.now_ms = 240;
        assert_eq!(bench.until(250), [(250, 1)]);
        assert_eq!(
            bench
                .until(9_000)
                .iter()
                .map(|(_, topics)| topics)
                .sum::<usize>(),
            3 + 4
        );
    }

    #[test]
    fn the_times_are_those_of_the_design() {
        let mut bench = Bench::new();
        bench.publish("a");
        assert_eq!(
            bench.until(9_000),
            [(250, 1), (500, 1), (1_000, 1), (2_000, 1)]
        );
        assert!(bench.until(20_000).is_empty());
        bench.publish("a");
        assert_eq!(bench.until(20_250), [(20_250, 1)]);
    }

    #[test]
    fn a_busy_topic_is_not_announced_before_it_rests() {
        let mut bench = Bench::new();
        for ms in (0..2_000).step_by(100) {
            bench.publish("a");
            assert!(bench.until(ms + 100).is_empty());
        }
        let first = bench.until(9_000)[0].0;
        assert!((2_150..=2_500).contains(&first), "{first}");
    }

    #[test]
    fn topics_that_wait_to_be_announced_are_bounded() {
        let mut bench = Bench::new();
        for n in 0..1_000 {
            bench.publish(&format!("room:{n}"));
        }
        assert_eq!(bench.until(250), [(250, 100)]);
    }
}
