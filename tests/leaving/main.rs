//! Leaving: how a node goes, how sockets are told to go, and what operators may ask of every node.
//!
//! Real nodes, Redis and Postgres; a record that was accepted is in the database, or the exit code says no.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod drain;
mod told;
