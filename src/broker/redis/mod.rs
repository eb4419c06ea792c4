//! The broker over Redis pub/sub: one channel a topic, one link that listens, one that publishes.
//!
//! Redis keeps nothing and promises nothing; what gets lost on the way is asked for again, or told, never hidden.

mod channels;
mod dial;
mod heartbeat;
mod lane;
mod link;
mod probe;
mod publisher;
mod queue;
mod reception;
mod subscription;
mod subscriptions;
mod topology;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use prometheus::IntCounter;
use tokio::sync::watch;
use tokio::time::timeout;

pub use dial::ConnectError;

use self::channels::Channels;
use self::dial::{Dialer, Way};
use self::lane::{Joint, Lane, Links, Parts, closing};
use self::queue::Room;
use self::topology::{Topology, slots};
use super::address::Address;
use super::{Broker, BrokerError, Config, Inbox, Letter, Metrics, NODES, Subscribed};
use crate::protocol::Topic;

/// How long the first connection may take.
const FIRST_CONNECTION: Duration = Duration::from_secs(5);
/// Letters that a lane's ring keeps at least.
const RING_LETTERS_MIN: usize = 1_024;

/// A broker over Redis pub/sub.
///
/// `!nodes` ([`NODES`]) is the channel `<prefix>!nodes` and always subscribed; every other topic is
/// `<prefix>t:<topic>`. What is for one node only goes to `<prefix>!node:<its incarnation in hex>`.
///
/// In a cluster with sharded pub/sub the topics are spread over lanes ([`Config::cluster_lanes`]) by a hash. A lane
/// has all its channels in one slot, `<prefix>{<number>}t:<topic>`, and its own two links to whoever has that slot.
///
/// # Ordering
/// What one living node publishes on one topic arrives in order and exactly once: what Redis loses is asked for
/// again, see [`repair`](super::repair). What is given up is told as [`Notice::Hole`](super::Notice::Hole).
pub struct RedisBroker {
    lanes: Vec<Lane>,
    links: Arc<Links>,
    closed: Arc<watch::Sender<bool>>,
    room: Arc<Room>,
    refused: IntCounter,
    topology: Arc<Topology>,
}

impl RedisBroker {
    /// Connects all links and subscribes the node topic, within 5 s.
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
        let url = config.url.as_deref().ok_or(ConnectError::NoUrl)?;
        let address = Address::parse(url).map_err(ConnectError::Url)?;
        let way = Arc::new(Way::new(config)?);
        let topology = Arc::new(Topology::new(address, Arc::clone(&way)));
        let closed = Arc::new(watch::Sender::new(false));
        let (room, refused) = (Arc::new(Room::new(config)), metrics.refused.clone());
        let first = async {
            let tags = tags(config, &topology).await?;
            let links = Arc::new(Links::new(tags.len(), metrics.connected.clone()));
            let joint = Joint {
                links: Arc::clone(&links),
                closed: Arc::clone(&closed),
                room: Arc::clone(&room),
                metrics,
            };
            let dialer = |slot| Dialer::new(Arc::clone(&way), Arc::clone(&topology), slot);
            let parts = parts(config, &tags, &joint, &inbox, dialer)?;
            let lanes = future::try_join_all(parts.into_iter().map(Lane::connect)).await?;
            Ok::<_, ConnectError>((lanes, links))
        };
        let (lanes, links) = timeout(FIRST_CONNECTION, first)
            .await
            .map_err(|_| ConnectError::Timeout(topology.asked()))??;
        let (lanes, runs): (Vec<Lane>, Vec<_>) = lanes.into_iter().unzip();
        let run = {
            let (closed, topology) = (Arc::clone(&closed), Arc::clone(&topology));
            let every = config.ping_interval;
            async move {
                let looking = async {
                    tokio::select! {
                        () = topology.run(every) => {}
                        () = closing(&closed) => {}
                    }
                };
                future::join(future::join_all(runs), looking).await;
            }
        };
        let broker = Self {
            lanes,
            links,
            closed,
            room,
            refused,
            topology,
        };
        Ok((Arc::new(broker), run))
    }

    /// Publishes what is queued, if Redis is up, then ends the running future; nothing is taken any more.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Says in a few words which servers were found, without a login.
    pub fn describe(&self) -> String {
        let found = self.topology.describe();
        match (self.topology.is_cluster(), self.lanes.len()) {
            (true, 1) => format!("{found}, plain pub/sub"),
            (true, lanes) => format!("{found}, sharded pub/sub in {lanes} lanes"),
            (false, _) => found,
        }
    }

    /// Returns the lane of a topic: the same one on every node.
    fn lane(&self, topic: &Topic) -> &Lane {
        match &self.lanes[..] {
            [only] => only,
            lanes => &lanes[usize::from(slots::crc16(topic.as_str().as_bytes())) % lanes.len()],
        }
    }
}

/// Returns the hash tags of the lanes; one lane without a tag where pub/sub is not sharded.
async fn tags(config: &Config, topology: &Topology) -> Result<Vec<Option<String>>, ConnectError> {
    let lanes = config.cluster_lanes;
    if !topology.is_cluster() || lanes == 0 || !topology.is_sharded().await? {
        return Ok(vec![None]);
    }
    if config.prefix.contains('{') {
        let why = "names a cluster, where broker.prefix must not have a brace";
        return Err(ConnectError::Url(why.into()));
    }
    Ok((0..lanes)
        .map(|lane| Some(slots::tag(lane, lanes)))
        .collect())
}

fn parts(
    config: &Config,
    tags: &[Option<String>],
    joint: &Joint,
    inbox: &Inbox,
    dialer: impl Fn(Option<u16>) -> Dialer,
) -> Result<Vec<Parts>, ConnectError> {
    let incarnation = incarnation()?;
    let mut config = config.clone();
    // The queue's room is one for all lanes; of what is kept each has its share.
    if tags.len() > 1 {
        config.ring_letters = (config.ring_letters / tags.len()).max(RING_LETTERS_MIN);
        config.ring_bytes /= tags.len();
    }
    let parts = tags
        .iter()
        .zip(joint.links.inboxes(inbox))
        .map(|(tag, inbox)| Parts {
            config: config.clone(),
            dialer: dialer(tag.as_ref().map(|tag| slots::slot(tag.as_bytes()))),
            channels: Channels::new(&config.prefix, tag.as_deref(), incarnation),
            incarnation,
            inbox,
            joint: joint.clone(),
        });
    Ok(parts.collect())
}

impl Drop for RedisBroker {
    fn drop(&mut self) {
        self.close();
    }
}

impl Broker for RedisBroker {
    fn publish(&self, topic: &Topic, letter: Letter) -> Result<(), BrokerError> {
        self.lane(topic).queue.push(topic, letter)
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
        self.lane(topic).subscribe(topic).boxed()
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.lane(topic).unsubscribe(topic);
    }

    /// Says whether the other nodes' publishes arrive, on all lanes; publishing may be held up all the same.
    fn connected(&self) -> bool {
        self.links.are_up()
    }

    fn has_room(&self) -> bool {
        let has_room = self.room.has_some();
        if !has_room {
            self.refused.inc();
        }
        has_room
    }
}

/// Makes the number that tells this process' publishes from all others.
fn incarnation() -> Result<u64, ConnectError> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|_| ConnectError::Entropy)?;
    Ok(u64::from_be_bytes(bytes))
}
