//! The broker over Redis pub/sub: one channel a topic, one link that listens, one that publishes.
//!
//! Redis keeps nothing and promises nothing; what gets lost on the way is asked for again, or told, never hidden.

mod dial;
mod heartbeat;
mod link;
mod probe;
mod publisher;
mod queue;
mod reception;
mod subscription;
mod subscriptions;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

pub use dial::ConnectError;

use self::dial::Dialer;
use self::probe::Probe;
use self::publisher::Publisher;
use self::queue::Queue;
use self::reception::Reception;
use self::subscription::Outcome;
use self::subscriptions::{Table, Want};
use super::repair::To;
use super::{Broker, BrokerError, Config, Inbox, Letter, Metrics, NODES, Subscribed};
use crate::protocol::Topic;

/// How long the first connection may take.
const FIRST_CONNECTION: Duration = Duration::from_secs(5);

/// What the two links and the callers share.
struct Shared {
    config: Config,
    dialer: Dialer,
    channels: Channels,
    table: Mutex<Table>,
    /// Wakes the link when the table has something to send.
    changed: Notify,
    connected: AtomicBool,
    closed: watch::Sender<bool>,
    reception: Reception,
    probe: Probe,
    metrics: Metrics,
}

impl Shared {
    /// Waits until the broker is closed.
    async fn closing(&self) {
        let mut closed = self.closed.subscribe();
        // The sender is here, so that waiting cannot fail.
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

/// A broker over Redis pub/sub.
///
/// `!nodes` ([`NODES`]) is the channel `<prefix>!nodes` and always subscribed; every other topic is
/// `<prefix>t:<topic>`. What is for one node only goes to `<prefix>!node:<its incarnation in hex>`.
///
/// # Ordering
/// What one living node publishes on one topic arrives in order and exactly once: what Redis loses is asked for
/// again, see [`repair`](super::repair). What is given up is told as [`Notice::Hole`](super::Notice::Hole).
pub struct RedisBroker {
    shared: Arc<Shared>,
    queue: Queue,
}

impl RedisBroker {
    /// Connects both links and subscribes the node topic, within 5 s.
    ///
    /// Answers the broker and the future that runs it, which ends some time after [`close`](Self::close)
    /// or when the broker is dropped.
    /// Both must live on the same Tokio runtime. The inbox is first told `Connected` when it runs.
    ///
    /// # Errors
    /// [`ConnectError`], one line without the password, when Redis cannot be used.
    pub async fn connect(
        config: &Config,
        inbox: Inbox,
        metrics: Metrics,
    ) -> Result<(Arc<Self>, impl Future<Output = ()> + Send + 'static), ConnectError> {
        let dialer = Dialer::new(config)?;
        let incarnation = incarnation()?;
        let (reception, questions) = Reception::new(incarnation, inbox, metrics.clone());
        let shared = Arc::new(Shared {
            config: config.clone(),
            channels: Channels::new(&config.prefix, incarnation),
            table: Mutex::new(Table::new()),
            changed: Notify::new(),
            connected: AtomicBool::new(false),
            closed: watch::Sender::new(false),
            reception,
            probe: Probe::default(),
            metrics: metrics.clone(),
            dialer,
        });
        let first = async {
            let link = link::open(&shared).await?;
            let connection = shared.dialer.publishing().await?;
            Ok::<_, ConnectError>((link, connection))
        };
        let (link, connection) = timeout(FIRST_CONNECTION, first)
            .await
            .map_err(|_| shared.dialer.too_late())??;
        let (queue, letters) = Queue::new(config, metrics);
        let publisher = Publisher::new(Arc::clone(&shared), letters, questions, incarnation);
        let run = future::join(
            link::run(Arc::clone(&shared), link),
            publisher.run(connection),
        );
        Ok((Arc::new(Self { shared, queue }), run.map(|_| ())))
    }

    /// Publishes what is queued, if Redis is up, then ends the running future; nothing is taken any more.
    pub fn close(&self) {
        self.shared.closed.send_replace(true);
    }

    async fn acknowledged(&self, topic: &Topic) -> Result<Subscribed, BrokerError> {
        if *self.shared.closed.borrow() {
            return Err(BrokerError::Closed);
        }
        let wanted = self.shared.table.lock().want(topic);
        let mut pending = match wanted {
            Want::Subscribed => return Ok(Subscribed::Acknowledged),
            Want::Deferred => return Ok(Subscribed::Deferred),
            Want::Pending(pending) => pending,
        };
        self.shared.changed.notify_one();
        let answer = timeout(
            self.shared.config.join_timeout,
            pending.wait_for(Option::is_some),
        )
        .await
        // A sender that went without a word was withdrawn with its topic.
        .map(|told| told.map_or(Some(Outcome::Refused), |outcome| *outcome));
        // Only other callers' waits may count from here on.
        drop(pending);
        match answer
            .ok()
            .flatten()
            .unwrap_or_else(|| self.shared.table.lock().abandon(topic))
        {
            Outcome::Acknowledged => Ok(Subscribed::Acknowledged),
            Outcome::Deferred => Ok(Subscribed::Deferred),
            Outcome::Refused => {
                self.shared.changed.notify_one();
                Err(BrokerError::Unacknowledged)
            }
        }
    }
}

impl Drop for RedisBroker {
    fn drop(&mut self) {
        self.close();
    }
}

impl Broker for RedisBroker {
    fn publish(&self, topic: &Topic, letter: Letter) -> Result<(), BrokerError> {
        self.queue.push(topic, letter)
    }

    /// Subscribes this node to a topic; concurrent calls for one topic share one SUBSCRIBE.
    ///
    /// On an error the topic is not subscribed, unless another caller's wait for it goes on.
    ///
    /// # Cancel safety
    /// A dropped call leaves the subscription in the making; unsubscribe to end it.
    fn subscribe<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Result<Subscribed, BrokerError>> {
        if topic.as_str() == NODES {
            return future::ready(Ok(Subscribed::Acknowledged)).boxed();
        }
        self.acknowledged(topic).boxed()
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.shared.table.lock().unwant(topic.as_str());
        self.shared.changed.notify_one();
    }

    /// Says whether the other nodes' publishes arrive; publishing may be held up all the same.
    fn connected(&self) -> bool {
        self.shared.connected.load(Ordering::Acquire)
    }
}

/// The names of the Redis channels.
#[derive(Debug)]
struct Channels {
    nodes: String,
    /// What starts the name of one node's channel.
    node: String,
    /// This node's channel.
    own: String,
    topics: String,
}

impl Channels {
    fn new(prefix: &str, incarnation: u64) -> Self {
        let node = format!("{prefix}!node:");
        Self {
            nodes: format!("{prefix}{NODES}"),
            own: format!("{node}{incarnation:016x}"),
            node,
            topics: format!("{prefix}t:"),
        }
    }

    fn of(&self, topic: &Topic) -> String {
        match topic.as_str() {
            NODES => self.nodes.clone(),
            topic => format!("{}{topic}", self.topics),
        }
    }

    fn to(&self, to: To) -> String {
        match to {
            To::Nodes => self.nodes.clone(),
            To::Node(incarnation) => format!("{}{incarnation:016x}", self.node),
        }
    }

    /// Returns the user topic of a channel; none for the node channels.
    fn topic<'a>(&self, channel: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(channel)
            .ok()?
            .strip_prefix(&self.topics)
    }
}

/// Makes the number that tells this process' publishes from all others.
fn incarnation() -> Result<u64, ConnectError> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|_| ConnectError::Entropy)?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_topic_cannot_take_the_node_channel() {
        let channels = Channels::new("fanfare:", 0xAB);
        let check = |topic: &str, channel: &str, back: Option<&str>| {
            assert_eq!(channels.of(&topic.try_into().unwrap()), channel);
            assert_eq!(channels.topic(channel.as_bytes()), back);
        };
        check("room:a", "fanfare:t:room:a", Some("room:a"));
        check("t:!nodes", "fanfare:t:t:!nodes", Some("t:!nodes"));
        check(NODES, "fanfare:!nodes", None);
        assert_eq!(channels.own, "fanfare:!node:00000000000000ab");
        assert_eq!(channels.own, channels.to(To::Node(0xAB)));
        assert_eq!(channels.topic(channels.own.as_bytes()), None);
    }
}
