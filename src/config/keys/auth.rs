//! The settings under `[auth]` and `[players]`; `secret_key_base` is one of the node's.
//!
//! Values of secrets are never shown.

use std::path::PathBuf;

use super::node::secret;
use super::{Key, Unit, put, put_some};
use crate::auth::Digest;
use crate::config::text::{boolean, choice, count, key_url, seconds, words};

/// Longest life of a token, in seconds: ten years.
const MAX_AGE_S: u64 = 3_650 * 86_400;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "auth",
        "salt",
        "user socket",
        Unit::Text,
        "The salt of `Phoenix.Token`, as in the app that signs.",
        |draft, text| put(&mut draft.settings.auth.salt, words(text, 1, 255)),
    ),
    Key::new(
        "auth",
        "key_iterations",
        "1000",
        Unit::Count,
        "PBKDF2 iterations of `Phoenix.Token`, as in the app that signs.",
        |draft, text| {
            put(
                &mut draft.settings.auth.key_iterations,
                count(text, 1, 10_000_000),
            )
        },
    ),
    Key::new(
        "auth",
        "key_length",
        "32",
        Unit::Bytes,
        "Derived key of `Phoenix.Token`, as in the app that signs.",
        |draft, text| put(&mut draft.settings.auth.key_length, count(text, 16, 1_024)),
    ),
    Key::new(
        "auth",
        "key_digest",
        "sha256",
        Unit::Word,
        "PBKDF2 digest of `Phoenix.Token`: `sha256`, `sha384` or `sha512`.",
        |draft, text| put(&mut draft.settings.auth.key_digest, digest(text)),
    ),
    Key::new(
        "auth",
        "max_age",
        "1d",
        Unit::Duration,
        "Longest life of a `Phoenix.Token`, in whole seconds; its own may be shorter.",
        |draft, text| {
            put(
                &mut draft.settings.auth.max_age,
                seconds(text, 1, MAX_AGE_S),
            )
        },
    ),
    Key::new(
        "auth",
        "jwt_secret",
        "",
        Unit::Text,
        "The HMAC key of JWTs.",
        |draft, text| put_some(&mut draft.settings.auth.jwt_secret, secret(text)),
    )
    .by_default("`secret_key_base`")
    .secret(),
    Key::new(
        "auth",
        "leeway",
        "0s",
        Unit::Duration,
        "Tolerance on `exp` and `nbf` of JWTs, in whole seconds.",
        |draft, text| put(&mut draft.settings.auth.leeway, seconds(text, 0, 60)),
    ),
    Key::new(
        "auth",
        "issuer",
        "",
        Unit::Text,
        "What `iss` of a JWT must be.",
        |draft, text| put_some(&mut draft.settings.auth.issuer, words(text, 1, 255)),
    )
    .by_default("not checked"),
    Key::new(
        "auth",
        "audience",
        "",
        Unit::Text,
        "What `aud` of a JWT must be or contain.",
        |draft, text| put_some(&mut draft.settings.auth.audience, words(text, 1, 255)),
    )
    .by_default("not checked"),
    Key::new(
        "auth",
        "public_key_file",
        "",
        Unit::Text,
        "A PEM file of public keys for JWTs (RS256, ES256, EdDSA); read again when it changes.",
        |draft, text| put_some(&mut draft.settings.auth.public_key_file, path(text)),
    )
    .by_default("none"),
    Key::new(
        "auth",
        "jwks_file",
        "",
        Unit::Text,
        "A JWK Set file of public keys for JWTs, chosen by `kid`; read again when it changes.",
        |draft, text| put_some(&mut draft.settings.auth.jwks_file, path(text)),
    )
    .by_default("none"),
    Key::new(
        "auth",
        "jwks_url",
        "",
        Unit::Url,
        "Where a JWK Set of public keys for JWTs is published: `https://`, or `http://` on this machine; the node starts without it.",
        |draft, text| put_some(&mut draft.settings.auth.jwks_url, key_url(text)),
    )
    .by_default("none")
    .secret(),
    Key::new(
        "auth",
        "jwks_ca_file",
        "",
        Unit::Text,
        "PEM file of the authority that signed the certificate of `auth.jwks_url`; read at the start.",
        |draft, text| put_some(&mut draft.settings.auth.jwks_ca_file, path(text)),
    )
    .by_default("the public web's authorities"),
    Key::new(
        "auth",
        "jwks_refresh",
        "5m",
        Unit::Duration,
        "How often `auth.jwks_url` is fetched; also for a token with an unknown `kid`, at most every 10 s.",
        |draft, text| put(&mut draft.settings.auth.jwks_refresh, seconds(text, 10, 86_400)),
    ),
];

pub(super) const PLAYERS: &[Key] = &[Key::new(
    "players",
    "auto_create",
    "true",
    Unit::Boolean,
    "Whether a token's unknown player is created from its claims.",
    |draft, text| put(&mut draft.settings.players.auto_create, boolean(text)),
)];

fn path(text: &str) -> Result<PathBuf, String> {
    words(text, 1, 4_096).map(PathBuf::from)
}

fn digest(text: &str) -> Result<Digest, String> {
    let words = [
        ("sha256", Digest::Sha256),
        ("sha384", Digest::Sha384),
        ("sha512", Digest::Sha512),
    ];
    choice(text, &words)
}
