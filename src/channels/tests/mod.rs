//! A stage for channels: a node and a topic that only pretend, and a log of what was asked.
//!
//! It never waits: whatever a channel asks is answered at once.

mod events;
mod joins;
mod stage;

use super::{Declaration, Defaults, Kind};
use stage::{Joined, Stage, declared, message, stage};
