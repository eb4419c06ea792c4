//! One client connection without I/O: dispatch, refs, ordering, limits and the outbox.
//!
//! The worker feeds it and performs what it puts out.

mod entry;
mod machine;
mod metrics;
mod outbox;
mod rate;
mod turns;

pub use entry::ChannelId;
pub use machine::{Host, Output, Socket, Surroundings};
pub use metrics::Metrics;
pub use outbox::{Outbox, OutboxFull, SLICES_MAX};
