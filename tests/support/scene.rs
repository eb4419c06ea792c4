//! A node that gets bad input, and a bystander on another topic who must not notice.
//!
//! It never sends anything bad by itself.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::node::{Node, Setup};
use super::phoenix::Socket;
use super::token::{self, SECRET};

const CHANNELS: &str = r#"
[[channels]]
topic = "score:open*"
kind = "score"
auto_create = true

[[channels]]
topic = "score:*"
kind = "score"
auto_create = false

[[channels]]
topic = "chat_room:*"
kind = "chat_room"

[[channels]]
topic = "videos:1*"
kind = "videos"
auto_create = true

[[channels]]
topic = "videos:*"
kind = "videos"
auto_create = false

[[channels]]
topic = "user:*"
kind = "user"

[[channels]]
topic = "room:*"
kind = "relay"
events = ["new_message"]
"#;

/// A node with a secret, guests allowed, and somebody who minds their own business.
pub struct Scene {
    /// The node under test.
    pub node: Node,
    bystander: Socket,
    rounds: u64,
}

impl Scene {
    /// Starts the node and brings the bystander in.
    pub fn new() -> Self {
        let setup = Setup::new().config(CHANNELS).secret(SECRET);
        let node = setup.flag("--anonymous", "allow").start();
        let mut bystander = Socket::open(node.clients, &token::player("7", "grace"));
        bystander.joined("room:quiet", &json!({}));
        Self {
            node,
            bystander,
            rounds: 0,
        }
    }

    /// A player with a good token.
    pub fn ada(&self) -> Socket {
        Socket::open(self.node.clients, &token::player("42", "ada"))
    }

    /// A client without a token.
    pub fn guest(&self) -> Socket {
        Socket::open(self.node.clients, "")
    }

    /// The bystander still sends, and hears nothing but itself.
    pub fn undisturbed(&mut self, after: &str) {
        self.rounds += 1;
        let said = json!({"round": self.rounds});
        self.bystander
            .push(&Value::Null, "room:quiet", "new_message", &said);
        let heard = self.bystander.event("room:quiet", "new_message");
        assert_eq!(heard, said, "after {after}");
        let others: Vec<_> = self.bystander.settle();
        let strange = others.iter().find(|m| m.event != "phx_reply");
        assert_eq!(strange, None, "after {after}");
    }

    /// How many records the database holds.
    pub fn stored(&self) -> i64 {
        let connection = Connection::open(self.node.path("fanfare.db")).expect("the database");
        let count = "select (select count(*) from gameplays) + (select count(*) from messages) \
                     + (select count(*) from annotations)";
        connection
            .query_row(count, [], |row| row.get(0))
            .expect("a count")
    }
}
