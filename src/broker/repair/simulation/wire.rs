//! Chance and delay of the simulated network.
//!
//! Everything follows from the seed; a pipe never reorders.

use std::collections::VecDeque;

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound
    }

    pub(super) fn one_in(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

/// One direction of a connection: each item arrives after a delay, never before an earlier one.
pub(super) struct Pipe<T>(pub(super) VecDeque<(u64, T)>);

impl<T> Pipe<T> {
    pub(super) fn send(&mut self, at: u64, item: T) {
        let at = self.0.back().map_or(at, |(last, _)| at.max(*last));
        self.0.push_back((at, item));
    }

    pub(super) fn receive(&mut self, now: u64) -> Option<T> {
        match self.0.front() {
            Some((at, _)) if *at <= now => self.0.pop_front().map(|(_, item)| item),
            _ => None,
        }
    }
}
