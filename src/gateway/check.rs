//! The commands `check` and `probe`: do the dependencies answer, does a node serve.
//!
//! They change nothing, but for the migrations that `check` does not run either.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::Failure;
use crate::auth::{self, Verifier};
use crate::broker::{self, RedisBroker};
use crate::config::{Probe, Settings};

/// How long each step of a probe may take.
const STEP: Duration = Duration::from_secs(5);

/// Tries each dependency and prints a table; fails when one is not as it should be.
pub(super) async fn check(settings: &Settings) -> Result<(), Failure> {
    let rows = [
        ("configuration", Ok(String::from("valid"))),
        ("secret", secret(settings)),
        ("public keys", public_keys(settings).await),
        ("database", store(settings).await),
        ("redis", redis(settings).await),
    ];
    let mut failed = 0;
    for (name, result) in &rows {
        let (state, text) = match result {
            Ok(text) => ("ok", text),
            Err(text) => {
                failed += 1;
                ("FAILED", text)
            }
        };
        println!("{name:<14} {state:<7} {}", crate::config::one_line(text));
    }
    match failed {
        0 => Ok(()),
        count => Err(Failure(format!("{count} of {} checks failed", rows.len()))),
    }
}

fn secret(settings: &Settings) -> Result<String, String> {
    if settings.development {
        return Ok(String::from("development: made at each start"));
    }
    if settings.auth.secret_key_base.is_none() && settings.auth.jwt_secret.is_none() {
        return Ok(String::from("none: tokens are signed elsewhere"));
    }
    let secrets = auth::Config {
        public_key_file: None,
        jwks_file: None,
        jwks_url: None,
        ..settings.auth.clone()
    };
    Verifier::new(&secrets)
        .map(|_| String::from("given"))
        .map_err(|error| error.to_string())
}

async fn public_keys(settings: &Settings) -> Result<String, String> {
    if !settings.auth.has_public_keys() {
        return Ok(String::from("none: tokens are signed with the secret"));
    }
    let verifier = Verifier::new(&settings.auth).map_err(|error| error.to_string())?;
    let keys = verifier.refresh().await?;
    Ok(format!("{keys} read"))
}

async fn store(settings: &Settings) -> Result<String, String> {
    let store = crate::store::open(&settings.store)
        .await
        .map_err(|error| error.to_string())?;
    store.ping().await.map_err(|error| error.to_string())?;
    Ok(store.kind().to_owned())
}

async fn redis(settings: &Settings) -> Result<String, String> {
    if settings.broker.url.is_none() {
        return Ok(String::from("none: a single node"));
    }
    let registry = prometheus::Registry::new();
    let metrics = broker::Metrics::register(&registry).map_err(|error| error.to_string())?;
    let inbox: broker::Inbox = Arc::new(|_| {});
    RedisBroker::connect(&settings.broker, inbox, metrics)
        .await
        .map(|_| String::from("redis"))
        .map_err(|error| error.to_string())
}

/// Connects, heartbeats, and joins and leaves a topic when one is given.
pub(super) async fn probe(_: &Settings, probe: &Probe) -> Result<(), Failure> {
    let (host, request) = address(&probe.url)?;
    let mut socket = step("connect", async {
        let stream = TcpStream::connect(&host)
            .await
            .map_err(|error| error.to_string())?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .map_err(|error| error.to_string())?;
        Ok(socket)
    })
    .await?;
    step(
        "heartbeat",
        ask(
            &mut socket,
            r#"[null,"1","phoenix","heartbeat",{}]"#,
            "\"1\"",
        ),
    )
    .await?;
    if let Some(topic) = &probe.topic {
        let topic = serde_json::Value::from(topic.as_str());
        let join = format!(r#"["2","2",{topic},"phx_join",{{}}]"#);
        step("join", ask(&mut socket, &join, "\"2\"")).await?;
        let leave = format!(r#"["2","3",{topic},"phx_leave",{{}}]"#);
        step("leave", ask(&mut socket, &leave, "\"3\"")).await?;
    }
    // The node answers the close on its own time.
    let _ = socket.close(None).await;
    println!("ok {}", probe.url);
    Ok(())
}

/// Returns `host:port` and the WebSocket's URL.
fn address(text: &str) -> Result<(String, String), Failure> {
    let bad = |why: &str| Failure(format!("--url {text}: {why}"));
    let mut url = url::Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if url.scheme() != "ws" {
        return Err(bad("only ws:// can be probed"));
    }
    let host = url.host_str().ok_or_else(|| bad("there is no host"))?;
    let host = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
    if !url.path().trim_end_matches('/').ends_with("/websocket") {
        let path = format!("{}/websocket", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    if !url.query_pairs().any(|(key, _)| key == "vsn") {
        url.query_pairs_mut().append_pair("vsn", "2.0.0");
    }
    Ok((host, url.to_string()))
}

async fn step<T>(name: &str, work: impl Future<Output = Result<T, String>>) -> Result<T, Failure> {
    match tokio::time::timeout(STEP, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(why)) => Err(Failure(format!("{name} failed: {why}"))),
        Err(_) => Err(Failure(format!(
            "{name} failed: no answer within {} s",
            STEP.as_secs()
        ))),
    }
}

/// Sends a message and waits for the `ok` that answers its reference.
async fn ask(
    socket: &mut WebSocketStream<TcpStream>,
    text: &str,
    reference: &str,
) -> Result<(), String> {
    socket
        .send(Message::text(text))
        .await
        .map_err(|error| error.to_string())?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message.map_err(|error| error.to_string())? else {
            continue;
        };
        let frame: Vec<serde_json::Value> =
            serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if frame.get(1).map(ToString::to_string).as_deref() != Some(reference) {
            continue;
        }
        return match frame.get(4).and_then(|payload| payload["status"].as_str()) {
            Some("ok") => Ok(()),
            _ => Err(frame.get(4).map(ToString::to_string).unwrap_or_default()),
        };
    }
    Err(String::from("the connection ended"))
}
