//! Who is let in: the bounds on connections, on those of one address, and on new ones a second.
//!
//! It is shared by the workers of a node and refuses before the upgrade.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use hyper::header::HeaderMap;
use parking_lot::Mutex;

use super::stage::{Departure, Progress, Stage};
use crate::backoff;
use crate::limits::Limits;
use crate::transport::{self, Network, client_address, counted_as, is_trusted};

/// TCP streams that a node holds besides its seats: handshakes and pages under way.
const STREAMS_SPARE: usize = 384;

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The node has `limits.connections`.
    Full,
    /// More than `limits.connects_per_second` came.
    TooFast,
    /// `limits.handshakes_in_flight` wait for their connect hook.
    Busy,
    /// The client's address has `limits.connections_per_ip`.
    AddressFull,
    /// The node is draining.
    Draining,
}

impl Refused {
    /// Returns the label of the metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "connections",
            Self::TooFast => "connects_per_second",
            Self::Busy => "handshakes_in_flight",
            Self::AddressFull => "connections_per_ip",
            Self::Draining => "draining",
        }
    }

    /// Returns how many seconds the client should wait, jittered so that a crowd spreads.
    pub fn retry_after(self) -> u64 {
        let base = match self {
            Self::Full | Self::AddressFull => 5,
            Self::TooFast | Self::Busy | Self::Draining => 1,
        };
        base + backoff::jitter(Duration::from_secs(base + 3)).as_secs()
    }
}

struct Bucket {
    tokens: f64,
    filled_at: Option<Instant>,
}

/// What is open on a node.
#[derive(Debug, Default)]
struct Open {
    seats: AtomicUsize,
    streams: AtomicUsize,
    handshakes: AtomicUsize,
    /// Seats by address; empty while those are not bounded.
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

/// A place among a node's connections; one that is dropped is free again.
#[derive(Debug)]
pub(super) struct Seat {
    open: Arc<Open>,
    address: Option<IpAddr>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.seats.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut addresses = self.open.addresses.lock();
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// A TCP stream of a node, whether it has a seat or not; one that is dropped counts no more.
#[derive(Debug)]
pub(super) struct Entered(Arc<Open>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A handshake whose connect hook is under way; one that is dropped counts no more.
#[derive(Debug)]
pub(super) struct Handshake(Arc<Open>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The door of a node.
pub struct Admission {
    open: Arc<Open>,
    connections_max: usize,
    handshakes_max: usize,
    per_address_max: u32,
    trusted: Vec<Network>,
    proxy_protocol: bool,
    per_second: f64,
    bucket: Mutex<Bucket>,
    progress: Progress,
}

impl Admission {
    /// Lets in as many as the limits say; trusted proxies are believed in what they forward.
    pub fn new(limits: &Limits, transport: &transport::Config) -> Self {
        let per_second = f64::from(limits.connects_per_second);
        Self {
            open: Arc::default(),
            connections_max: limits.connections,
            handshakes_max: limits.handshakes_in_flight,
            per_address_max: limits.connections_per_ip,
            trusted: transport.trusted_proxies.clone(),
            proxy_protocol: transport.proxy_protocol,
            per_second,
            bucket: Mutex::new(Bucket {
                tokens: per_second,
                filled_at: None,
            }),
            progress: Progress::default(),
        }
    }

    /// Returns how many connections are open.
    pub fn open(&self) -> usize {
        self.open.seats.load(Ordering::Relaxed)
    }

    /// Moves on to a stage: from [`Stage::Waiting`] on the node isn't ready, from [`Stage::Closing`] on
    /// nobody is let in.
    pub fn enter_stage(&self, stage: Stage) {
        self.progress.enter(stage, &self.open.seats);
    }

    /// Returns how far the node has come on its way out.
    pub fn stage(&self) -> Stage {
        self.progress.stage()
    }

    /// Returns what is known of the node's departure; `None` until it is told to go.
    pub fn departure(&self) -> Option<Departure> {
        self.progress.departure()
    }

    /// Says whether the node was told to go.
    pub fn is_leaving(&self) -> bool {
        self.stage() > Stage::Serving
    }

    /// Says whether another connection would be let in, for `/readyz`.
    pub fn is_ready(&self) -> bool {
        self.stage() == Stage::Serving && self.open() < self.connections_max
    }

    /// Returns the address that a request's client is counted by.
    pub(super) fn address(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        counted_as(client_address(peer, headers, &self.trusted))
    }

    /// Says whether a peer's streams begin with a header of the PROXY protocol.
    pub(super) fn is_proxied(&self, peer: SocketAddr) -> bool {
        self.proxy_protocol && is_trusted(peer.ip(), &self.trusted)
    }

    /// Counts a TCP stream; `None` when there are so many that file descriptors would run out.
    pub(super) fn enter(&self) -> Option<Entered> {
        let entered = Entered(self.open.clone());
        let before = self.open.streams.fetch_add(1, Ordering::Relaxed);
        (before < self.connections_max.saturating_add(STREAMS_SPARE)).then_some(entered)
    }

    /// Lets one in; `address` is what [`Admission::address`] says. The handshake ends with its connect hook.
    ///
    /// It costs a few atomics and, where addresses are bounded, a short lock: a refusal asks nobody.
    ///
    /// # Errors
    /// [`Refused`] with the bound that was reached.
    pub(super) fn admit(
        &self,
        now: Instant,
        address: IpAddr,
    ) -> Result<(Seat, Handshake), Refused> {
        if self.stage() >= Stage::Closing {
            return Err(Refused::Draining);
        }
        // Counted first, so that whoever is refused has cost the rate nothing.
        let handshake = Handshake(self.open.clone());
        if self.open.handshakes.fetch_add(1, Ordering::Relaxed) >= self.handshakes_max {
            return Err(Refused::Busy);
        }
        if !self.take(now) {
            return Err(Refused::TooFast);
        }
        let mut seat = Seat {
            open: self.open.clone(),
            address: None,
        };
        if self.open.seats.fetch_add(1, Ordering::Relaxed) >= self.connections_max {
            return Err(Refused::Full);
        }
        if self.per_address_max > 0 {
            let mut addresses = self.open.addresses.lock();
            let count = addresses.entry(address).or_default();
            if *count >= self.per_address_max {
                drop(addresses);
                return Err(Refused::AddressFull);
            }
            *count += 1;
            seat.address = Some(address);
        }
        Ok((seat, handshake))
    }

    /// Returns how many handshakes wait for their connect hook.
    pub fn handshakes(&self) -> usize {
        self.open.handshakes.load(Ordering::Relaxed)
    }

    fn take(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock();
        let elapsed = bucket
            .filled_at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        bucket.filled_at = Some(now);
        bucket.tokens = (bucket.tokens + elapsed * self.per_second).min(self.per_second);
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn handshakes_are_bounded_until_their_hook_ends() {
        let limits = Limits {
            handshakes_in_flight: 1,
            connections: 100,
            ..Limits::default()
        };
        let admission = Admission::new(&limits, &transport::Config::default());
        let now = crate::clock::now();
        let (_seat, handshake) = admission.admit(now, HERE).unwrap();
        assert_eq!(admission.admit(now, HERE).unwrap_err(), Refused::Busy);
        assert_eq!((admission.open(), admission.handshakes()), (1, 1));
        drop(handshake);
        assert!(admission.admit(now, HERE).is_ok());
        assert_eq!((admission.open(), admission.handshakes()), (1, 0));
    }

    fn admission(connections: usize, connects_per_second: u32, per_ip: u32) -> Admission {
        let limits = Limits {
            connections,
            connects_per_second,
            connections_per_ip: per_ip,
            ..Limits::default()
        };
        Admission::new(&limits, &transport::Config::default())
    }

    #[test]
    fn the_node_is_full_until_one_goes() {
        let now = crate::clock::now();
        let admission = admission(1, 100, 0);
        let first = admission.admit(now, HERE).unwrap();
        assert_eq!(admission.admit(now, HERE).unwrap_err(), Refused::Full);
        assert_eq!(admission.open(), 1);
        drop(first);
        assert!(admission.admit(now, HERE).is_ok());
    }

    #[test]
    fn a_rush_is_refused_until_time_passes() {
        let now = crate::clock::now();
        let admission = admission(100, 2, 0);
        let admit = |now| admission.admit(now, HERE);
        let _seats = [admit(now).unwrap(), admit(now).unwrap()];
        assert_eq!(admit(now).unwrap_err(), Refused::TooFast);
        assert!(admit(now + Duration::from_millis(500)).is_ok());
        admission.enter_stage(Stage::Waiting);
        assert!(!admission.is_ready());
        assert!(admit(now + Duration::from_secs(1)).is_ok());
        admission.enter_stage(Stage::Closing);
        assert_eq!(admit(now).unwrap_err(), Refused::Draining);
    }

    #[test]
    fn an_address_has_its_share_and_no_memory_of_it_stays() {
        let now = crate::clock::now();
        let admission = admission(100, 100, 2);
        let other: IpAddr = "192.0.2.1".parse().unwrap();
        let seats = [HERE, HERE, other].map(|address| admission.admit(now, address).unwrap());
        let refused = admission.admit(now, HERE).unwrap_err();
        assert_eq!(refused, Refused::AddressFull);
        assert_eq!(admission.open(), 3);
        drop(seats);
        assert_eq!(admission.open(), 0);
        assert!(admission.open.addresses.lock().is_empty());
        assert!(admission.admit(now, HERE).is_ok());
    }

    #[test]
    fn streams_are_bounded_with_some_to_spare() {
        let admission = admission(1, 100, 0);
        let entered: Vec<_> = std::iter::from_fn(|| admission.enter()).collect();
        assert_eq!(entered.len(), 1 + STREAMS_SPARE);
        drop(entered);
        assert!(admission.enter().is_some());
    }
}
