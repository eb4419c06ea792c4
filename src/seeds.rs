//! Runs a simulation with the seeds that `SIMULATION_SEEDS` says, `first-last` (1-20000), on all cores.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Checks each seed; a panic is the answer for one that fails.
pub(crate) fn check(seed: impl Fn(u64) + Sync) {
    let text = std::env::var("SIMULATION_SEEDS").unwrap_or_else(|_| String::from("1-20000"));
    let (first, last): (u64, u64) = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
        .expect("SIMULATION_SEEDS must be first-last");
    let next = AtomicU64::new(first);
    let check_all = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at > last {
                return;
            }
            seed(at);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(check_all);
        }
    });
}
