//! What the gateway serves over plain HTTP: the operators' endpoints and the demo page.
//!
//! Sockets are not served here; the workers do that.

mod admin;
mod api;
mod pages;

pub(crate) use admin::PLAYER_UPDATED;
pub use admin::{Admin, Facts};
pub use pages::{DevTokens, pages};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// Any answer.
type Answer = Response<Full<Bytes>>;

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    answer(
        status,
        "application/json; charset=utf-8",
        format!("{value}\n"),
    )
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}
