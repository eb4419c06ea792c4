//! A TCP proxy before Redis that is slow, silent, cut or forgetful on command.
//!
//! It understands RESP3 just enough to leave out whole published messages; what it forwards it never changes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What is read at a time, at least.
const PIECE_BYTES: usize = 16 * 1024;

/// Says whether a message (channel, payload) is left out.
pub type Dropper = Arc<dyn Fn(&[u8], &[u8]) -> bool + Send + Sync>;

/// What the way to Redis is like.
#[derive(Clone, Default)]
pub struct Weather {
    /// Each piece is held up this long, in either direction.
    pub delay: Duration,
    /// Pieces are written in parts of this size; 0: whole.
    pub split: usize,
    /// Bytes a second from Redis; 0: as many as there are.
    pub throttle: usize,
    /// Nothing passes in either direction, and nothing is closed.
    pub blackhole: bool,
    /// Nothing from Redis is read.
    pub paused: bool,
    pub dropper: Option<Dropper>,
    /// Connections of an earlier count are reset.
    generation: u64,
}

pub struct Proxy {
    address: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port and forwards to a Redis on a loopback port.
    pub async fn start(redis: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let weather = Arc::new(watch::Sender::new(Weather::default()));
        let shared = Arc::clone(&weather);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", redis)).await {
                    forward(client, server, &shared);
                }
            }
        });
        Self {
            address,
            weather,
            accepting,
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    pub fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.weather.send_modify(change);
    }

    /// Cuts every connection that is open now.
    pub fn reset(&self) {
        self.change(|weather| weather.generation += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn forward(client: TcpStream, server: TcpStream, weather: &watch::Sender<Weather>) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, down) = (weather.subscribe(), weather.subscribe());
    let mut cut = weather.subscribe();
    tokio::spawn(async move {
        let generation = cut.borrow().generation;
        let ended = async {
            // One direction that ends takes the other one along.
            tokio::select! {
                _ = carry(from_client, to_server, up, false) => {}
                _ = carry(from_server, to_client, down, true) => {}
            }
        };
        tokio::select! {
            () = ended => {}
            _ = cut.wait_for(|weather| weather.generation != generation) => {}
        }
    });
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    down: bool,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let stopped = |weather: &Weather| weather.blackhole || (down && weather.paused);
        if weather.wait_for(|weather| !stopped(weather)).await.is_err() {
            return Ok(());
        }
        buffer.reserve(PIECE_BYTES);
        tokio::select! {
            read = from.read_buf(&mut buffer) => {
                if read? == 0 {
                    return Ok(());
                }
            }
            _ = weather.changed() => continue,
        }
        // What was sent after a change meets the weather after it.
        let now = weather.borrow().clone();
        let mut piece = match (&now.dropper, down) {
            (Some(dropper), true) => sift(&mut buffer, dropper),
            _ => buffer.split(),
        };
        if stopped(&weather.borrow()) {
            let _ = weather.wait_for(|weather| !stopped(weather)).await;
        }
        if !now.delay.is_zero() {
            sleep(now.delay).await;
        }
        if down && now.throttle > 0 {
            sleep(Duration::from_secs_f64(
                piece.len() as f64 / now.throttle as f64,
            ))
            .await;
        }
        while !piece.is_empty() {
            let part = if now.split == 0 {
                piece.len()
            } else {
                now.split.min(piece.len())
            };
            to.write_all(&piece.split_to(part)).await?;
        }
    }
}

/// Takes the whole values of a buffer, without the messages that are left out.
fn sift(buffer: &mut BytesMut, dropper: &Dropper) -> BytesMut {
    let mut kept = BytesMut::new();
    while let Some(length) = value(buffer) {
        let dropped =
            message(&buffer[..length]).is_some_and(|(channel, payload)| dropper(channel, payload));
        if dropped {
            buffer.advance(length);
        } else {
            kept.unsplit(buffer.split_to(length));
        }
    }
    kept
}

/// Returns the length of the value that bytes begin with, when all of it is there.
pub fn value(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let number = || -> usize {
        let text = std::str::from_utf8(&bytes[1..head - 2]).expect("a length is text");
        // Minus one stands for nothing.
        text.parse().unwrap_or(0)
    };
    let items = match bytes[0] {
        b'$' | b'=' | b'!' if bytes[1] != b'-' => {
            let length = head + number() + 2;
            return (bytes.len() >= length).then_some(length);
        }
        b'*' | b'~' | b'>' => number(),
        b'%' | b'|' => 2 * number(),
        _ => 0,
    };
    (0..items).try_fold(head, |at, _| Some(at + value(&bytes[at..])?))
}

/// Returns channel and payload of a published message.
pub fn message(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = value.strip_prefix(b">3\r\n$7\r\nmessage\r\n")?;
    let (channel, rest) = bulk(rest)?;
    Some((channel, bulk(rest)?.0))
}

fn bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = value(bytes)?;
    let head = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    Some((&bytes[head..length - 2], &bytes[length..]))
}
