//! Who is at the other end of a socket: parameters, connect info and player.
//!
//! It is shared by the socket's channels and holds no connection.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use super::{Player, Token};

/// Connect parameters in the order they came; names may repeat, the last one counts.
///
/// Its `Debug` shows the names only: a value may be a token or a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Params {
    /// Takes decoded pairs.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// Returns the last value of a name.
    pub fn last(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().rev().find(|(key, _)| key == name)?;
        Some(&pair.1)
    }

    /// Returns every pair in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Appends a pair, as a path variable does.
    pub fn push(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }
}

/// What the connect hook may know of a request. Its `Debug` shows neither query nor headers.
///
/// Headers are `x-*`, `sec-websocket-*`, `traceparent`, `tracestate` and `user-agent`; cookies are
/// withheld because of cross-site WebSocket hijacking.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectInfo {
    /// The peer's address.
    pub peer: SocketAddr,
    /// `http` or `https`.
    pub scheme: String,
    /// The `Host` header without its port.
    pub host: String,
    /// The port of the `Host` header, or the scheme's.
    pub port: u16,
    /// The request's path.
    pub path: String,
    /// The request's raw query.
    pub query: String,
    /// The headers named above, in lower case.
    pub headers: Vec<(String, String)>,
    /// The token that came as `authToken`, raw.
    pub auth_token: Option<Vec<u8>>,
}

impl fmt::Debug for ConnectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectInfo")
            .field("peer", &self.peer)
            .field("host", &self.host)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl ConnectInfo {
    /// Returns a header's value by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let pair = self.headers.iter().find(|(key, _)| key == name)?;
        Some(&pair.1)
    }
}

/// What the connect hook decided about a socket; made on any thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The id for forced disconnects, such as `user:42`.
    pub socket_id: Option<String>,
    /// The player, when a token named one.
    pub player: Option<Player>,
    /// The user name that the token itself gave.
    pub name: Option<String>,
    /// When the token ends, in seconds since the Unix epoch.
    pub expires_at: Option<u64>,
}

/// The request that a socket came with.
#[derive(Debug)]
struct Request {
    params: Params,
    info: ConnectInfo,
}

/// The client of one socket, shared by its channels.
#[derive(Debug)]
pub struct Client {
    request: Option<Box<Request>>,
    /// The id for forced disconnects.
    pub socket_id: Option<String>,
    player: RefCell<Option<Rc<Player>>>,
    token_name: RefCell<Option<Rc<str>>>,
    expires_at: Cell<Option<u64>>,
    /// Whether some channel has a token of its own, which ends by itself.
    own_tokens: Cell<bool>,
}

impl Client {
    /// Takes what was decided.
    pub fn new(accepted: Accepted) -> Self {
        Self {
            request: None,
            socket_id: accepted.socket_id,
            player: RefCell::new(accepted.player.map(Rc::new)),
            token_name: RefCell::new(accepted.name.map(Rc::from)),
            expires_at: Cell::new(accepted.expires_at),
            own_tokens: Cell::new(false),
        }
    }

    /// Keeps the request too, for a mount whose channels may look at it.
    #[must_use]
    pub fn keeping(mut self, params: Params, info: ConnectInfo) -> Self {
        self.request = Some(Box::new(Request { params, info }));
        self
    }

    /// Returns the connect parameters; `None` when the mount does not keep them.
    pub fn params(&self) -> Option<&Params> {
        self.request.as_ref().map(|request| &request.params)
    }

    /// Returns what is known of the request; `None` when the mount does not keep it.
    pub fn info(&self) -> Option<&ConnectInfo> {
        self.request.as_ref().map(|request| &request.info)
    }

    /// Returns the socket's copy of its player.
    pub fn player(&self) -> Option<Rc<Player>> {
        self.player.borrow().clone()
    }

    /// Replaces the copy, when it is the same player.
    pub fn refresh_player(&self, fresh: &Player) {
        let mut player = self.player.borrow_mut();
        if player.as_ref().is_some_and(|old| old.id == fresh.id) {
            *player = Some(Rc::new(fresh.clone()));
        }
    }

    /// Returns the user name that the token gave.
    pub fn token_name(&self) -> Option<Rc<str>> {
        self.token_name.borrow().clone()
    }

    /// Returns when the token ends, in seconds since the Unix epoch.
    pub fn expires_at(&self) -> Option<u64> {
        self.expires_at.get()
    }

    /// Replaces the token in place by another of the same player: its end, name and copy of the player.
    pub(crate) fn renew(&self, renewed: &Token) {
        if self.player().is_some_and(|old| old.id == renewed.player.id) {
            self.player.replace(Some(renewed.player.clone()));
            self.token_name.replace(renewed.name.clone());
            self.expires_at.set(renewed.expires_at);
        }
    }

    /// Notes that a channel has a token of its own.
    pub(crate) fn note_own_token(&self) {
        self.own_tokens.set(true);
    }

    /// Says whether a channel ever had a token of its own.
    pub fn has_own_tokens(&self) -> bool {
        self.own_tokens.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secret = || String::from("swordfish");
        let params = Params::new(vec![(String::from("token"), secret())]);
        let info = ConnectInfo {
            peer: ([127, 0, 0, 1], 1).into(),
            scheme: String::from("http"),
            host: String::from("a.example"),
            port: 80,
            path: String::from("/socket"),
            query: secret(),
            headers: vec![(String::from("x-phoenix-authtoken"), secret())],
            auth_token: Some(secret().into_bytes()),
        };
        let text = format!(
            "{:?}",
            Client::new(Accepted::default()).keeping(params, info)
        );
        assert!(
            text.contains("a.example") && text.contains("token"),
            "{text}"
        );
        assert!(
            !text.contains("swordfish") && !text.contains("115, 119"),
            "{text}"
        );
    }
}
