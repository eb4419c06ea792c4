//! The channels that the transcripts speak to: one event for each thing a channel can do.
//!
//! They never sleep to keep an order: what has to wait, waits at a gate that the transcript opens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare::channel::{Channel, Context, Farewell, Info, JoinResult, Outcome, ReplyTo, Router};
use fanfare::clock;
use fanfare::limits::Limits;
use fanfare::protocol::{Broadcast, Payload, Reply, Status};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// How long `after` waits before it answers.
const AFTER: Duration = Duration::from_millis(10);

/// The bounds of the transcripts' sockets: three channels each, and any number of messages.
pub fn limits() -> Limits {
    Limits {
        channels_per_socket: 3,
        messages_per_second: 0,
        ..Limits::default()
    }
}

/// Serves `room:*` and the exact topic `top`.
pub fn router() -> Router {
    let gates = Gates::default();
    let room = move || Room {
        gates: gates.clone(),
        later: Vec::new(),
        bye: false,
    };
    let router = Router::new().channel("room:*", "room", room.clone());
    let router = router.and_then(|router| router.channel("top", "top", room));
    router.expect("good patterns")
}

/// Named gates, closed until somebody opens them; they stay open.
#[derive(Clone, Default)]
struct Gates(Arc<Mutex<HashMap<String, Arc<Semaphore>>>>);

impl Gates {
    fn named(&self, name: &Value) -> Arc<Semaphore> {
        let name = name.as_str().expect("a gate has a name").to_owned();
        let mut gates = self.0.lock().expect("no panic holds it");
        let gate = gates
            .entry(name)
            .or_insert_with(|| Arc::new(Semaphore::new(0)));
        gate.clone()
    }

    async fn pass(&self, name: &Value) {
        let gate = self.named(name);
        // The permit goes back at once, so the gate stays open for the next.
        drop(gate.acquire().await.expect("a gate is never closed again"));
    }

    fn open(&self, name: &Value) {
        self.named(name).add_permits(1);
    }
}

/// A channel that does what its events are called.
struct Room {
    gates: Gates,
    later: Vec<ReplyTo>,
    bye: bool,
}

fn json_of(payload: &Payload) -> Value {
    let text = payload.as_json().unwrap_or(b"null");
    serde_json::from_slice(text).expect("the decoder lets JSON in only")
}

fn bytes() -> Payload {
    Payload::Binary(vec![1, 2, 3].into())
}

impl Channel for Room {
    /// Takes anything; of an object `gate`, `refuse`, and the flags `early`, `crash`, `welcome` and `bye`.
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        let wish = json_of(&payload);
        if wish["early"] == json!(true) {
            let subscribed = context.membership().subscribe().await;
            subscribed.expect("a single node subscribes at once");
        }
        if !wish["gate"].is_null() {
            self.gates.pass(&wish["gate"]).await;
        }
        assert_ne!(wish["crash"], json!(true), "a join that was told to crash");
        self.bye = wish["bye"] == json!(true);
        if wish["welcome"] == json!(true) {
            context.push("welcome", Payload::EMPTY);
            context.broadcast("entered", Payload::EMPTY);
        }
        match &wish["refuse"] {
            Value::Null if wish.is_object() => Ok(Payload::EMPTY),
            Value::Null => Ok(payload),
            response => Err(Payload::from_value(response)),
        }
    }

    async fn handle_in(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
        match event {
            "new_msg" => context.broadcast("new_msg", payload),
            "others" => context.broadcast_from("others", payload),
            "secret" => context.broadcast("secret", payload),
            "push" => context.push("pushed", payload),
            "push_bytes" => context.push("bytes", bytes()),
            "broadcast_bytes" => context.broadcast("bytes", bytes()),
            "push_list" => context.push("pushed", Payload::json("[1]")),
            "open" => self.gates.open(&json_of(&payload)["gate"]),
            "wait" => {
                context.push("waiting", Payload::EMPTY);
                self.gates.pass(&json_of(&payload)["gate"]).await;
            }
            "release" => {
                for to in self.later.drain(..) {
                    context.reply(to, Reply::ok(Payload::json(r#"{"late":true}"#)));
                }
            }
            other => return self.answer(context, other, payload),
        }
        Outcome::Reply(Reply::ok_empty())
    }

    /// Shows that the broadcast came through the channel.
    async fn handle_out(&mut self, context: &mut Context, broadcast: &Broadcast) -> Outcome {
        let seen = json!({ "seen": json_of(&broadcast.payload) });
        context.push(&broadcast.event, Payload::from_value(&seen));
        Outcome::NoReply
    }

    async fn handle_info(&mut self, context: &mut Context, info: Info) -> Outcome {
        let to: ReplyTo = info.take().expect("the only note there is");
        context.reply(to, Reply::ok(Payload::json(r#"{"after":true}"#)));
        Outcome::NoReply
    }

    fn terminate(&mut self, context: &mut Context, farewell: Farewell) {
        if self.bye {
            let why = json!({ "why": format!("{farewell:?}") });
            context.push("bye", Payload::from_value(&why));
        }
    }

    fn intercepts(&self) -> &'static [&'static str] {
        &["secret"]
    }
}

impl Room {
    fn answer(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
        match event {
            "echo" => Outcome::Reply(Reply::ok(payload)),
            "list" => Outcome::Reply(Reply::ok(Payload::json(r#"[1,"two",null]"#))),
            "status" => Outcome::Reply(Reply {
                status: Status::Other(String::from("accepted")),
                response: payload,
            }),
            "uid" => {
                let made = json!({ "uid": clock::uid() });
                Outcome::Reply(Reply::ok(Payload::from_value(&made)))
            }
            "binary" => Outcome::Reply(Reply::ok(bytes())),
            "silent" => Outcome::NoReply,
            "later" => {
                self.later.push(context.reply_to());
                Outcome::NoReply
            }
            "after" => {
                let to = context.reply_to();
                context.send_after(AFTER, Info::new(to));
                Outcome::NoReply
            }
            "boom" => panic!("a channel that was told to crash"),
            "stop" => Outcome::Stop,
            "reply_stop" => Outcome::ReplyAndStop(Reply::ok(payload)),
            _ => Outcome::Reply(Reply::reason("unknown event")),
        }
    }
}
