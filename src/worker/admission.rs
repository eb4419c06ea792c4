//! Who is let in: the bounds on connections, on those of one address, and on new ones a second.
//!
//! It is shared by the workers of a node and refuses before the upgrade.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use hyper::header::HeaderMap;
use parking_lot::Mutex;

use crate::backoff;
use crate::limits::Limits;
use crate::transport::{Network, client_address, counted_as};

/// TCP streams that a node holds besides its seats: handshakes and pages under way.
const STREAMS_SPARE: usize = 384;

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The node has `limits.connections`.
    Full,
    /// More than `limits.connects_per_second` came.
    TooFast,
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
            Self::AddressFull => "connections_per_ip",
            Self::Draining => "draining",
        }
    }

    /// Returns how many seconds the client should wait, jittered so that a crowd spreads.
    pub fn retry_after(self) -> u64 {
        let base = match self {
            Self::Full | Self::AddressFull => 5,
            Self::TooFast | Self::Draining => 1,
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

/// The door of a node.
pub struct Admission {
    open: Arc<Open>,
    connections_max: usize,
    per_address_max: u32,
    trusted: Vec<Network>,
    per_second: f64,
    bucket: Mutex<Bucket>,
    unready: AtomicBool,
    draining: AtomicBool,
}

impl Admission {
    /// Lets in as many as the limits say; `trusted` proxies are believed in what they forward.
    pub fn new(limits: &Limits, trusted: Vec<Network>) -> Self {
        let per_second = f64::from(limits.connects_per_second);
        Self {
            open: Arc::default(),
            connections_max: limits.connections,
            per_address_max: limits.connections_per_ip,
            trusted,
            per_second,
            bucket: Mutex::new(Bucket {
                tokens: per_second,
                filled_at: None,
            }),
            unready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// Returns how many connections are open.
    pub fn open(&self) -> usize {
        self.open.seats.load(Ordering::Relaxed)
    }

    /// Says from now on that the node is not ready, while it still lets clients in.
    pub fn fail_readiness(&self) {
        self.unready.store(true, Ordering::Relaxed);
    }

    /// Lets nobody in any more.
    pub fn close(&self) {
        self.fail_readiness();
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Says whether the node was told to go.
    pub fn is_leaving(&self) -> bool {
        self.unready.load(Ordering::Relaxed)
    }

    /// Says whether another connection would be let in, for `/readyz`.
    pub fn is_ready(&self) -> bool {
        !self.unready.load(Ordering::Relaxed) && self.open() < self.connections_max
    }

    /// Returns the address that a request's client is counted by.
    pub(super) fn address(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        counted_as(client_address(peer, headers, &self.trusted))
    }

    /// Counts a TCP stream; `None` when there are so many that file descriptors would run out.
    pub(super) fn enter(&self) -> Option<Entered> {
        let entered = Entered(self.open.clone());
        let before = self.open.streams.fetch_add(1, Ordering::Relaxed);
        (before < self.connections_max.saturating_add(STREAMS_SPARE)).then_some(entered)
    }

    /// Lets one in; `address` is what [`Admission::address`] says.
    ///
    /// # Errors
    /// [`Refused`] with the bound that was reached.
    pub(super) fn admit(&self, now: Instant, address: IpAddr) -> Result<Seat, Refused> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refused::Draining);
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
        Ok(seat)
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

    fn admission(connections: usize, connects_per_second: u32, per_ip: u32) -> Admission {
        let limits = Limits {
            connections,
            connects_per_second,
            connections_per_ip: per_ip,
            ..Limits::default()
        };
        Admission::new(&limits, Vec::new())
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
        admission.close();
        assert_eq!(admit(now).unwrap_err(), Refused::Draining);
        assert!(!admission.is_ready());
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
