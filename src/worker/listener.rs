//! A worker's listener: accepts connections, serves HTTP, upgrades WebSockets, hands on long-polls.
//!
//! A connection that is refused is told so in HTTP, before any socket exists.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::admission::{Entered, Handshake, Seat};
use super::proxied::{self, Unproxied};
use super::reader::{self, Upgraded};
use super::{Refused, Served, Worker, longpoll};
use crate::backoff;
use crate::channel::{Accepted, Client};
use crate::clock;
use crate::transport::{Denied, Mount, Opening, Refusal, open, upgrade};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long to wait after an accept that failed, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many are taken from the kernel's queue when the node stops accepting; it holds no more.
const QUEUE_MAX: usize = 4_096;

/// Over how long clients come back to a node whose store can't be reached.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(5);

pub(super) type Answer = Response<Full<Bytes>>;

/// Accepts until the worker is told to stop.
pub(super) async fn accept(worker: Rc<Worker>, listener: TcpListener) {
    let mut failing = false;
    loop {
        let accepted = poll_fn(|task| {
            if !worker.accepting.get() {
                return Poll::Ready(None);
            }
            *worker.accept_waker.borrow_mut() = Some(task.waker().clone());
            listener.poll_accept(task).map(Some)
        })
        .await;
        match accepted {
            Some(Ok((stream, peer))) => {
                failing = false;
                enter(&worker, stream, peer);
            }
            Some(Err(error)) => {
                worker.node.metrics.accept_errors.inc();
                // A client that went while it was in the queue is nobody's want.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    // Once for all that fail in a row: there may be twenty a second.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "accept failed");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            None => return empty_queue(&worker, listener),
        }
    }
}

/// Accepts who is in the kernel's queue already, so that they are told to come back instead of being reset.
fn empty_queue(worker: &Rc<Worker>, listener: TcpListener) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    for _ in 0..QUEUE_MAX {
        let Ok((stream, peer)) = listener.accept() else {
            return;
        };
        let stream = stream.set_nonblocking(true).map(|()| stream);
        if let Ok(stream) = stream.and_then(TcpStream::from_std) {
            enter(worker, stream, peer);
        }
    }
}

fn enter(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    match worker.node.admission.enter() {
        Some(entered) => serve(worker, stream, peer, entered),
        None => refuse_stream(worker, stream),
    }
}

fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, entered: Entered) {
    // Frames are written whole, so waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let worker = worker.clone();
    match worker.node.admission.is_proxied(peer) {
        true => tokio::task::spawn_local(unwrap(worker, stream, peer, entered)),
        false => tokio::task::spawn_local(speak(worker, stream, peer, entered)),
    };
}

/// Takes the proxy's header off; from then on the peer is the client that it names.
async fn unwrap(worker: Rc<Worker>, mut stream: TcpStream, peer: SocketAddr, entered: Entered) {
    match proxied::client(&mut stream, peer).await {
        Ok(client) => speak(worker, stream, client, entered).await,
        Err(Unproxied::Silent) => {}
        Err(Unproxied::Malformed) => worker.node.metrics.count_refused("proxy_protocol"),
    }
}

/// Serves HTTP.
async fn speak(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, entered: Entered) {
    let entered = Rc::new(entered);
    let service = service_fn(move |request| {
        let (worker, entered) = (worker.clone(), entered.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(worker, request, peer, entered).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::trace!(%error, %peer, "http connection ended");
    }
}

/// Closes a stream for which there is no file descriptor to spare; nothing can be said on it.
fn refuse_stream(worker: &Worker, stream: TcpStream) {
    worker.node.metrics.count_refused("streams");
    drop(stream);
}

async fn answer(
    worker: Rc<Worker>,
    request: Request<Incoming>,
    peer: SocketAddr,
    entered: Rc<Entered>,
) -> Answer {
    let path = request.uri().path();
    let found = worker.node.served.iter().find_map(|served| {
        let mount = &served.mount;
        let polled = || mount.longpoll.as_ref()?.matches(path);
        let (variables, polls) = match mount.websocket.matches(path) {
            Some(variables) => (variables, false),
            None => (polled()?, true),
        };
        Some((served.clone(), variables, polls))
    });
    match found {
        Some((served, variables, false)) => {
            let visit = Visit { peer, entered };
            return websocket(worker, request, visit, served, variables).await;
        }
        Some((served, variables, true)) => {
            let caller = longpoll::Caller {
                peer,
                address: worker.node.admission.address(peer, request.headers()),
                served,
                variables,
            };
            return longpoll::serve(worker, request, caller).await;
        }
        None => {}
    }
    match (worker.node.pages)(&request) {
        Some(page) => page,
        None => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// Where a request came from, and the stream that it came on.
struct Visit {
    peer: SocketAddr,
    entered: Rc<Entered>,
}

async fn websocket(
    worker: Rc<Worker>,
    mut request: Request<Incoming>,
    visit: Visit,
    served: Arc<Served>,
    variables: Vec<(String, String)>,
) -> Answer {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let opening = match open(&parts, visit.peer, &served.mount, variables) {
        Ok(opening) => opening,
        Err(refusal) => return refuse(&worker, &refusal),
    };
    // The bounds come before the hook, which may ask the store.
    let admission = &worker.node.admission;
    let address = admission.address(visit.peer, &parts.headers);
    let (seat, handshake) = match admission.admit(clock::now(), address) {
        Ok(admitted) => admitted,
        Err(refused) => return overloaded(&worker, refused),
    };
    let accepted = match ask(&served.mount, &opening, handshake).await {
        Ok(accepted) => accepted,
        Err(denied) => return deny(&worker, denied),
    };
    let response = match upgrade(&parts.headers, &opening) {
        Ok(response) => response,
        Err(refusal) => return refuse(&worker, &refusal),
    };
    let place = (seat, Some(visit.entered));
    tokio::task::spawn_local(async move {
        match on_upgrade.await {
            Ok(upgraded) => begin(worker, upgraded, opening, accepted, served, place),
            Err(error) => tracing::trace!(%error, "upgrade failed"),
        }
    });
    response
}

/// Asks the connect hook, for as long as a join may take; the handshake is under way until then.
pub(super) async fn ask(
    mount: &Mount,
    opening: &Opening,
    _handshake: Handshake,
) -> Result<Accepted, Denied> {
    let limit = Duration::from_secs(mount.limits.join_seconds);
    let connect = mount.connect.connect(&opening.params, &opening.info);
    tokio::time::timeout(limit, connect)
        .await
        .unwrap_or_else(|_| Err(Denied::unavailable()))
}

fn begin(
    worker: Rc<Worker>,
    upgraded: hyper::upgrade::Upgraded,
    opening: Opening,
    accepted: Accepted,
    served: Arc<Served>,
    place: (Seat, Option<Rc<Entered>>),
) {
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        debug_assert!(false, "the stream is the one that was served");
        return;
    };
    let upgraded = Upgraded {
        stream: parts.io.into_inner(),
        leftover: parts.read_buf.to_vec(),
        serializer: opening.serializer,
        client: client(&served.mount, opening, accepted),
        served,
        place,
    };
    reader::start(worker, upgraded);
}

/// Makes the client of a socket, with its request when the mount keeps it.
pub(super) fn client(mount: &Mount, opening: Opening, accepted: Accepted) -> Client {
    let client = Client::new(accepted);
    match mount.keep_request {
        true => client.keeping(opening.params, opening.info),
        false => client,
    }
}

fn refuse(worker: &Worker, refusal: &Refusal) -> Answer {
    let label = match refusal.status {
        StatusCode::FORBIDDEN => "forbidden",
        _ => "bad_request",
    };
    worker.node.metrics.count_refused(label);
    plain(refusal.status, refusal.body)
}

fn deny(worker: &Worker, denied: Denied) -> Answer {
    worker.node.metrics.count_refused("denied");
    let status = StatusCode::from_u16(denied.status).unwrap_or(StatusCode::FORBIDDEN);
    let mut answer = Response::new(Full::from(denied.body));
    *answer.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        retry_later(
            &mut answer,
            backoff::jitter(UNAVAILABLE_PAUSE).as_secs() + 1,
        );
    }
    answer
}

fn overloaded(worker: &Worker, refused: Refused) -> Answer {
    worker.node.metrics.count_refused(refused.label());
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "try again later\n");
    retry_later(&mut answer, refused.retry_after());
    // The file descriptor goes to somebody who is let in.
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

fn retry_later(answer: &mut Answer, seconds: u64) {
    let seconds = HeaderValue::from(seconds);
    answer.headers_mut().insert(RETRY_AFTER, seconds);
}

fn plain(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer
}
