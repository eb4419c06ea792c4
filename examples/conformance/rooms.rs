//! The rooms: what an application's own channels look like.

use std::time::Duration;

use fanfare::channel::{Channel, Context, Info, JoinResult, Outcome, ReplyTo};
use fanfare::protocol::{Payload, Reply};
use serde_json::{Value, json};

/// `room:*`: a chat room with every kind of answer.
pub struct Room;

/// Reads a JSON payload; bytes are `null`.
pub fn value(payload: &Payload) -> Value {
    let text = payload.as_json().unwrap_or(b"null");
    serde_json::from_slice(text).unwrap_or(Value::Null)
}

/// Replies `ok`.
pub fn ok(value: &Value) -> Outcome {
    Outcome::Reply(Reply::ok(Payload::from_value(value)))
}

/// Describes a payload: its kind, and its value or its bytes in hexadecimal digits.
pub fn describe(payload: &Payload) -> Value {
    match payload {
        Payload::Json(_) => json!({"type": "json", "value": value(payload)}),
        Payload::Binary(bytes) => json!({"type": "binary", "hex": hex(bytes)}),
    }
}

/// Writes bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asks to be called again, to answer a message later.
struct Later(ReplyTo);

impl Channel for Room {
    async fn join(&mut self, context: &mut Context, payload: Payload) -> JoinResult {
        let join = value(&payload);
        if join["quiet"] != true {
            context.broadcast(
                "user_entered",
                Payload::from_value(&json!({"user": join["user"]})),
            );
            let user_id = context
                .client()
                .params()
                .and_then(|params| params.last("user_id"));
            let joined = json!({"status": "connected", "user_id": user_id});
            context.push("joined", Payload::from_value(&joined));
        }
        Ok(Payload::EMPTY)
    }

    async fn handle_in(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
        match event {
            "echo" => Outcome::Reply(Reply::ok(payload)),
            "new_msg" => {
                context.broadcast("new_msg", payload);
                ok(&json!({}))
            }
            "others" => {
                context.broadcast_from("others", payload);
                Outcome::NoReply
            }
            "list" => ok(&json!({"resp": [{"bar": "baz"}, {"bar": "foo"}]})),
            "later" => {
                let later = Later(context.reply_to());
                context.send_after(Duration::from_millis(100), Info::new(later));
                Outcome::NoReply
            }
            "sleep" => {
                let ms = value(&payload)["ms"].as_u64().unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                ok(&json!({}))
            }
            "boom" => panic!("boom"),
            "stop" => Outcome::Stop,
            "reply_stop" => {
                Outcome::ReplyAndStop(Reply::ok(Payload::from_value(&json!({"resp": "foo"}))))
            }
            "binary_event" => binary_event(context, &payload),
            "bin_cast" => {
                context.broadcast("bin_cast", payload);
                Outcome::NoReply
            }
            "bin" | "describe" => ok(&describe(&payload)),
            _ => Outcome::NoReply,
        }
    }

    async fn handle_info(&mut self, context: &mut Context, info: Info) -> Outcome {
        if let Some(Later(to)) = info.take() {
            let answer = Payload::from_value(&json!({"async": true}));
            context.reply(to, Reply::ok(answer));
        }
        Outcome::NoReply
    }
}

fn binary_event(context: &mut Context, payload: &Payload) -> Outcome {
    let Payload::Binary(bytes) = payload else {
        return Outcome::Reply(Reply::reason("bytes are wanted"));
    };
    context.push("binary_event", Payload::Binary(vec![0, 1].into()));
    let answer = [bytes.as_ref(), &[3, 4]].concat();
    Outcome::Reply(Reply::ok(Payload::Binary(answer.into())))
}

/// `custom:*`: joins by what the payload asks for.
pub struct Custom;

impl Channel for Custom {
    async fn join(&mut self, _: &mut Context, payload: Payload) -> JoinResult {
        let action = value(&payload)["action"].clone();
        let response = Payload::from_value(&json!({"action": action}));
        match action.as_str() {
            Some("ok") => Ok(response),
            Some("ignore") => Err(response),
            _ => panic!("a join that crashes"),
        }
    }

    async fn handle_in(&mut self, _: &mut Context, event: &str, payload: Payload) -> Outcome {
        match event {
            "close" => Outcome::Stop,
            "echo" => Outcome::Reply(Reply::ok(payload)),
            _ => Outcome::NoReply,
        }
    }
}

/// `slow:*`: takes its time to join.
pub struct Slow;

impl Channel for Slow {
    async fn join(&mut self, _: &mut Context, payload: Payload) -> JoinResult {
        let ms = value(&payload)["delay"].as_u64().unwrap_or(300);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok(Payload::EMPTY)
    }

    async fn handle_in(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
        Room.handle_in(context, event, payload).await
    }
}

/// `food*` and `foo*`: tells which route took the topic.
pub struct Named(pub &'static str);

impl Channel for Named {
    async fn join(&mut self, _: &mut Context, _: Payload) -> JoinResult {
        Ok(Payload::from_value(&json!({"route": self.0})))
    }

    async fn handle_in(&mut self, _: &mut Context, _: &str, _: Payload) -> Outcome {
        Outcome::NoReply
    }
}
