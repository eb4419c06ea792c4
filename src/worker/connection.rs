//! One connection of a worker: its socket, its outbox, and its link to the client.
//!
//! It lives on one thread for life; nothing in it is locked or `Send`.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::admission::{Entered, Seat};
use super::longpoll::LongPoll;
use super::member::Member;
use crate::protocol::{CloseReason, Serializer};
use crate::pubsub::SocketId;
use crate::socket::{ChannelId, Outbox, SLICES_MAX, Socket};

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    All,
    /// The kernel's buffer is full; wait until the stream is writable.
    Blocked,
    /// The peer is gone.
    Failed,
}

/// How bytes reach the client.
pub(super) enum Link {
    WebSocket(TcpStream),
    /// Boxed, so that a WebSocket is no larger for it.
    LongPoll(Box<LongPoll>),
}

impl Link {
    /// Returns the label of the metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::WebSocket(_) => "websocket",
            Self::LongPoll(_) => "longpoll",
        }
    }
}

/// One connection.
pub(super) struct Connection {
    pub(super) id: SocketId,
    pub(super) serializer: Serializer,
    pub(super) socket: RefCell<Socket>,
    pub(super) outbox: RefCell<Outbox>,
    pub(super) link: Link,
    /// The channels' places in their topics.
    pub(super) members: RefCell<HashMap<ChannelId, Rc<Member>>>,
    /// Callbacks that wait, by channel.
    pub(super) turns: RefCell<HashMap<ChannelId, AbortHandle>>,
    /// Whether it is in the worker's list of outboxes to write.
    pub(super) dirty: Cell<bool>,
    /// Whether a task waits for the stream to be writable.
    pub(super) blocked: Cell<bool>,
    pub(super) closing: Cell<Option<CloseReason>>,
    /// When the last bytes or the last poll came, in milliseconds of the worker's life.
    pub(super) heard_at_ms: Cell<u64>,
    /// When a closing connection is cut off, in milliseconds of the worker's life.
    pub(super) cut_at_ms: Cell<u64>,
    pub(super) idle: Duration,
    /// When it has reached its age, in seconds of the worker's life; `u32::MAX`: never.
    pub(super) aged_at_s: u32,
    ended: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    started: std::time::Instant,
    /// Its seat, and the stream that it came on; a long-poll session has none of its own.
    _place: (Seat, Option<Rc<Entered>>),
}

/// What a connection is made of.
pub(super) struct Parts {
    pub(super) id: SocketId,
    pub(super) socket: Socket,
    pub(super) outbox: Outbox,
    pub(super) link: Link,
    pub(super) idle: Duration,
    pub(super) aged_at_s: u32,
    pub(super) started: std::time::Instant,
    pub(super) place: (Seat, Option<Rc<Entered>>),
}

impl Connection {
    pub(super) fn new(parts: Parts) -> Self {
        let now = crate::clock::now();
        let heard_at = now.saturating_duration_since(parts.started);
        Self {
            id: parts.id,
            serializer: parts.socket.serializer(),
            socket: RefCell::new(parts.socket),
            outbox: RefCell::new(parts.outbox),
            link: parts.link,
            members: RefCell::default(),
            turns: RefCell::default(),
            dirty: Cell::new(false),
            blocked: Cell::new(false),
            closing: Cell::new(None),
            heard_at_ms: Cell::new(heard_at.as_millis() as u64),
            cut_at_ms: Cell::new(u64::MAX),
            idle: parts.idle,
            aged_at_s: parts.aged_at_s,
            ended: Cell::new(false),
            reader: RefCell::new(None),
            started: parts.started,
            _place: parts.place,
        }
    }

    /// Says whether the connection takes and sends messages.
    pub(super) fn is_open(&self) -> bool {
        self.closing.get().is_none() && !self.ended.get()
    }

    /// Ends reading: the reader sees the end of the stream, whoever polls that of the session.
    pub(super) fn cut(&self) {
        self.ended.set(true);
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
        match &self.link {
            Link::WebSocket(_) => {}
            Link::LongPoll(link) => link.wake(),
        }
    }

    /// Notes that the client was heard of.
    pub(super) fn hear(&self) {
        let heard = crate::clock::now().saturating_duration_since(self.started);
        self.heard_at_ms.set(heard.as_millis() as u64);
    }

    /// Writes what waits, as many frames at once as there are; or lets whoever polls take it.
    pub(super) fn write(&self) -> Written {
        let stream = match &self.link {
            Link::WebSocket(stream) => stream,
            Link::LongPoll(link) => {
                link.wake();
                return Written::All;
            }
        };
        let mut outbox = self.outbox.borrow_mut();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = outbox.slices(&mut slices);
            match stream.try_write_vectored(&slices[..filled]) {
                Ok(written) => outbox.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
                Err(_) => return Written::Failed,
            }
        }
        Written::All
    }

    /// Tells the peer that nothing more follows.
    pub(super) fn shut_down_writing(&self) {
        match &self.link {
            // The peer may be gone already, which is the same end.
            Link::WebSocket(stream) => {
                let _ = socket2::SockRef::from(stream).shutdown(Shutdown::Write);
            }
            Link::LongPoll(_) => {}
        }
    }

    /// Resolves when the kernel takes bytes again.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match &self.link {
            Link::WebSocket(stream) => stream.writable().await,
            Link::LongPoll(_) => Ok(()),
        }
    }

    /// Ends the stream; whoever waits for it to be writable waits no more.
    pub(super) fn shut_down(&self) {
        match &self.link {
            Link::WebSocket(stream) => {
                let _ = socket2::SockRef::from(stream).shutdown(Shutdown::Both);
            }
            Link::LongPoll(_) => {}
        }
    }

    /// Ends a connection whose peer does not go: what the kernel still holds for it is thrown away.
    pub(super) fn reset(&self) {
        if let Link::WebSocket(stream) = &self.link {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.cut();
    }

    fn read(&self, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = match &self.link {
            Link::WebSocket(stream) if !self.ended.get() => stream,
            Link::WebSocket(_) | Link::LongPoll(_) => return Poll::Ready(Ok(())),
        };
        loop {
            match stream.poll_read_ready(task)? {
                Poll::Ready(()) => {}
                Poll::Pending => {
                    let mut reader = self.reader.borrow_mut();
                    if !reader
                        .as_ref()
                        .is_some_and(|old| old.will_wake(task.waker()))
                    {
                        *reader = Some(task.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
            match stream.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    self.hear();
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// The stream as tungstenite sees it: reads come from TCP, its own frames go through the outbox.
pub(super) struct Duplex {
    pub(super) connection: Rc<Connection>,
    pub(super) worker: Rc<super::Worker>,
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.connection.read(task, buffer)
    }
}

impl AsyncWrite for Duplex {
    /// Takes a pong or a close reply whole, so that it never cuts one of our frames.
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let frame = Bytes::copy_from_slice(bytes);
        self.worker.send(&self.connection, frame);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
