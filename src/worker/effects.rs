//! Performs what a socket puts out: frames, turns, subscriptions, broadcasts, saves, timers.
//!
//! Outputs are performed in order; intercepted broadcasts wait until the outputs at hand are done.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;
use super::{Intercepted, Worker, pump, saving};
use crate::broker::Letter;
use crate::channel::{Audience, Effect, PendingTurn, TurnEnd};
use crate::clock;
use crate::protocol::{Broadcast, Fastlane};
use crate::pubsub::{Deliver, Entry};
use crate::socket::{ChannelId, Output};

/// Performs the outputs of one socket, in order.
pub(super) fn perform(worker: &Rc<Worker>, connection: &Rc<Connection>, outputs: Vec<Output>) {
    let outermost = !worker.performing.replace(true);
    for output in outputs {
        match output {
            Output::Send(frame) => worker.send(connection, frame.bytes().clone()),
            Output::Wait {
                channel,
                turn,
                join,
            } => wait(worker, connection, channel, turn, join),
            Output::Live {
                channel,
                intercepts,
            } => go_live(worker, connection, channel, intercepts),
            Output::Left { channel } => leave(connection, channel),
            Output::Perform { channel, effect } => {
                perform_effect(worker, connection, channel, effect)
            }
            Output::Close(reason) => worker.close(connection, reason),
        }
    }
    if outermost {
        worker.performing.set(false);
        perform_intercepted(worker);
    }
}

/// Hands intercepted broadcasts to their channels, unless outputs are being performed.
pub(super) fn perform_intercepted(worker: &Rc<Worker>) {
    if worker.performing.get() {
        return;
    }
    loop {
        let next = worker.intercepted.borrow_mut().pop_front();
        let Some(Intercepted {
            connection,
            channel,
            fastlane,
        }) = next
        else {
            return;
        };
        worker.drive(&connection, |socket, out| {
            socket.intercepted(channel, fastlane, out)
        });
    }
}

/// Drives a callback that waits; its effects leave as they are asked for.
fn wait(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    channel: ChannelId,
    turn: PendingTurn,
    join: bool,
) {
    let limit = match join {
        true => Some(Duration::from_secs(
            connection.socket.borrow().limits().join_seconds,
        )),
        false => None,
    };
    let (driver, at) = (worker.clone(), connection.clone());
    let task = tokio::task::spawn_local(async move {
        let end = match limit {
            Some(limit) => tokio::time::timeout(limit, drive(&driver, &at, channel, turn))
                .await
                .ok(),
            None => Some(drive(&driver, &at, channel, turn).await),
        };
        at.take_turn(channel);
        driver.drive(&at, |socket, out| match end {
            Some(end) => socket.resume(channel, end, out),
            None => socket.join_timed_out(channel, out),
        });
    });
    connection
        .turns
        .borrow_mut()
        .push((channel, task.abort_handle()));
}

async fn drive(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    channel: ChannelId,
    mut turn: PendingTurn,
) -> TurnEnd {
    poll_fn(|task| {
        let polled = Pin::new(&mut turn).poll(task);
        if polled.is_pending() {
            worker.drive(connection, |socket, out| socket.flush_channel(channel, out));
        }
        polled
    })
    .await
}

fn go_live(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    channel: ChannelId,
    intercepts: &'static [&'static str],
) {
    let member = connection.member(channel);
    let Some(member) = member else { return };
    let Some(key) = member.key.get() else { return };
    for deliver in worker.table.go_live(&member.topic, key, intercepts) {
        if intercepts.contains(&deliver.fastlane.broadcast().event.as_str()) {
            worker.intercepted.borrow_mut().push_back(Intercepted {
                connection: connection.clone(),
                channel,
                fastlane: deliver.fastlane,
            });
        } else if let Some(frame) = deliver.fastlane.frame(connection.serializer) {
            worker.node.metrics.deliveries.inc();
            worker.send(connection, frame.bytes().clone());
        }
    }
}

fn leave(connection: &Rc<Connection>, channel: ChannelId) {
    if let Some(turn) = connection.take_turn(channel) {
        turn.abort();
    }
    let member = connection.take_member(channel);
    if let Some(member) = member {
        member.leave();
    }
}

fn perform_effect(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    channel: ChannelId,
    effect: Effect,
) {
    match effect {
        Effect::Broadcast {
            topic,
            event,
            payload,
            audience,
        } => {
            let fastlane = Arc::new(Fastlane::new(Broadcast {
                topic,
                event: event.into(),
                payload,
            }));
            let except = match audience {
                Audience::All => None,
                Audience::Others => Some((connection, channel)),
            };
            broadcast(worker, fastlane, except);
        }
        Effect::Save {
            record,
            persist,
            to,
        } => {
            let answer = to.map(|to| saving::Answer { channel, to });
            saving::save(worker, connection, *record, persist, answer);
        }
        Effect::After { delay, info } => {
            let (worker, connection) = (worker.clone(), Rc::downgrade(connection));
            tokio::task::spawn_local(async move {
                tokio::time::sleep(delay).await;
                if let Some(connection) = connection.upgrade() {
                    worker.drive(&connection, |socket, out| socket.info(channel, info, out));
                }
            });
        }
        Effect::Disconnect { socket_id } => {
            worker.node.pubsub.tell_workers(&Entry::Disconnect {
                socket_id: Arc::from(socket_id.as_str()),
            });
            worker.tell_nodes(Letter::Disconnect { socket_id });
        }
        Effect::Push { .. } | Effect::Reply { .. } => {
            debug_assert!(false, "the socket sends pushes and replies itself");
        }
    }
}

/// Delivers here at once, so that the sender sees its broadcast before its reply; then to the rest.
pub(super) fn broadcast(
    worker: &Rc<Worker>,
    fastlane: Arc<Fastlane>,
    except: Option<(&Rc<Connection>, ChannelId)>,
) {
    let deliver = Deliver {
        fastlane,
        id: None,
        epoch: None,
        reset: false,
        accepted_at: clock::unix_us(),
        remote: false,
    };
    pump::fan_out(worker, &deliver, except);
    worker
        .node
        .pubsub
        .broadcast(&deliver.fastlane, Some(worker.index), deliver.accepted_at);
}
