//! Phoenix Channels over our own wire: V1 and V2 messages, joins, pushes and what came back.
//!
//! It never drops a message that a test did not ask for: it stays for the next question.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use super::http::Response;
use super::ws::{Frame, Handshake, LIMIT, Wire};

/// A message from the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub join_ref: Value,
    pub reference: Value,
    pub topic: String,
    pub event: String,
    pub payload: Value,
}

impl Message {
    fn parse(text: &str) -> Self {
        let whole: Value = serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
        let word = |value: &Value| {
            value
                .as_str()
                .unwrap_or_else(|| panic!("{text}"))
                .to_owned()
        };
        match &whole {
            Value::Array(parts) if parts.len() == 5 => Self {
                join_ref: parts[0].clone(),
                reference: parts[1].clone(),
                topic: word(&parts[2]),
                event: word(&parts[3]),
                payload: parts[4].clone(),
            },
            Value::Object(fields) if fields.len() == 4 => Self {
                join_ref: Value::Null,
                reference: fields["ref"].clone(),
                topic: word(&fields["topic"]),
                event: word(&fields["event"]),
                payload: fields["payload"].clone(),
            },
            _ => panic!("neither V1 nor V2: {text}"),
        }
    }
}

/// Which words a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// A connected client.
#[derive(Debug)]
pub struct Socket {
    /// The wire, for what no client should send.
    pub wire: Wire,
    version: Version,
    inbox: VecDeque<Message>,
    references: u64,
}

impl Socket {
    /// Connects with V2 and a token; an empty token connects as a guest.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn try_open(addr: SocketAddr, version: Version, token: &str) -> Result<Self, Response> {
        let mut query = String::from(match version {
            Version::V1 => "vsn=1.0.0",
            Version::V2 => "vsn=2.0.0",
        });
        if !token.is_empty() {
            query.push_str("&token=");
            query.push_str(token);
        }
        let wire = Handshake::new(addr, &query).open()?;
        Ok(Self::on(wire, version))
    }

    /// Connects with V2.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn open(addr: SocketAddr, token: &str) -> Self {
        Self::try_open(addr, Version::V2, token).unwrap_or_else(|said| panic!("refused: {said:?}"))
    }

    /// Speaks on an open wire.
    pub fn on(wire: Wire, version: Version) -> Self {
        Self {
            wire,
            version,
            inbox: VecDeque::new(),
            references: 0,
        }
    }

    /// Sends a message with a fresh ref, which is returned.
    pub fn push(&mut self, join_ref: &Value, topic: &str, event: &str, payload: &Value) -> Value {
        self.references += 1;
        let reference = json!(format!("r{}", self.references));
        let message = match self.version {
            Version::V2 => json!([join_ref, reference, topic, event, payload]),
            Version::V1 => {
                json!({"topic": topic, "event": event, "payload": payload, "ref": reference})
            }
        };
        self.wire.text(&message.to_string());
        reference
    }

    /// Sends a message and waits for its reply: status and response.
    pub fn call(&mut self, topic: &str, event: &str, payload: &Value) -> (String, Value) {
        let reference = self.push(&Value::Null, topic, event, payload);
        self.reply(&reference)
    }

    /// Joins and waits for the reply: status and response.
    pub fn join(&mut self, topic: &str, payload: &Value) -> (String, Value) {
        self.call(topic, "phx_join", payload)
    }

    /// Joins a topic that must let it in; the response.
    pub fn joined(&mut self, topic: &str, payload: &Value) -> Value {
        let (status, response) = self.join(topic, payload);
        assert_eq!(status, "ok", "{topic}: {response}");
        response
    }

    /// Waits for the reply to a ref.
    pub fn reply(&mut self, reference: &Value) -> (String, Value) {
        let reply = self.find(|m| m.event == "phx_reply" && m.reference == *reference);
        let status = reply.payload["status"].as_str().expect("a status");
        (status.to_owned(), reply.payload["response"].clone())
    }

    /// Waits for an event on a topic; its payload.
    pub fn event(&mut self, topic: &str, event: &str) -> Value {
        self.find(|m| m.topic == topic && m.event == event).payload
    }

    /// Waits for the first message that matches, and takes it out of the inbox.
    ///
    /// # Panics
    /// After 10 s, or when the connection ends; says what came instead.
    pub fn find(&mut self, matches: impl Fn(&Message) -> bool) -> Message {
        let deadline = Instant::now() + LIMIT;
        let mut at = 0;
        loop {
            while let Some(message) = self.inbox.get(at) {
                if matches(message) {
                    return self.inbox.remove(at).expect("just seen");
                }
                at += 1;
            }
            match self.wire.read_until(deadline) {
                Some(Frame::Text(text)) => self.inbox.push_back(Message::parse(&text)),
                Some(Frame::Ping(_) | Frame::Pong(_) | Frame::Binary(_)) => {}
                Some(end @ (Frame::Close(_) | Frame::Ended)) => {
                    panic!("{end:?} before the message; inbox: {:?}", self.inbox)
                }
                None => panic!("not within {LIMIT:?}; inbox: {:?}", self.inbox),
            }
        }
    }

    /// The next message, or `None` at the deadline.
    ///
    /// # Panics
    /// When the connection ends.
    pub fn next_until(&mut self, deadline: Instant) -> Option<Message> {
        let next = self.next_or_end(deadline);
        next.unwrap_or_else(|end| panic!("{end:?} before a message"))
    }

    /// The next message, or `None` at the deadline.
    ///
    /// # Errors
    /// The close, or the end without one.
    pub fn next_or_end(&mut self, deadline: Instant) -> Result<Option<Message>, Frame> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(Some(message));
            }
            let Some(frame) = self.wire.read_until(deadline) else {
                return Ok(None);
            };
            match frame {
                Frame::Text(text) => self.inbox.push_back(Message::parse(&text)),
                Frame::Ping(_) | Frame::Pong(_) | Frame::Binary(_) => {}
                end @ (Frame::Close(_) | Frame::Ended) => return Err(end),
            }
        }
    }

    /// Drops what came and nobody asked for.
    pub fn forget(&mut self) {
        self.inbox.clear();
    }

    /// Waits for the answer to a heartbeat, then hands over all that came before it.
    pub fn settle(&mut self) -> Vec<Message> {
        let (status, _) = self.call("phoenix", "heartbeat", &json!({}));
        assert_eq!(status, "ok");
        self.inbox.drain(..).collect()
    }
}
