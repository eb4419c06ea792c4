//! The Postgres address and the pool of connections.
//!
//! It never connects by itself and never repeats an address, which may hold a password.

use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{self, Verify};
use crate::store::{Config, StoreError};

/// How long a connection may be silent before the kernel asks whether its peer lives, and between two questions.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Questions without an answer until the peer counts as dead.
const KEEPALIVE_RETRIES: u32 = 3;

/// An address, with what tokio-postgres doesn't know taken out of it.
#[derive(Debug)]
struct Address {
    config: tokio_postgres::Config,
    /// `None`: never TLS.
    verify: Option<Verify>,
    root_file: Option<PathBuf>,
}

impl Address {
    fn parse(url: &str) -> Result<Self, String> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut kept = Vec::new();
        let mut mode = String::from("prefer");
        let mut root_file = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = || {
                percent_encoding::percent_decode_str(value)
                    .decode_utf8()
                    .map(String::from)
                    .map_err(|_| format!("{key} is not UTF-8"))
            };
            match key {
                "sslmode" => mode = decoded()?,
                "sslrootcert" => root_file = Some(PathBuf::from(decoded()?)),
                _ => kept.push(pair),
            }
        }
        let mut config: tokio_postgres::Config = format!("{place}?{}", kept.join("&"))
            .parse()
            .map_err(|error: tokio_postgres::Error| super::describe(&error))?;
        if config.get_hosts().is_empty() {
            return Err(String::from("the database url names no host"));
        }
        let (ssl_mode, verify) = match mode.as_str() {
            "disable" => (SslMode::Disable, None),
            "prefer" => (SslMode::Prefer, Some(Verify::Nothing)),
            "require" => (SslMode::Require, Some(Verify::Nothing)),
            "verify-ca" => (SslMode::Require, Some(Verify::Issuer)),
            "verify-full" => (SslMode::Require, Some(Verify::IssuerAndName)),
            other => {
                return Err(format!(
                    "sslmode must be disable, prefer, require, verify-ca or verify-full, not {other:?}"
                ));
            }
        };
        let is_local = config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(_) => false,
        });
        // A Unix socket has no TLS, as in libpq, and no name that a certificate could be for.
        let (ssl_mode, verify) = match is_local {
            true => (SslMode::Disable, None),
            false => (ssl_mode, verify),
        };
        config.ssl_mode(ssl_mode);
        Ok(Self {
            config,
            verify,
            root_file,
        })
    }
}

/// Makes the pool; a setting in the address wins over the same one under `[store]`.
pub(super) fn pool(config: &Config) -> Result<Pool, StoreError> {
    let refused = |why: String| StoreError::Refused(format!("database url: {why}"));
    let mut address = Address::parse(&config.url).map_err(refused)?;
    let settings = &mut address.config;
    if settings.get_application_name().is_none() {
        settings.application_name("fanfare");
    }
    if settings.get_connect_timeout().is_none() {
        settings.connect_timeout(config.connect_timeout);
    }
    if settings.get_tcp_user_timeout().is_none() {
        settings.tcp_user_timeout(config.tcp_user_timeout);
    }
    settings.keepalives_idle(KEEPALIVE);
    settings.keepalives_interval(KEEPALIVE);
    settings.keepalives_retries(KEEPALIVE_RETRIES);

    // Whatever failed is thrown away, so what comes back to the pool needs no cleaning.
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = match address.verify {
        None => Manager::from_config(address.config, NoTls, recycling),
        Some(verify) => {
            let tls = tls::client_config(verify, address.root_file.as_deref()).map_err(refused)?;
            Manager::from_config(address.config, MakeRustlsConnect::new(tls), recycling)
        }
    };
    Pool::builder(manager)
        .max_size(config.pool_size.max(1))
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(config.connect_timeout))
        .create_timeout(Some(config.connect_timeout))
        .recycle_timeout(Some(config.connect_timeout))
        .post_create(session_settings(config))
        .build()
        .map_err(|error| StoreError::Refused(error.to_string()))
}

/// Sets the limits of a new session, so that a vanished node can't hold a topic.
fn session_settings(config: &Config) -> Hook {
    // Zero would mean "no limit" to Postgres.
    let ms = |limit: Duration| limit.as_millis().clamp(1, 2_147_483_647);
    let sql = format!(
        "set statement_timeout = {}; set lock_timeout = {}; \
         set idle_in_transaction_session_timeout = {}; set synchronous_commit = {}",
        ms(config.statement_timeout),
        ms(config.lock_timeout),
        ms(config.idle_in_transaction_timeout),
        config.synchronous_commit,
    );
    Hook::async_fn(move |client, _| {
        let sql = sql.clone();
        Box::pin(async move { client.batch_execute(&sql).await.map_err(HookError::Backend) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, ssl_mode: SslMode, verify: Option<Verify>) {
        let address = Address::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"));
        assert_eq!(address.config.get_ssl_mode(), ssl_mode, "{url}");
        assert_eq!(address.verify, verify, "{url}");
    }

    fn refused(url: &str, why: &str) {
        let error = Address::parse(url).expect_err(url);
        assert!(error.contains(why), "{url}: {error}");
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        let on = "postgres://h/d?sslmode=";
        check("postgres://h/d", SslMode::Prefer, Some(Verify::Nothing));
        check(&format!("{on}disable"), SslMode::Disable, None);
        check(
            &format!("{on}prefer"),
            SslMode::Prefer,
            Some(Verify::Nothing),
        );
        check(
            &format!("{on}require"),
            SslMode::Require,
            Some(Verify::Nothing),
        );
        check(
            &format!("{on}verify-ca"),
            SslMode::Require,
            Some(Verify::Issuer),
        );
        check(
            &format!("{on}verify-full&connect_timeout=3"),
            SslMode::Require,
            Some(Verify::IssuerAndName),
        );
        refused(&format!("{on}always"), "sslmode must be");
        refused(on, "sslmode must be");
    }

    #[test]
    fn a_unix_socket_needs_no_tls() {
        check(
            "postgres:///d?host=/run&sslmode=require",
            SslMode::Disable,
            None,
        );
    }

    #[test]
    fn unknown_settings_are_refused() {
        refused("postgres://h/d?ssl_mode=require", "ssl_mode");
        refused("postgres:///d", "no host");
        refused("postgres://h:port/d", "port");
    }

    #[test]
    fn an_error_never_shows_the_password() {
        for url in [
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@h/d?x=1",
        ] {
            let error = Address::parse(url).expect_err(url);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn several_hosts_and_a_root_file_are_understood() {
        let address = Address::parse(
            "postgresql://a:1,b:2/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
        )
        .expect("a good address");
        assert_eq!(address.config.get_hosts().len(), 2);
        assert_eq!(address.root_file, Some(PathBuf::from("/etc/ca.pem")));
    }

    #[test]
    fn a_missing_root_file_is_named() {
        let config = Config {
            url: String::from("postgres://h/d?sslmode=verify-full&sslrootcert=/no/such.pem"),
            ..Config::default()
        };
        let error = pool(&config).expect_err("no such file").to_string();
        assert!(error.contains("/no/such.pem"), "{error}");
    }
}
