//! A seeded TCP proxy that delays, throttles, blackholes, chops, freezes, sifts and resets.
//!
//! It looks into the bytes only to leave out messages of Redis, never swaps any, and never outlives its runtime.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::dice::Dice;
pub use super::sieve::Sieve;
use super::sieve::Sifter;

/// Bytes that a direction of a connection carries at once.
const CARRIED: usize = 16 * 1024;

/// Bytes of a packet where buffers are small: an Ethernet's.
const PACKET: u32 = 1_448;

/// What happens to the bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    Clear,
    /// They wait for 1 to 30 ms.
    Delayed,
    /// 8 KiB a second pass, for each connection and direction.
    Throttled,
    /// Of what the server sends 1 KiB a second passes, for each connection.
    Trickle,
    /// Nothing passes, nothing is answered, and nobody is told.
    Blackhole,
    /// They pass in up to eight pieces, some of which wait for some milliseconds.
    Choppy,
}

/// What becomes of connections that an order takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fate {
    /// They are reset (RST).
    #[default]
    Reset,
    /// They carry nothing more, and neither end is told.
    Frozen,
}

/// An order for some connections: its number, its share in a hundred, what becomes of them.
#[derive(Debug, Clone, Copy, Default)]
struct Order {
    number: u64,
    percent: u64,
    fate: Fate,
}

/// A listener before one server.
pub struct Proxy {
    addr: SocketAddr,
    road: Arc<Road>,
}

struct Road {
    upstream: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    orders: watch::Sender<Order>,
    /// For proxies before Redis: what is left out of what it says.
    sieve: watch::Sender<Sieve>,
    of_redis: bool,
    seed: u64,
    connections: AtomicU64,
    /// Small buffers in the kernel make a slow client slow for the server, too.
    buffer_bytes: Option<usize>,
}

impl Proxy {
    /// Listens on a free loopback port, within the runtime that this is called in.
    pub async fn start(upstream: SocketAddr, seed: u64, buffer_bytes: Option<usize>) -> Self {
        Self::open(upstream, seed, buffer_bytes, false).await
    }

    /// As [`Self::start`], before Redis: whole messages can be left out.
    pub async fn before_redis(upstream: SocketAddr, seed: u64, buffer: Option<usize>) -> Self {
        Self::open(upstream, seed, buffer, true).await
    }

    async fn open(
        upstream: SocketAddr,
        seed: u64,
        buffer_bytes: Option<usize>,
        of_redis: bool,
    ) -> Self {
        let listener = socket(buffer_bytes).expect("a socket");
        listener
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("a free port");
        let listener = listener.listen(1_024).expect("it is bound");
        let addr = listener.local_addr().expect("it is bound");
        let road = Arc::new(Road {
            upstream: Mutex::new(upstream),
            weather: watch::Sender::new(Weather::Clear),
            orders: watch::Sender::new(Order::default()),
            sieve: watch::Sender::new(Sieve::Open),
            of_redis,
            seed,
            connections: AtomicU64::new(0),
            buffer_bytes,
        });
        tokio::spawn(accept(listener, Arc::clone(&road)));
        Self { addr, road }
    }

    /// Where to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends new connections to another server.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *self
            .road
            .upstream
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    /// Changes the weather for all connections, new and old.
    pub fn set(&self, weather: Weather) {
        self.road.weather.send_replace(weather);
    }

    /// Leaves out messages of Redis.
    pub fn sift(&self, sieve: Sieve) {
        self.road.sieve.send_replace(sieve);
    }

    /// Resets (RST) so many in a hundred of the connections there are.
    pub fn reset(&self, percent: u64) {
        self.order(percent, Fate::Reset);
    }

    /// Has so many in a hundred of the connections there are carry nothing more.
    pub fn freeze(&self, percent: u64) {
        self.order(percent, Fate::Frozen);
    }

    fn order(&self, percent: u64, fate: Fate) {
        self.road.orders.send_modify(|order| {
            *order = Order {
                number: order.number + 1,
                percent,
                fate,
            };
        });
    }
}

async fn accept(listener: TcpListener, road: Arc<Road>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, Arc::clone(&road)));
    }
}

/// One connection, to its end.
async fn carry(client: TcpStream, road: Arc<Road>) {
    let number = road.connections.fetch_add(1, Ordering::Relaxed);
    let upstream = *road.upstream.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(server) = connect(upstream, road.buffer_bytes).await else {
        return end(&client);
    };
    for stream in [&client, &server] {
        // A connection that ended already fails at its first byte, too.
        let _ = stream.set_nodelay(true);
    }
    let mut orders = road.orders.subscribe();
    orders.mark_unchanged();
    let mut dice = Dice::new(road.seed, number);
    let (to, from) = (dice.throw(), dice.throw());
    let weather = &road.weather;
    let sifter = road
        .of_redis
        .then(|| (Sifter::new(Dice::new(from, 1)), road.sieve.subscribe()));
    let both = async {
        tokio::try_join!(
            pump(
                &client,
                &server,
                weather.subscribe(),
                Dice::new(to, 0),
                None
            ),
            pump(
                &server,
                &client,
                weather.subscribe(),
                Dice::new(from, 0),
                sifter
            ),
        )
    };
    let order = async {
        while orders.changed().await.is_ok() {
            let Order { percent, fate, .. } = *orders.borrow_and_update();
            if dice.percent(percent) {
                return fate;
            }
        }
        Fate::Reset
    };
    let fate = tokio::select! {
        done = both => done.err().map(|_| Fate::Reset),
        fate = order => Some(fate),
    };
    if fate == Some(Fate::Frozen) {
        // Until the end of the run: the ends must find out by themselves.
        std::future::pending::<()>().await;
    }
    if fate == Some(Fate::Reset) {
        end(&client);
        end(&server);
    }
}

async fn connect(upstream: SocketAddr, buffer_bytes: Option<usize>) -> io::Result<TcpStream> {
    socket(buffer_bytes)?.connect(upstream).await
}

/// Opens a socket; with small buffers its packets are small, too: a buffer below the loopback's packet of 64 KiB
/// would make every way slow.
fn socket(buffer_bytes: Option<usize>) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = buffer_bytes {
        SockRef::from(&socket).set_tcp_mss(PACKET)?;
        SockRef::from(&socket).set_recv_buffer_size(bytes)?;
        SockRef::from(&socket).set_send_buffer_size(bytes)?;
    }
    Ok(socket)
}

/// Has a connection reset instead of closed when it is dropped.
fn end(stream: &TcpStream) {
    // One that ended already has nothing to be reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Carries one direction until it ends.
async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    mut weather: watch::Receiver<Weather>,
    mut dice: Dice,
    mut sifter: Option<(Sifter, watch::Receiver<Sieve>)>,
) -> io::Result<()> {
    let mut buffer = vec![0; CARRIED];
    loop {
        let count = read(from, &mut buffer).await?;
        if count == 0 {
            return SockRef::from(to).shutdown(Shutdown::Write);
        }
        let now = weather.wait_for(|now| *now != Weather::Blackhole).await;
        let now = now.map_or(Weather::Clear, |now| *now);
        match &mut sifter {
            // Towards the server.
            None if now == Weather::Trickle => write(to, &buffer[..count]).await?,
            None => pass(&buffer[..count], to, now, &weather, &mut dice).await?,
            Some((sifter, sieve)) => {
                let kept = sifter.pass(&buffer[..count], *sieve.borrow());
                pass(&kept, to, now, &weather, &mut dice).await?;
            }
        }
    }
}

async fn pass(
    bytes: &[u8],
    to: &TcpStream,
    now: Weather,
    weather: &watch::Receiver<Weather>,
    dice: &mut Dice,
) -> io::Result<()> {
    let is_over = || *weather.borrow() != now;
    match now {
        Weather::Clear | Weather::Blackhole => write(to, bytes).await,
        Weather::Delayed => {
            sleep(dice.ms(1..31)).await;
            write(to, bytes).await
        }
        Weather::Throttled => pieces(to, bytes, 512, is_over).await,
        Weather::Trickle => pieces(to, bytes, 64, is_over).await,
        Weather::Choppy => {
            let mut rest = bytes;
            for _ in 0..dice.within(1..8) {
                let (piece, after) = rest.split_at(dice.within(0..rest.len() as u64 + 1) as usize);
                write(to, piece).await?;
                rest = after;
                if dice.percent(20) {
                    sleep(dice.ms(1..8)).await;
                }
            }
            write(to, rest).await
        }
    }
}

/// Sixteen pieces a second, until that is over: the rest passes at once then.
async fn pieces(
    to: &TcpStream,
    mut bytes: &[u8],
    size: usize,
    is_over: impl Fn() -> bool,
) -> io::Result<()> {
    while !bytes.is_empty() && !is_over() {
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        write(to, piece).await?;
        bytes = rest;
        sleep(Duration::from_millis(62)).await;
    }
    write(to, bytes).await
}

async fn read(from: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

async fn write(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
