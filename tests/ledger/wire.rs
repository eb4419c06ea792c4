//! A client's WebSocket and the frames of Phoenix V2 that the ledger needs.
//!
//! It never reconnects and never answers for the client.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::story::{End, Gap, Name, Sound};

/// How long a handshake, and a write, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client hears.
#[derive(Debug)]
pub enum Heard {
    /// The answer to a message.
    Reply {
        /// The message's ref.
        of: u64,
        /// Whether the status was `ok`.
        ok: bool,
        /// The response.
        response: Value,
    },
    /// A record of the room.
    Record {
        /// Its place.
        id: u64,
        /// Its uid.
        uid: u128,
        /// What it is.
        name: Name,
    },
    /// A relayed message.
    Sound(Sound),
    /// A gap of the room, when it has ids.
    Gap {
        /// Whether it is the relay's.
        of_relay: bool,
        /// The range.
        gap: Option<Gap>,
    },
    /// The server ended a channel.
    ChannelOver {
        /// Whether it is the relay's.
        of_relay: bool,
    },
    /// Presence, and what else a client may ignore.
    Else,
}

/// An open connection.
pub struct Socket(WebSocketStream<TcpStream>);

#[derive(Deserialize)]
struct Frame<'a>(
    serde::de::IgnoredAny,
    #[serde(borrow)] Option<Cow<'a, str>>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] &'a RawValue,
);

#[derive(Deserialize)]
struct NewMessage<'a> {
    id: u64,
    uid: uuid::Uuid,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    response: Value,
}

#[derive(Deserialize)]
struct Tick {
    p: u32,
    c: u32,
    s: u32,
}

impl Socket {
    /// Connects as a player; `None` when the node can't be reached or refuses.
    pub async fn connect(to: SocketAddr, token: &str, buffer_bytes: Option<usize>) -> Option<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(to)).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        if let Some(bytes) = buffer_bytes {
            SockRef::from(&stream).set_recv_buffer_size(bytes).ok()?;
        }
        let url = format!("ws://{to}/socket/websocket?vsn=2.0.0&token={token}");
        let opened = timeout(PATIENCE, client_async(url, stream)).await.ok()?;
        Some(Self(opened.ok()?.0))
    }

    /// Sends one frame.
    pub async fn send(&mut self, frame: String) -> Result<(), End> {
        let sent = timeout(PATIENCE, self.0.send(Message::text(frame))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Broken),
            Err(_) => Err(End::Silent),
        }
    }

    /// Waits for the next thing.
    ///
    /// # Cancel safety
    /// Nothing is lost when the caller stops waiting.
    pub async fn next(&mut self) -> Result<Heard, End> {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Ok(read(text.as_str())),
            Some(Ok(Message::Close(frame))) => {
                Err(End::Closed(frame.map_or(1005, |frame| frame.code.into())))
            }
            Some(Ok(_)) => Ok(Heard::Else),
            Some(Err(_)) | None => Err(End::Broken),
        }
    }
}

/// Reads a frame; one that a node may not send ends the test.
fn read(text: &str) -> Heard {
    let Frame(_, of, topic, event, payload) =
        serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
    let bad = |why: serde_json::Error| -> ! { panic!("{why}: {text}") };
    let of_relay = topic.starts_with("relay:");
    match &*event {
        "phx_reply" => {
            let answer: Answer = serde_json::from_str(payload.get()).unwrap_or_else(|why| bad(why));
            Heard::Reply {
                of: of.and_then(|of| of.parse().ok()).unwrap_or(0),
                ok: answer.status == "ok",
                response: answer.response,
            }
        }
        "new_message" => {
            let new: NewMessage<'_> =
                serde_json::from_str(payload.get()).unwrap_or_else(|why| bad(why));
            Heard::Record {
                id: new.id,
                uid: new.uid.as_u128(),
                name: name(&new.message).unwrap_or_else(|| panic!("not ours: {text}")),
            }
        }
        "tick" => {
            let tick: Tick = serde_json::from_str(payload.get()).unwrap_or_else(|why| bad(why));
            Heard::Sound(Sound {
                author: tick.p,
                connection: tick.c,
                number: tick.s,
            })
        }
        "gap" => {
            let said: Value = serde_json::from_str(payload.get()).unwrap_or_else(|why| bad(why));
            Heard::Gap {
                of_relay,
                gap: gap(&said),
            }
        }
        "phx_error" | "phx_close" => Heard::ChannelOver { of_relay },
        _ => Heard::Else,
    }
}

/// Reads `{"from": a, "to": b, "reset"?: true, "epoch"?: text}`.
pub fn gap(said: &Value) -> Option<Gap> {
    Some(Gap {
        from: said["from"].as_u64()?,
        to: said["to"].as_u64()?,
        reset: said["reset"] == true,
        epoch: said["epoch"].as_str().map(Arc::from),
    })
}

/// The text of a record: its name, then padding.
pub fn text(name: Name, padding: usize) -> String {
    format!(
        "{}/{} {}",
        name.author,
        name.number,
        "x".repeat(padding + 1)
    )
}

/// The name in the text of a record.
pub fn name(text: &str) -> Option<Name> {
    let (author, number) = text.split(' ').next()?.split_once('/')?;
    Some(Name {
        author: author.parse().ok()?,
        number: number.parse().ok()?,
    })
}
