//! The gate of a node's joins: how many are under way; the others wait in the order they came.
//!
//! It refuses nobody and knows no time: whoever drives a join gives up after `limits.join_seconds`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use prometheus::{IntCounter, IntGauge};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// A bound on joins under way, shared by the sockets of a node.
///
/// A join has its place from the call of its callback to the callback's end, and waits for one before it has
/// asked anything of anybody. Places are given in the order of the joins, across sockets and workers.
pub struct Gate {
    places: Arc<Semaphore>,
    under_way: IntGauge,
    waited: IntCounter,
}

impl Gate {
    /// Lets `max` joins be under way, at least one; counts them, and those that had to wait.
    pub fn new(max: usize, under_way: IntGauge, waited: IntCounter) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(max)),
            under_way,
            waited,
        }
    }

    /// Takes a place, or one in the queue; whoever drops it gives it back.
    pub(crate) fn ask(&self) -> Place {
        match self.places.clone().try_acquire_owned() {
            Ok(permit) => Place::Held(Held::new(permit, &self.under_way)),
            Err(_) => {
                self.waited.inc();
                Place::Queued {
                    turn: Box::pin(self.places.clone().acquire_owned()),
                    under_way: self.under_way.clone(),
                }
            }
        }
    }
}

/// A place that is held; it is free again when this is dropped.
pub(crate) struct Held {
    _permit: OwnedSemaphorePermit,
    under_way: IntGauge,
}

impl Held {
    fn new(permit: OwnedSemaphorePermit, under_way: &IntGauge) -> Self {
        under_way.inc();
        Self {
            _permit: permit,
            under_way: under_way.clone(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.under_way.dec();
    }
}

/// A join's place among those under way, or in the queue before them.
pub(crate) enum Place {
    Held(#[allow(dead_code, reason = "it is held to be dropped")] Held),
    Queued {
        turn: Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>>>>,
        under_way: IntGauge,
    },
}

impl Place {
    /// Resolves when the join may begin.
    pub(crate) fn poll_held(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let Self::Queued { turn, under_way } = self else {
            return Poll::Ready(());
        };
        match turn.as_mut().poll(task) {
            Poll::Ready(Ok(permit)) => {
                *self = Self::Held(Held::new(permit, under_way));
                Poll::Ready(())
            }
            // The semaphore is never closed.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn gate(max: usize) -> Gate {
        let under_way = IntGauge::new("under_way", "joins").unwrap();
        let waited = IntCounter::new("waited", "joins").unwrap();
        Gate::new(max, under_way, waited)
    }

    fn begins(place: &mut Place) -> bool {
        let mut task = Context::from_waker(Waker::noop());
        place.poll_held(&mut task).is_ready()
    }

    #[test]
    fn places_are_given_in_order_and_given_back() {
        let gate = gate(2);
        let mut places: Vec<Place> = (0..5).map(|_| gate.ask()).collect();
        let held: Vec<bool> = places.iter_mut().map(begins).collect();
        assert_eq!(held, [true, true, false, false, false]);
        assert_eq!((gate.under_way.get(), gate.waited.get()), (2, 3));
        drop(places.remove(0));
        // The last in the queue asks first, and waits all the same.
        assert!(!begins(&mut places[3]));
        assert!(begins(&mut places[1]));
        // Who leaves the queue holds nobody up.
        drop(places.remove(2));
        drop(places.remove(0));
        assert!(begins(&mut places[1]));
        drop(places);
        assert_eq!(gate.under_way.get(), 0);
        assert!(begins(&mut gate.ask()));
    }
}
