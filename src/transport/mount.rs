//! A mount: the path at which a socket is served, with its own options.
//!
//! It holds what was declared; the handshake and the worker act on it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::OriginPolicy;
use crate::channel::{Accepted, ConnectInfo, Params, Router};
use crate::limits::Limits;

/// Why a connect hook denied a socket: an HTTP status and a text for the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The HTTP status; 403 unless the hook has a reason for another.
    pub status: u16,
    /// The body; empty with 403.
    pub body: String,
}

impl Denied {
    /// 403 with an empty body.
    pub fn forbidden() -> Self {
        Self {
            status: 403,
            body: String::new(),
        }
    }

    /// 503: what the hook needs can't be reached.
    pub fn unavailable() -> Self {
        Self {
            status: 503,
            body: String::from("unavailable"),
        }
    }
}

/// The connect hook of a mount.
pub trait Connect: Send + Sync {
    /// Accepts or denies a socket, before the upgrade.
    fn connect<'a>(
        &'a self,
        params: &'a Params,
        info: &'a ConnectInfo,
    ) -> BoxFuture<'a, Result<Accepted, Denied>>;
}

/// A connect hook that lets everybody in as a guest without a socket id.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Connect for Open {
    fn connect<'a>(
        &'a self,
        _: &'a Params,
        _: &'a ConnectInfo,
    ) -> BoxFuture<'a, Result<Accepted, Denied>> {
        Box::pin(std::future::ready(Ok(Accepted::default())))
    }
}

/// A path of segments; `:name` takes any one segment as a connect parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    Variable(String),
}

impl PathPattern {
    /// Reads a path such as `/socket` or `/custom/:room`; slashes at its ends don't count.
    pub fn new(path: &str) -> Self {
        let segment = |text: &str| match text.strip_prefix(':') {
            Some(name) => Segment::Variable(name.to_owned()),
            None => Segment::Text(text.to_owned()),
        };
        Self(segments(path).map(segment).collect())
    }

    /// Returns this path followed by another.
    pub fn join(&self, tail: &PathPattern) -> Self {
        Self(self.0.iter().chain(&tail.0).cloned().collect())
    }

    /// Matches a request's path by segments; the variables, when it fits.
    pub fn matches(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut variables = Vec::new();
        let mut given = segments(path);
        for segment in &self.0 {
            let text = given.next()?;
            match segment {
                Segment::Text(expected) if expected == text => {}
                Segment::Text(_) => return None,
                Segment::Variable(name) => {
                    let value = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
                    variables.push((name.clone(), value.into_owned()));
                }
            }
        }
        given.next().is_none().then_some(variables)
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// A socket served at a path, with its own options.
#[derive(Clone)]
pub struct Mount {
    /// Where the WebSocket is served; by default `<path>/websocket`.
    pub websocket: PathPattern,
    /// Where long-poll is served; by default `<path>/longpoll`. `None`: nowhere.
    pub longpoll: Option<PathPattern>,
    /// How long a poll waits for a frame. A session ends 1.5 times this after its last poll. Default 10 s.
    pub longpoll_window: Duration,
    /// How long another node that has a session may take to say so. Default 2 s.
    pub owner_timeout: Duration,
    /// Which origins may connect. Default: those of the request's own host.
    pub origins: OriginPolicy,
    /// The subprotocols that may be answered, in order of preference. Default: none.
    pub subprotocols: Vec<String>,
    /// Whether a token may come as a subprotocol (`authToken`). Default: no.
    pub auth_token: bool,
    /// Whether the event `access_token` on a joined topic renews the socket's token. Default: yes; else channels get it.
    pub renew: bool,
    /// Closes a socket with 1001 after this long without a frame. Default: `limits.idle_seconds`.
    pub idle: Duration,
    /// The bounds of its sockets.
    pub limits: Arc<Limits>,
    /// Whether channels may still see the connect params and info, which each socket keeps then. Default: yes.
    pub keep_request: bool,
    /// The channels.
    pub router: Arc<Router>,
    /// The connect hook.
    pub connect: Arc<dyn Connect>,
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount")
            .field("websocket", &self.websocket)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

impl Mount {
    /// Serves a router at a path, with every default.
    pub fn new(
        path: &str,
        router: Arc<Router>,
        connect: Arc<dyn Connect>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            websocket: PathPattern::new(path).join(&PathPattern::new("websocket")),
            longpoll: Some(PathPattern::new(path).join(&PathPattern::new("longpoll"))),
            longpoll_window: Duration::from_secs(10),
            owner_timeout: Duration::from_secs(2),
            origins: OriginPolicy::RequestHost,
            subprotocols: Vec::new(),
            auth_token: false,
            renew: true,
            idle: Duration::from_secs(limits.idle_seconds),
            limits,
            keep_request: true,
            router,
            connect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_by_segments() {
        let pattern = PathPattern::new("/custom/:room").join(&PathPattern::new("/:path/ws"));
        let variables = pattern.matches("/custom/a%20b/c/ws/").unwrap();
        assert_eq!(variables[0], ("room".to_owned(), "a b".to_owned()));
        assert_eq!(variables[1], ("path".to_owned(), "c".to_owned()));
        for other in ["/custom/a/ws", "/custom/a/b/c/ws", "/other/a/b/ws", "/"] {
            assert_eq!(pattern.matches(other), None, "{other}");
        }
    }
}
