//! What is logged of a panic: where, never what it said.
//!
//! It ends nothing: a callback's panic ends its channel, another one's its thread or task.

use std::panic::{Location, PanicHookInfo};

use crate::channel;

/// Logs each panic of the process as one line, instead of writing it to standard error as text.
///
/// The message of a panic may hold what a client sent, so only its place is told.
pub fn log_panics() {
    std::panic::set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let place = info.location().map(Location::to_string);
    let place = place.as_deref().unwrap_or("unknown");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    match channel::is_in_callback() {
        true => tracing::error!(place, thread, "a callback panicked"),
        false => tracing::error!(place, thread, "the gateway panicked"),
    }
}
