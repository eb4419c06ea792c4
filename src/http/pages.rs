//! The demo page at `/`, and tokens for it in development.
//!
//! It is served only where guests are allowed or development tokens are given.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use super::{Answer, answer};
use crate::auth::Verifier;
use crate::clock;
use crate::worker::Pages;

/// How long a development token lasts.
const DEV_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);

/// Gives tokens to anybody who asks; only a development node has it.
#[derive(Clone)]
pub struct DevTokens(pub Arc<Verifier>);

/// Serves the demo page where it may be used, and nothing elsewhere.
pub fn pages(demo: bool, tokens: Option<DevTokens>) -> Pages {
    Arc::new(move |request| page(request, demo, tokens.as_ref()))
}

fn page(request: &Request<Incoming>, demo: bool, tokens: Option<&DevTokens>) -> Option<Answer> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let ok = |kind, body: &'static str| Some(answer(StatusCode::OK, kind, body));
    match request.uri().path() {
        "/" if demo => ok("text/html; charset=utf-8", include_str!("demo/index.html")),
        "/demo/app.js" if demo => ok(
            "text/javascript; charset=utf-8",
            include_str!("demo/app.js"),
        ),
        "/demo/style.css" if demo => ok("text/css; charset=utf-8", include_str!("demo/style.css")),
        "/dev/token" => tokens.map(|tokens| dev_token(request.uri().query().unwrap_or(""), tokens)),
        _ => None,
    }
}

/// `GET /dev/token?name=ada` -> `{"token": …, "player": {"id": …, "username": …}}`; the name is the id.
fn dev_token(query: &str, tokens: &DevTokens) -> Answer {
    let name = url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "name")
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default();
    match tokens
        .0
        .sign(&name, Some(&name), DEV_TOKEN_TTL, clock::unix_s())
    {
        Ok(token) => super::json(
            StatusCode::OK,
            &json!({"token": token, "player": {"id": name, "username": name}}),
        ),
        Err(_) => super::json(
            StatusCode::BAD_REQUEST,
            &json!({"reason": "invalid", "errors": {"name": "must be 1 to 255 bytes without control characters"}}),
        ),
    }
}
