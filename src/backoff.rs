//! Delays between attempts: exponential, bounded, with full jitter.
//!
//! It never sleeps; the caller waits for what [`Backoff::next_delay`] returns.

use std::time::Duration;

/// A series of growing, jittered delays.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    /// Starts a series: the n-th delay lies between half of and the whole of `first * 2^n`, at most `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            attempt: 0,
        }
    }

    /// Returns the next delay and moves on.
    pub fn next_delay(&mut self) -> Duration {
        let whole = self
            .first
            .saturating_mul(1u32.checked_shl(self.attempt).unwrap_or(u32::MAX))
            .min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        whole / 2 + jitter(whole / 2)
    }

    /// Starts the series anew, after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// Returns a random duration below `span`; zero for a zero span.
pub fn jitter(span: Duration) -> Duration {
    let mut seed = [0u8; 8];
    // Without entropy the delay is the shortest one, which is safe.
    if getrandom::fill(&mut seed).is_err() {
        return Duration::ZERO;
    }
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    match nanos {
        0 => Duration::ZERO,
        n => Duration::from_nanos(u64::from_le_bytes(seed) % n),
    }
}

/// A series of random places in a list; not fit for secrets.
#[derive(Debug, Clone)]
pub struct Shuffle(u64);

impl Shuffle {
    /// Starts a series; without entropy it is always the same one.
    pub fn new() -> Self {
        Self(getrandom::u64().unwrap_or(1) | 1)
    }

    /// Returns a place in a list of this length; 0 in an empty one.
    pub fn below(&mut self, len: usize) -> usize {
        // Xorshift (Marsaglia 2003): never 0 from a seed that isn't.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let wide = u128::from(self.0) * len as u128;
        (wide >> 64) as usize
    }
}

impl Default for Shuffle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_start_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for whole_ms in [100, 200, 350, 350] {
            let delay = backoff.next_delay();
            let whole = Duration::from_millis(whole_ms);
            assert!(
                delay >= whole / 2 && delay <= whole,
                "{delay:?} of {whole:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }

    #[test]
    fn a_shuffle_reaches_every_place_about_as_often() {
        let mut shuffle = Shuffle::new();
        let mut reached = [0; 10];
        for _ in 0..10_000 {
            reached[shuffle.below(10)] += 1;
        }
        assert!(
            reached.iter().all(|count| (700..1_300).contains(count)),
            "{reached:?}"
        );
        assert_eq!(shuffle.below(0), 0);
    }

    #[test]
    fn a_long_series_stays_at_the_maximum() {
        let max = Duration::from_secs(5);
        let mut backoff = Backoff::new(Duration::from_millis(50), max);
        for _ in 0..100 {
            assert!(backoff.next_delay() <= max);
        }
    }
}
