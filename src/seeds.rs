//! Runs simulations by their seeds, on all cores; for unit tests alone.

use std::num::NonZero;
use std::ops::RangeInclusive;
use std::panic::{RefUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

/// What `SIMULATION_SEEDS` says: a seed, or first-last; 1-20000 when it says nothing.
pub(crate) fn chosen() -> RangeInclusive<u64> {
    let text = std::env::var("SIMULATION_SEEDS").unwrap_or_else(|_| String::from("1-20000"));
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let number = |text: &str| {
        text.parse()
            .expect("SIMULATION_SEEDS must be a seed, or first-last")
    };
    number(first)..=number(last)
}

/// Checks each seed, and says in the end which have failed.
pub(crate) fn check(seeds: RangeInclusive<u64>, seed: impl Fn(u64) + Sync + RefUnwindSafe) {
    let (next, failed) = (AtomicU64::new(*seeds.start()), Mutex::new(Vec::new()));
    let check_all = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at > *seeds.end() {
                return;
            }
            if catch_unwind(|| seed(at)).is_err() {
                failed.lock().push(at);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(check_all);
        }
    });
    let failed = failed.into_inner();
    assert!(failed.is_empty(), "seeds that fail: {failed:?}");
}
