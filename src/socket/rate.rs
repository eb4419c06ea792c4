//! A socket's message rate: a token bucket, and a count of how often it was empty.
//!
//! It reads no clock; the time comes with each message.

use std::time::Instant;

/// How many refusals in a row of bursts make a client persistent.
const STRIKES_OF_BURST: u32 = 10;

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// Reply `rate limited`.
    Refuse,
    /// Close 1008: refused ten times the burst without a pause.
    Close,
}

/// A token bucket of `limits.messages_per_second` and `limits.messages_burst`.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u32,
    burst: u32,
    tokens: f32,
    strikes: u32,
    filled_at: Option<Instant>,
}

impl Rate {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let burst = burst.max(1);
        Self {
            per_second,
            burst,
            tokens: burst as f32,
            strikes: 0,
            filled_at: None,
        }
    }

    /// Takes one token at `now`.
    pub(super) fn take(&mut self, now: Instant) -> Verdict {
        if self.per_second == 0 {
            return Verdict::Pass;
        }
        let elapsed = self
            .filled_at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f32());
        self.filled_at = Some(now);
        let burst = self.burst as f32;
        self.tokens = (self.tokens + elapsed * self.per_second as f32).min(burst);
        if self.tokens >= burst / 2.0 {
            self.strikes = 0;
        }
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Verdict::Pass;
        }
        self.strikes += 1;
        match self.strikes > self.burst.saturating_mul(STRIKES_OF_BURST) {
            true => Verdict::Close,
            false => Verdict::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let start = crate::clock::now();
        let mut rate = Rate::new(10, 5);
        for _ in 0..5 {
            assert_eq!(rate.take(start), Verdict::Pass);
        }
        assert_eq!(rate.take(start), Verdict::Refuse);
        assert_eq!(rate.take(start + Duration::from_millis(100)), Verdict::Pass);
        assert_eq!(
            rate.take(start + Duration::from_millis(100)),
            Verdict::Refuse
        );
    }

    #[test]
    fn a_persistent_client_is_closed_and_a_pause_forgives() {
        let start = crate::clock::now();
        let mut rate = Rate::new(1, 2);
        let verdicts: Vec<_> = (0..23).map(|_| rate.take(start)).collect();
        assert_eq!(verdicts[22], Verdict::Close);
        assert_eq!(verdicts[21], Verdict::Refuse);
        assert_eq!(rate.take(start + Duration::from_secs(2)), Verdict::Pass);
        assert_eq!(rate.strikes, 0);
    }

    #[test]
    fn zero_turns_it_off() {
        let start = crate::clock::now();
        let mut rate = Rate::new(0, 1);
        assert!((0..1000).all(|_| rate.take(start) == Verdict::Pass));
    }
}
