//! A long-poll session on the worker that has it: polls that wait, posts that are taken in order.
//!
//! To its channels it is a connection like any other: frames gather in its outbox, whoever polls takes them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_immediate;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::clock;
use crate::protocol::{CloseReason, DecodeError, Message, Serializer};
use crate::pubsub::{Answer, Asked, Question, SessionId, What};
use crate::transport::longpoll::{Batch, Line, messages};
use crate::worker::connection::{Connection, Link};
use crate::worker::{Worker, pump};

/// Posts of one session that may wait for each other; beyond: 408. Stock clients have one or a few.
const POSTS_WAITING_MAX: usize = 100;

/// The link of a long-poll session.
pub(in crate::worker) struct LongPoll {
    secret: u64,
    window: Duration,
    /// The number of the latest poll: only that one is handed frames.
    latest: Cell<u64>,
    poller: RefCell<Option<Waker>>,
    poster: RefCell<Option<Waker>>,
    /// Held by the post that is being taken; its waiters are served in the order they came.
    posts: Mutex<()>,
    posts_waiting: Cell<usize>,
}

impl LongPoll {
    pub(super) fn new(secret: u64, window: Duration) -> Self {
        Self {
            secret,
            window,
            latest: Cell::new(0),
            poller: RefCell::new(None),
            poster: RefCell::new(None),
            posts: Mutex::new(()),
            posts_waiting: Cell::new(0),
        }
    }

    /// Lets whoever polls look at the outbox, or at the end of the session.
    pub(in crate::worker) fn wake(&self) {
        wake(&self.poller);
    }

    /// Lets the post that waits for its message look at the socket.
    pub(in crate::worker) fn driven(&self) {
        wake(&self.poster);
    }

    fn start_poll(&self) -> u64 {
        self.latest.set(self.latest.get() + 1);
        self.latest.get()
    }
}

fn wake(place: &RefCell<Option<Waker>>) {
    if let Some(waker) = place.borrow_mut().take() {
        waker.wake();
    }
}

fn wait(place: &RefCell<Option<Waker>>, task: &Context<'_>) {
    *place.borrow_mut() = Some(task.waker().clone());
}

/// Answers a question that came through the mailbox, from another worker or node.
pub(in crate::worker) async fn asked(worker: Rc<Worker>, asked: Asked) {
    let Some((question, mut to)) = asked.take() else {
        return;
    };
    let pubsub = worker.node.pubsub.clone();
    let window = find(&worker, question.session).map(|(_, window)| window);
    let mut answering = pin!(answer(&worker, question));
    if let Some(answer) = poll_immediate(answering.as_mut()).await {
        return to.answer(&pubsub, answer);
    }
    loop {
        to.working(&pubsub);
        tokio::select! {
            answer = answering.as_mut() => return to.answer(&pubsub, answer),
            () = to.abandoned() => return,
            () = tokio::time::sleep(window.unwrap_or_default()) => {}
        }
    }
}

/// Answers a question to a session of this worker. Dropping it leaves frames where they are.
pub(super) async fn answer(worker: &Rc<Worker>, question: Question) -> Answer {
    let Some((connection, _)) = find(worker, question.session) else {
        return Answer::Gone;
    };
    let Link::LongPoll(link) = &connection.link else {
        return Answer::Gone;
    };
    match question.what {
        What::Poll => poll(worker, &connection, link).await,
        What::Frame(body) => post(worker, &connection, link, Batch::whole(body)).await,
        What::Lines(body) => post(worker, &connection, link, Batch::lines(body)).await,
    }
}

fn find(worker: &Worker, session: SessionId) -> Option<(Rc<Connection>, Duration)> {
    let connection = pump::find(worker, session.socket)?;
    let window = match &connection.link {
        Link::LongPoll(link) if link.secret == session.secret => link.window,
        Link::LongPoll(_) | Link::WebSocket(_) => return None,
    };
    connection.is_open().then_some((connection, window))
}

async fn poll(worker: &Rc<Worker>, connection: &Rc<Connection>, link: &LongPoll) -> Answer {
    connection.hear(worker.elapsed_ms());
    let number = link.start_poll();
    let frames = poll_fn(|task| {
        // A later poll gets what comes; this one runs into its window.
        if link.latest.get() != number {
            return Poll::Pending;
        }
        if let Some(json) = take(worker, connection) {
            return Poll::Ready(Answer::Messages(json));
        }
        if !connection.is_open() {
            return Poll::Ready(Answer::Gone);
        }
        wait(&link.poller, task);
        Poll::Pending
    });
    timeout(link.window, frames)
        .await
        .unwrap_or(Answer::Nothing)
}

/// Takes the frames that wait as a JSON array; `None` when there are none that it can hold.
fn take(worker: &Worker, connection: &Connection) -> Option<Bytes> {
    if connection.outbox.borrow().is_empty() {
        return None;
    }
    let taken = messages(connection.outbox.borrow_mut().take());
    if taken.skipped > 0 {
        let dropped = &worker.node.metrics.dropped;
        let skipped = dropped.with_label_values(&["transport"]);
        skipped.inc_by(taken.skipped);
    }
    (taken.count > 0).then_some(taken.json)
}

/// A post's place among those that wait.
struct Place<'a>(&'a Cell<usize>);

impl<'a> Place<'a> {
    fn take(count: &'a Cell<usize>) -> Option<Self> {
        let waiting = count.get();
        (waiting < POSTS_WAITING_MAX).then(|| {
            count.set(waiting + 1);
            Self(count)
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Takes messages in order, each when the one before is done.
async fn post(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    link: &LongPoll,
    batch: Batch,
) -> Answer {
    let Some(_place) = Place::take(&link.posts_waiting) else {
        return Answer::TimedOut;
    };
    let Ok(_turn) = timeout(link.window, link.posts.lock()).await else {
        return Answer::TimedOut;
    };
    let bytes_max = connection.socket.borrow().limits().message_bytes;
    for line in batch {
        if !connection.is_open() {
            return Answer::Gone;
        }
        let Some(decoded) = decode(connection.serializer, &line, bytes_max) else {
            // As on a WebSocket: what came before is done, and this is the end.
            worker.close(connection, CloseReason::TooBig);
            return Answer::TooLarge;
        };
        let topic = decoded.as_ref().ok().map(|message| message.topic.clone());
        worker.drive(connection, |socket, out| {
            socket.receive(decoded, clock::now(), out)
        });
        let Some(topic) = topic else { continue };
        let done = poll_fn(|task| {
            if !connection.is_open() || !connection.socket.borrow().owes(&topic) {
                return Poll::Ready(());
            }
            wait(&link.poster, task);
            Poll::Pending
        });
        if timeout(link.window, done).await.is_err() {
            return Answer::TimedOut;
        }
    }
    match connection.is_open() {
        true => Answer::Taken,
        false => Answer::Gone,
    }
}

/// Reads a line; `None` when it is above its limit.
fn decode(
    serializer: Serializer,
    line: &Line,
    bytes_max: usize,
) -> Option<Result<Message, DecodeError>> {
    match line {
        Line::TooLong => None,
        Line::Text(bytes) | Line::Binary(bytes) if bytes.len() > bytes_max => None,
        Line::Text(text) if std::str::from_utf8(text).is_err() => Some(Err(DecodeError::NotUtf8)),
        Line::Text(text) => Some(serializer.decode_text(text)),
        Line::Binary(bytes) => Some(serializer.decode_binary(bytes)),
        Line::Malformed => Some(Err(DecodeError::Binary)),
    }
}
