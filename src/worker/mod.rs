//! A worker: a thread, a single-thread runtime, its listener, its sockets and their subscriptions.
//!
//! This is the only place where sockets and transports meet I/O. A socket lives on its worker for life.

mod admission;
mod age;
mod connection;
mod effects;
mod lifetime;
mod listener;
mod longpoll;
mod member;
mod metrics;
mod proxied;
mod pump;
mod reader;
mod saving;
mod stage;
mod table;
mod write_queue;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use slab::Slab;

pub use admission::{Admission, Refused};
pub use metrics::Metrics;
pub use stage::{Departure, Stage};

use crate::broker::Letter;
use crate::clock;
use crate::presence::{Owner, Presence};
use crate::protocol::{CloseReason, Fastlane};
use crate::pubsub::{Calls, PubSub};
use crate::socket::{ChannelId, Output, Socket, Surroundings};
use crate::store;
use crate::transport::Mount;
use crate::transport::longpoll::TokenKey;
use connection::{Connection, Link, Written};
use table::Table;
use write_queue::WriteQueue;

/// How long a closing connection may take to go before it is cut off.
const LINGER: Duration = Duration::from_secs(5);

/// How long a worker may not turn before the node counts as hung, in microseconds.
const STALLED_US: i64 = 10_000_000;

/// What answers requests that are no transport's: the demo page, development tokens.
pub type Pages =
    Arc<dyn Fn(&Request<hyper::body::Incoming>) -> Option<Response<Full<Bytes>>> + Send + Sync>;

/// A mount with what its sockets need.
pub struct Served {
    /// The mount.
    pub mount: Mount,
    /// Router, ports, limits and metrics of its sockets.
    pub around: Arc<Surroundings>,
}

/// What every worker of a node shares.
pub struct Node {
    /// The hub.
    pub pubsub: Arc<PubSub>,
    /// Who is in a topic, on every node.
    pub presence: Arc<Presence>,
    /// The writer pool.
    pub writer: Arc<store::Writer>,
    /// The mounts, in order; the first whose path matches serves.
    pub served: Vec<Arc<Served>>,
    /// The door.
    pub admission: Arc<Admission>,
    /// The questions about long-poll sessions of other nodes.
    pub calls: Arc<Calls>,
    /// Signs the tokens of long-poll sessions; the same on every node.
    pub sessions: TokenKey,
    /// The counters.
    pub metrics: Metrics,
    /// The other pages.
    pub pages: Pages,
    /// When each worker last turned, in microseconds since the Unix epoch.
    pub beats: Vec<AtomicI64>,
}

impl Node {
    /// Says whether every worker has turned within the last ten seconds.
    pub fn is_alive(&self) -> bool {
        let since = clock::unix_us() - STALLED_US;
        self.beats
            .iter()
            .all(|beat| beat.load(Ordering::Relaxed) > since)
    }
}

/// A broadcast on its way through a channel that intercepts it.
struct Intercepted {
    connection: Rc<Connection>,
    channel: ChannelId,
    fastlane: Arc<Fastlane>,
}

/// One worker.
pub struct Worker {
    index: usize,
    node: Arc<Node>,
    table: Table,
    connections: RefCell<Slab<Rc<Connection>>>,
    serials: Cell<u32>,
    owners: Cell<u64>,
    started: Instant,
    /// The connections with something in their outbox.
    dirty: RefCell<WriteQueue<Rc<Connection>>>,
    writer_waker: RefCell<Option<Waker>>,
    /// Intercepted broadcasts that wait for the current outputs to be performed.
    intercepted: RefCell<VecDeque<Intercepted>>,
    performing: Cell<bool>,
    /// Bytes of the long-poll bodies at hand.
    body_bytes: Cell<usize>,
    accepting: Cell<bool>,
    accept_waker: RefCell<Option<Waker>>,
    /// What sockets are read into, one at a time.
    read_buffer: Cell<Vec<u8>>,
}

impl Worker {
    fn new(index: usize, node: Arc<Node>) -> Self {
        Self {
            index,
            node,
            table: Table::default(),
            connections: RefCell::default(),
            serials: Cell::new(0),
            // The upper bits keep the workers' numbers apart.
            owners: Cell::new((index as u64) << 48),
            started: clock::now(),
            dirty: RefCell::default(),
            writer_waker: RefCell::new(None),
            intercepted: RefCell::default(),
            performing: Cell::new(false),
            body_bytes: Cell::new(0),
            accepting: Cell::new(true),
            accept_waker: RefCell::new(None),
            read_buffer: Cell::default(),
        }
    }

    /// Runs a worker on the calling thread until `stop` resolves.
    ///
    /// # Errors
    /// When the runtime or the listener can't be made.
    pub fn run(
        index: usize,
        node: Arc<Node>,
        listener: std::net::TcpListener,
        stop: tokio::sync::oneshot::Receiver<()>,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let worker = Rc::new(Self::new(index, node));
            tokio::task::spawn_local(listener::accept(worker.clone(), listener));
            tokio::task::spawn_local(pump::run(worker.clone()));
            tokio::task::spawn_local(worker.clone().write_dirty());
            tokio::task::spawn_local(worker.clone().sweep());
            // A dropped sender stops the worker as well.
            let _ = stop.await;
            worker.end();
            Ok(())
        })
    }

    /// Names a channel for presence; no other channel of the node has the same name.
    fn next_owner(&self) -> Owner {
        self.owners.set(self.owners.get() + 1);
        Owner(self.owners.get())
    }

    /// Milliseconds of this worker's life.
    fn elapsed_ms(&self) -> u64 {
        clock::now()
            .saturating_duration_since(self.started)
            .as_millis() as u64
    }

    /// Feeds a socket and performs what it puts out.
    fn drive(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        feed: impl FnOnce(&mut Socket, &mut Vec<Output>),
    ) {
        let mut outputs = Vec::new();
        feed(&mut connection.socket.borrow_mut(), &mut outputs);
        effects::perform(self, connection, outputs);
        match &connection.link {
            Link::WebSocket(_) => {}
            Link::LongPoll(link) => link.driven(),
        }
    }

    /// Appends a frame to a connection's outbox, or closes it when it is too slow.
    fn send(self: &Rc<Self>, connection: &Rc<Connection>, frame: Bytes) {
        if !connection.is_open() {
            return;
        }
        let pushed = connection.outbox.borrow_mut().push(frame);
        match pushed {
            Ok(()) => self.touch(connection),
            Err(_) => self.close_slow(connection),
        }
    }

    /// Puts a connection in line to be written at the end of the turn.
    fn touch(&self, connection: &Rc<Connection>) {
        if connection.blocked.get() || connection.dirty.replace(true) {
            return;
        }
        if self.dirty.borrow_mut().push(connection.clone())
            && let Some(waker) = self.writer_waker.borrow().as_ref()
        {
            waker.wake_by_ref();
        }
    }

    /// Writes each touched connection once, however many frames have gathered.
    async fn write_dirty(self: Rc<Self>) {
        let mailbox = self.node.pubsub.mailboxes()[self.index].clone();
        let turn_seconds = self.node.metrics.turn_seconds_of(self.index);
        let mut batch = Vec::new();
        loop {
            poll_fn(|task| {
                *self.writer_waker.borrow_mut() = Some(task.waker().clone());
                match self.dirty.borrow().is_empty() {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                }
            })
            .await;
            let start = clock::now();
            self.dirty.borrow_mut().take(&mut batch);
            for connection in batch.drain(..) {
                connection.dirty.set(false);
                self.write(&connection);
            }
            self.observe_written();
            turn_seconds.observe(clock::now().saturating_duration_since(start).as_secs_f64());
            if self.dirty.borrow().has_crowd() || !mailbox.is_empty() {
                // Let what gathered meanwhile be read before it is written.
                tokio::task::yield_now().await;
            }
        }
    }

    fn observe_written(&self) {
        let mut dirty = self.dirty.borrow_mut();
        let Some(first) = dirty.next_written() else {
            return;
        };
        let now = clock::unix_us();
        for delivery in std::iter::once(first).chain(std::iter::from_fn(|| dirty.next_written())) {
            let seconds = match delivery.remote {
                true => &self.node.metrics.remote_delivery_seconds,
                false => &self.node.metrics.local_delivery_seconds,
            };
            seconds.observe((now - delivery.accepted_at).max(0) as f64 / 1e6);
        }
    }

    fn write(self: &Rc<Self>, connection: &Rc<Connection>) {
        match connection.write() {
            Written::All if connection.closing.get().is_some() => connection.shut_down_writing(),
            Written::All => {}
            Written::Failed => connection.cut(),
            Written::Blocked => {
                connection.blocked.set(true);
                let (worker, connection) = (self.clone(), connection.clone());
                tokio::task::spawn_local(async move {
                    let writable = connection.writable().await;
                    connection.blocked.set(false);
                    match writable {
                        Ok(()) => worker.touch(&connection),
                        Err(_) => connection.cut(),
                    }
                });
            }
        }
    }

    fn close_slow(self: &Rc<Self>, connection: &Rc<Connection>) {
        self.node.metrics.dropped.with_label_values(&["slow"]).inc();
        connection.outbox.borrow_mut().clear_unsent();
        self.close(connection, CloseReason::Slow);
    }

    /// Says why, ends the channels, and cuts the connection off when the peer does not go.
    fn close(self: &Rc<Self>, connection: &Rc<Connection>, reason: CloseReason) {
        if !connection.is_open() {
            return;
        }
        connection.closing.set(Some(reason));
        match &connection.link {
            Link::WebSocket(_) => self.say_why(connection, reason),
            // A reason has no form there: the session is over, and the next poll is told so.
            Link::LongPoll(_) => lifetime::finish(self, connection, reason.code()),
        }
    }

    /// Sends the close frame behind what waits.
    fn say_why(self: &Rc<Self>, connection: &Rc<Connection>, reason: CloseReason) {
        connection
            .cut_at_ms
            .set(self.elapsed_ms() + LINGER.as_millis() as u64);
        let frame = crate::protocol::Frame::close(reason);
        connection
            .outbox
            .borrow_mut()
            .push_last(frame.bytes().clone());
        self.touch(connection);
        self.drive(connection, Socket::end_all);
    }

    /// Closes idle connections, those that have reached their age, and those whose token has expired, ends channels whose own token has, and
    /// cuts connections that linger.
    async fn sweep(self: Rc<Self>) {
        let shortest = self
            .node
            .served
            .iter()
            .map(|served| longpoll::idle(&served.mount).min(served.mount.idle) / 4)
            .min();
        let every = shortest.unwrap_or(Duration::from_secs(1));
        let every = every.clamp(Duration::from_millis(10), Duration::from_secs(1));
        let ages = self.node.served.iter();
        let ages = ages.map(|served| served.around.limits.max_connection_age_seconds);
        let age_s = ages.filter(|age_s| *age_s > 0).min().unwrap_or(0);
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            self.node.beats[self.index].store(clock::unix_us(), Ordering::Relaxed);
            let (now_ms, now_s) = (self.elapsed_ms(), clock::unix_s());
            let all: Vec<_> = self
                .connections
                .borrow()
                .iter()
                .map(|(_, one)| one.clone())
                .collect();
            let mut going = age::going_max(all.len(), every, age_s);
            for connection in all {
                self.check(&connection, now_ms, now_s);
                if going > 0 && self.retire(&connection, now_ms) {
                    going -= 1;
                }
            }
            self.give_back();
        }
    }

    /// Gives back the room of a crowd that has gone.
    fn give_back(&self) {
        let mut connections = self.connections.borrow_mut();
        if connections.len() < connections.capacity() / 4 {
            connections.shrink_to_fit();
            self.dirty.borrow_mut().give_back();
        }
    }

    /// Tells a connection that has reached its age to go; says whether it had.
    fn retire(self: &Rc<Self>, connection: &Rc<Connection>, now_ms: u64) -> bool {
        let aged = now_ms / 1_000 >= u64::from(connection.aged_at_s);
        if !aged || !connection.is_open() {
            return false;
        }
        connection
            .socket
            .borrow()
            .count_limit("max_connection_age_seconds");
        self.close(connection, CloseReason::Restart);
        true
    }

    fn check(self: &Rc<Self>, connection: &Rc<Connection>, now_ms: u64, now_s: u64) {
        let (expires_at, own_tokens) = {
            let socket = connection.socket.borrow();
            (
                socket.client().expires_at(),
                socket.client().has_own_tokens(),
            )
        };
        let silent_ms = now_ms.saturating_sub(connection.heard_at_ms.get());
        if now_ms >= connection.cut_at_ms.get() {
            connection.reset();
        } else if silent_ms >= connection.idle_ms {
            self.close(connection, CloseReason::Idle);
        } else if expires_at.is_some_and(|at| at <= now_s) {
            self.close(connection, CloseReason::TokenExpired);
        } else if own_tokens {
            self.drive(connection, |socket, out| socket.end_expired(now_s, out));
        }
    }

    /// Ends every connection; those that are still open are told 1012, as far as their streams take it.
    fn end(self: &Rc<Self>) {
        let all: Vec<_> = self
            .connections
            .borrow()
            .iter()
            .map(|(_, one)| one.clone())
            .collect();
        for connection in all {
            self.close(&connection, CloseReason::Restart);
            connection.write();
            connection.shut_down_writing();
            connection.cut();
        }
    }

    /// Publishes a letter to the other nodes on the topic of all nodes.
    fn tell_nodes(&self, letter: Letter) {
        self.node
            .pubsub
            .tell_nodes(&crate::broker::nodes_topic(), letter);
    }
}
