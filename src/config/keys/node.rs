//! The settings of the node itself: those with a flag.
//!
//! They have no section in the file: they stand before the first one.

use super::{Key, Unit, put, put_some};
use crate::auth::SECRET_BYTES_MIN;
use crate::config::settings::{Anonymous, LogFormat};
use crate::config::text::{
    address, boolean, choice, count, database_url, log_level, name, redis_url,
};

/// Longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 4_096;

/// Reads a secret; the error does not repeat it.
pub(super) fn secret(text: &str) -> Result<String, String> {
    if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, best 64 random ones"
        ))
    }
}

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "",
        "listen",
        "127.0.0.1:4000",
        Unit::Address,
        "Where clients connect: WebSocket, long-poll and the demo page; port 0 takes a free one.",
        |draft, text| put(&mut draft.settings.listen, address(text)),
    )
    .flag("listen", "ADDR"),
    Key::new(
        "",
        "admin_listen",
        "127.0.0.1:4001",
        Unit::Address,
        "Where operators connect: metrics, health, status and the API; keep it off public networks.",
        |draft, text| put(&mut draft.settings.admin_listen, address(text)),
    )
    .flag("admin-listen", "ADDR"),
    Key::new(
        "",
        "redis_url",
        "",
        Unit::Url,
        "Redis or Valkey that links the nodes: a server, one behind sentinels, or a cluster; needs a secret.",
        |draft, text| put_some(&mut draft.settings.redis_url, redis_url(text)),
    )
    .by_default("none: a single node")
    .flag("redis-url", "URL")
    .secret(),
    Key::new(
        "",
        "database_url",
        "sqlite://fanfare.db",
        Unit::Url,
        "Where records are stored: SQLite for one node, Postgres for many.",
        |draft, text| put(&mut draft.settings.store.url, database_url(text)),
    )
    .flag("database-url", "URL")
    .secret(),
    Key::new(
        "",
        "secret_key_base",
        "",
        Unit::Text,
        "The secret that tokens are signed with, the same on every node; best given by the environment.",
        |draft, text| put_some(&mut draft.settings.auth.secret_key_base, secret(text)),
    )
    .by_default("none: development on loopback only")
    .flag("secret-key-base", "SECRET")
    .secret(),
    Key::new(
        "",
        "anonymous",
        "",
        Unit::Word,
        "Whether clients without a token may connect: `allow` or `deny`.",
        |draft, text| put_some(&mut draft.anonymous, anonymous(text)),
    )
    .by_default("allow when every listener is loopback, else deny")
    .flag("anonymous", "WORD"),
    Key::new(
        "",
        "workers",
        "0",
        Unit::Count,
        "Threads that serve sockets; 0: one a core.",
        |draft, text| put(&mut draft.settings.workers, count(text, 0, 1_024)),
    )
    .flag("workers", "N"),
    Key::new(
        "",
        "node_name",
        "",
        Unit::Text,
        "The node's name in logs, in `/status` and for the other nodes; must be its own.",
        |draft, text| put(&mut draft.settings.node_name, name(text)),
    )
    .by_default("host name and random digits")
    .flag("node-name", "NAME"),
    Key::new(
        "",
        "log",
        "text",
        Unit::Word,
        "The form of the log on standard error: `text` or `json`.",
        |draft, text| {
            let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
            put(&mut draft.settings.log, choice(text, &words))
        },
    )
    .flag("log", "FORM"),
    Key::new(
        "",
        "log_level",
        "info",
        Unit::Text,
        "What is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`, also by module. `debug` and `trace` alone are Fanfare's own, without secrets; other crates must be named for more than `info`, and then show raw traffic, tokens included.",
        |draft, text| put(&mut draft.settings.log_level, log_level(text)),
    )
    .flag("log-level", "LEVEL"),
    Key::new(
        "",
        "migrate",
        "true",
        Unit::Boolean,
        "Whether `serve` brings the database's tables up to date first.",
        |draft, text| put(&mut draft.settings.migrate, boolean(text)),
    )
    .off_flag("no-migrate", "Leaves the database's tables as they are"),
];

fn anonymous(text: &str) -> Result<Anonymous, String> {
    choice(
        text,
        &[("allow", Anonymous::Allow), ("deny", Anonymous::Deny)],
    )
}
