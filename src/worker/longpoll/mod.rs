//! Long-poll over HTTP: whichever worker of whichever node is asked finds the session, or opens one.
//!
//! What a session does with a request is its own worker's matter.

mod body;
mod session;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Method, Request};
use tokio::sync::oneshot;
use tokio::time::timeout;

use body::{Held, Unread};
pub(super) use session::{LongPoll, asked};

use super::admission::Seat;
use super::connection::Link;
use super::lifetime::{self, Opened};
use super::listener::Answer as Response;
use super::{Refused, Served, Worker, listener};
use crate::channel::Accepted;
use crate::clock;
use crate::pubsub::{Answer, AnswerTo, Asked, Entry, Question, SessionId, SocketId, What};
use crate::transport::longpoll::{
    self, Asking, Session, Status, bad_request, is_ndjson, objects, overloaded, preflight, status,
    with_token,
};
use crate::transport::{Denied, Mount, Opening};

/// How long a body may take to come; clients give up after 20 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// Returns how long a session of a mount lives after its last poll.
pub(super) fn idle(mount: &Mount) -> Duration {
    mount.longpoll_window * 3 / 2
}

/// Where a request came from and what it is for.
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    /// The client's own address, through trusted proxies.
    pub(super) address: IpAddr,
    pub(super) served: Arc<Served>,
    /// The path's variables.
    pub(super) variables: Vec<(String, String)>,
}

/// Answers a request to the path of a mount.
pub(super) async fn serve(
    worker: Rc<Worker>,
    request: Request<Incoming>,
    caller: Caller,
) -> Response {
    let (parts, body) = request.into_parts();
    if ![Method::GET, Method::POST, Method::OPTIONS].contains(&parts.method) {
        return refuse(&worker, "bad_request", bad_request());
    }
    let (mount, key) = (&caller.served.mount, &worker.node.sessions);
    let asking = match Asking::read(&parts, caller.peer, mount, key, clock::unix_s()) {
        Ok(asking) => asking,
        Err(_) => return refuse(&worker, "forbidden", status(Status::Forbidden)),
    };
    match parts.method {
        Method::OPTIONS => preflight(&parts.headers),
        Method::POST => post(&worker, &parts, body, asking, mount).await,
        _ => poll(worker, asking, caller).await,
    }
}

/// Hands over what the session has for its client, or opens a new one.
async fn poll(worker: Rc<Worker>, asking: Asking, caller: Caller) -> Response {
    if let Some((session, token)) = &asking.session {
        match ask(&worker, &caller.served.mount, session, What::Poll).await {
            Answer::Messages(list) => {
                let objects = asking.takes_objects.then(|| objects(&list)).flatten();
                return with_token(Status::Ok, token, &objects.unwrap_or(list));
            }
            Answer::Nothing => return with_token(Status::Nothing, token, b"[]"),
            Answer::Gone
            | Answer::Working
            | Answer::Taken
            | Answer::TimedOut
            | Answer::TooLarge => {}
        }
    }
    let Ok(opening) = longpoll::open(asking, caller.variables) else {
        return refuse(&worker, "forbidden", status(Status::Forbidden));
    };
    // The bounds come before the hook, which may ask the store.
    let (seat, handshake) = match worker.node.admission.admit(clock::now(), caller.address) {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(&worker, refused.label(), overloaded(refused.retry_after())),
    };
    match listener::ask(&caller.served.mount, &opening, handshake).await {
        Ok(accepted) => open(&worker, opening, accepted, &caller.served, seat),
        Err(denied) => deny(&worker, &denied),
    }
}

/// Opens a session and tells its token.
fn open(
    worker: &Rc<Worker>,
    opening: Opening,
    accepted: Accepted,
    served: &Arc<Served>,
    seat: Seat,
) -> Response {
    let Ok(secret) = getrandom::u64() else {
        tracing::error!("no random number for a long-poll session");
        let later = Refused::Full.retry_after();
        return refuse(worker, "internal", overloaded(later));
    };
    let opened = Opened {
        link: Link::LongPoll(Box::new(LongPoll::new(
            secret,
            served.mount.longpoll_window,
        ))),
        serializer: opening.serializer,
        client: listener::client(&served.mount, opening, accepted),
        around: served.around.clone(),
        idle: idle(&served.mount),
        renews: served.mount.renew,
        place: (seat, None),
    };
    let connection = lifetime::open(worker, opened);
    let session = Session {
        node: worker.node.calls.incarnation(),
        worker: worker.index as u32,
        slot: connection.id.slot,
        serial: connection.id.serial,
        secret,
    };
    let token = worker.node.sessions.sign(&session, clock::unix_s());
    with_token(Status::Gone, &token, b"[]")
}

/// Hands messages to the session.
async fn post(
    worker: &Rc<Worker>,
    parts: &Parts,
    body: Incoming,
    asking: Asking,
    mount: &Mount,
) -> Response {
    let kind = parts.headers.get(CONTENT_TYPE);
    let lines = is_ndjson(kind.and_then(|value| value.to_str().ok()));
    let mut held = Held::new(&worker.body_bytes, asking.session.is_some());
    let body = match timeout(BODY_TIMEOUT, held.read(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(Unread::TooLarge | Unread::Broken)) | Err(_) => {
            return refuse(worker, "bad_request", bad_request());
        }
        Ok(Err(Unread::Full)) => {
            let later = Refused::TooFast.retry_after();
            return refuse(worker, "bodies", overloaded(later));
        }
    };
    let Some((session, _)) = asking.session else {
        return status(Status::Gone);
    };
    let what = match lines {
        true => What::Lines(body),
        false => What::Frame(body),
    };
    match ask(worker, mount, &session, what).await {
        Answer::Taken => status(Status::Ok),
        Answer::TimedOut => status(Status::TimedOut),
        Answer::TooLarge => bad_request(),
        Answer::Gone | Answer::Working | Answer::Messages(_) | Answer::Nothing => {
            status(Status::Gone)
        }
    }
}

/// Asks a session, wherever it is.
async fn ask(worker: &Rc<Worker>, mount: &Mount, session: &Session, what: What) -> Answer {
    let node = &worker.node;
    let question = Question {
        session: SessionId {
            socket: SocketId {
                slot: session.slot,
                serial: session.serial,
            },
            secret: session.secret,
        },
        what,
    };
    if session.node != node.calls.incarnation() {
        if node.pubsub.is_single_node() {
            return Answer::Gone;
        }
        let asked = node
            .calls
            .ask(&node.pubsub, session.node, session.worker, &question);
        let patience = mount.longpoll_window + mount.owner_timeout;
        return match asked {
            Ok(call) => call.answer(mount.owner_timeout, patience).await,
            Err(_) => Answer::Gone,
        };
    }
    if session.worker as usize == worker.index {
        return session::answer(worker, question).await;
    }
    let (to, answered) = oneshot::channel();
    let Some(mailbox) = node.pubsub.mailboxes().get(session.worker as usize) else {
        return Answer::Gone;
    };
    mailbox.push(Entry::Ask(Asked::new(question, AnswerTo::Here(to))));
    // A mailbox at its bound drops the question.
    answered.await.unwrap_or(Answer::TimedOut)
}

/// Denies a session; what the hook lacks is a reason to come back later.
fn deny(worker: &Worker, denied: &Denied) -> Response {
    let answer = match denied.status {
        500.. => overloaded(Refused::Full.retry_after()),
        _ => status(Status::Forbidden),
    };
    refuse(worker, "denied", answer)
}

fn refuse(worker: &Worker, label: &str, answer: Response) -> Response {
    worker.node.metrics.count_refused(label);
    answer
}
