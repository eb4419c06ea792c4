//! Presence across nodes: real nodes and a real Redis, with everything that dies in between.
//!
//! A watcher keeps a roster as stock clients do, and every join or leave that it hears.

#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod faults;
mod random;
mod roster;
