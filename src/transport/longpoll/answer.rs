//! The answers of long-poll: HTTP 200 with the status in a JSON body, readable by any origin.
//!
//! Who may ask was decided before; here are only the bytes.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_TYPE, HeaderMap,
    HeaderValue, RETRY_AFTER,
};
use hyper::{Response, StatusCode};

use crate::protocol::{Frame, FrameKind};

/// The status in the body. Stock clients throw at any other but 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 200: frames follow, or everything was taken.
    Ok,
    /// 204: nothing came within the window.
    Nothing,
    /// 403: the origin, the version or the connect hook refused.
    Forbidden,
    /// 408: a message was not done within the window.
    TimedOut,
    /// 410: there is no such session; with a token: this is the new one.
    Gone,
}

impl Status {
    /// Returns the number.
    pub fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Nothing => 204,
            Self::Forbidden => 403,
            Self::TimedOut => 408,
            Self::Gone => 410,
        }
    }
}

/// Answers a status alone.
pub fn status(status: Status) -> Response<Full<Bytes>> {
    json(format!("{{\"status\":{}}}", status.code()).into())
}

/// Answers a poll: a status, the session's token, and a JSON array of frames.
pub fn with_token(status: Status, token: &str, messages: &[u8]) -> Response<Full<Bytes>> {
    let code = status.code();
    let head = format!("{{\"status\":{code},\"token\":\"{token}\",\"messages\":");
    json([head.as_bytes(), messages, b"}"].concat().into())
}

/// Answers a preflight: any header that was asked for.
pub fn preflight(request: &HeaderMap) -> Response<Full<Bytes>> {
    let mut answer = open(Full::default());
    let headers = answer.headers_mut();
    if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    let methods = HeaderValue::from_static("get, post, options");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    answer
}

/// Answers HTTP 400 with an empty body: another method, or too large.
pub fn bad_request() -> Response<Full<Bytes>> {
    let mut answer = open(Full::default());
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}

/// Answers HTTP 503 and when to come back; clients know 500 in the body, and retry.
pub fn overloaded(retry_after_s: u64) -> Response<Full<Bytes>> {
    let mut answer = json(Bytes::from_static(b"{\"status\":500}"));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let seconds = HeaderValue::from(retry_after_s);
    answer.headers_mut().insert(RETRY_AFTER, seconds);
    answer
}

fn json(body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = open(Full::new(body));
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn open(body: Full<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Frames as long-poll carries them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// A JSON array of strings, each a text frame.
    pub json: Bytes,
    /// How many frames it holds.
    pub count: u64,
    /// Frames that are no text: a JSON body has no bytes, so they were left out.
    pub skipped: u64,
}

/// Makes a JSON array of frames that were framed for a WebSocket.
pub fn messages(frames: impl IntoIterator<Item = Bytes>) -> Messages {
    let mut json = vec![b'['];
    let (mut count, mut skipped) = (0, 0);
    for frame in frames {
        let text = match Frame::split(&frame) {
            Some((FrameKind::Text, text)) => text,
            Some((FrameKind::Binary | FrameKind::Close, _)) | None => {
                skipped += 1;
                continue;
            }
        };
        if count > 0 {
            json.push(b',');
        }
        // Writing a str to a Vec cannot fail; text frames are UTF-8, as they must be on a WebSocket.
        let _ = serde_json::to_writer(&mut json, &String::from_utf8_lossy(&text));
        count += 1;
    }
    json.push(b']');
    Messages {
        json: json.into(),
        count,
        skipped,
    }
}

/// Makes an array of objects of an array of strings that [`messages`] made of V1 frames.
///
/// `None` for what is no such array.
pub fn objects(strings: &[u8]) -> Option<Bytes> {
    let frames: Vec<String> = serde_json::from_slice(strings).ok()?;
    Some(format!("[{}]", frames.join(",")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CloseReason, FrameDraft};

    fn frame(kind: FrameKind, payload: &[u8]) -> Bytes {
        let mut draft = FrameDraft::new(payload.len());
        draft.buffer().extend_from_slice(payload);
        draft.finish(kind).bytes().clone()
    }

    #[test]
    fn frames_become_strings_and_bytes_are_left_out() {
        let text = |text: &str| frame(FrameKind::Text, text.as_bytes());
        let found = messages([
            text("[\"é\u{2028}\\n\"]"),
            frame(FrameKind::Binary, &[1, 2]),
            text(&"x".repeat(70_000)),
            Frame::close(CloseReason::Restart).bytes().clone(),
        ]);
        assert_eq!((found.count, found.skipped), (2, 2));
        let list: Vec<String> = serde_json::from_slice(&found.json).unwrap();
        assert_eq!(list, ["[\"é\u{2028}\\n\"]", &"x".repeat(70_000)]);
        assert_eq!(&messages([]).json[..], b"[]");
        assert_eq!(objects(b"[]"), Some(Bytes::from_static(b"[]")));
        let twice = objects(br#"["{\"n\":\"\\u00e9\"}","{}"]"#);
        assert_eq!(twice, Some(Bytes::from_static(br#"[{"n":"\u00e9"},{}]"#)));
        assert_eq!(objects(b"{}"), None);
    }

    #[test]
    fn statuses_are_those_that_clients_know() {
        let all = [
            Status::Ok,
            Status::Nothing,
            Status::Forbidden,
            Status::TimedOut,
            Status::Gone,
        ];
        assert_eq!(all.map(Status::code), [200, 204, 403, 408, 410]);
    }
}
