//! What sockets count: joins, messages and replies by kind.
//!
//! Labels are a channel's kind and a status, never a topic or an event.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// The counters that every socket of a node shares.
#[derive(Clone)]
pub struct Metrics {
    /// `fanfare_channels{kind}`: channels joined now.
    pub channels: IntGaugeVec,
    /// `fanfare_joins_total{kind,status}`: answered joins.
    pub joins: IntCounterVec,
    /// `fanfare_messages_received_total{kind}`: messages by the kind of their channel.
    pub messages: IntCounterVec,
    /// `fanfare_replies_total{status}`: replies, heartbeats' included.
    pub replies: Replies,
    /// `fanfare_handler_seconds{kind,callback}`: a callback from its call to its end.
    pub callbacks: HistogramVec,
    /// `fanfare_malformed_total`: frames that were no message.
    pub malformed: IntCounter,
    /// `fanfare_rate_limited_total`: messages refused by the message rate.
    pub rate_limited: IntCounter,
    /// `fanfare_limit_reached_total{limit}`: see [`LIMITS`].
    pub limit_reached: IntCounterVec,
    /// `fanfare_joins_in_flight`: joins whose callback has begun and not ended.
    pub joins_in_flight: IntGauge,
}

/// `fanfare_replies_total` by status.
#[derive(Clone)]
pub struct Replies {
    ok: IntCounter,
    error: IntCounter,
    /// A channel's own status.
    other: IntCounter,
}

impl Replies {
    fn register(registry: &Registry, opts: Opts) -> Result<Self, prometheus::Error> {
        let replies = IntCounterVec::new(opts, &["status"])?;
        registry.register(Box::new(replies.clone()))?;
        let by = |status: &str| replies.with_label_values(&[status]);
        Ok(Self {
            ok: by("ok"),
            error: by("error"),
            other: by("other"),
        })
    }

    pub(super) fn count(&self, status: &str) {
        match status {
            "ok" => self.ok.inc(),
            "error" => self.error.inc(),
            _ => self.other.inc(),
        }
    }
}

/// What `fanfare_limit_reached_total` counts, from 0 on; joins in flight are those that had to wait.
const LIMITS: [&str; 5] = [
    "topic_bytes",
    "channels_per_socket",
    "join_seconds",
    "joins_in_flight",
    "max_connection_age_seconds",
];

impl Metrics {
    /// Makes the series of a kind of channel, so that a rate sees the first event of each.
    pub(crate) fn start_at_zero(&self, kind: &str) {
        self.channels.with_label_values(&[kind]);
        self.messages.with_label_values(&[kind]);
        for status in ["ok", "error"] {
            self.joins.with_label_values(&[kind, status]);
        }
        for callback in ["join", "handle_in"] {
            self.callbacks.with_label_values(&[kind, callback]);
        }
    }

    /// Registers the families.
    ///
    /// # Errors
    /// When a family of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, text: &str| Opts::new(name, text).namespace("fanfare");
        let seconds = HistogramOpts::new("handler_seconds", "A callback from its call to its end")
            .namespace("fanfare")
            .buckets(vec![
                0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
            ]);
        let metrics = Self {
            channels: IntGaugeVec::new(opts("channels", "Channels joined now"), &["kind"])?,
            joins: IntCounterVec::new(opts("joins_total", "Answered joins"), &["kind", "status"])?,
            messages: IntCounterVec::new(
                opts("messages_received_total", "Messages by kind of channel"),
                &["kind"],
            )?,
            replies: Replies::register(registry, opts("replies_total", "Replies by status"))?,
            callbacks: HistogramVec::new(seconds, &["kind", "callback"])?,
            malformed: IntCounter::with_opts(opts(
                "malformed_total",
                "Frames that were no message",
            ))?,
            rate_limited: IntCounter::with_opts(opts(
                "rate_limited_total",
                "Messages refused by the message rate",
            ))?,
            limit_reached: IntCounterVec::new(
                opts(
                    "limit_reached_total",
                    "Joins, messages and connections that met a limit",
                ),
                &["limit"],
            )?,
            joins_in_flight: IntGauge::with_opts(opts(
                "joins_in_flight",
                "Joins whose callback has begun and not ended",
            ))?,
        };
        registry.register(Box::new(metrics.channels.clone()))?;
        registry.register(Box::new(metrics.joins.clone()))?;
        registry.register(Box::new(metrics.messages.clone()))?;
        registry.register(Box::new(metrics.callbacks.clone()))?;
        registry.register(Box::new(metrics.malformed.clone()))?;
        registry.register(Box::new(metrics.rate_limited.clone()))?;
        registry.register(Box::new(metrics.limit_reached.clone()))?;
        registry.register(Box::new(metrics.joins_in_flight.clone()))?;
        for limit in LIMITS {
            metrics.limit_reached.with_label_values(&[limit]);
        }
        Ok(metrics)
    }
}
