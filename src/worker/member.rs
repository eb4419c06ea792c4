//! A channel's place in its topic: subscription, floor and presence.
//!
//! It holds its connection weakly, so that a channel never keeps a connection alive.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::Worker;
use super::connection::Connection;
use crate::channel::{Membership, TrackError, Unavailable};
use crate::presence::Owner;
use crate::protocol::{Payload, Topic};
use crate::socket::{ChannelId, Host};

/// One channel's place in its topic.
pub(super) struct Member {
    worker: Rc<Worker>,
    connection: Weak<Connection>,
    pub(super) channel: ChannelId,
    pub(super) topic: Topic,
    /// The subscriber's key in the worker's table, once it subscribes.
    pub(super) key: Cell<Option<usize>>,
    owner: Owner,
    /// Whether it may have presences.
    tracks: Cell<bool>,
}

impl Membership for Member {
    fn subscribe(&self) -> LocalBoxFuture<'static, Result<(), Unavailable>> {
        let Some(connection) = self
            .connection
            .upgrade()
            .filter(|connection| connection.is_open())
        else {
            return std::future::ready(Err(Unavailable)).boxed_local();
        };
        let ready = match self.key.get() {
            Some(_) => self.worker.table.is_ready(&self.topic),
            None => {
                let (key, ready) = self
                    .worker
                    .table
                    .add(&self.topic, &connection, self.channel);
                self.key.set(Some(key));
                ready
            }
        };
        if ready {
            return std::future::ready(Ok(())).boxed_local();
        }
        let attach = self
            .worker
            .node
            .pubsub
            .attach(&self.topic, self.worker.index);
        let (worker, topic) = (self.worker.clone(), self.topic.clone());
        async move {
            attach.await?;
            worker.table.set_ready(&topic);
            Ok(())
        }
        .boxed_local()
    }

    fn set_floor(&self, id: u64, epoch: &str) {
        if let Some(key) = self.key.get() {
            self.worker.table.set_floor(&self.topic, key, id, epoch);
        }
    }

    fn track(&self, key: &str, meta: &Payload) -> Result<(), TrackError> {
        if !self
            .connection
            .upgrade()
            .is_some_and(|connection| connection.is_open())
        {
            return Err(TrackError::Refused);
        }
        self.tracks.set(true);
        self.worker
            .node
            .presence
            .track(self.owner, &self.topic, key, meta)
    }

    fn update(&self, key: &str, meta: &Payload) -> Result<(), TrackError> {
        self.worker
            .node
            .presence
            .update(self.owner, &self.topic, key, meta)
    }

    fn untrack(&self, key: &str) {
        self.worker
            .node
            .presence
            .untrack(self.owner, &self.topic, key);
    }

    fn presences(&self) -> Payload {
        self.worker.node.presence.list(&self.topic)
    }

    fn can_broadcast(&self) -> bool {
        self.worker.node.pubsub.has_room()
    }
}

impl Member {
    /// Ends the subscription and the presences; the topic's last subscription on this worker ends
    /// the worker's interest.
    pub(super) fn leave(&self) {
        if self.tracks.replace(false) {
            self.worker.node.presence.leave(self.owner, &self.topic);
        }
        if let Some(key) = self.key.take()
            && self.worker.table.remove(&self.topic, key)
        {
            self.worker
                .node
                .pubsub
                .detach(&self.topic, self.worker.index);
        }
    }
}

/// Makes the members of one connection, which does not exist yet when its socket is made.
pub(super) struct Members {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Cell<Option<Weak<Connection>>>,
}

impl Host for Members {
    fn membership(&self, channel: ChannelId, topic: &Topic) -> Rc<dyn Membership> {
        let connection = self.connection.take().unwrap_or_default();
        self.connection.set(Some(connection.clone()));
        let member = Rc::new(Member {
            worker: self.worker.clone(),
            connection: connection.clone(),
            channel,
            topic: topic.clone(),
            key: Cell::new(None),
            owner: self.worker.next_owner(),
            tracks: Cell::new(false),
        });
        if let Some(connection) = connection.upgrade() {
            let mut members = connection.members.borrow_mut();
            if members.is_empty() {
                // Most sockets join one topic.
                members.reserve_exact(1);
            }
            members.push(member.clone());
        }
        member
    }
}
