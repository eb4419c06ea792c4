//! The order of a topic's records on this node: by id, each once, holes found.
//!
//! It reads no store and no clock; it says which range is missing and is given what was found.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Deliver;
use super::memory::Memory;
use crate::channel::{Epoch, Past};

/// The most records that wait behind a hole, or for the topic's first position.
const WAITING_MAX: usize = 10_000;

/// What follows from a look at the store by a joining client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The look is good to be used.
    Fresh,
    /// The look is good, and showed that the topic's numbering has started anew.
    Renewed,
    /// The look is older than the position that the topic started at: look again.
    Stale,
}

/// A range of ids that the node knows to exist and has not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// First id.
    pub from: u64,
    /// Last id.
    pub to: u64,
}

/// The records of one topic on this node.
#[derive(Debug, Default)]
pub struct TopicOrder {
    epoch: Option<Epoch>,
    /// The last id that was delivered; `None` until somebody has looked at the store.
    position: Option<u64>,
    started_at: u64,
    /// The highest id that is known to be stored.
    known: u64,
    waiting: BTreeMap<u64, Deliver>,
    hole_since: Option<Instant>,
    memory: Memory,
    /// The epoch before this one, whose stragglers are dropped.
    former: Option<Epoch>,
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
    /// A record of another epoch starts the topic anew: it is emitted with `reset`.
    pub fn offer(
        &mut self,
        id: u64,
        epoch: &str,
        mut deliver: Deliver,
        now: Instant,
        emit: &mut dyn FnMut(Deliver),
    ) {
        if self.former.as_deref() == Some(epoch) {
            return;
        }
        if self.epoch.as_deref().is_some_and(|known| known != epoch) {
            self.restart(epoch, id.saturating_sub(1));
            deliver.reset = true;
        }
        if self.epoch.is_none() {
            self.epoch = Some(epoch.to_owned());
        }
        self.known = self.known.max(id);
        match self.position {
            Some(position) if id <= position => return,
            Some(position) if id == position + 1 => {
                self.position = Some(id);
                self.hole_since = None;
                self.deliver(deliver, emit);
                self.emit_waiting(emit);
            }
            Some(_) | None => {
                if self.waiting.len() < WAITING_MAX {
                    self.waiting.insert(id, deliver);
                }
            }
        }
        self.time_hole(now);
    }

    /// Takes a look at the store.
    pub fn observe(
        &mut self,
        look: Look<'_>,
        now: Instant,
        emit: &mut dyn FnMut(Deliver),
    ) -> Observed {
        let Look {
            last_id,
            epoch,
            records,
        } = look;
        if self.former.as_deref() == Some(epoch) {
            return Observed::Stale;
        }
        let known = self.epoch.as_deref();
        let renewed = known.is_some_and(|known| known != epoch);
        if renewed {
            self.restart(epoch, last_id);
        }
        self.epoch = Some(epoch.to_owned());
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
        match (last_id < self.started_at, renewed) {
            (true, _) => Observed::Stale,
            (false, true) => Observed::Renewed,
            (false, false) => Observed::Fresh,
        }
    }

    /// Answers a join from memory: the newest `recent`, or what came after `after`; and where the topic ends.
    ///
    /// The end is the position of this node: what comes after it is still to be delivered here.
    pub fn recall(&self, after: Option<u64>, recent: usize) -> Option<(Vec<Past>, u64, &Epoch)> {
        let (position, epoch) = self.position()?;
        let records = match after {
            Some(after) => self.memory.after(after, position)?,
            None => self.memory.recent(recent, position)?,
        };
        Some((records, position, epoch))
    }

    /// Returns what is missing, when it has been so since `before` or earlier.
    pub fn hole(&self, before: Instant) -> Option<Hole> {
        let position = self.position?;
        self.hole_since.filter(|since| *since <= before)?;
        let to = match self.waiting.keys().next() {
            Some(first) => first - 1,
            None => self.known,
        };
        (to > position).then_some(Hole {
            from: position + 1,
            to,
        })
    }

    /// Returns since when something is missing.
    pub fn hole_since(&self) -> Option<Instant> {
        self.hole_since
    }

    /// Gives up on ids up to `to`: they are gone from the store. Emits what waited behind them.
    pub fn skip(&mut self, to: u64, now: Instant, emit: &mut dyn FnMut(Deliver)) {
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
    pub fn position(&self) -> Option<(u64, &Epoch)> {
        Some((self.position?, self.epoch.as_ref()?))
    }

    fn restart(&mut self, epoch: &str, position: u64) {
        self.former = self.epoch.replace(epoch.to_owned());
        self.position = Some(position);
        self.started_at = position;
        self.known = position;
        self.waiting.clear();
        self.hole_since = None;
        self.memory.clear();
    }

    fn deliver(&mut self, deliver: Deliver, emit: &mut dyn FnMut(Deliver)) {
        let broadcast = deliver.fastlane.broadcast();
        self.memory.push(Past {
            id: deliver.id,
            event: broadcast.event.clone(),
            payload: broadcast.payload.clone(),
        });
        emit(deliver);
    }

    fn emit_waiting(&mut self, emit: &mut dyn FnMut(Deliver)) {
        while let Some(position) = self.position
            && let Some(deliver) = self.waiting.remove(&(position + 1))
        {
            self.position = Some(position + 1);
            self.deliver(deliver, emit);
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
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::protocol::{Broadcast, Fastlane, Payload};

    struct Bench {
        order: TopicOrder,
        start: Instant,
        seen: Vec<(u64, bool)>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                order: TopicOrder::default(),
                start: crate::clock::now(),
                seen: Vec::new(),
            }
        }

        fn offer(&mut self, id: u64, epoch: &str) {
            let deliver = Deliver {
                fastlane: Arc::new(Fastlane::new(Broadcast {
                    topic: "t".try_into().unwrap(),
                    event: "e".into(),
                    payload: Payload::EMPTY,
                })),
                id: Some(id),
                reset: false,
                accepted_at: 0,
                remote: false,
            };
            let seen = &mut self.seen;
            let mut emit = |d: Deliver| seen.push((d.id.unwrap(), d.reset));
            self.order.offer(id, epoch, deliver, self.start, &mut emit);
        }

        fn observe(&mut self, last_id: u64, epoch: &str) -> Observed {
            let seen = &mut self.seen;
            let mut emit = |d: Deliver| seen.push((d.id.unwrap(), d.reset));
            self.order.observe(
                Look {
                    last_id,
                    epoch,
                    records: &[],
                },
                self.start,
                &mut emit,
            )
        }

        fn ids(&self) -> Vec<u64> {
            self.seen.iter().map(|(id, _)| *id).collect()
        }
    }

    #[test]
    fn records_leave_in_id_order_each_once() {
        let mut bench = Bench::new();
        assert_eq!(bench.observe(2, "a"), Observed::Fresh);
        for id in [4, 3, 3, 2, 6, 5, 4, 7] {
            bench.offer(id, "a");
        }
        assert_eq!(bench.ids(), [3, 4, 5, 6, 7]);
        assert_eq!(bench.order.hole_since(), None);
    }

    #[test]
    fn records_before_the_first_look_wait_for_it() {
        let mut bench = Bench::new();
        bench.offer(5, "a");
        bench.offer(4, "a");
        assert_eq!(bench.ids(), [0; 0]);
        assert_eq!(bench.observe(4, "a"), Observed::Fresh);
        assert_eq!(bench.ids(), [5]);
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
        assert_eq!(bench.order.hole(bench.start), Some(Hole { from: 2, to: 3 }));
        let start = bench.start;
        let seen = &mut bench.seen;
        bench
            .order
            .skip(3, start, &mut |d| seen.push((d.id.unwrap(), d.reset)));
        assert_eq!(bench.ids(), [4]);
        assert_eq!(bench.order.hole(start), None);
    }

    #[test]
    fn a_look_ahead_of_the_position_is_a_hole_too() {
        let mut bench = Bench::new();
        bench.observe(1, "a");
        bench.observe(3, "a");
        assert_eq!(bench.order.hole(bench.start), Some(Hole { from: 2, to: 3 }));
    }

    #[test]
    fn a_look_may_show_another_epoch_too() {
        let mut bench = Bench::new();
        bench.observe(9, "a");
        assert_eq!(bench.observe(3, "b"), Observed::Renewed);
        assert_eq!(bench.observe(9, "a"), Observed::Stale);
        assert_eq!(bench.order.position(), Some((3, &"b".to_owned())));
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

    #[test]
    fn another_epoch_starts_the_topic_anew() {
        let mut bench = Bench::new();
        bench.observe(9, "a");
        bench.offer(1, "b");
        bench.offer(2, "b");
        bench.offer(10, "a");
        assert_eq!(
            bench.seen,
            [(1, true), (2, false)],
            "stragglers are dropped"
        );
        assert_eq!(bench.order.position(), Some((2, &"b".to_owned())));
    }
}
