//! Drains a worker's mailbox: deliveries to subscribers, replies to sockets, commands.
//!
//! It appends to outboxes; the worker writes them at the end of the turn.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use super::connection::Connection;
use super::write_queue::Unwritten;
use super::{Intercepted, Worker, effects, longpoll};
use crate::backoff;
use crate::clock;
use crate::protocol::{Broadcast, CloseReason, Fastlane, Payload, Topic, events};
use crate::pubsub::{Deliver, Entry, SocketId};
use crate::socket::ChannelId;

/// Runs until the worker stops.
pub(super) async fn run(worker: Rc<Worker>) {
    let mailbox = worker.node.pubsub.mailboxes()[worker.index].clone();
    let turn_seconds = worker.node.metrics.turn_seconds_of(worker.index);
    let (mut entries, mut overloaded) = (VecDeque::new(), Vec::new());
    loop {
        poll_fn(|task| mailbox.poll_take(task, &mut entries, &mut overloaded)).await;
        let start = clock::now();
        for entry in entries.drain(..) {
            take(&worker, entry);
        }
        for topic in overloaded.drain(..) {
            tell_overloaded(&worker, topic);
        }
        turn_seconds.observe(clock::now().saturating_duration_since(start).as_secs_f64());
        if !mailbox.is_empty() {
            // First what this turn has appended is written, and sockets are read.
            tokio::task::yield_now().await;
        }
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
        worker.dirty.borrow_mut().deliver(Unwritten {
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

/// Tells a topic's subscribers here that the full mailbox could not take broadcasts, which nobody keeps.
fn tell_overloaded(worker: &Rc<Worker>, topic: Topic) {
    worker
        .node
        .metrics
        .dropped
        .with_label_values(&["mailbox"])
        .inc();
    let reason = serde_json::json!({ "reason": "overload" });
    let deliver = Deliver {
        fastlane: Arc::new(Fastlane::new(Broadcast {
            topic,
            event: events::GAP.into(),
            payload: Payload::from_value(&reason),
        })),
        id: None,
        reset: false,
        epoch: None,
        accepted_at: clock::unix_us(),
        remote: false,
    };
    fan_out(worker, &deliver, None);
}

/// Closes one open connection in `share`, chosen at random: neighbours came together, and would come back so.
///
/// What does not divide is closed by chance, so that a worker with few connections neither hurries nor lags.
fn close_one_in(worker: &Rc<Worker>, share: u32, reason: CloseReason) {
    let mut open = all(worker);
    open.retain(|connection| connection.is_open());
    let share = share.max(1) as usize;
    let mut shuffle = backoff::Shuffle::new();
    let by_chance = open.len() + shuffle.below(share);
    for _ in 0..(by_chance / share).min(open.len()) {
        let at = shuffle.below(open.len());
        worker.close(&open.swap_remove(at), reason);
    }
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
