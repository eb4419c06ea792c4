//! The WebSocket handshake: checks in Phoenix's order, then RFC 6455's.
//!
//! It decides from the request's head alone; the connect hook runs between `open` and `upgrade`.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Mount, RequestOrigin};
use crate::channel::{ConnectInfo, Params};
use crate::protocol::Serializer;

/// How a token is offered as a subprotocol; the standard or the URL-safe alphabet follows, without padding.
const BEARER: &str = "base64url.bearer.phx.";

/// What answers a client that offered a token as a subprotocol.
const PHOENIX: &str = "phoenix";

/// A handshake that was refused: an HTTP status and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The body, empty for most.
    pub body: &'static str,
}

impl Refusal {
    fn new(status: StatusCode) -> Self {
        Self { status, body: "" }
    }

    /// 403 with an empty body.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN)
    }
}

/// A handshake that passed the checks before the connect hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The version that the client speaks.
    pub serializer: Serializer,
    /// The connect parameters: the query's, then the path's variables.
    pub params: Params,
    /// What the connect hook may know.
    pub info: ConnectInfo,
    /// The subprotocol to answer.
    pub subprotocol: Option<String>,
}

/// Checks method, origin, subprotocol and version, in this order.
///
/// # Errors
/// [`Refusal`] 400 for a method other than GET, 403 for the rest.
pub fn open(
    parts: &Parts,
    peer: SocketAddr,
    mount: &Mount,
    variables: Vec<(String, String)>,
) -> Result<Opening, Refusal> {
    if parts.method != Method::GET {
        return Err(Refusal::new(StatusCode::BAD_REQUEST));
    }
    let forbidden = Refusal::forbidden;
    let mut info = connect_info(parts, peer);
    check_origin(parts, &info, mount)?;
    let mut offered = offered_subprotocols(&parts.headers);
    let mut allowed: Vec<&str> = mount.subprotocols.iter().map(String::as_str).collect();
    if mount.auth_token {
        info.auth_token = take_bearer(&mut offered).map_err(|()| forbidden())?;
        allowed.insert(0, PHOENIX);
    }
    let subprotocol = choose(&allowed, &offered).map_err(|()| forbidden())?;
    let (serializer, params) = negotiate(query_pairs(&info.query), variables)?;
    Ok(Opening {
        serializer,
        params,
        info,
        subprotocol,
    })
}

/// Checks the origin, as every request of every transport is checked.
///
/// # Errors
/// [`Refusal`] 403.
pub fn check_origin(parts: &Parts, info: &ConnectInfo, mount: &Mount) -> Result<(), Refusal> {
    let request = RequestOrigin {
        scheme: info.scheme.clone(),
        host: info.host.clone(),
        port: info.port,
    };
    match mount
        .origins
        .allows(text(&parts.headers, &ORIGIN), &request)
    {
        true => Ok(()),
        false => Err(Refusal::forbidden()),
    }
}

/// Chooses the version by the query, and makes the connect parameters of it and the path's variables.
pub(super) fn negotiate(
    query: Vec<(String, String)>,
    variables: Vec<(String, String)>,
) -> Result<(Serializer, Params), Refusal> {
    let mut params = Params::new(query);
    let serializer = version(&params).ok_or_else(Refusal::forbidden)?;
    for (name, value) in variables {
        params.push(name, value);
    }
    Ok((serializer, params))
}

/// Validates the upgrade itself (RFC 6455, 4.2.1) and answers 101.
///
/// # Errors
/// [`Refusal`] 400 with a text that names the header at fault.
pub fn upgrade<B: Default>(headers: &HeaderMap, opening: &Opening) -> Result<Response<B>, Refusal> {
    let bad = |body| Refusal {
        status: StatusCode::BAD_REQUEST,
        body,
    };
    if !lists(headers, &CONNECTION, "upgrade") {
        return Err(bad("the 'connection' header must contain 'upgrade'"));
    }
    if !lists(headers, &UPGRADE, "websocket") {
        return Err(bad("the 'upgrade' header must be 'websocket'"));
    }
    if text(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(bad("the 'sec-websocket-version' header must be '13'"));
    }
    let key = headers
        .get(&SEC_WEBSOCKET_KEY)
        .ok_or(bad("the 'sec-websocket-key' header is missing"))?;
    let mut answer = Response::new(B::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let out = answer.headers_mut();
    out.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    out.insert(UPGRADE, HeaderValue::from_static("websocket"));
    // The accept key is base64 and a chosen subprotocol came as a header: both are valid values.
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        out.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(Ok(chosen)) = opening.subprotocol.as_deref().map(HeaderValue::from_str) {
        out.insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    Ok(answer)
}

/// Gathers what the connect hook may know of a request; cookies are not among it.
pub fn connect_info(parts: &Parts, peer: SocketAddr) -> ConnectInfo {
    let host_header = text(&parts.headers, &HOST).unwrap_or("");
    let request = RequestOrigin::of_host_header(false, host_header);
    let (host, port) = request.map_or((String::new(), 80), |origin| (origin.host, origin.port));
    ConnectInfo {
        peer,
        scheme: String::from("http"),
        host,
        port,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or("").to_owned(),
        headers: parts
            .headers
            .iter()
            .filter(|(name, _)| is_shown(name))
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect(),
        auth_token: None,
    }
}

fn is_shown(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-")
        || name.starts_with("sec-websocket-")
        || matches!(name, "traceparent" | "tracestate" | "user-agent")
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

pub(super) fn query_pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// A `vsn` that is a list or map is refused, as Phoenix does since 1.8.6.
fn version(params: &Params) -> Option<Serializer> {
    let nested = |name: &str| name.starts_with("vsn[");
    match params.pairs().iter().any(|(name, _)| nested(name)) {
        true => None,
        false => Serializer::negotiate(params.last("vsn")),
    }
}

fn offered_subprotocols(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(&SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|value| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            value
                .split(',')
                .map(|one| one.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|one| !one.is_empty())
        .collect()
}

/// Takes the token out of the offers; an undecodable one is an error.
fn take_bearer(offered: &mut Vec<String>) -> Result<Option<Vec<u8>>, ()> {
    let Some(at) = offered.iter().position(|one| one.starts_with(BEARER)) else {
        return Ok(None);
    };
    let bearer = offered.remove(at);
    let encoded = bearer[BEARER.len()..].trim_end_matches('=');
    STANDARD_NO_PAD
        .decode(encoded)
        .or_else(|_| URL_SAFE_NO_PAD.decode(encoded))
        .map(Some)
        .map_err(|_| ())
}

/// Chooses the first allowed subprotocol that was offered; none of them is an error.
fn choose(allowed: &[&str], offered: &[String]) -> Result<Option<String>, ()> {
    if allowed.is_empty() || offered.is_empty() {
        return Ok(None);
    }
    let chosen = allowed
        .iter()
        .find(|one| offered.iter().any(|offer| offer == *one));
    chosen.map(|one| Some((*one).to_owned())).ok_or(())
}
