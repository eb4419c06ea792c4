//! Dialing Redis: TCP, TLS, and the two kinds of connection.
//!
//! It never retries and never shows a password.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, ProtocolVersion, RedisError,
    TlsCertificates, Value,
};
use tokio::time::timeout;

use super::topology::Topology;
use crate::broker::Config;

/// How long a connection may be idle before the kernel probes it, and between its probes.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why Redis cannot be used; one line, without the password.
#[derive(Debug)]
pub enum ConnectError {
    /// No URL is configured.
    NoUrl,
    /// The URL cannot be used, and why.
    Url(String),
    /// The file of the certificate authority cannot be read.
    CaFile(PathBuf, std::io::Error),
    /// Redis refused, or there is nobody at the address.
    Refused(String, RedisError),
    /// Redis took the connection and closed it.
    HungUp(String, RedisError),
    /// Redis did not answer in time.
    Timeout(String),
    /// The sentinels or the servers of a cluster do not say where to go.
    Unknown(String),
    /// The operating system gave no random number.
    Entropy,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUrl => f.write_str("no redis url is configured"),
            Self::Url(why) => write!(f, "the redis url cannot be used: it {why}"),
            Self::CaFile(path, cause) => {
                write!(
                    f,
                    "cannot read the redis ca file {}: {cause}",
                    path.display()
                )
            }
            Self::Refused(address, cause) => write!(f, "cannot use redis at {address}: {cause}"),
            // Redis says why before it closes, but our first command breaks the connection before that is read.
            Self::HungUp(address, cause) => write!(
                f,
                "redis at {address} closed the connection ({cause}): it does so in protected mode and with `maxclients` connected, a proxy when no redis is behind it"
            ),
            Self::Timeout(address) => write!(f, "redis at {address} does not answer"),
            Self::Unknown(why) => f.write_str(why),
            Self::Entropy => f.write_str("the operating system gave no random number"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(_, cause) | Self::HungUp(_, cause) => Some(cause),
            Self::CaFile(_, cause) => Some(cause),
            Self::NoUrl | Self::Url(_) | Self::Timeout(_) | Self::Unknown(_) | Self::Entropy => {
                None
            }
        }
    }
}

/// How any server is reached: certificates, and how long it may take to answer.
pub(super) struct Way {
    ca: Option<Vec<u8>>,
    answer_within: Duration,
}

impl Way {
    /// Reads the configuration; connects to nothing yet.
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        // An error says that the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|cause| ConnectError::CaFile(path.clone(), cause))
        };
        Ok(Self {
            ca: config.ca_file.as_ref().map(read).transpose()?,
            answer_within: config.ping_timeout,
        })
    }

    /// Connects to a server and logs in.
    pub(super) async fn connect(
        &self,
        server: ConnectionInfo,
        how: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ConnectError> {
        let name = server.addr().to_string();
        let server = settle(server, self.answer_within);
        let client = match &self.ca {
            None => Client::open(server),
            Some(pem) => Client::build_with_tls(
                server,
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem.clone()),
                },
            ),
        };
        let client =
            client.map_err(|cause| ConnectError::Url(format!("cannot be used: {cause}")))?;
        let connection = client.get_multiplexed_async_connection_with_config(&how);
        let connection = self.answered(&name, connection).await;
        connection.map_err(|error| match error {
            ConnectError::Refused(name, cause)
                if cause.is_connection_dropped() && !cause.is_connection_refusal() =>
            {
                ConnectError::HungUp(name, cause)
            }
            other => other,
        })
    }

    /// Waits for the answer of a server.
    pub(super) async fn answered<T>(
        &self,
        name: &str,
        request: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, ConnectError> {
        timeout(self.answer_within, request)
            .await
            .map_err(|_| ConnectError::Timeout(name.to_owned()))?
            .map_err(|cause| ConnectError::Refused(name.to_owned(), cause))
    }
}

/// A connection, and where it goes.
pub(super) struct Dialed {
    pub(super) connection: MultiplexedConnection,
    pub(super) server: String,
}

/// Dials the server of one lane, wherever it is by now.
pub(super) struct Dialer {
    way: Arc<Way>,
    topology: Arc<Topology>,
    /// The slot of the lane's channels, where slots matter.
    slot: Option<u16>,
}

impl Dialer {
    pub(super) fn new(way: Arc<Way>, topology: Arc<Topology>, slot: Option<u16>) -> Self {
        Self {
            way,
            topology,
            slot,
        }
    }

    /// Connects the link that publishes, and waits for a sign of life.
    pub(super) async fn publishing(&self) -> Result<Dialed, ConnectError> {
        let mut dialed = self.connect(plain()).await?;
        let ping = redis::cmd("PING");
        let answer = ping.exec_async(&mut dialed.connection);
        self.way.answered(&dialed.server, answer).await?;
        Ok(dialed)
    }

    /// Connects the link that listens; `pushes` takes each message and each acknowledgement, in order.
    pub(super) async fn listening(
        &self,
        pushes: impl AsyncPushSender,
    ) -> Result<Dialed, ConnectError> {
        self.connect(plain().set_push_sender(pushes)).await
    }

    /// Waits for the answer of the server that was dialed.
    pub(super) async fn answered(
        &self,
        dialed: &Dialed,
        request: impl Future<Output = Result<(), RedisError>>,
    ) -> Result<(), ConnectError> {
        self.way.answered(&dialed.server, request).await
    }

    /// Waits until the server is known to be elsewhere than where a link goes.
    pub(super) async fn moved(&self, server: &str) {
        self.topology.moved(self.slot, server).await;
    }

    async fn connect(&self, how: AsyncConnectionConfig) -> Result<Dialed, ConnectError> {
        let server = self.topology.locate(self.slot).await?;
        let name = server.addr().to_string();
        let mut connection = self.way.connect(server, how).await?;
        if self.topology.needs_master() {
            let role = redis::cmd("ROLE");
            let role = role.query_async::<Vec<Value>>(&mut connection);
            let role = self.way.answered(&name, role).await?;
            if !matches!(role.first(), Some(Value::BulkString(role)) if role == b"master") {
                let cause = (
                    ErrorKind::Client,
                    "it is not the master the sentinels take it for",
                );
                return Err(ConnectError::Refused(name, cause.into()));
            }
        }
        Ok(Dialed {
            connection,
            server: name,
        })
    }
}

/// Times are ours to watch: the crate's own deadlines (0.5 s and 1 s) are turned off.
pub(super) fn plain() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
}

fn settle(info: ConnectionInfo, user_timeout: Duration) -> ConnectionInfo {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(user_timeout);
    #[cfg(not(target_os = "linux"))]
    let _ = user_timeout;
    // RESP3 lets a connection that has subscriptions do anything else too, and tells pushes from replies.
    let redis = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    info.set_tcp_settings(tcp).set_redis_settings(redis)
}
