//! The holes of all chains: which are asked for, whose turn is next, and which are given up.
//!
//! It never grows past its bounds: the hole that grows too large is given up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::chain::{Chain, Hole, Told};
use super::map::Map;
use super::origins::Origins;
use crate::protocol::Topic;

/// After this long without an answer a request is sent again.
const REPEAT: Duration = Duration::from_millis(250);
/// After this long without a letter of it a hole is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Holes that are asked for at a time; others wait for their turn.
const WINDOW: usize = 256;
/// Letters and bytes that are held back, over all holes. Then: the hole that grows is given up.
const HELD_LETTERS: usize = 65_536;
const HELD_BYTES: usize = 32 * 1024 * 1024;

/// A hole, and when it was asked for.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) hole: Hole,
    opened: Instant,
    asked: Option<Instant>,
    /// Asked, and counted in the window.
    awaited: bool,
    queued: bool,
    /// How often the answer to an inquiry came too late.
    pub(super) late: u32,
    progress: Instant,
    /// Something was told since it was asked for.
    pub(super) progressed: bool,
}

/// The holes of all chains, and whose turn it is to be asked for.
#[derive(Debug, Default)]
pub(super) struct Holes {
    pub(super) open: Map<(u64, Topic), Open>,
    due: VecDeque<(u64, Topic)>,
    awaited: usize,
    letters: usize,
    bytes: usize,
    /// How many others there are, which have the same share of what may be held back.
    others: usize,
}

impl Holes {
    /// One of so many that hold back no more than one alone would.
    pub(super) fn one_of(lanes: usize) -> Self {
        Self {
            others: lanes.saturating_sub(1),
            ..Self::default()
        }
    }

    fn open(&mut self, chain: &mut Chain, topic: &Topic, now: Instant) -> &mut Open {
        chain.open = true;
        let key = (chain.incarnation, topic.clone());
        if self.due.len() > 2 * self.open.len() + WINDOW {
            // Those that were closed while they waited are in the way.
            self.due.retain(|waiting| self.open.contains_key(waiting));
        }
        self.open.entry(key.clone()).or_insert_with(|| {
            self.due.push_back(key);
            Open {
                hole: Hole::default(),
                opened: now,
                asked: None,
                awaited: false,
                queued: true,
                late: 0,
                progress: now,
                progressed: false,
            }
        })
    }

    /// Removes a hole; it is counted no more.
    pub(super) fn close(&mut self, chain: &mut Chain, topic: &Topic) -> Option<Hole> {
        chain.open = false;
        let open = self.open.remove(&(chain.incarnation, topic.clone()))?;
        self.awaited -= usize::from(open.awaited);
        let (letters, bytes) = open.hole.size();
        self.letters -= letters;
        self.bytes -= bytes;
        Some(open.hole)
    }

    /// Changes a hole, then tells what has become the next and closes it when it is filled.
    pub(super) fn change<T: FnMut(Told)>(
        &mut self,
        chain: &mut Chain,
        topic: &Topic,
        now: Instant,
        tell: &mut T,
        change: impl FnOnce(&mut Open, &mut Chain, &mut T),
    ) {
        let open = self.open(chain, topic, now);
        let (last, before) = (chain.last, open.hole.size());
        change(open, chain, tell);
        open.hole.drain(chain, tell);
        let after = open.hole.size();
        if chain.last != last {
            open.progress = now;
            open.progressed = true;
        }
        let filled = open.hole.is_filled(chain);
        self.letters = self.letters + after.0 - before.0;
        self.bytes = self.bytes + after.1 - before.1;
        if filled {
            self.close(chain, topic);
        } else if self.letters > HELD_LETTERS / (1 + self.others)
            || self.bytes > HELD_BYTES / (1 + self.others)
        {
            self.give_up(chain, topic, tell);
        }
    }

    pub(super) fn give_up(
        &mut self,
        chain: &mut Chain,
        topic: &Topic,
        tell: &mut impl FnMut(Told),
    ) {
        if let Some(hole) = self.close(chain, topic) {
            hole.give_up(chain, topic, tell);
            chain.settled = true;
        }
    }

    /// Puts a hole in line to be asked for.
    pub(super) fn queue(&mut self, key: &(u64, Topic)) {
        if let Some(open) = self.open.get_mut(key) {
            self.awaited -= usize::from(std::mem::take(&mut open.awaited));
            if !std::mem::replace(&mut open.queued, true) {
                self.due.push_back(key.clone());
            }
        }
    }

    /// Says whether a hole can be asked for now.
    pub(super) fn are_due(&self) -> bool {
        self.awaited < WINDOW && !self.due.is_empty()
    }

    /// Takes the next hole that is to be asked for, and notes that it is.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<((u64, Topic), &mut Open)> {
        while self.awaited < WINDOW {
            let key = self.due.pop_front()?;
            if !self.open.contains_key(&key) {
                continue;
            }
            self.awaited += 1;
            let open = self.open.get_mut(&key)?;
            open.queued = false;
            open.awaited = true;
            open.progressed = false;
            if open.asked.replace(now).is_none() {
                open.progress = now;
            }
            return Some((key, open));
        }
        None
    }

    /// Returns the holes that are given up now, and puts those in line that were not answered.
    pub(super) fn expired(&mut self, origins: &Origins, now: Instant) -> Vec<(u64, Topic)> {
        let (mut lost, mut late) = (Vec::new(), Vec::new());
        for (key, open) in &self.open {
            let passed = |since: Instant| now.saturating_duration_since(since);
            let gone = passed(open.opened) >= PATIENCE && !origins.is_alive(key.0, now);
            if gone || (open.asked.is_some() && passed(open.progress) >= PATIENCE) {
                lost.push(key.clone());
            } else if open.asked.is_some_and(|asked| passed(asked) >= REPEAT) {
                late.push(key.clone());
            }
        }
        late.iter().for_each(|key| self.queue(key));
        lost
    }

    /// Starts all clocks anew on a new link.
    pub(super) fn restart(&mut self, now: Instant) {
        for open in self.open.values_mut() {
            (open.opened, open.progress, open.asked) = (now, now, None);
        }
        let keys: Vec<_> = self.open.keys().cloned().collect();
        keys.iter().for_each(|key| self.queue(key));
    }
}
