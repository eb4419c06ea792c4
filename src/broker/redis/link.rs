//! The link that listens: subscribes, resubscribes after a loss, and notices when it is dead.
//!
//! It never waits for one subscription before it sends the next, and never blocks reading.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, poll_immediate};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use redis::{ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::channels::Push;
use super::dial::{ConnectError, Dialed};
use super::heartbeat::{self, Heard, Loss};
use super::lane::Shared;
use super::probe;
use super::subscriptions::Acknowledged;
use crate::backoff::Backoff;
use crate::clock;
use crate::protocol::Topic;

/// Commands that wait for their acknowledgements; what comes meanwhile gathers into the next ones.
/// Below the 50 that the connection queues, so that sending never waits.
const COMMANDS_IN_FLIGHT: usize = 16;
/// The shortest delay between two attempts to reconnect.
pub(super) const RECONNECT_FIRST: Duration = Duration::from_millis(50);

/// How often the holes are looked at, and how often it is looked while there are none.
const TICK: Duration = Duration::from_millis(50);
const REST: Duration = Duration::from_secs(1);

/// A connection that listens. Dropping it closes it.
pub(super) struct Link {
    dialed: Dialed,
    heard: Heard,
    ended: Arc<Notify>,
    /// Woken when the server has sent a subscription away.
    moved: Arc<Notify>,
}

/// The answer to a command: what it asked for, and how it went.
type Answer = (Command, Result<(), RedisError>);

enum Command {
    Subscribe(Vec<Topic>),
    Unsubscribe,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Done,
    /// Redis ended a subscription that is wanted: its slot is somewhere else now.
    Unasked,
}

/// Connects and subscribes the node topic.
pub(super) async fn open(shared: &Arc<Shared>) -> Result<Link, ConnectError> {
    let number = shared.reception.listen();
    let (heard, ended, moved) = (
        Heard::default(),
        Arc::<Notify>::default(),
        Arc::<Notify>::default(),
    );
    let pushes = {
        let (shared, heard) = (Arc::clone(shared), heard.clone());
        let (ended, moved) = (Arc::clone(&ended), Arc::clone(&moved));
        move |push: PushInfo| {
            heard.note();
            if push.kind == PushKind::Disconnection {
                ended.notify_one();
            } else if shared.take(number, push) == Taken::Unasked {
                moved.notify_one();
            }
            Ok::<(), redis::aio::SendError>(())
        }
    };
    let dialed = shared.dialer.listening(pushes).await?;
    let channels = &shared.channels;
    let first = vec![channels.nodes.clone(), channels.own.clone()];
    let subscribed = channels.subscribe(dialed.connection.clone(), first);
    shared.dialer.answered(&dialed, subscribed).await?;
    shared.table.lock().link_opened(number);
    Ok(Link {
        dialed,
        heard,
        ended,
        moved,
    })
}

/// Serves a link and those that follow it, for as long as it is polled.
pub(super) async fn run(shared: &Arc<Shared>, first: Link) -> Infallible {
    let mut link = first;
    loop {
        let loss = serve(shared, &link).await;
        tracing::warn!(%loss, "the broker's link is lost");
        if let Loss::Deaf = loss {
            shared.probe.redo.notify_one();
        }
        drop(link);
        shared.link_down();
        shared.reception.disconnected();
        link = reopen(shared).await;
        shared.metrics.reconnects.inc();
    }
}

async fn reopen(shared: &Arc<Shared>) -> Link {
    let mut backoff = Backoff::new(RECONNECT_FIRST, shared.config.reconnect_max);
    loop {
        sleep(backoff.next_delay()).await;
        match open(shared).await {
            Ok(link) => return link,
            Err(cause) => tracing::warn!(%cause, "the broker cannot be reached"),
        }
    }
}

async fn serve(shared: &Shared, link: &Link) -> Loss {
    let mut in_flight: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
    let connection = &link.dialed.connection;
    let dead = heartbeat::watch(connection.clone(), &shared.config, link.heard.clone());
    let mut dead = pin!(dead);
    let mut deaf = pin!(probe::watch(shared, connection.clone()));
    let mut moved = pin!(shared.dialer.moved(&link.dialed.server));
    let mut tick = pin!(sleep(TICK));
    loop {
        while in_flight.len() < COMMANDS_IN_FLIGHT {
            let commands = shared.next_commands(link);
            if commands.is_empty() {
                break;
            }
            for mut command in commands {
                // The first poll puts it on the wire, in this order.
                match poll_immediate(&mut command).await {
                    Some(answer) => in_flight.push(std::future::ready(answer).boxed()),
                    None => in_flight.push(command),
                }
            }
        }
        shared.link_up_when_restored();
        tokio::select! {
            () = shared.changed.notified(), if in_flight.len() < COMMANDS_IN_FLIGHT => {}
            Some((command, result)) = in_flight.next(), if !in_flight.is_empty() => {
                if let Err(loss) = shared.answered(command, result) {
                    return loss;
                }
            }
            loss = &mut dead => return loss,
            loss = &mut deaf => return loss,
            () = &mut tick => {
                let pause = if shared.reception.tick() { TICK } else { REST };
                tick.as_mut().reset((clock::now() + pause).into());
            }
            () = shared.reception.restless.notified() => tick.as_mut().reset((clock::now() + TICK).into()),
            () = &mut moved => return Loss::Moved,
            () = link.moved.notified() => return Loss::Moved,
            () = link.ended.notified() => return Loss::Broken(None),
        }
    }
}

impl Shared {
    /// Takes what Redis pushed on a link; runs where the link is read, so acknowledgements and messages keep their order.
    fn take(&self, link: u64, push: PushInfo) -> Taken {
        let mut fields = push.data.into_iter();
        let Some(Value::BulkString(channel)) = fields.next() else {
            return Taken::Done;
        };
        let topic = self.channels.topic(&channel);
        match (Push::of(&push.kind), topic) {
            (Push::Message, _) => {
                if let Some(Value::BulkString(message)) = fields.next() {
                    let own = channel == self.channels.own.as_bytes();
                    let probe = self.reception.message(link, own, &Bytes::from(message));
                    if let Some(number) = probe {
                        self.probe.returned(number);
                    }
                }
            }
            (Push::Subscribed, Some(topic)) => {
                let acknowledged = self.table.lock().subscribed(link, topic);
                match acknowledged {
                    Acknowledged::Anew => self.reception.subscribed(topic, true),
                    Acknowledged::Again => self.reception.subscribed(topic, false),
                    Acknowledged::Unexpected => {}
                }
            }
            (Push::Subscribed, None) => {
                if channel == self.channels.nodes.as_bytes() {
                    self.reception.nodes_subscribed(link);
                }
            }
            (Push::Unsubscribed, Some(topic)) => {
                let expected = self.table.lock().unsubscribed(link, topic);
                if !expected {
                    return Taken::Unasked;
                }
                self.reception.forget(topic);
            }
            (Push::Unsubscribed, None) => return Taken::Unasked,
            (Push::Other, _) => {}
        }
        Taken::Done
    }

    fn next_commands(&self, link: &Link) -> Vec<BoxFuture<'static, Answer>> {
        let batch = self.table.lock().take_batch(self.config.subscribe_batch);
        let mut commands = Vec::new();
        let of = |topics: &[Topic]| topics.iter().map(|topic| self.channels.of(topic)).collect();
        let connection = &link.dialed.connection;
        if !batch.subscribe.is_empty() {
            self.reception.subscribing(&batch.subscribe);
            let sent = self
                .channels
                .subscribe(connection.clone(), of(&batch.subscribe));
            let command = async move { (Command::Subscribe(batch.subscribe), sent.await) };
            commands.push(command.boxed());
        }
        if !batch.unsubscribe.is_empty() {
            let sent = self
                .channels
                .unsubscribe(connection.clone(), of(&batch.unsubscribe));
            let command = async move { (Command::Unsubscribe, sent.await) };
            commands.push(command.boxed());
        }
        commands
    }

    fn answered(&self, command: Command, result: Result<(), RedisError>) -> Result<(), Loss> {
        let Err(cause) = result else {
            return Ok(());
        };
        match (command, cause.kind()) {
            (_, ErrorKind::Server(kind)) if is_elsewhere(kind) => Err(Loss::Moved),
            (Command::Subscribe(topics), ErrorKind::Server(_) | ErrorKind::Extension) => {
                tracing::error!(%cause, topics = topics.len(), "redis refused subscriptions");
                self.table.lock().refused(&topics);
                for topic in &topics {
                    self.reception.forget(topic.as_str());
                }
                Ok(())
            }
            (Command::Subscribe(_) | Command::Unsubscribe, _) => Err(Loss::Broken(Some(cause))),
        }
    }

    fn link_up_when_restored(&self) {
        if self.table.lock().link_is_up_now() {
            self.set_connected(true);
            self.reception.connected();
        }
    }

    pub(super) fn link_down(&self) {
        self.set_connected(false);
        self.table.lock().link_lost();
    }
}

/// Says whether an error means that another server of the cluster is to be asked, now or soon.
fn is_elsewhere(kind: ServerErrorKind) -> bool {
    matches!(
        kind,
        ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
    )
}
