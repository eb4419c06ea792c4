//! A twin: the same record with the same key, sent at the same time through another node.
//!
//! It has no story of its own; its answer is one more acknowledgement in the client's.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::wire::{Heard, Socket};

/// How long the twin waits for everything; without an answer it has none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a twin sends.
pub struct Twin {
    /// The node.
    pub to: SocketAddr,
    /// The player's token.
    pub token: String,
    /// The room's topic.
    pub topic: String,
    /// The record, with its key.
    pub record: Value,
    /// The author's number for it.
    pub number: u32,
}

impl Twin {
    /// Joins the room, sends the record, and gives its number with the answered id and uid.
    pub async fn send(self) -> Option<(u32, u64, u128)> {
        timeout(PATIENCE, self.answer()).await.ok()?
    }

    async fn answer(self) -> Option<(u32, u64, u128)> {
        let mut socket = Socket::connect(self.to, &self.token, None).await?;
        let join = json!(["1", "1", self.topic, "phx_join", {}]);
        let send = json!(["1", "2", self.topic, "new_message", self.record]);
        socket.send(join.to_string()).await.ok()?;
        socket.send(send.to_string()).await.ok()?;
        loop {
            if let Heard::Reply {
                of: 2,
                ok: true,
                response,
            } = socket.next().await.ok()?
            {
                let uid: uuid::Uuid = response["uid"].as_str()?.parse().ok()?;
                return Some((self.number, response["id"].as_u64()?, uid.as_u128()));
            }
        }
    }
}
