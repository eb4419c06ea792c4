//! Who is let in: the bounds on connections and on new connections a second.
//!
//! It is shared by the workers of a node and refuses before the upgrade.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::connection::Seat;
use crate::backoff;

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The node has `limits.connections`.
    Full,
    /// More than `limits.connects_per_second` came.
    TooFast,
    /// The node is draining.
    Draining,
}

impl Refused {
    /// Returns the label of the metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "connections",
            Self::TooFast => "connects_per_second",
            Self::Draining => "draining",
        }
    }

    /// Returns how many seconds the client should wait, jittered so that a crowd spreads.
    pub fn retry_after(self) -> u64 {
        let base = match self {
            Self::Full => 5,
            Self::TooFast | Self::Draining => 1,
        };
        base + backoff::jitter(Duration::from_secs(base + 3)).as_secs()
    }
}

struct Bucket {
    tokens: f64,
    filled_at: Option<Instant>,
}

/// The door of a node.
pub struct Admission {
    open: Arc<AtomicUsize>,
    connections_max: usize,
    per_second: f64,
    bucket: Mutex<Bucket>,
    unready: AtomicBool,
    draining: AtomicBool,
}

impl Admission {
    /// Lets in `connections_max` at a time and `per_second` new ones.
    pub fn new(connections_max: usize, per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self {
            open: Arc::default(),
            connections_max,
            per_second,
            bucket: Mutex::new(Bucket {
                tokens: per_second,
                filled_at: None,
            }),
            unready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// Returns how many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Says from now on that the node is not ready, while it still lets clients in.
    pub fn fail_readiness(&self) {
        self.unready.store(true, Ordering::Relaxed);
    }

    /// Lets nobody in any more.
    pub fn close(&self) {
        self.fail_readiness();
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Says whether another connection would be let in, for `/readyz`.
    pub fn is_ready(&self) -> bool {
        !self.unready.load(Ordering::Relaxed) && self.open() < self.connections_max
    }

    /// Lets one in.
    ///
    /// # Errors
    /// [`Refused`] with the bound that was reached.
    pub(super) fn admit(&self, now: Instant) -> Result<Seat, Refused> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refused::Draining);
        }
        if !self.take(now) {
            return Err(Refused::TooFast);
        }
        let seat = Seat(self.open.clone());
        match self.open.fetch_add(1, Ordering::Relaxed) < self.connections_max {
            true => Ok(seat),
            false => Err(Refused::Full),
        }
    }

    fn take(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock();
        let elapsed = bucket
            .filled_at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        bucket.filled_at = Some(now);
        bucket.tokens = (bucket.tokens + elapsed * self.per_second).min(self.per_second);
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_full_until_one_goes() {
        let now = crate::clock::now();
        let admission = Admission::new(1, 100);
        let first = admission.admit(now).unwrap();
        assert_eq!(admission.admit(now).unwrap_err(), Refused::Full);
        assert_eq!(admission.open(), 1);
        drop(first);
        assert!(admission.admit(now).is_ok());
    }

    #[test]
    fn a_rush_is_refused_until_time_passes() {
        let now = crate::clock::now();
        let admission = Admission::new(100, 2);
        let _seats = [admission.admit(now).unwrap(), admission.admit(now).unwrap()];
        assert_eq!(admission.admit(now).unwrap_err(), Refused::TooFast);
        assert!(admission.admit(now + Duration::from_millis(500)).is_ok());
        admission.close();
        assert_eq!(admission.admit(now).unwrap_err(), Refused::Draining);
        assert!(!admission.is_ready());
    }
}
