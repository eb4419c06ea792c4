//! Every limit of a node: reached on purpose, answered as documented, and counted.
//!
//! Each test has a node of its own, configured to a small limit; nothing is mocked.

#[path = "../support/mod.rs"]
mod support;

mod close_codes;
mod connections;
mod messages;
mod slow;
mod store;
