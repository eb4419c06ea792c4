//! Fanload: a load generator for pub/sub gateways, and the benchmark that Fanfare is measured with.
//!
//! It never sends to another machine than the one it is told, and it knows nothing of Fanfare's inside.

pub mod bench;
pub mod client;
pub mod crowd;
pub mod dialect;
pub mod measure;
pub mod plan;
pub mod report;
pub mod stamp;
pub mod storm;
pub mod tally;
pub mod usage;
pub mod wire;
