//! When the stock client tries again: the schedules of `phoenix.js`.
//!
//! It has no jitter, which is what makes storms come in waves.

/// Delays before the first reconnects, in milliseconds; later ones wait [`RECONNECT_LATER_MS`].
const RECONNECT_MS: [u32; 9] = [10, 50, 100, 150, 200, 250, 500, 1_000, 2_000];
/// The delay of every further reconnect.
const RECONNECT_LATER_MS: u32 = 5_000;
/// Delays before the first rejoins of a channel; later ones wait [`REJOIN_LATER_MS`].
const REJOIN_MS: [u32; 3] = [1_000, 2_000, 5_000];
/// The delay of every further rejoin.
const REJOIN_LATER_MS: u32 = 10_000;

/// Returns how long a client waits before its nth attempt to connect, from 1, in milliseconds.
pub fn reconnect_ms(nth: usize) -> u32 {
    let listed = nth.checked_sub(1).and_then(|at| RECONNECT_MS.get(at));
    listed.copied().unwrap_or(RECONNECT_LATER_MS)
}

/// Returns the least and the most that a client waits whose ladder has chance in it, in milliseconds.
///
/// `reconnectAfterMs: tries => Math.min(5000, 250 * 2 ** tries) * (0.5 + Math.random())`
pub fn jittered_ms(nth: usize) -> (u32, u32) {
    let doublings = u32::try_from(nth).unwrap_or(u32::MAX).min(5);
    let middle = (250 << doublings).min(RECONNECT_LATER_MS);
    (middle / 2, middle + middle / 2)
}

/// Returns how long a channel waits before its nth attempt to join again, from 1, in milliseconds.
pub fn rejoin_ms(nth: usize) -> u32 {
    let listed = nth.checked_sub(1).and_then(|at| REJOIN_MS.get(at));
    listed.copied().unwrap_or(REJOIN_LATER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_end_in_a_steady_beat() {
        let reconnects: Vec<u32> = (1..=11).map(reconnect_ms).collect();
        let wanted = [10, 50, 100, 150, 200, 250, 500, 1_000, 2_000, 5_000, 5_000];
        assert_eq!(reconnects, wanted);
        assert_eq!(
            [1, 2, 3, 4, 5].map(rejoin_ms),
            [1_000, 2_000, 5_000, 10_000, 10_000]
        );
    }
}
