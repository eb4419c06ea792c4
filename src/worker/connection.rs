//! One connection of a worker: its socket, its outbox, and its link to the client.
//!
//! It lives on one thread for life; nothing in it is locked or `Send`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::admission::{Entered, Seat};
use super::longpoll::LongPoll;
use super::member::Member;
use crate::protocol::{CloseReason, Serializer};
use crate::pubsub::SocketId;
use crate::socket::{ChannelId, Outbox, SLICES_MAX, Socket};
use crate::transport::{Incoming, WebSocketReader};

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
    WebSocket(WebSocket),
    /// Boxed, so that a WebSocket is no larger for it.
    LongPoll(Box<LongPoll>),
}

/// A stream after its handshake, and what of it has come in part.
pub(super) struct WebSocket {
    stream: RefCell<TcpStream>,
    reader: RefCell<WebSocketReader>,
}

impl Link {
    /// Takes a stream after its handshake.
    pub(super) fn websocket(stream: TcpStream) -> Self {
        Self::WebSocket(WebSocket {
            stream: RefCell::new(stream),
            reader: RefCell::default(),
        })
    }

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
    pub(super) members: RefCell<Vec<Rc<Member>>>,
    /// Callbacks that wait, by channel.
    pub(super) turns: RefCell<Vec<(ChannelId, AbortHandle)>>,
    /// Whether it is in the worker's list of outboxes to write.
    pub(super) dirty: Cell<bool>,
    /// Whether a task waits for the stream to be writable.
    pub(super) blocked: Cell<bool>,
    pub(super) closing: Cell<Option<CloseReason>>,
    /// When the last bytes or the last poll came, in milliseconds of the worker's life.
    pub(super) heard_at_ms: Cell<u64>,
    /// When a closing connection is cut off, in milliseconds of the worker's life.
    pub(super) cut_at_ms: Cell<u64>,
    /// How long it may be silent, in milliseconds.
    pub(super) idle_ms: u64,
    /// When it has reached its age, in seconds of the worker's life; `u32::MAX`: never.
    pub(super) aged_at_s: u32,
    ended: Cell<bool>,
    faulty: Cell<bool>,
    reader: RefCell<Option<Waker>>,
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
    /// The milliseconds of the worker's life.
    pub(super) now_ms: u64,
    pub(super) place: (Seat, Option<Rc<Entered>>),
}

impl Connection {
    pub(super) fn new(parts: Parts) -> Self {
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
            heard_at_ms: Cell::new(parts.now_ms),
            cut_at_ms: Cell::new(u64::MAX),
            idle_ms: parts.idle.as_millis() as u64,
            aged_at_s: parts.aged_at_s,
            ended: Cell::new(false),
            faulty: Cell::new(false),
            reader: RefCell::new(None),
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

    /// Notes that the client was heard of, at a millisecond of the worker's life.
    pub(super) fn hear(&self, now_ms: u64) {
        self.heard_at_ms.set(now_ms);
    }

    /// Finds a channel's place in its topic.
    pub(super) fn member(&self, channel: ChannelId) -> Option<Rc<Member>> {
        let members = self.members.borrow();
        members.iter().find(|one| one.channel == channel).cloned()
    }

    /// Takes a channel's place in its topic.
    pub(super) fn take_member(&self, channel: ChannelId) -> Option<Rc<Member>> {
        let mut members = self.members.borrow_mut();
        let at = members.iter().position(|one| one.channel == channel)?;
        Some(members.swap_remove(at))
    }

    /// Takes the callback of a channel that waits.
    pub(super) fn take_turn(&self, channel: ChannelId) -> Option<AbortHandle> {
        let mut turns = self.turns.borrow_mut();
        let at = turns.iter().position(|(one, _)| *one == channel)?;
        let (_, turn) = turns.swap_remove(at);
        if turns.is_empty() {
            turns.shrink_to_fit();
        }
        Some(turn)
    }

    /// Writes what waits, as many frames at once as there are; or lets whoever polls take it.
    pub(super) fn write(&self) -> Written {
        let stream = match &self.link {
            Link::WebSocket(link) => link.stream.borrow(),
            Link::LongPoll(link) => {
                link.wake();
                return Written::All;
            }
        };
        let mut outbox = self.outbox.borrow_mut();
        while let Some(first) = outbox.first() {
            let result = match outbox.has_more() {
                // Most often it is one, and a plain write costs the kernel less.
                false => stream.try_write(first),
                true => {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let filled = outbox.slices(&mut slices);
                    stream.try_write_vectored(&slices[..filled])
                }
            };
            match result {
                Ok(written) => outbox.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
                Err(_) => return Written::Failed,
            }
        }
        Written::All
    }

    /// Tells the peer that nothing more follows.
    pub(super) fn shut_down_writing(&self) {
        self.shut(Shutdown::Write);
    }

    /// Resolves when the kernel takes bytes again.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match &self.link {
            // Nothing stays borrowed while it waits.
            Link::WebSocket(link) => {
                poll_fn(|task| link.stream.borrow().poll_write_ready(task)).await
            }
            Link::LongPoll(_) => Ok(()),
        }
    }

    /// Ends the stream; whoever waits for it to be writable waits no more.
    pub(super) fn shut_down(&self) {
        self.shut(Shutdown::Both);
    }

    fn shut(&self, how: Shutdown) {
        if let Link::WebSocket(link) = &self.link {
            // The peer may be gone already, which is the same end.
            let _ = socket2::SockRef::from(&*link.stream.borrow()).shutdown(how);
        }
    }

    /// Ends a connection whose peer does not go: what the kernel still holds for it is thrown away.
    pub(super) fn reset(&self) {
        if let Link::WebSocket(link) = &self.link {
            let _ = socket2::SockRef::from(&*link.stream.borrow()).set_linger(Some(Duration::ZERO));
        }
        self.cut();
    }

    /// Reads into `buffer`; nothing once the connection has been cut.
    pub(super) fn read(
        &self,
        task: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let link = match &self.link {
            Link::WebSocket(link) if !self.ended.get() => link,
            Link::WebSocket(_) | Link::LongPoll(_) => return Poll::Ready(Ok(0)),
        };
        let mut buffer = ReadBuf::new(buffer);
        // Not `try_read`: this one knows by a short read that nothing is left, without asking the kernel again.
        let polled = Pin::new(&mut *link.stream.borrow_mut()).poll_read(task, &mut buffer);
        if polled.is_pending() {
            let mut reader = self.reader.borrow_mut();
            if !reader
                .as_ref()
                .is_some_and(|old| old.will_wake(task.waker()))
            {
                *reader = Some(task.waker().clone());
            }
        }
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Takes the next message off what was read.
    pub(super) fn next(&self, input: &mut &mut [u8]) -> Result<Option<Incoming>, CloseReason> {
        match &self.link {
            Link::WebSocket(link) => {
                let socket = self.socket.borrow();
                link.reader.borrow_mut().next(input, socket.limits())
            }
            Link::LongPoll(_) => Ok(None),
        }
    }

    /// Notes that what the peer sends is not to be understood any more.
    pub(super) fn note_fault(&self) {
        self.faulty.set(true);
    }

    /// Says whether what the peer sends is not to be understood any more.
    pub(super) fn is_faulty(&self) -> bool {
        self.faulty.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every connection has one, so that each byte counts by the million.
    #[test]
    fn a_connection_is_no_larger_than_it_was() {
        assert!(size_of::<Connection>() <= 488);
    }
}
