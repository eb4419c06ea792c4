//! The beginning and the end of a connection, whatever its link: its place in the worker, its counts.
//!
//! What happens in between is its transport's matter.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::admission::{Entered, Seat};
use super::connection::{Connection, Link, Parts};
use super::member::Members;
use super::{Worker, age};
use crate::channel::Client;
use crate::protocol::{CloseReason, Serializer};
use crate::pubsub::SocketId;
use crate::socket::{Outbox, Socket, Surroundings};

/// What a connection begins with.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) serializer: Serializer,
    pub(super) client: Client,
    pub(super) around: Arc<Surroundings>,
    /// How long it may be silent.
    pub(super) idle: Duration,
    /// Whether `access_token` renews its token in place.
    pub(super) renews: bool,
    pub(super) place: (Seat, Option<Rc<Entered>>),
}

/// Gives a connection its place.
pub(super) fn open(worker: &Rc<Worker>, opened: Opened) -> Rc<Connection> {
    let members = Rc::new(Members {
        worker: worker.clone(),
        connection: Cell::new(None),
    });
    let age_s = opened.around.limits.max_connection_age_seconds;
    let outbox = Outbox::new(opened.around.limits.outbox_bytes);
    let mut socket = Socket::new(
        opened.serializer,
        Rc::new(opened.client),
        opened.around,
        members.clone(),
    );
    socket.set_renews(opened.renews);
    let mut connections = worker.connections.borrow_mut();
    let slot = connections.vacant_entry();
    let serial = worker.serials.get();
    worker.serials.set(serial.wrapping_add(1));
    let connection = Rc::new(Connection::new(Parts {
        id: SocketId {
            slot: slot.key() as u32,
            serial,
        },
        socket,
        outbox,
        link: opened.link,
        idle: opened.idle,
        aged_at_s: age::reached_at_s(worker.elapsed_ms(), age_s),
        now_ms: worker.elapsed_ms(),
        place: opened.place,
    }));
    members.connection.set(Some(Rc::downgrade(&connection)));
    slot.insert(connection.clone());
    let (metrics, transport) = (&worker.node.metrics, connection.link.label());
    metrics.opened.with_label_values(&[transport]).inc();
    metrics.connections.with_label_values(&[transport]).inc();
    metrics
        .sockets
        .with_label_values(&[&worker.index.to_string()])
        .inc();
    let (id, at) = (connection.id.serial, worker.index);
    tracing::debug!(worker = at, socket = id, transport, "a socket opened");
    connection
}

/// Ends a connection's channels and takes its place; `code` counts unless the worker closed it.
pub(super) fn finish(worker: &Rc<Worker>, connection: &Rc<Connection>, code: u16) {
    let code = connection.closing.get().map_or(code, CloseReason::code);
    worker.drive(connection, Socket::end_all);
    connection.write();
    connection.cut();
    connection.shut_down();
    worker
        .connections
        .borrow_mut()
        .try_remove(connection.id.slot as usize);
    let (metrics, transport) = (&worker.node.metrics, connection.link.label());
    metrics.count_closed(code);
    let (id, at) = (connection.id.serial, worker.index);
    tracing::debug!(worker = at, socket = id, transport, code, "a socket closed");
    metrics.connections.with_label_values(&[transport]).dec();
    metrics
        .sockets
        .with_label_values(&[&worker.index.to_string()])
        .dec();
}
