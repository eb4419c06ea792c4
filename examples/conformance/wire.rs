//! Channels that put on the wire what they are asked to.

use fanfare::channel::{Channel, Context, JoinResult, Outcome};
use fanfare::protocol::{Payload, Reply, Status, events};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rooms::{describe, ok, value};

/// `wire:*`: pushes, broadcasts and replies any payload, text or bytes.
pub struct Wire;

impl Channel for Wire {
    async fn join(&mut self, _: &mut Context, _: Payload) -> JoinResult {
        Ok(Payload::EMPTY)
    }

    async fn handle_in(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
        if let Some(event) = event.strip_prefix("push:") {
            context.push(event, payload);
            return Outcome::NoReply;
        }
        if let Some(event) = event.strip_prefix("cast:") {
            context.broadcast(event, payload);
            return Outcome::NoReply;
        }
        match event {
            "push_hex" | "push_json" => {
                let (name, payload) = asked(&payload);
                context.push(&name, payload);
                Outcome::NoReply
            }
            "cast_hex" | "cast_json" => {
                let (name, payload) = asked(&payload);
                context.broadcast(&name, payload);
                Outcome::NoReply
            }
            "reply_hex" => Outcome::Reply(Reply::ok(asked(&payload).1)),
            "reply_json" => {
                let status = value(&payload)["status"]
                    .as_str()
                    .unwrap_or("ok")
                    .to_owned();
                Outcome::Reply(Reply {
                    status: Status::Other(status),
                    response: field(&payload, "response").unwrap_or(Payload::EMPTY),
                })
            }
            "describe" => ok(&describe(&payload)),
            _ => Outcome::Reply(Reply::ok(payload)),
        }
    }
}

/// Reads `{"event", "hex"}` or `{"event", "payload"}`.
fn asked(payload: &Payload) -> (String, Payload) {
    let asked = value(payload);
    let event = asked["event"].as_str().unwrap_or_default().to_owned();
    let payload = match asked["hex"].as_str() {
        Some(hex) => Payload::Binary(bytes(hex).into()),
        None => field(payload, "payload").unwrap_or(Payload::EMPTY),
    };
    (event, payload)
}

/// Returns a field's JSON text as it was sent: big integers and float text stay what they are.
fn field(payload: &Payload, name: &str) -> Option<Payload> {
    let text = payload.as_json()?;
    let mut fields: std::collections::HashMap<String, Box<RawValue>> =
        serde_json::from_slice(text).ok()?;
    let raw = fields.remove(name)?;
    Some(Payload::json(raw.get().to_owned()))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit =
        |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap_or("00"), 16).unwrap_or(0);
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// `relay:*`: every event goes to all, but for those of the protocol.
pub struct Relay;

impl Channel for Relay {
    async fn join(&mut self, _: &mut Context, _: Payload) -> JoinResult {
        Ok(Payload::EMPTY)
    }

    async fn handle_in(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
        if events::is_reserved(event) {
            return Outcome::Reply(Reply::reason("unknown event"));
        }
        if !matches!(payload, Payload::Binary(_)) && !value(&payload).is_object() {
            return Outcome::Reply(Reply::error(Payload::from_value(&Value::from(
                "an object is wanted",
            ))));
        }
        context.broadcast(event, payload);
        Outcome::NoReply
    }
}
