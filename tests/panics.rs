//! What is logged of a panic: one line of JSON that says where, and nothing of what was said.
//!
//! The hook is the process's, so it has a test program of its own.

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use fanfare::channel::{Channel, Context, JoinResult, Outcome, Router};
use fanfare::config::Settings;
use fanfare::gateway::{Gateway, Started};
use fanfare::protocol::Payload;
use fanfare::transport::{Mount, Open};
use serde_json::{Value, json};
use support::phoenix::{Socket, Version};
use support::ws::Handshake;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic holds it").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Says what its client said, and dies of it.
struct Fragile;

impl Channel for Fragile {
    async fn join(&mut self, _: &mut Context, _: Payload) -> JoinResult {
        Ok(Payload::EMPTY)
    }

    async fn handle_in(&mut self, _: &mut Context, event: &str, _: Payload) -> Outcome {
        panic!("the client said {event}");
    }
}

fn node() -> Started {
    let mut settings = Settings::default();
    settings.listen.set_port(0);
    settings.admin_listen.set_port(0);
    settings.store.url = String::from("sqlite::memory:");
    settings.make_secret();
    let limits = Arc::new(settings.limits.clone());
    let router = Router::new().channel("fragile:*", "fragile", || Fragile);
    let router = Arc::new(router.expect("a pattern"));
    let mount = Mount::new("/live", router, Arc::new(Open), limits);
    Gateway::new(settings).mount(mount).start().expect("a node")
}

/// The lines about panics, as JSON.
fn panics(lines: &Lines) -> Vec<Value> {
    let text = lines.0.lock().expect("no panic holds it").clone();
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(!text.contains("swordfish"), "{text}");
    let parse = |line: &str| -> Value { serde_json::from_str(line).expect("each line is JSON") };
    let is_panic = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|said| said.contains("panicked"))
    };
    text.lines().map(parse).filter(is_panic).collect()
}

#[test]
fn a_panic_is_one_line_without_its_message() {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(lines.clone())
        .finish();
    tracing::subscriber::set_global_default(log).expect("the first");
    let before = std::panic::take_hook();
    fanfare::gateway::log_panics();
    let node = node();
    let handshake = Handshake::at(node.clients(), "/live/websocket?vsn=2.0.0");
    let mut socket = Socket::on(handshake.open().expect("accepted"), Version::V2);
    socket.joined("fragile:a", &json!({}));
    socket.push(&Value::Null, "fragile:a", "swordfish", &json!({}));
    let ended = socket.find(|message| message.event == "phx_error");
    let other = std::panic::catch_unwind(|| panic!("the client said swordfish"));
    std::panic::set_hook(before);
    assert!(other.is_err());
    assert_eq!(ended.payload, json!({"reason": "channel_crash"}));
    let said = panics(&lines);
    let messages: Vec<&str> = said
        .iter()
        .filter_map(|line| line["message"].as_str())
        .collect();
    assert_eq!(messages, ["a callback panicked", "the gateway panicked"]);
    for line in &said {
        assert_eq!(line["level"], "ERROR");
        let place = line["place"].as_str().expect("a text");
        assert!(place.contains("panics.rs:"), "{place}");
    }
    node.stop().expect("a clean end");
}
