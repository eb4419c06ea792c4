//! What a channel is: the trait, its context, the router and the runner of one joined channel.
//!
//! It does no I/O: a channel asks for effects, and the worker performs them.

mod record;

pub use record::{Author, Body, Epoch, NewRecord, Record};
