//! The command `check`: do the dependencies answer.
//!
//! It changes nothing and runs no migrations.

use std::sync::Arc;

use super::Failure;
use crate::auth::{self, Verifier};
use crate::broker::{self, RedisBroker};
use crate::config::Settings;

/// Tries each dependency and prints a table; fails when one is not as it should be.
pub(super) async fn check(settings: &Settings) -> Result<(), Failure> {
    let rows = [
        ("configuration", Ok(String::from("valid"))),
        ("secret", secret(settings)),
        ("public keys", public_keys(settings).await),
        ("database", store(settings).await),
        ("redis", redis(settings).await),
    ];
    let mut failed = 0;
    for (name, result) in &rows {
        let (state, text) = match result {
            Ok(text) => ("ok", text),
            Err(text) => {
                failed += 1;
                ("FAILED", text)
            }
        };
        println!("{name:<14} {state:<7} {}", crate::config::one_line(text));
    }
    match failed {
        0 => Ok(()),
        count => Err(Failure(format!("{count} of {} checks failed", rows.len()))),
    }
}

fn secret(settings: &Settings) -> Result<String, String> {
    if settings.development {
        return Ok(String::from("development: made at each start"));
    }
    if settings.auth.secret_key_base.is_none() && settings.auth.jwt_secret.is_none() {
        return Ok(String::from("none: tokens are signed elsewhere"));
    }
    let secrets = auth::Config {
        public_key_file: None,
        jwks_file: None,
        jwks_url: None,
        ..settings.auth.clone()
    };
    Verifier::new(&secrets)
        .map(|_| String::from("given"))
        .map_err(|error| error.to_string())
}

async fn public_keys(settings: &Settings) -> Result<String, String> {
    if !settings.auth.has_public_keys() {
        return Ok(String::from("none: tokens are signed with the secret"));
    }
    let verifier = Verifier::new(&settings.auth).map_err(|error| error.to_string())?;
    let keys = verifier.refresh().await?;
    Ok(format!("{keys} read"))
}

async fn store(settings: &Settings) -> Result<String, String> {
    let store = crate::store::open(&settings.store)
        .await
        .map_err(|error| error.to_string())?;
    store.ping().await.map_err(|error| error.to_string())?;
    Ok(store.kind().to_owned())
}

async fn redis(settings: &Settings) -> Result<String, String> {
    if settings.broker.url.is_none() {
        return Ok(String::from("none: a single node"));
    }
    let registry = prometheus::Registry::new();
    let metrics = broker::Metrics::register(&registry).map_err(|error| error.to_string())?;
    let inbox: broker::Inbox = Arc::new(|_| {});
    RedisBroker::connect(&settings.broker, inbox, metrics)
        .await
        .map(|(broker, _)| broker.describe())
        .map_err(|error| error.to_string())
}
