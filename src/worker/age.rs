//! The age of connections: when each has reached it, and how many may be told to go at once.
//!
//! Nothing of it is kept for a connection but one number, and no timer runs for it: the sweep looks.

use std::time::Duration;

use crate::backoff;

/// Says when a connection that begins now has reached its age, 20 % more or less, in seconds of the worker's
/// life; `u32::MAX`, which is never, for an age of 0.
pub(super) fn reached_at_s(now_ms: u64, age_s: u64) -> u32 {
    if age_s == 0 {
        return u32::MAX;
    }
    let least_ms = age_s.saturating_mul(800);
    let more = backoff::jitter(Duration::from_millis(age_s.saturating_mul(400)));
    let at_ms = now_ms.saturating_add(least_ms);
    let at_ms = at_ms.saturating_add(more.as_millis() as u64);
    u32::try_from(at_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// Says how many of `open` connections may go at one look, when looks are `every` apart.
///
/// A crowd that came in one instant leaves over two fifths of the age by its jitter alone. The bound is twice
/// that pace, for what the jitter can't spread: a worker that stood still, or came back from a suspended machine.
pub(super) fn going_max(open: usize, every: Duration, age_s: u64) -> usize {
    let share = every.as_secs_f64() / (age_s as f64 / 5.0).max(0.001);
    (open as f64 * share).ceil().clamp(1.0, open.max(1) as f64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_by_a_fifth_to_both_sides() {
        let all: Vec<u32> = (0..2_000).map(|_| reached_at_s(10_000, 100)).collect();
        assert!(all.iter().all(|at| (90..=130).contains(at)), "{all:?}");
        let per_second = |second| all.iter().filter(|at| **at == second).count();
        // Forty seconds share them: none has more than three times its part.
        assert!((91..130).all(|second| (10..150).contains(&per_second(second))));
        assert_eq!(reached_at_s(10_000, 0), u32::MAX);
        assert_eq!(reached_at_s(u64::MAX, 1), u32::MAX);
    }

    #[test]
    fn those_that_are_due_together_go_one_after_the_other() {
        let check = |open, every_s, age_s, expected| {
            let every = Duration::from_secs(every_s);
            assert_eq!(
                going_max(open, every, age_s),
                expected,
                "{open} of age {age_s}"
            );
        };
        check(10_000, 1, 1_800, 28);
        check(100_000, 1, 3_600, 139);
        check(10, 1, 3_600, 1);
        check(0, 1, 3_600, 1);
        check(100, 1, 1, 100);
    }
}
