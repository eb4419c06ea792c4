//! Dialing Redis: the URL, TLS, and the two kinds of connection.
//!
//! It never retries and never shows a password.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError,
    TlsCertificates,
};
use tokio::time::timeout;

use crate::broker::Config;

/// How long a connection may be idle before the kernel probes it, and between its probes.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why Redis cannot be used; one line, without the password.
#[derive(Debug)]
pub enum ConnectError {
    /// No URL is configured.
    NoUrl,
    /// The URL cannot be used.
    Url(RedisError),
    /// The file of the certificate authority cannot be read.
    CaFile(PathBuf, std::io::Error),
    /// Redis refused, or there is nobody at the address.
    Refused(String, RedisError),
    /// Redis did not answer in time.
    Timeout(String),
    /// The operating system gave no random number.
    Entropy,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUrl => f.write_str("no redis url is configured"),
            Self::Url(cause) => write!(f, "the redis url cannot be used: {cause}"),
            Self::CaFile(path, cause) => {
                write!(
                    f,
                    "cannot read the redis ca file {}: {cause}",
                    path.display()
                )
            }
            Self::Refused(address, cause) => write!(f, "cannot use redis at {address}: {cause}"),
            Self::Timeout(address) => write!(f, "redis at {address} does not answer"),
            Self::Entropy => f.write_str("the operating system gave no random number"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Url(cause) | Self::Refused(_, cause) => Some(cause),
            Self::CaFile(_, cause) => Some(cause),
            Self::NoUrl | Self::Timeout(_) | Self::Entropy => None,
        }
    }
}

/// Where Redis is and how to talk to it.
pub(super) struct Dialer {
    client: Client,
    address: String,
    answer_within: Duration,
}

impl Dialer {
    /// Reads the configuration; connects to nothing yet.
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        let url = config.url.as_deref().ok_or(ConnectError::NoUrl)?;
        let info = url.into_connection_info().map_err(ConnectError::Url)?;
        let address = info.addr().to_string();
        // An error says that the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let info = settle(info, config.ping_timeout);
        let client = match &config.ca_file {
            None => Client::open(info),
            Some(path) => {
                let pem = std::fs::read(path)
                    .map_err(|cause| ConnectError::CaFile(path.clone(), cause))?;
                let trusted = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem),
                };
                Client::build_with_tls(info, trusted)
            }
        };
        Ok(Self {
            client: client.map_err(ConnectError::Url)?,
            address,
            answer_within: config.ping_timeout,
        })
    }

    /// Connects the link that publishes, and waits for a sign of life.
    pub(super) async fn publishing(&self) -> Result<MultiplexedConnection, ConnectError> {
        let mut connection = self.connect(plain()).await?;
        let ping = redis::cmd("PING");
        self.answered(ping.exec_async(&mut connection)).await?;
        Ok(connection)
    }

    /// Connects the link that listens; `pushes` takes each message and each acknowledgement, in order.
    pub(super) async fn listening(
        &self,
        pushes: impl AsyncPushSender,
        first_channels: &[&str],
    ) -> Result<MultiplexedConnection, ConnectError> {
        let mut connection = self.connect(plain().set_push_sender(pushes)).await?;
        self.answered(connection.subscribe(first_channels)).await?;
        Ok(connection)
    }

    /// Returns the error of an answer that did not come in time.
    pub(super) fn too_late(&self) -> ConnectError {
        ConnectError::Timeout(self.address.clone())
    }

    async fn connect(
        &self,
        how: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ConnectError> {
        self.answered(
            self.client
                .get_multiplexed_async_connection_with_config(&how),
        )
        .await
    }

    async fn answered<T>(
        &self,
        request: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, ConnectError> {
        timeout(self.answer_within, request)
            .await
            .map_err(|_| self.too_late())?
            .map_err(|cause| ConnectError::Refused(self.address.clone(), cause))
    }
}

/// Times are ours to watch: the crate's own deadlines (0.5 s and 1 s) are turned off.
fn plain() -> AsyncConnectionConfig {
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
