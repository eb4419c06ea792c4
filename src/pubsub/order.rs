//! The order of a topic's records on this node: by id, each once, holes found.
//!
//! It reads no store and no clock; it says which range is missing and is given what was found.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Deliver;
use super::memory::Memory;
use crate::channel::Past;

/// The most records that wait behind a hole, or for the topic's first position.
const WAITING_MAX: usize = 10_000;

/// The newest records of a new epoch that go to those who were there before; older ones are in their gap.
const RENEWED_MAX: u64 = 100;

/// How long late news of a former epoch is told apart from a store that went back to it, and of how many.
const FORMER_FOR: Duration = Duration::from_secs(30);
const FORMER_MAX: usize = 8;

/// What follows from a look at the store by a joining client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The look is good to be used.
    Fresh,
    /// The look is older than what the topic started at, or than its epoch: look again.
    Stale,
}

/// What follows from a record that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It was delivered, waits, or was there before.
    Taken,
    /// It is of another epoch: a look at the store says which one is the topic's.
    Foreign,
}

/// What a topic has for its subscribers.
#[derive(Debug)]
pub enum Emitted {
    /// The next record, with the topic's epoch.
    Record(Deliver),
    /// Positions are void: records of this epoch follow, from behind this id.
    Renewed(Arc<str>, u64),
}

/// A range of ids that the node knows to exist and has not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// First id.
    pub from: u64,
    /// Last id.
    pub to: u64,
    /// The epoch that they belong to.
    pub epoch: Arc<str>,
}

/// The records of one topic on this node.
#[derive(Debug, Default)]
pub struct TopicOrder {
    epoch: Option<Arc<str>>,
    /// Epochs that ended a short while ago, and when.
    former: VecDeque<(Arc<str>, Instant)>,
    /// The last id that was delivered; `None` until somebody has looked at the store.
    position: Option<u64>,
    started_at: u64,
    /// The highest id that is known to be stored.
    known: u64,
    waiting: BTreeMap<u64, Deliver>,
    hole_since: Option<Instant>,
    memory: Memory,
}

/// A look at the store: where the topic ends, and records up to there, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The newest id.
    pub last_id: u64,
    /// The topic's epoch.
    pub epoch: &'a str,
    /// The newest records, or none.
    pub records: &'a [Past],
}

impl TopicOrder {
    /// Takes a record from a commit, another node or the store; emits what is next in order.
    ///
    /// A record of another epoch is dropped, since it may be late: only a look at the store starts a topic anew.
    pub fn offer(
        &mut self,
        id: u64,
        epoch: &str,
        deliver: Deliver,
        now: Instant,
        emit: &mut dyn FnMut(Emitted),
    ) -> Offered {
        let current = self.epoch.get_or_insert_with(|| Arc::from(epoch));
        if **current != *epoch {
            return Offered::Foreign;
        }
        self.known = self.known.max(id);
        match self.position {
            Some(position) if id <= position => return Offered::Taken,
            Some(position) if id == position + 1 => {
                self.position = Some(id);
                self.hole_since = None;
                self.emit_record(deliver, emit);
                self.emit_waiting(emit);
            }
            Some(_) | None => {
                if self.waiting.len() < WAITING_MAX {
                    self.waiting.insert(id, deliver);
                }
            }
        }
        self.time_hole(now);
        Offered::Taken
    }

    /// Takes a look at the store.
    pub fn observe(
        &mut self,
        look: Look<'_>,
        now: Instant,
        emit: &mut dyn FnMut(Emitted),
    ) -> Observed {
        let Look {
            last_id,
            epoch,
            records,
        } = look;
        if !self.enter(epoch, last_id, now, emit) {
            return Observed::Stale;
        }
        self.known = self.known.max(last_id);
        if self.position.is_none() {
            self.position = Some(last_id);
            self.started_at = last_id;
            self.waiting = self.waiting.split_off(&(last_id + 1));
            self.memory.seed(records, last_id);
            self.emit_waiting(emit);
        } else if self.position == Some(last_id) {
            self.memory.seed(records, last_id);
        }
        self.time_hole(now);
        match last_id < self.started_at {
            true => Observed::Stale,
            false => Observed::Fresh,
        }
    }

    /// Answers a join from memory: the newest `recent`, or what came after `after`; and where the topic ends.
    ///
    /// The end is the position of this node: what comes after it is still to be delivered here.
    pub fn recall(&self, after: Option<u64>, recent: usize) -> Option<(Vec<Past>, u64, &str)> {
        let (position, epoch) = self.position()?;
        let records = match after {
            Some(after) => self.memory.after(after, position)?,
            None => self.memory.recent(recent, position)?,
        };
        Some((records, position, epoch))
    }

    /// Returns what is missing, when it has been so since `before` or earlier.
    pub fn hole(&self, before: Instant) -> Option<Hole> {
        let (position, epoch) = self.position()?;
        self.hole_since.filter(|since| *since <= before)?;
        let to = match self.waiting.keys().next() {
            Some(first) => first - 1,
            None => self.known,
        };
        (to > position).then(|| Hole {
            from: position + 1,
            to,
            epoch: epoch.clone(),
        })
    }

    /// Returns since when something is missing.
    pub fn hole_since(&self) -> Option<Instant> {
        self.hole_since
    }

    /// Says which ids up to `to` of an epoch are still missing in front.
    pub fn missing(&self, to: u64, epoch: &str) -> Option<Hole> {
        let (position, current) = self.position()?;
        (&**current == epoch && position < to).then(|| Hole {
            from: position + 1,
            to,
            epoch: current.clone(),
        })
    }

    /// Gives up on ids up to `to`: they are gone from the store. Emits what waited behind them.
    pub fn skip(&mut self, to: u64, now: Instant, emit: &mut dyn FnMut(Emitted)) {
        if let Some(position) = self.position
            && position < to
        {
            self.position = Some(to);
            self.waiting = self.waiting.split_off(&(to + 1));
            self.emit_waiting(emit);
        }
        self.hole_since = None;
        self.time_hole(now);
    }

    /// Returns the last delivered id and the epoch, once both are known.
    pub fn position(&self) -> Option<(u64, &Arc<str>)> {
        Some((self.position?, self.epoch.as_ref()?))
    }

    /// Returns the highest id that is known to be stored and the epoch, once both are known.
    pub fn known(&self) -> Option<(u64, &Arc<str>)> {
        let (position, epoch) = self.position()?;
        Some((position.max(self.known), epoch))
    }

    /// Comes to the epoch of some news, which reach up to `last_id`; `false` when they are late.
    fn enter(
        &mut self,
        epoch: &str,
        last_id: u64,
        now: Instant,
        emit: &mut dyn FnMut(Emitted),
    ) -> bool {
        let Some(current) = &self.epoch else {
            self.epoch = Some(Arc::from(epoch));
            return true;
        };
        if **current == *epoch {
            return true;
        }
        let is_late = |(former, ended): &(Arc<str>, Instant)| {
            **former == *epoch && now.saturating_duration_since(*ended) < FORMER_FOR
        };
        if self.former.iter().any(is_late) {
            return false;
        }
        if self.former.len() == FORMER_MAX {
            self.former.pop_front();
        }
        self.former.push_back((current.clone(), now));
        let (epoch, position) = (Arc::from(epoch), last_id.saturating_sub(RENEWED_MAX));
        self.epoch = Some(Arc::clone(&epoch));
        self.waiting.clear();
        self.memory.clear();
        self.hole_since = None;
        self.known = last_id;
        // A topic without a position waits for its first look all the same.
        if self.position.is_some() {
            self.position = Some(position);
            self.started_at = position;
        }
        emit(Emitted::Renewed(epoch, position));
        true
    }

    fn emit_record(&mut self, mut deliver: Deliver, emit: &mut dyn FnMut(Emitted)) {
        deliver.epoch.clone_from(&self.epoch);
        let broadcast = deliver.fastlane.broadcast();
        self.memory.push(Past {
            id: deliver.id,
            event: broadcast.event.clone(),
            payload: broadcast.payload.clone(),
        });
        emit(Emitted::Record(deliver));
    }

    fn emit_waiting(&mut self, emit: &mut dyn FnMut(Emitted)) {
        while let Some(position) = self.position
            && let Some(deliver) = self.waiting.remove(&(position + 1))
        {
            self.position = Some(position + 1);
            self.emit_record(deliver, emit);
        }
    }

    fn time_hole(&mut self, now: Instant) {
        let behind = self.position.is_some_and(|position| position < self.known);
        self.hole_since = match (behind, self.hole_since) {
            (true, since) => since.or(Some(now)),
            (false, _) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Broadcast, Fastlane, Payload};

    struct Bench {
        order: TopicOrder,
        start: Instant,
        /// Ids of records, and `!` with the epoch and position of a new one.
        seen: Vec<String>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                order: TopicOrder::default(),
                start: crate::clock::now(),
                seen: Vec::new(),
            }
        }

        fn offer(&mut self, id: u64, epoch: &str) -> Offered {
            let deliver = Deliver {
                fastlane: Arc::new(Fastlane::new(Broadcast {
                    topic: "t".try_into().unwrap(),
                    event: "e".into(),
                    payload: Payload::EMPTY,
                })),
                id: Some(id),
                epoch: None,
                reset: false,
                accepted_at: 0,
                remote: false,
            };
            let seen = &mut self.seen;
            let mut emit = |emitted| seen.push(say(emitted));
            self.order.offer(id, epoch, deliver, self.start, &mut emit)
        }

        fn observe(&mut self, last_id: u64, epoch: &str) -> Observed {
            let seen = &mut self.seen;
            let mut emit = |emitted| seen.push(say(emitted));
            let look = Look {
                last_id,
                epoch,
                records: &[],
            };
            self.order.observe(look, self.start, &mut emit)
        }

        fn seen(&self) -> String {
            self.seen.join(" ")
        }
    }

    fn say(emitted: Emitted) -> String {
        match emitted {
            Emitted::Record(deliver) => deliver.id.unwrap().to_string(),
            Emitted::Renewed(epoch, position) => format!("!{epoch}{position}"),
        }
    }

    #[test]
    fn records_leave_in_id_order_each_once() {
        let mut bench = Bench::new();
        assert_eq!(bench.observe(2, "a"), Observed::Fresh);
        for id in [4, 3, 3, 2, 6, 5, 4, 7] {
            bench.offer(id, "a");
        }
        assert_eq!(bench.seen(), "3 4 5 6 7");
        assert_eq!(bench.order.hole_since(), None);
    }

    #[test]
    fn records_before_the_first_look_wait_for_it() {
        let mut bench = Bench::new();
        bench.offer(5, "a");
        bench.offer(4, "a");
        assert_eq!(bench.seen(), "");
        assert_eq!(bench.observe(4, "a"), Observed::Fresh);
        assert_eq!(bench.seen(), "5");
    }

    #[test]
    fn an_older_look_than_the_start_is_stale() {
        let mut bench = Bench::new();
        bench.observe(4, "a");
        assert_eq!(bench.observe(3, "a"), Observed::Stale);
        assert_eq!(bench.observe(4, "a"), Observed::Fresh);
    }

    #[test]
    fn a_hole_is_told_after_its_time_and_skipped_when_it_is_gone() {
        let mut bench = Bench::new();
        bench.observe(1, "a");
        bench.offer(4, "a");
        let before = bench.start - Duration::from_millis(1);
        assert_eq!(bench.order.hole(before), None);
        assert_eq!(bench.order.hole(bench.start), hole(2, 3, "a"));
        let start = bench.start;
        let seen = &mut bench.seen;
        bench
            .order
            .skip(3, start, &mut |emitted| seen.push(say(emitted)));
        assert_eq!(bench.seen(), "4");
        assert_eq!(bench.order.hole(start), None);
    }

    #[test]
    fn a_look_ahead_of_the_position_is_a_hole_too() {
        let mut bench = Bench::new();
        bench.observe(1, "a");
        bench.observe(3, "a");
        assert_eq!(bench.order.hole(bench.start), hole(2, 3, "a"));
    }

    fn hole(from: u64, to: u64, epoch: &str) -> Option<Hole> {
        let epoch = Arc::from(epoch);
        Some(Hole { from, to, epoch })
    }

    #[test]
    fn another_epoch_starts_the_topic_anew_and_says_so_first() {
        let mut bench = Bench::new();
        bench.observe(9, "a");
        assert_eq!(bench.observe(1, "b"), Observed::Fresh);
        bench.offer(1, "b");
        bench.offer(2, "b");
        assert_eq!(bench.seen(), "!b0 1 2");
        assert_eq!(bench.order.position(), Some((2, &Arc::from("b"))));
        assert_eq!(bench.observe(2, "b"), Observed::Fresh);
    }

    #[test]
    fn a_record_of_another_epoch_moves_nothing() {
        let mut bench = Bench::new();
        // Nobody was here in epoch "a", from which something comes late.
        bench.observe(1, "b");
        assert_eq!(bench.offer(10, "a"), Offered::Foreign);
        assert_eq!(bench.offer(2, "b"), Offered::Taken);
        assert_eq!(bench.observe(2, "b"), Observed::Fresh);
        assert_eq!(bench.seen(), "2");
        // Before the first look, too: the look says which epoch it is.
        let mut bench = Bench::new();
        assert_eq!(bench.offer(10, "a"), Offered::Taken);
        assert_eq!(bench.offer(2, "b"), Offered::Foreign);
        assert_eq!(bench.observe(2, "b"), Observed::Fresh);
        assert_eq!(bench.offer(3, "b"), Offered::Taken);
        assert!(bench.seen().ends_with('3'), "{}", bench.seen());
    }

    #[test]
    fn what_came_before_the_news_of_an_epoch_is_a_hole() {
        let mut bench = Bench::new();
        bench.observe(9, "a");
        bench.observe(2, "b");
        bench.offer(3, "b");
        assert_eq!(bench.order.hole(bench.start), hole(1, 2, "b"));
        let mut bench = Bench::new();
        bench.observe(900, "a");
        bench.observe(RENEWED_MAX + 7, "b");
        assert_eq!(bench.seen(), "!b7");
        assert_eq!(bench.order.hole(bench.start), hole(8, RENEWED_MAX + 7, "b"));
    }

    #[test]
    fn late_news_of_a_former_epoch_is_dropped_for_a_while() {
        let mut bench = Bench::new();
        bench.observe(9, "a");
        bench.observe(1, "b");
        bench.offer(1, "b");
        bench.offer(10, "a");
        assert_eq!(bench.observe(10, "a"), Observed::Stale);
        bench.offer(2, "b");
        assert_eq!(bench.seen(), "!b0 1 2");
        // A store that went back to an older state is believed then.
        bench.start += FORMER_FOR;
        assert_eq!(bench.observe(5, "a"), Observed::Fresh);
        assert_eq!(bench.seen(), "!b0 1 2 !a0");
    }

    #[test]
    fn only_what_is_missing_in_the_same_epoch_is_given_up() {
        let mut bench = Bench::new();
        bench.observe(2, "a");
        bench.offer(5, "a");
        assert_eq!(bench.order.missing(4, "a"), hole(3, 4, "a"));
        assert_eq!(bench.order.missing(2, "a"), None);
        assert_eq!(bench.order.missing(4, "b"), None);
    }

    #[test]
    fn joins_are_answered_from_memory_up_to_the_position() {
        let mut bench = Bench::new();
        bench.observe(2, "a");
        bench.offer(3, "a");
        bench.offer(5, "a");
        let ids = |after, recent| {
            let (records, end, _) = bench.order.recall(after, recent)?;
            let ids: Vec<_> = records.iter().filter_map(|record| record.id).collect();
            Some((ids, end))
        };
        assert_eq!(ids(Some(2), 10), Some((vec![3], 3)));
        assert_eq!(ids(None, 1), Some((vec![3], 3)));
        assert_eq!(ids(None, 10), None, "1 and 2 were never here");
        assert_eq!(ids(Some(5), 10), None, "the client is ahead");
    }
}
