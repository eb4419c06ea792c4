//! A running node and how it leaves: signals, drain, flush, goodbye.
//!
//! The order of the steps is the drain's; here is what each one does.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Failure;
use super::supervisor::Supervisor;
use crate::broker::{Letter, RedisBroker, nodes_topic};
use crate::drain::{self, Departing, Urgency};
use crate::http::Facts;
use crate::protocol::CloseReason;
use crate::pubsub::Entry;
use crate::worker::{Node, Stage};

/// How long the broker may take to publish what is queued at the end, and to answer who misses something of it.
const BROKER_GOODBYE: Duration = Duration::from_secs(3);

/// The broker between nodes, and what runs it.
pub(super) struct RunningBroker {
    pub(super) broker: Arc<RedisBroker>,
    pub(super) run: JoinHandle<()>,
}

/// A worker's thread and how to stop it.
pub(super) struct WorkerThread {
    pub(super) stop: oneshot::Sender<()>,
    pub(super) thread: std::thread::JoinHandle<()>,
}

/// A node that runs.
pub(super) struct Running {
    pub(super) node: Arc<Node>,
    pub(super) redis: Option<RunningBroker>,
    pub(super) workers: Vec<WorkerThread>,
    pub(super) told: Told,
    pub(super) drain: drain::Config,
    pub(super) facts: Facts,
    /// Who started the process, where the process is the node.
    pub(super) supervisor: Supervisor,
}

impl Running {
    /// Waits until the node is told to go, then leaves in order.
    pub(super) async fn until_told(self) -> Result<(), Failure> {
        let mut urgency = self.told.0.subscribe();
        if urgency.wait_for(|now| *now > Urgency::Stay).await.is_err() {
            return Err(Failure(String::from("signals can't be received any more")));
        }
        let leaving = Leaving {
            node: self.node,
            redis: std::cell::RefCell::new(self.redis),
            workers: std::cell::RefCell::new(self.workers),
            supervisor: self.supervisor,
        };
        match drain::run(&self.drain, &leaving, urgency).await {
            0 => {
                tracing::info!("stopped");
                Ok(())
            }
            left => Err(Failure(format!("{left} records could not be stored"))),
        }
    }
}

/// How urgently the node was told to go, by signals or by the program that embeds it.
#[derive(Clone)]
pub(super) struct Told(Arc<watch::Sender<Urgency>>);

impl Told {
    /// Listens to SIGTERM and SIGINT from now on; a second one of either means now.
    pub(super) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::new("signals", error);
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let told = Self(Arc::new(watch::channel(Urgency::Stay).0));
        let heard = told.clone();
        tokio::spawn(async move {
            loop {
                let urgency = tokio::select! {
                    _ = terminate.recv() => Urgency::Orderly,
                    _ = interrupt.recv() => Urgency::Prompt,
                };
                heard.tell(urgency);
            }
        });
        Ok(told)
    }

    /// Tells the node to go; when it was told already, to go now.
    pub(super) fn tell(&self, urgency: Urgency) {
        self.0.send_modify(|now| {
            *now = match *now {
                Urgency::Stay => urgency,
                Urgency::Orderly | Urgency::Prompt | Urgency::Now => Urgency::Now,
            };
        });
    }
}

struct Leaving {
    supervisor: Supervisor,
    node: Arc<Node>,
    redis: std::cell::RefCell<Option<RunningBroker>>,
    workers: std::cell::RefCell<Vec<WorkerThread>>,
}

impl Departing for Leaving {
    fn fail_readiness(&self) {
        self.node.admission.enter_stage(Stage::Waiting);
        self.supervisor.stopping(self.sockets());
    }

    fn stop_accepting(&self) {
        self.node.admission.enter_stage(Stage::Closing);
        self.node.pubsub.tell_workers(&Entry::StopAccepting);
    }

    fn sockets(&self) -> usize {
        self.node.admission.open()
    }

    fn close_one_in(&self, share: u32) {
        self.node.pubsub.tell_workers(&Entry::CloseOneIn {
            share,
            reason: CloseReason::Restart,
        });
    }

    async fn end_workers(&self) {
        self.node.admission.enter_stage(Stage::Flushing);
        self.node.writer.close();
        let workers = std::mem::take(&mut *self.workers.borrow_mut());
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                // A worker that ended already does not listen.
                let _ = worker.stop.send(());
                let _ = worker.thread.join();
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "a worker did not end");
        }
    }

    async fn flush(&self, within: Duration) -> usize {
        self.node.writer.flush(within).await
    }

    async fn leave(&self) {
        self.node.admission.enter_stage(Stage::Leaving);
        let redis = self.redis.borrow_mut().take();
        let Some(RunningBroker { broker, run }) = redis else {
            return;
        };
        let goodbye = Letter::Presence(self.node.presence.goodbye());
        self.node.pubsub.tell_nodes(&nodes_topic(), goodbye);
        broker.close();
        if tokio::time::timeout(BROKER_GOODBYE, run).await.is_err() {
            tracing::warn!("the broker did not take everything in time");
        }
    }
}
