//! Every limit of a node: reached on purpose, answered as documented, and counted.
//!
//! Each test has a node of its own, configured to a small limit; nothing is mocked.

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod age;
mod close_codes;
mod connections;
mod descriptors;
mod messages;
mod proxied;
mod slow;
mod store;
