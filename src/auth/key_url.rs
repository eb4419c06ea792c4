//! The address of a JWK Set, and how it is fetched: one GET, bounded in time and size.
//!
//! It follows no redirect, keeps no connection and sends no credentials.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

/// How long a fetch may take, from the name's lookup to the last byte.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest key set, in bytes.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;

/// The URL of a JWK Set: `https://` anywhere, `http://` on this machine only.
///
/// Whoever can answer in the issuer's place could sign for everybody, so the way there is protected.
/// It is printed without its query.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyUrl(Url);

impl KeyUrl {
    /// Reads a URL; `None` for another scheme, another host by `http`, or with a user or password.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let near = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let protected = url.scheme() == "https" || url.scheme() == "http" && near;
        let bare = url.username().is_empty() && url.password().is_none();
        (protected && bare).then_some(Self(url))
    }

    /// Fetches the set, within [`FETCH_TIMEOUT`].
    ///
    /// # Errors
    /// One line.
    pub async fn fetch(&self, tls: &Arc<ClientConfig>) -> Result<Bytes, String> {
        tokio::time::timeout(FETCH_TIMEOUT, self.get(tls))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", FETCH_TIMEOUT.as_secs())))
    }

    async fn get(&self, tls: &Arc<ClientConfig>) -> Result<Bytes, String> {
        let host = match self.0.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(String::from("there is no host")),
        };
        let port = self.0.port_or_known_default().unwrap_or(443);
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| format!("cannot connect: {error}"))?;
        if self.0.scheme() == "http" {
            // A name such as localhost is only as near as its address.
            let near = stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
            return match near {
                true => self.exchange(stream).await,
                false => Err(String::from("http is for this machine only")),
            };
        }
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(tls.clone())
            .connect(name, stream)
            .await
            .map_err(|error| format!("no TLS: {error}"))?;
        self.exchange(stream).await
    }

    async fn exchange<S>(&self, stream: S) -> Result<Bytes, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let request = Request::get(&self.0[url::Position::BeforePath..url::Position::AfterQuery])
            .header(
                HOST,
                &self.0[url::Position::BeforeHost..url::Position::AfterPort],
            )
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("fanfare/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answered = async move {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(|error| error.to_string())?;
            match answer.status() {
                StatusCode::OK => {}
                other => return Err(format!("answered {}", other.as_u16())),
            }
            let body = Limited::new(answer.into_body(), KEY_SET_BYTES_MAX);
            let whole = body.collect().await.map_err(|error| error.to_string())?;
            Ok(whole.to_bytes())
        };
        let mut answered = std::pin::pin!(answered);
        // The connection may end first, with the answer already on its way to us.
        tokio::select! {
            biased;
            answer = &mut answered => return answer,
            _ = connection => {}
        }
        answered.await
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..url::Position::AfterPath])
    }
}

impl fmt::Debug for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls;

    #[test]
    fn the_way_to_keys_is_protected() {
        let check = |text: &str, taken: bool| {
            assert_eq!(KeyUrl::parse(text).is_some(), taken, "{text}");
        };
        check("https://issuer.example/.well-known/jwks.json", true);
        check("https://10.0.0.1:8443/jwks?x=1", true);
        check("http://localhost:9000/jwks", true);
        check("http://127.0.0.9/jwks", true);
        check("http://[::1]:9000/jwks", true);
        check("http://issuer.example/jwks", false);
        check("http://10.0.0.1/jwks", false);
        check("http://localhost.example/jwks", false);
        check("https://user:pass@issuer.example/jwks", false);
        check("file:///etc/jwks.json", false);
        check("jwks.json", false);
    }

    /// Makes a certificate for localhost, and a server that shows it and answers one request.
    fn server() -> (u16, tempfile::TempDir) {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        use std::io::{Read, Write};
        let dir = tempfile::TempDir::new().unwrap();
        let made = std::process::Command::new("openssl")
            .args(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c"
                    .split(' '),
            )
            .args("-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost".split(' '))
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .current_dir(dir.path())
            .output();
        assert!(made.unwrap().status.success());
        let certificate = CertificateDer::from_pem_file(dir.path().join("c")).unwrap();
        let key = PrivateKeyDer::from_pem_file(dir.path().join("k")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            // A client that refuses the certificate is gone by now.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        });
        (port, dir)
    }

    #[tokio::test]
    async fn a_certificate_must_be_of_a_known_issuer_and_for_that_host() {
        let check = async |host: &str, known: bool| {
            let (port, dir) = server();
            let url = KeyUrl::parse(&format!("https://{host}:{port}/keys")).unwrap();
            let file = known.then(|| dir.path().join("c"));
            url.fetch(&tls::client(file.as_deref()).unwrap()).await
        };
        assert_eq!(check("localhost", true).await.as_deref(), Ok(&b"{}"[..]));
        let unknown = check("localhost", false).await.unwrap_err();
        assert!(unknown.contains("certificate"), "{unknown}");
        let other = check("127.0.0.1", true).await.unwrap_err();
        assert!(other.contains("certificate"), "{other}");
    }

    #[test]
    fn a_query_is_not_shown() {
        let url = KeyUrl::parse("https://issuer.example/keys?apikey=swordfish#x").unwrap();
        assert_eq!(url.to_string(), "https://issuer.example/keys");
        assert_eq!(format!("{url:?}"), "https://issuer.example/keys");
    }
}
