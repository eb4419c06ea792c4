//! Bytes to frames and back: WebSocket and long-poll, and who may knock.
//!
//! It drives no socket; the worker does.

mod config;
pub mod origin;

pub use config::Config;
pub use origin::{OriginPolicy, RequestOrigin};
