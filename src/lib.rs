//! Fanfare: a horizontally scaled pub/sub gateway for the Phoenix Channels protocol.
//!
//! The modules are floors of a house: imports go down only (`tests/architecture.rs` holds them).
//! Floor 0 is [`protocol`], [`auth`], [`clock`], [`backoff`], [`limits`], [`metrics`] and [`tls`]; floor 1 is [`channel`],
//! [`channels`] and [`socket`]; floor 2 is [`broker`], [`pubsub`], [`presence`], [`store`] and
//! [`transport`]; floor 3 is [`worker`]; floor 4 is [`http`]; floor 5 is [`gateway`], [`drain`] and
//! [`config`]. `seeds` is for unit tests alone. The [`manual`] says what all of it promises, speaks and needs.

pub mod auth;
pub mod backoff;
pub mod broker;
pub mod channel;
pub mod channels;
pub mod clock;
pub mod config;
pub mod drain;
pub mod gateway;
pub mod http;
pub mod limits;
pub mod manual;
pub mod metrics;
pub mod presence;
pub mod protocol;
pub mod pubsub;
#[cfg(test)]
mod seeds;
pub mod socket;
pub mod store;
pub mod tls;
pub mod transport;
pub mod worker;
