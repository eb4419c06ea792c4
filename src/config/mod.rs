//! Settings: read from flags, environment and file, checked, and assembled for the gateway.
//!
//! The only place that reads the environment; it starts nothing.

mod channels;
mod cli;
mod error;
mod host;
mod keys;
mod load;
mod reference;
mod settings;
mod text;

pub use cli::{Command, Grant, Invocation, Probe, Refusal};
pub use error::{ConfigError, Source, one_line};
pub use host::notify_socket;
pub use keys::{Flag, Key, Preset, Unit, all as keys};
pub use load::{Flags, Sources};
pub use settings::{Anonymous, LogFormat, Settings};
pub use text::log_directives;
