//! The registry that every module's metrics are registered in, and its text form.
//!
//! Labels are bounded: never a topic, never a user.

use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, IntGaugeVec, Opts, Registry, TextEncoder};

/// The content type of [`text`] (Prometheus text format 0.0.4).
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Makes a registry with `fanfare_build_info{version}` and the `process_*` set.
///
/// # Errors
/// When a family can't be registered.
pub fn registry() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let opts = Opts::new("fanfare_build_info", "The version that runs; always 1");
    let build = IntGaugeVec::new(opts, &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))?;
    Ok(registry)
}

/// Writes every family as text.
pub fn text(registry: &Registry) -> Vec<u8> {
    let mut out = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut out) {
        tracing::error!(%error, "metrics cannot be written");
    }
    out
}
