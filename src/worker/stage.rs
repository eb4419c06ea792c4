//! How far a node has come on its way out, for whoever asks: clients, load balancers, operators.
//!
//! It only remembers; the drain decides when the next stage begins.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::clock::{self, UnixMicros};

/// A stage of a node's life; it only moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Clients are let in and served.
    Serving,
    /// `/readyz` fails, and clients are still let in.
    Waiting,
    /// Nobody is let in; sockets are told to go.
    Closing,
    /// The workers have ended; the writer stores what it has.
    Flushing,
    /// The node says goodbye to the others.
    Leaving,
}

impl Stage {
    const ALL: [Self; 5] = [
        Self::Serving,
        Self::Waiting,
        Self::Closing,
        Self::Flushing,
        Self::Leaving,
    ];

    /// Returns its name in `/status`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Waiting => "waiting",
            Self::Closing => "closing",
            Self::Flushing => "flushing",
            Self::Leaving => "leaving",
        }
    }
}

/// What is known of a node that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// When it was told to go, in microseconds since the Unix epoch.
    pub told_at: UnixMicros,
    /// How many connections were open then.
    pub connections_then: usize,
}

/// The stage of a node, shared by its workers.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stage: AtomicU8,
    departure: Mutex<Option<Departure>>,
}

impl Progress {
    pub(super) fn stage(&self) -> Stage {
        let index = usize::from(self.stage.load(Ordering::Relaxed));
        Stage::ALL.get(index).copied().unwrap_or(Stage::Leaving)
    }

    pub(super) fn departure(&self) -> Option<Departure> {
        *self.departure.lock()
    }

    /// Moves on to a stage; an earlier one than the present changes nothing.
    pub(super) fn enter(&self, stage: Stage, connections: &AtomicUsize) {
        self.stage.fetch_max(stage as u8, Ordering::Relaxed);
        if stage > Stage::Serving {
            self.departure.lock().get_or_insert_with(|| Departure {
                told_at: clock::unix_us(),
                connections_then: connections.load(Ordering::Relaxed),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_never_goes_back() {
        let (progress, connections) = (Progress::default(), AtomicUsize::new(3));
        for stage in Stage::ALL {
            progress.enter(stage, &connections);
            assert_eq!(progress.stage(), stage);
            progress.enter(Stage::Serving, &connections);
            assert_eq!(progress.stage(), stage, "back to the first");
            connections.store(0, Ordering::Relaxed);
        }
        let departure = progress.departure().unwrap();
        assert_eq!(departure.connections_then, 0);
    }

    #[test]
    fn what_was_open_is_remembered_from_the_first_step() {
        let (progress, connections) = (Progress::default(), AtomicUsize::new(3));
        assert_eq!(progress.departure(), None);
        progress.enter(Stage::Waiting, &connections);
        connections.store(1, Ordering::Relaxed);
        progress.enter(Stage::Closing, &connections);
        assert_eq!(progress.departure().unwrap().connections_then, 3);
    }
}
