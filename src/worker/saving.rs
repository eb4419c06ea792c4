//! Saving records: to the writer's lane, then the broadcast, then the reply.
//!
//! It never waits for a commit; the writer calls back on its own thread.

use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::connection::Connection;
use super::{Node, Worker, effects};
use crate::channel::{NewRecord, Persist, Record, ReplyTo};
use crate::clock::{self, UnixMicros};
use crate::protocol::{Broadcast, Fastlane, Payload, Reply};
use crate::pubsub::{Entry, RecordLetter, SocketId};
use crate::socket::ChannelId;
use crate::store::{Completion, Outcome};

/// The message that a save answers.
pub(super) struct Answer {
    pub(super) channel: ChannelId,
    pub(super) to: ReplyTo,
}

/// Where a reply goes from another thread.
struct Route {
    worker: usize,
    socket: SocketId,
    answer: Answer,
}

/// What is kept of a record on its way through the writer, which has the record itself.
struct Saving {
    node: Arc<Node>,
    kind: &'static str,
    uid: Uuid,
    persist: Persist,
    /// Whether its live copy has gone out already.
    announced: bool,
    accepted_at: UnixMicros,
    route: Option<Route>,
}

/// Stores a record and has it broadcast and answered.
///
/// A `behind` record is broadcast and answered `{uid}` as soon as its lane takes it; all others, and those with
/// a `client_key` (only the store knows whether the key came before), are so after the commit, with `{id, uid}`.
pub(super) fn save(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    record: NewRecord,
    persist: Persist,
    answer: Option<Answer>,
) {
    let announced = persist == Persist::Behind && record.client_key.is_none();
    let live = announced.then(|| record.clone());
    let (now, later) = match answer {
        Some(Answer { channel, to }) if announced => (Some(Answer { channel, to }), None),
        answer => (None, answer),
    };
    let refused = later
        .as_ref()
        .or(now.as_ref())
        .map(|answer| (answer.channel, answer.to.clone()));
    let kind = record.body.kind();
    let saving = Saving {
        node: worker.node.clone(),
        kind,
        uid: record.uid,
        persist,
        announced,
        accepted_at: clock::unix_us(),
        route: later.map(|answer| Route {
            worker: worker.index,
            socket: connection.id,
            answer,
        }),
    };
    let done: Completion = Box::new(move |outcome| saving.committed(outcome));
    // A live copy that the other nodes would not get is not made: the client tries again.
    let has_room = live.is_none() || worker.node.pubsub.has_room();
    if !has_room || worker.node.writer.submit(record, done).is_err() {
        let labels = [kind, "unavailable"];
        worker.node.metrics.records.with_label_values(&labels).inc();
        if let Some((channel, to)) = refused {
            let reply = Reply::reason("unavailable");
            worker.drive(connection, |socket, out| {
                socket.reply(channel, &to, &reply, out)
            });
        }
        return;
    }
    if let Some(record) = live {
        let uid = record.uid;
        effects::broadcast(
            worker,
            Arc::new(Fastlane::new(announce(None, record))),
            None,
        );
        if let Some(Answer { channel, to }) = now {
            let reply = placed(None, uid);
            worker.drive(connection, |socket, out| {
                socket.reply(channel, &to, &reply, out)
            });
        }
    }
}

/// The broadcast of a record; the live copy of one that is stored later has no id.
fn announce(id: Option<u64>, record: NewRecord) -> Broadcast {
    let record = Record { id, record };
    Broadcast {
        topic: record.record.topic.clone(),
        event: record.event().into(),
        payload: record.payload(),
    }
}

impl Saving {
    /// Runs after the commit, on the writer's thread: the broadcast first, then the reply.
    fn committed(self, outcome: Outcome) {
        let Self {
            node,
            kind,
            uid,
            route,
            ..
        } = &self;
        let (label, reply) = match &outcome {
            Outcome::Stored { id, .. } => ("stored", placed(Some(*id), *uid)),
            Outcome::Known { id, uid, .. } => ("known", placed(Some(*id), *uid)),
            Outcome::Refused(_) => ("refused", Reply::reason("invalid")),
            Outcome::Abandoned => ("abandoned", Reply::reason("unavailable")),
        };
        node.metrics.records.with_label_values(&[kind, label]).inc();
        let answered = route.as_ref().map(|route| {
            let entry = Entry::Reply {
                socket: route.socket,
                channel: route.answer.channel,
                to: route.answer.to.clone(),
                reply,
            };
            (node.pubsub.mailboxes()[route.worker].clone(), entry)
        });
        if let Outcome::Stored { id, epoch, record } = outcome
            && !self.announced
        {
            self.publish(id, epoch, record);
        }
        if let Some((mailbox, entry)) = answered {
            mailbox.push(entry);
        }
    }

    /// Tells the subscribers; those of a `behind` topic have no order by id to keep.
    fn publish(self, id: u64, epoch: String, record: NewRecord) {
        let hub = &self.node.pubsub;
        let Broadcast {
            topic,
            event,
            payload,
        } = announce(Some(id), record);
        match self.persist {
            Persist::Before => hub.record(RecordLetter {
                topic,
                id,
                epoch,
                event: event.into_string(),
                payload,
                accepted_at: self.accepted_at,
            }),
            Persist::Behind => {
                let fastlane = Arc::new(Fastlane::new(Broadcast {
                    topic,
                    event,
                    payload,
                }));
                hub.broadcast(&fastlane, None, self.accepted_at);
            }
        }
    }
}

/// The answer to a record: `{id, uid}`, or `{uid}` before it is stored.
fn placed(id: Option<u64>, uid: Uuid) -> Reply {
    #[derive(Serialize)]
    struct Placed {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        uid: Uuid,
    }
    Reply::ok(Payload::written(&Placed { id, uid }))
}
