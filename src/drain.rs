//! Leaving without a storm: the steps from the first signal to the exit.
//!
//! It knows the order and the time of each step; the gateway performs them.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

/// How often sockets are closed while they are told to go.
const BATCH_EVERY: Duration = Duration::from_millis(100);

/// How long after `spread` the last sockets may take to go; peers are cut off well before.
const STRAGGLERS: Duration = Duration::from_secs(10);

/// The settings under `[drain]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long `/readyz` fails before sockets are told to go. Default 5 s.
    pub wait: Duration,
    /// Over how long the closes (1012) are spread. Default 20 s.
    pub spread: Duration,
    /// How long the writer may flush. Default 10 s.
    pub flush: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(5),
            spread: Duration::from_secs(20),
            flush: Duration::from_secs(10),
        }
    }
}

/// How urgently the node was told to go; it only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nobody has said so.
    Stay,
    /// SIGTERM: every step.
    Orderly,
    /// SIGINT: without the first wait.
    Prompt,
    /// A second signal: on to the flush.
    Now,
}

/// What a node can do on its way out.
pub trait Departing {
    /// Makes `/readyz` fail, so that no new client is sent here.
    fn fail_readiness(&self);
    /// Stops accepting connections.
    fn stop_accepting(&self);
    /// Returns how many sockets are open.
    fn sockets(&self) -> usize;
    /// Closes one socket in so many with 1012, on each worker, of those that were not told yet; 1 closes all.
    fn close_one_in(&self, share: u32);
    /// Ends the workers and refuses further records.
    fn end_workers(&self) -> impl Future<Output = ()>;
    /// Flushes the writer; returns how many records are left after `within`.
    fn flush(&self, within: Duration) -> impl Future<Output = usize>;
    /// Leaves presence and broker, once for the node.
    fn leave(&self) -> impl Future<Output = ()>;
}

/// Goes through the steps; returns how many records could not be stored.
///
/// Each step ends as soon as nothing is left to wait for. A higher urgency skips ahead.
pub async fn run(
    config: &Config,
    node: &impl Departing,
    mut urgency: watch::Receiver<Urgency>,
) -> usize {
    node.fail_readiness();
    tracing::info!(sockets = node.sockets(), "draining");
    let nobody = until(|| node.sockets() == 0);
    tokio::select! {
        () = tokio::time::sleep(config.wait) => {}
        () = nobody => {}
        () = reached(&mut urgency, Urgency::Prompt) => {}
    }
    node.stop_accepting();
    tokio::select! {
        biased;
        () = reached(&mut urgency, Urgency::Now) => {}
        () = close_all(config.spread, node) => {}
    }
    node.end_workers().await;
    let left = node.flush(config.flush).await;
    node.leave().await;
    left
}

/// Closes the sockets in batches spread over `spread`, and goes on until they are gone.
///
/// The last of `n` batches closes all, the one before it every second, the one before that every third: so each closes
/// the same number, whatever share of the sockets a worker has.
/// A peer that does not answer its close is cut off by the worker after a while.
async fn close_all(spread: Duration, node: &impl Departing) {
    let batches = spread.as_millis() / BATCH_EVERY.as_millis();
    let mut batches = u32::try_from(batches).unwrap_or(u32::MAX).max(1);
    let mut ticks = tokio::time::interval(BATCH_EVERY);
    let closed = async {
        // Beyond the last batch all that is left is closed: a handshake that was under way may have become a socket.
        while node.sockets() > 0 {
            ticks.tick().await;
            node.close_one_in(batches);
            batches = batches.saturating_sub(1).max(1);
        }
    };
    if tokio::time::timeout(spread + STRAGGLERS, closed)
        .await
        .is_err()
    {
        tracing::warn!(
            sockets = node.sockets(),
            "sockets are left at the end of the drain"
        );
    }
}

async fn until(done: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !done() {
        ticks.tick().await;
    }
}

async fn reached(urgency: &mut watch::Receiver<Urgency>, at: Urgency) {
    if urgency.wait_for(|now| *now >= at).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[derive(Default)]
    struct Double {
        sockets: Cell<usize>,
        /// Sockets that never go.
        stuck: Cell<usize>,
        steps: RefCell<Vec<&'static str>>,
    }

    impl Departing for Double {
        fn fail_readiness(&self) {
            self.steps.borrow_mut().push("unready");
        }
        fn stop_accepting(&self) {
            self.steps.borrow_mut().push("stop");
        }
        fn sockets(&self) -> usize {
            self.sockets.get()
        }
        fn close_one_in(&self, share: u32) {
            self.steps.borrow_mut().push("close");
            let left = self.sockets.get() - self.sockets.get() / share as usize;
            self.sockets.set(left.max(self.stuck.get()));
        }
        async fn end_workers(&self) {
            self.steps.borrow_mut().push("end");
        }
        async fn flush(&self, _: Duration) -> usize {
            self.steps.borrow_mut().push("flush");
            3
        }
        async fn leave(&self) {
            self.steps.borrow_mut().push("leave");
        }
    }

    fn check(sockets: usize, urgency: Urgency, took: std::ops::Range<u64>, closes: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let node = Double::default();
            node.sockets.set(sockets);
            let (_sender, receiver) = watch::channel(urgency);
            let start = tokio::time::Instant::now();
            assert_eq!(run(&Config::default(), &node, receiver).await, 3);
            let seconds = start.elapsed().as_secs();
            assert!(took.contains(&seconds), "{seconds} s of {took:?}");
            let steps = node.steps.borrow();
            let without: Vec<_> = steps
                .iter()
                .filter(|step| **step != "close")
                .copied()
                .collect();
            assert_eq!(without, ["unready", "stop", "end", "flush", "leave"]);
            assert_eq!(steps.len() - without.len(), closes);
        });
    }

    #[test]
    fn an_orderly_drain_waits_and_spreads_the_closes() {
        check(400, Urgency::Orderly, 24..26, 200);
    }

    fn leaves(node: &Double, sockets: usize, left: usize, took: std::ops::Range<u64>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            node.sockets.set(sockets);
            let (_sender, receiver) = watch::channel(Urgency::Prompt);
            let start = tokio::time::Instant::now();
            run(&Config::default(), node, receiver).await;
            let seconds = start.elapsed().as_secs();
            assert!(took.contains(&seconds), "{seconds} s of {took:?}");
            assert_eq!(node.sockets.get(), left);
        });
    }

    #[test]
    fn fewer_sockets_than_batches_take_the_whole_spread_too() {
        check(3, Urgency::Prompt, 19..21, 200);
    }

    #[test]
    fn sockets_that_never_go_do_not_keep_the_node() {
        let node = Double::default();
        node.stuck.set(3);
        leaves(&node, 40, 3, 29..31);
    }

    #[test]
    fn an_empty_node_leaves_at_once() {
        check(0, Urgency::Orderly, 0..1, 0);
    }

    #[test]
    fn sigint_skips_the_wait_and_a_second_signal_the_closes() {
        check(400, Urgency::Prompt, 19..21, 200);
        check(400, Urgency::Now, 0..1, 0);
    }
}
