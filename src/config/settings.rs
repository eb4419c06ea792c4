//! Everything that a node is told at start, assembled and checked.
//!
//! It never falls back: what is missing or contradictory is an error.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use super::error::ConfigError;
use crate::channels::Declaration;
use crate::limits::Limits;
use crate::{auth, broker, drain, store, transport};

/// Whether clients without a token may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// They are guests; a channel may still refuse them.
    Allow,
    /// They are refused with 403.
    Deny,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings of a node. Its `Debug` prints neither secrets nor URLs.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect. Default `127.0.0.1:4000`.
    pub listen: SocketAddr,
    /// Where operators connect. Default `127.0.0.1:4001`.
    pub admin_listen: SocketAddr,
    /// The Redis server, also in `broker.url`. Default none: a single node.
    pub redis_url: Option<String>,
    /// Threads that serve sockets; 0, the default, is one a core.
    pub workers: usize,
    /// The node's name. Default: host name and random digits.
    pub node_name: String,
    /// The form of the log. Default text.
    pub log: LogFormat,
    /// What is logged, as `tracing` directives. Default `info`.
    pub log_level: String,
    /// Whether `serve` migrates the database first. Default true.
    pub migrate: bool,
    /// Whether guests may connect. Default: allow when every listener is loopback, else deny.
    pub anonymous: Anonymous,
    /// Whether the node was given no secret, on loopback and without Redis; see [`Settings::make_secret`].
    pub development: bool,
    /// `[limits]`.
    pub limits: Limits,
    /// `[drain]`.
    pub drain: drain::Config,
    /// `[auth]` and the secret.
    pub auth: auth::Config,
    /// `[players]`.
    pub players: auth::Players,
    /// `[broker]` and the URL of Redis.
    pub broker: broker::Config,
    /// `[store]` and the URL of the database.
    pub store: store::Config,
    /// `[transport]`.
    pub transport: transport::Config,
    /// `[[channels]]`, in order; the first match wins.
    pub channels: Vec<Declaration>,
}

impl Default for Settings {
    /// The settings of a node that is told nothing: development, on loopback.
    fn default() -> Self {
        Draft::new()
            .finish()
            .expect("the defaults are loopback, without Redis, on two ports")
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("admin_listen", &self.admin_listen)
            .field("redis", &self.redis_url.is_some())
            .field("workers", &self.workers)
            .field("node_name", &self.node_name)
            .field("anonymous", &self.anonymous)
            .field("development", &self.development)
            .field("limits", &self.limits)
            .field("drain", &self.drain)
            .field("auth", &self.auth)
            .field("transport", &self.transport)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Makes a random secret when the node is in development and has none yet; says whether it did.
    ///
    /// Tokens that are signed with it end with the process.
    pub fn make_secret(&mut self) -> bool {
        let needed = self.development && self.auth.secret_key_base.is_none();
        if needed {
            self.auth.secret_key_base = auth::random_secret();
        }
        needed && self.auth.secret_key_base.is_some()
    }

    /// Returns what is allowed but should be known: one line each, for the log at start.
    pub fn warnings(&self) -> Vec<&'static str> {
        let sqlite = self.store.url.starts_with("sqlite:");
        let weak = matches!(
            self.store.synchronous_commit.as_str(),
            "off" | "local" | "remote_write"
        );
        let all = [
            (
                self.development,
                "no secret: development mode, tokens end with this process",
            ),
            (
                sqlite && self.redis_url.is_some(),
                "redis_url with a SQLite database: every node needs the same database for one order",
            ),
            (
                weak,
                "store.synchronous_commit is weaker than on: a crash may lose the newest records",
            ),
            (
                self.transport.origins == transport::OriginPolicy::Off,
                "transport.origins is off: every web page may connect",
            ),
        ];
        all.into_iter()
            .filter(|(holds, _)| *holds)
            .map(|(_, line)| line)
            .collect()
    }
}

/// Settings while they are read: some are known only when all are.
pub struct Draft {
    pub(super) settings: Settings,
    pub(super) anonymous: Option<Anonymous>,
}

impl Draft {
    /// Starts with every default.
    pub(super) fn new() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let settings = Settings {
            listen: loopback(4000),
            admin_listen: loopback(4001),
            redis_url: None,
            workers: 0,
            node_name: String::new(),
            log: LogFormat::Text,
            log_level: String::from("info"),
            migrate: true,
            anonymous: Anonymous::Deny,
            development: false,
            limits: Limits::default(),
            drain: drain::Config::default(),
            auth: auth::Config::default(),
            players: auth::Players::default(),
            broker: broker::Config::default(),
            store: store::Config::default(),
            transport: transport::Config::default(),
            channels: Declaration::defaults(),
        };
        Self {
            settings,
            anonymous: None,
        }
    }

    /// Checks the settings against each other and fills in what follows from them.
    pub(super) fn finish(self) -> Result<Settings, ConfigError> {
        let Self {
            mut settings,
            anonymous,
        } = self;
        let (clients, operators) = (settings.listen, settings.admin_listen);
        if clients == operators && clients.port() != 0 {
            let line = format!("listen and admin_listen are both {clients}: they must differ");
            return Err(ConfigError::Conflict(line));
        }
        let transport = &settings.transport;
        if transport.proxy_protocol && transport.trusted_proxies.is_empty() {
            let line = "transport.proxy_protocol needs transport.trusted_proxies: nobody else is asked for the header";
            return Err(ConfigError::Conflict(line.to_owned()));
        }
        let loopback = [clients, operators]
            .iter()
            .all(|address| address.ip().to_canonical().is_loopback());
        if settings.auth.secret_key_base.is_none() {
            let why = match (&settings.redis_url, loopback) {
                (Some(_), _) => Some("as soon as redis_url is set"),
                (None, false) => Some("as soon as a listener is not on loopback"),
                (None, true) => None,
            };
            if let Some(why) = why {
                let line =
                    format!("secret_key_base is required {why}: set FANFARE_SECRET_KEY_BASE");
                return Err(ConfigError::Conflict(line));
            }
            settings.development =
                settings.auth.jwt_secret.is_none() && !settings.auth.has_public_keys();
        }
        settings.anonymous = match (anonymous, loopback) {
            (Some(given), _) => given,
            (None, true) => Anonymous::Allow,
            (None, false) => Anonymous::Deny,
        };
        if settings.node_name.is_empty() {
            settings.node_name = super::host::node_name();
        }
        settings.broker.url.clone_from(&settings.redis_url);
        Ok(settings)
    }
}
