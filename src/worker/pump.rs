//! Drains a worker's mailbox: deliveries to subscribers, replies to sockets, commands.
//!
//! It appends to outboxes; the worker writes them at the end of the turn.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;

use super::connection::Connection;
use super::{Intercepted, Unwritten, Worker, effects, longpoll};
use crate::backoff;
use crate::clock;
use crate::protocol::{Broadcast, CloseReason, Fastlane, Payload, Topic, events};
use crate::pubsub::{Deliver, Entry, Missed, SocketId};
use crate::socket::ChannelId;

/// Runs until the worker stops.
pub(super) async fn run(worker: Rc<Worker>) {
    let mailbox = worker.node.pubsub.mailboxes()[worker.index].clone();
    let turn_seconds = worker
        .node
        .metrics
        .turn_seconds
        .with_label_values(&[&worker.index.to_string()]);
    let (mut entries, mut missed) = (VecDeque::new(), HashMap::new());
    loop {
        poll_fn(|task| mailbox.poll_take(task, &mut entries, &mut missed)).await;
        let start = clock::now();
        for entry in entries.drain(..) {
            take(&worker, entry);
        }
        for (topic, missed) in missed.drain() {
            tell_missed(&worker, topic, missed);
        }
        turn_seconds.observe(clock::now().saturating_duration_since(start).as_secs_f64());
        tokio::task::yield_now().await;
    }
}

fn take(worker: &Rc<Worker>, entry: Entry) {
    match entry {
        Entry::Deliver(deliver) => fan_out(worker, &deliver, None),
        Entry::Reply {
            socket,
            channel,
            to,
            reply,
        } => {
            if let Some(connection) = find(worker, socket) {
                worker.drive(&connection, |socket, out| {
                    socket.reply(channel, &to, &reply, out)
                });
            }
        }
        Entry::Disconnect { socket_id } => {
            for connection in all(worker) {
                let same =
                    connection.socket.borrow().client().socket_id.as_deref() == Some(&*socket_id);
                if same {
                    worker.close(&connection, CloseReason::Disconnected);
                }
            }
        }
        Entry::Ask(asked) => {
            tokio::task::spawn_local(longpoll::asked(worker.clone(), asked));
        }
        Entry::Player(player) => {
            for connection in all(worker) {
                connection.socket.borrow().refresh_player(&player);
            }
        }
        Entry::Count { topic, answer } => {
            // Each worker answers once, and there is room for all of them.
            let _ = answer.try_send(worker.table.count_live(&topic));
        }
        Entry::StopAccepting => {
            worker.accepting.set(false);
            if let Some(waker) = worker.accept_waker.borrow_mut().take() {
                waker.wake();
            }
        }
        Entry::CloseOneIn { share, reason } => close_one_in(worker, share, reason),
    }
}

/// Delivers to this worker's subscribers, but for one channel.
pub(super) fn fan_out(
    worker: &Rc<Worker>,
    deliver: &Deliver,
    except: Option<(&Rc<Connection>, ChannelId)>,
) {
    let result = worker
        .table
        .fan_out(deliver, except, &mut |connection| worker.touch(connection));
    let metrics = &worker.node.metrics;
    metrics.deliveries.inc_by(result.delivered);
    if result.skipped > 0 {
        metrics
            .dropped
            .with_label_values(&["serializer"])
            .inc_by(result.skipped);
    }
    if result.delivered > 0 {
        worker.unwritten.borrow_mut().push(Unwritten {
            accepted_at: deliver.accepted_at,
            remote: deliver.remote,
        });
    }
    for connection in result.slow {
        worker.close_slow(&connection);
    }
    for (connection, channel) in result.intercepted {
        worker.intercepted.borrow_mut().push_back(Intercepted {
            connection,
            channel,
            fastlane: deliver.fastlane.clone(),
        });
    }
    effects::perform_intercepted(worker);
}

/// Tells a topic's subscribers here what the full mailbox could not take.
fn tell_missed(worker: &Rc<Worker>, topic: Topic, missed: Missed) {
    worker
        .node
        .metrics
        .dropped
        .with_label_values(&["mailbox"])
        .inc();
    let Missed { ids, renewed } = missed;
    let (mut value, id) = match ids {
        Some((from, to)) => (serde_json::json!({ "from": from, "to": to }), Some(to)),
        None => (serde_json::json!({ "reason": "overload" }), None),
    };
    if let Some(epoch) = renewed.as_deref() {
        value["reset"] = true.into();
        value["epoch"] = epoch.into();
    }
    let deliver = Deliver {
        fastlane: Arc::new(Fastlane::new(Broadcast {
            topic,
            event: events::GAP.into(),
            payload: Payload::from_value(&value),
        })),
        id,
        reset: renewed.is_some(),
        epoch: renewed,
        accepted_at: clock::unix_us(),
        remote: false,
    };
    fan_out(worker, &deliver, None);
}

/// Closes one open connection in `share`, in no particular order.
///
/// What does not divide is closed by chance, so that a worker with few connections neither hurries nor lags.
fn close_one_in(worker: &Rc<Worker>, share: u32, reason: CloseReason) {
    let mut open = all(worker);
    open.retain(|connection| connection.is_open());
    let len = open.len();
    let by_chance = len + random_below(share);
    let offset = random_below(u32::MAX);
    for step in 0..(by_chance / share.max(1) as usize).min(len) {
        worker.close(&open[(offset + step) % len], reason);
    }
}

/// A random number below `end`; 0 when there is no entropy.
fn random_below(end: u32) -> usize {
    backoff::jitter(std::time::Duration::from_nanos(end.into())).as_nanos() as usize
}

pub(super) fn find(worker: &Worker, socket: SocketId) -> Option<Rc<Connection>> {
    let connections = worker.connections.borrow();
    let connection = connections.get(socket.slot as usize)?;
    (connection.id == socket).then(|| connection.clone())
}

fn all(worker: &Worker) -> Vec<Rc<Connection>> {
    worker
        .connections
        .borrow()
        .iter()
        .map(|(_, connection)| connection.clone())
        .collect()
}
