//! `control:*`: how the runner makes the server act.

use fanfare::channel::{Audience, Channel, Client, Context, JoinResult, Outcome};
use fanfare::protocol::{Payload, Topic};
use serde_json::{Map, Value, json};

use crate::door;
use crate::rooms::{hex, ok, value};

/// The runner's own channel.
pub struct Control;

impl Channel for Control {
    async fn join(&mut self, _: &mut Context, _: Payload) -> JoinResult {
        Ok(Payload::EMPTY)
    }

    async fn handle_in(&mut self, context: &mut Context, event: &str, payload: Payload) -> Outcome {
        let asked = value(&payload);
        let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        match event {
            "capabilities" => ok(&json!({
                "server": concat!("fanfare ", env!("CARGO_PKG_VERSION")),
                "capabilities": ["longpoll", "presence", "auth_token"],
            })),
            "disconnect" => {
                context.disconnect(&text("id"));
                ok(&json!({}))
            }
            "broadcast" => {
                if let Ok(topic) = Topic::try_from(text("topic").as_str()) {
                    let payload = Payload::from_value(&asked["payload"]);
                    context.broadcast_on(topic, &text("event"), payload, Audience::All);
                }
                ok(&json!({}))
            }
            "subscribers" => match Topic::try_from(text("topic").as_str()) {
                Ok(topic) => ok(&json!({"count": context.ports().subscribers(topic).await})),
                Err(_) => ok(&json!({"count": 0})),
            },
            "connects" => ok(&json!({"count": door::calls(&text("trace"))})),
            "info" => ok(&info(context.client())),
            _ => Outcome::NoReply,
        }
    }
}

/// Tells what the connect hook of this socket was given.
fn info(client: &Client) -> Value {
    let object = |pairs: &[(String, String)]| -> Map<String, Value> {
        pairs
            .iter()
            .map(|(name, text)| (name.clone(), text.as_str().into()))
            .collect()
    };
    let (Some(params), Some(info)) = (client.params(), client.info()) else {
        return Value::Null;
    };
    json!({
        "params": object(params.pairs()),
        "headers": object(&info.headers),
        "user_agent": info.header("user-agent"),
        "peer": info.peer.ip().to_string(),
        "uri": {
            "scheme": info.scheme, "host": info.host, "port": info.port,
            "path": info.path, "query": info.query,
        },
        "session": null,
        "auth_token_hex": info.auth_token.as_deref().map(hex),
    })
}
