//! The heartbeat of a link: a PING with a deadline.
//!
//! It never closes a link; whoever watches drops it.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use crate::broker::Config;

/// Why a link is of no use any more.
#[derive(Debug)]
pub(super) enum Loss {
    /// The connection ended or gave an answer that makes no sense.
    Broken(Option<RedisError>),
    /// Nothing came for longer than the deadline.
    Silent,
    /// It answers, but what this node publishes does not arrive on it.
    Deaf,
    /// The server is not the one any more: a failover, or its slot went elsewhere.
    Moved,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(Some(cause)) => write!(f, "the connection broke: {cause}"),
            Self::Broken(None) => f.write_str("the connection ended"),
            Self::Silent => f.write_str("no sign of life in time"),
            Self::Moved => f.write_str("another server has taken over"),
            Self::Deaf => f.write_str("what this node publishes does not arrive"),
        }
    }
}

/// Counts what came in on a link; anything that came is a sign of life.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<AtomicU64>);

impl Heard {
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Pings until the link is dead.
///
/// With the defaults a dead link is noticed after at most 4.25 s: 1 s until the next ping, then 3 s of
/// silence, looked at four times a second. A PONG that waits behind a flood of messages is not missed.
pub(super) async fn watch(
    mut connection: MultiplexedConnection,
    config: &Config,
    heard: Heard,
) -> Loss {
    let look = config.ping_interval / 4;
    loop {
        sleep(config.ping_interval).await;
        let command = redis::cmd("PING");
        let mut pong = pin!(command.exec_async(&mut connection));
        let (mut silent, mut seen) = (Duration::ZERO, heard.count());
        loop {
            tokio::select! {
                answer = &mut pong => match answer {
                    Ok(()) => break,
                    Err(cause) => return Loss::Broken(Some(cause)),
                },
                () = sleep(look) => {}
            }
            silent = if heard.count() == seen {
                silent + look
            } else {
                Duration::ZERO
            };
            seen = heard.count();
            if silent >= config.ping_timeout {
                return Loss::Silent;
            }
        }
    }
}
