//! A worker's listener: accepts connections, serves HTTP, upgrades WebSockets, hands on long-polls.
//!
//! A connection that is refused is told so in HTTP, before any socket exists.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::connection::Seat;
use super::reader::{self, Upgraded};
use super::{Refused, Served, Worker, longpoll};
use crate::channel::{Accepted, Client};
use crate::clock;
use crate::transport::{Denied, Opening, Refusal, open, upgrade};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long to wait after an accept that failed, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) type Answer = Response<Full<Bytes>>;

/// Accepts until the worker is told to stop.
pub(super) async fn accept(worker: Rc<Worker>, listener: TcpListener) {
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
            Some(Ok((stream, peer))) => serve(&worker, stream, peer),
            Some(Err(error)) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None => return,
        }
    }
}

fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    // Frames are written whole, so waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let worker = worker.clone();
    let service = service_fn(move |request| {
        let worker = worker.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(worker, request, peer).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, %peer, "http connection ended");
        }
    });
}

async fn answer(worker: Rc<Worker>, request: Request<Incoming>, peer: SocketAddr) -> Answer {
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
            return websocket(worker, request, peer, served, variables).await;
        }
        Some((served, variables, true)) => {
            let caller = longpoll::Caller {
                peer,
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

async fn websocket(
    worker: Rc<Worker>,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    served: Arc<Served>,
    variables: Vec<(String, String)>,
) -> Answer {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let opening = match open(&parts, peer, &served.mount, variables) {
        Ok(opening) => opening,
        Err(refusal) => return refuse(&worker, &refusal),
    };
    let connected = served
        .mount
        .connect
        .connect(&opening.params, &opening.info)
        .await;
    let accepted = match connected {
        Ok(accepted) => accepted,
        Err(denied) => return deny(&worker, denied),
    };
    let response = match upgrade(&parts.headers, &opening) {
        Ok(response) => response,
        Err(refusal) => return refuse(&worker, &refusal),
    };
    let seat = match worker.node.admission.admit(clock::now()) {
        Ok(seat) => seat,
        Err(refused) => return overloaded(&worker, refused),
    };
    tokio::task::spawn_local(async move {
        match on_upgrade.await {
            Ok(upgraded) => begin(worker, upgraded, opening, accepted, served, seat).await,
            Err(error) => tracing::trace!(%error, "upgrade failed"),
        }
    });
    response
}

async fn begin(
    worker: Rc<Worker>,
    upgraded: hyper::upgrade::Upgraded,
    opening: Opening,
    accepted: Accepted,
    served: Arc<Served>,
    seat: Seat,
) {
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        debug_assert!(false, "the stream is the one that was served");
        return;
    };
    let upgraded = Upgraded {
        stream: parts.io.into_inner(),
        leftover: parts.read_buf.to_vec(),
        serializer: opening.serializer,
        client: Client::new(opening.params, opening.info, accepted),
        served,
        seat,
    };
    reader::start(worker, upgraded).await;
}

fn refuse(worker: &Worker, refusal: &Refusal) -> Answer {
    let label = match refusal.status {
        StatusCode::FORBIDDEN => "forbidden",
        _ => "bad_request",
    };
    worker
        .node
        .metrics
        .refused
        .with_label_values(&[label])
        .inc();
    plain(refusal.status, refusal.body)
}

fn deny(worker: &Worker, denied: Denied) -> Answer {
    worker
        .node
        .metrics
        .refused
        .with_label_values(&["denied"])
        .inc();
    let status = StatusCode::from_u16(denied.status).unwrap_or(StatusCode::FORBIDDEN);
    let mut answer = Response::new(Full::from(denied.body));
    *answer.status_mut() = status;
    answer
}

fn overloaded(worker: &Worker, refused: Refused) -> Answer {
    worker
        .node
        .metrics
        .refused
        .with_label_values(&[refused.label()])
        .inc();
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "try again later\n");
    let seconds = HeaderValue::from(refused.retry_after());
    answer.headers_mut().insert(RETRY_AFTER, seconds);
    answer
}

fn plain(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer
}
