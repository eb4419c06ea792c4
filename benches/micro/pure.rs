//! A socket without a network: what its worker and node would give it, as doubles.
//!
//! They answer at once and do nothing, so that only the socket is measured.

use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use fanfare::channel::{
    Accepted, AuthError, Authenticated, Client, Game, Gate, History, Membership, Ports, Position,
    TrackError, Unavailable, Video,
};
use fanfare::channels::{Declaration, Defaults, Kind, router};
use fanfare::clock;
use fanfare::limits::Limits;
use fanfare::protocol::{Payload, Serializer, Topic};
use fanfare::socket::{ChannelId, Host, Metrics, Output, Socket, Surroundings};
use futures_util::future::{BoxFuture, LocalBoxFuture};

struct NoStore;

impl Ports for NoStore {
    fn history(
        &self,
        _: Topic,
        _: Position,
        _: usize,
    ) -> BoxFuture<'static, Result<History, Unavailable>> {
        Box::pin(ready(Err(Unavailable)))
    }

    fn game(&self, _: String, _: bool) -> BoxFuture<'static, Result<Option<Game>, Unavailable>> {
        Box::pin(ready(Err(Unavailable)))
    }

    fn video(&self, _: i64, _: bool) -> BoxFuture<'static, Result<Option<Video>, Unavailable>> {
        Box::pin(ready(Err(Unavailable)))
    }

    fn subscribers(&self, _: Topic) -> BoxFuture<'static, usize> {
        Box::pin(ready(0))
    }

    fn authenticate(&self, _: String) -> BoxFuture<'static, Result<Authenticated, AuthError>> {
        Box::pin(ready(Err(AuthError::Unavailable)))
    }
}

struct Place;

impl Membership for Place {
    fn subscribe(&self) -> LocalBoxFuture<'static, Result<(), Unavailable>> {
        Box::pin(ready(Ok(())))
    }

    fn set_floor(&self, _: u64, _: &str) {}

    fn track(&self, _: &str, _: &Payload) -> Result<(), TrackError> {
        Err(TrackError::Refused)
    }

    fn update(&self, _: &str, _: &Payload) -> Result<(), TrackError> {
        Err(TrackError::NoPresence)
    }

    fn untrack(&self, _: &str) {}

    fn presences(&self) -> Payload {
        Payload::EMPTY
    }
}

struct Places;

impl Host for Places {
    fn membership(&self, _: ChannelId, _: &Topic) -> Rc<dyn Membership> {
        Rc::new(Place)
    }
}

/// Makes a socket that may join relay topics `bench:*` with the event `m`.
pub fn socket() -> Socket {
    let relay = Declaration {
        anonymous: Some(true),
        events: vec![String::from("m")],
        ..Declaration::new("bench:*", Kind::Relay)
    };
    let router = router(&[relay], &Defaults::default()).expect("a good pattern");
    let registry = prometheus::Registry::new();
    let limits = Limits {
        messages_per_second: 0,
        ..Limits::default()
    };
    let metrics = Metrics::register(&registry).expect("an empty registry");
    let waited = metrics
        .limit_reached
        .with_label_values(&["joins_in_flight"]);
    let joins = Gate::new(1_000, metrics.joins_in_flight.clone(), waited);
    let around = Surroundings {
        router: Arc::new(router),
        ports: Arc::new(NoStore),
        limits: Arc::new(limits),
        metrics,
        joins: Arc::new(joins),
    };
    let client = Rc::new(Client::new(Accepted::default()));
    Socket::new(Serializer::V2, client, Arc::new(around), Rc::new(Places))
}

/// Gives a socket a text message and returns what it puts out.
///
/// # Panics
/// When nothing comes out: whatever is measured here is answered.
pub fn feed(socket: &mut Socket, text: &Bytes, out: &mut Vec<Output>) {
    out.clear();
    socket.receive_text(text, clock::now(), out);
    assert!(!out.is_empty());
}
