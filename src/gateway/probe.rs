//! The command `probe`: does a node serve, seen from where its clients or its platform are.
//!
//! It stores nothing, but that a player of `--sub` who is new to the store is created as at any connect.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::Request;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use url::{Host, Position, Url};

use super::Failure;
use crate::auth::Verifier;
use crate::clock;
use crate::config::{Probe, Settings};
use crate::tls;

/// How long each step may take.
const STEP: Duration = Duration::from_secs(5);

/// How long the token of `--sub` holds: longer than every step together.
const TOKEN_TTL: Duration = Duration::from_secs(60);

/// A connection, plain or TLS.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Asks a path of HTTP for a 2xx, or goes through a socket as a client does.
pub(super) async fn probe(settings: &Settings, probe: &Probe) -> Result<(), Failure> {
    let mut url = Url::parse(&probe.url).map_err(|why| Failure(format!("--url: {why}")))?;
    let tls = tls::client(probe.ca_file.as_deref());
    let tls = TlsConnector::from(tls.map_err(|why| Failure(format!("--ca-file: {why}")))?);
    match url.scheme() {
        "http" | "https" => step("GET", status(&url, &tls)).await?,
        _ => {
            if let Some(sub) = &probe.sub {
                let token = token(settings, sub)?;
                url.query_pairs_mut().append_pair("token", &token);
            }
            socket(url.clone(), probe.topic.as_deref(), &tls).await?;
        }
    }
    // A token may be in the query.
    println!("ok {}", &url[..Position::AfterPath]);
    Ok(())
}

/// Signs a token with the secret of the settings, which the probed node shares.
fn token(settings: &Settings, sub: &str) -> Result<String, Failure> {
    let refused = |why: String| Failure(format!("--sub: no token: {why}"));
    let verifier = Verifier::new(&settings.auth).map_err(|why| refused(why.to_string()))?;
    verifier
        .sign(sub, None, TOKEN_TTL, clock::unix_s())
        .map_err(|_| {
            refused(String::from(
                "it takes a secret, and a player of 1 to 255 bytes",
            ))
        })
}

/// GETs a path; whatever is not 2xx fails.
async fn status(url: &Url, tls: &TlsConnector) -> Result<(), String> {
    let wire = connect(url, tls).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
        .await
        .map_err(|error| error.to_string())?;
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("fanfare/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let mut answered = std::pin::pin!(sender.send_request(request));
    // The connection may end first, with the answer already on its way to us.
    let answer = tokio::select! {
        biased;
        answer = &mut answered => answer,
        _ = connection => answered.await,
    };
    match answer.map_err(|error| error.to_string())?.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("answered {}", status.as_u16())),
    }
}

/// Connects, heartbeats, and joins and leaves a topic when one is given.
async fn socket(mut url: Url, topic: Option<&str>, tls: &TlsConnector) -> Result<(), Failure> {
    if !url.path().trim_end_matches('/').ends_with("/websocket") {
        let path = format!("{}/websocket", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    if !url.query_pairs().any(|(key, _)| key == "vsn") {
        url.query_pairs_mut().append_pair("vsn", "2.0.0");
    }
    let mut socket = step("connect", async {
        let wire = connect(&url, tls).await?;
        let (socket, _) = tokio_tungstenite::client_async(url.as_str(), wire)
            .await
            .map_err(|error| error.to_string())?;
        Ok(socket)
    })
    .await?;
    let heartbeat = r#"[null,"1","phoenix","heartbeat",{}]"#;
    step("heartbeat", ask(&mut socket, heartbeat, "\"1\"")).await?;
    if let Some(topic) = topic {
        let topic = serde_json::Value::from(topic);
        let join = format!(r#"["2","2",{topic},"phx_join",{{}}]"#);
        step("join", ask(&mut socket, &join, "\"2\"")).await?;
        let leave = format!(r#"["2","3",{topic},"phx_leave",{{}}]"#);
        step("leave", ask(&mut socket, &leave, "\"3\"")).await?;
    }
    // The node answers the close on its own time.
    let _ = socket.close(None).await;
    Ok(())
}

/// Connects to the host of a URL, with TLS where its scheme says so.
async fn connect(url: &Url, tls: &TlsConnector) -> Result<Box<dyn Wire>, String> {
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(String::from("there is no host")),
    };
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "wss" | "https") {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let stream = tls
        .connect(name, stream)
        .await
        .map_err(|error| format!("no TLS: {error}"))?;
    Ok(Box::new(stream))
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
    socket: &mut WebSocketStream<Box<dyn Wire>>,
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
