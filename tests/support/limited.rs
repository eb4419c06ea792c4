//! A node with small limits, and clients that reach them.
//!
//! It checks nothing itself.

use serde_json::json;

use super::node::{Node, Setup};
use super::phoenix::{Socket, Version};
use super::token::SECRET;
use super::ws::{Handshake, Wire};

/// Relays under `room:`, stored messages under `chat_room:`.
pub const CHANNELS: &str = r#"
[[channels]]
topic = "room:*"
kind = "relay"
events = ["new_message"]

[[channels]]
topic = "chat_room:*"
kind = "chat_room"
"#;

/// The setup of a node with more in its file, such as `[limits]`; guests are let in.
pub fn setup(more: &str) -> Setup {
    let config = format!("{CHANNELS}\n{more}");
    let setup = Setup::new().config(&config).secret(SECRET);
    setup.flag("--anonymous", "allow")
}

/// A node with these limits, one a line.
pub fn node(limits: &str) -> Node {
    setup(&format!("[limits]\n{limits}")).start()
}

/// A guest.
pub fn guest(node: &Node) -> Socket {
    Socket::open(node.clients, "")
}

/// A guest's socket without the words.
pub fn wire(node: &Node) -> Wire {
    let opened = Handshake::new(node.clients, "vsn=2.0.0").open();
    opened.unwrap_or_else(|said| panic!("refused: {said:?}"))
}

/// A guest who joined a topic.
pub fn member(node: &Node, topic: &str) -> Socket {
    let wire = wire(node);
    let mut socket = Socket::on(wire, Version::V2);
    socket.joined(topic, &json!({}));
    socket
}
