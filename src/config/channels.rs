//! The `[[channels]]` entries of the file.
//!
//! What has no meaning for a kind is refused, never ignored.

use std::time::Duration;

use toml::Value;

use super::error::{ConfigError, Source, nearest};
use super::text::{choice, count, duration, listed};
use crate::channels::{Declaration, Kind, Persist};

/// Longest pattern and event name, in bytes.
const NAME_BYTES_MAX: usize = 1_024;
/// Most records sent to a fresh join.
const HISTORY_MAX: i64 = 1_000;
/// Longest time that records are kept, but for ever: a hundred years.
const KEEP_FOR_MAX: Duration = Duration::from_secs(36_500 * 86_400);
/// Most records of a topic that are kept, but for all.
const KEEP_RECORDS_MAX: u64 = 1_000_000_000_000;

/// A field of an entry: its name, its default and a sentence, for the reference.
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its default, in words.
    pub default: &'static str,
    /// What it says.
    pub about: &'static str,
    set: fn(&mut Declaration, &Value) -> Result<(), String>,
}

/// Every field, in the order of the reference; `kind` is read first.
pub const FIELDS: &[Field] = &[
    Field {
        name: "topic",
        default: "required",
        about: "An exact topic, or a prefix ending in `*`; the first match wins.",
        set: |entry, value| pattern(value).map(|topic| entry.topic = topic),
    },
    Field {
        name: "kind",
        default: "required",
        about: "What is served: `score`, `chat_room`, `videos`, `user` or `relay`.",
        set: |_, value| kind(value).map(drop),
    },
    Field {
        name: "persist",
        default: "before",
        about: "`before`: broadcast and reply after the commit; `behind`: broadcast at once, save after.",
        set: |entry, value| {
            let words = [("before", Persist::Before), ("behind", Persist::Behind)];
            records_only(entry)?;
            word(value, &words).map(|persist| entry.persist = persist)
        },
    },
    Field {
        name: "history",
        default: "10",
        about: "Records sent to a fresh join, at most 1000.",
        set: |entry, value| {
            records_only(entry)?;
            history(value).map(|history| entry.history = history)
        },
    },
    Field {
        name: "keep_for",
        default: "for ever",
        about: "How long a record is kept, from `1s` to `36500d`; older ones are swept.",
        set: |entry, value| {
            records_only(entry)?;
            keep_for(value).map(|keep| entry.keep_for = Some(keep))
        },
    },
    Field {
        name: "keep_records",
        default: "all",
        about: "How many of a topic's newest records are kept, from 1; older ones are swept.",
        set: |entry, value| {
            records_only(entry)?;
            keep_records(value).map(|keep| entry.keep_records = Some(keep))
        },
    },
    Field {
        name: "presence",
        default: "true for `chat_room`, else false",
        about: "Whether members are tracked.",
        set: |entry, value| boolean(value).map(|presence| entry.presence = presence),
    },
    Field {
        name: "anonymous",
        default: "as the node's `anonymous`",
        about: "Whether guests may join: `allow` or `deny`.",
        set: |entry, value| {
            let words = [("allow", true), ("deny", false)];
            word(value, &words).map(|anonymous| entry.anonymous = Some(anonymous))
        },
    },
    Field {
        name: "events",
        default: "required for `relay`",
        about: "The events that a relay passes on; not `phx_*`, `presence_*`, `gap`, `disconnect`, `access_token`.",
        set: |entry, value| match entry.kind {
            Kind::Relay => events(value).map(|events| entry.events = events),
            Kind::Score | Kind::ChatRoom | Kind::Videos | Kind::User => Err(String::from(
                "must not be given: it is for kind = \"relay\"",
            )),
        },
    },
    Field {
        name: "auto_create",
        default: "true in development, else false",
        about: "Whether a first join creates the game or video.",
        set: |entry, value| match entry.kind {
            Kind::Score | Kind::Videos => {
                boolean(value).map(|create| entry.auto_create = Some(create))
            }
            Kind::ChatRoom | Kind::User | Kind::Relay => Err(String::from(
                "must not be given: it is for kind = \"score\" and \"videos\"",
            )),
        },
    },
];

/// Reads the value of `channels`.
///
/// # Errors
/// [`ConfigError`] that names the entry, counted from 1, and its field.
pub fn parse(value: &Value, source: &Source) -> Result<Vec<Declaration>, ConfigError> {
    let bad = |name: String, value: &Value, allowed: String| ConfigError::Value {
        name,
        source: source.clone(),
        value: Some(one_line(value)),
        allowed,
    };
    let entries = match value {
        Value::Array(entries) if !entries.is_empty() => entries,
        other => {
            let allowed = String::from("must be one or more [[channels]] tables");
            return Err(bad(String::from("channels"), other, allowed));
        }
    };
    let mut declared: Vec<Declaration> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let name = |field: &str| format!("[[channels]] entry {}: {field}", at + 1);
        let table = match entry {
            Value::Table(table) => table,
            other => return Err(bad(name("it"), other, String::from("must be a table"))),
        };
        if let Some(unknown) = table
            .keys()
            .find(|key| FIELDS.iter().all(|field| field.name != *key))
        {
            return Err(ConfigError::Unknown {
                name: name(unknown),
                source: source.clone(),
                near: nearest(unknown, FIELDS.iter().map(|field| field.name)).map(str::to_owned),
            });
        }
        let required = |field: &'static str| {
            table.get(field).ok_or_else(|| ConfigError::Value {
                name: name(field),
                source: source.clone(),
                value: None,
                allowed: String::from("is missing"),
            })
        };
        required("topic")?;
        let given = required("kind")?;
        let kind = kind(given).map_err(|allowed| bad(name("kind"), given, allowed))?;
        if kind == Kind::Relay {
            required("events")?;
        }
        let mut declaration = Declaration::new("", kind);
        for field in FIELDS {
            if let Some(value) = table.get(field.name) {
                (field.set)(&mut declaration, value)
                    .map_err(|allowed| bad(name(field.name), value, allowed))?;
            }
        }
        if let Some(first) = declared
            .iter()
            .find(|one| covers(&one.topic, &declaration.topic))
        {
            let allowed = format!("must not follow {:?}, which matches all of it", first.topic);
            return Err(bad(
                name("topic"),
                &Value::String(declaration.topic),
                allowed,
            ));
        }
        declared.push(declaration);
    }
    Ok(declared)
}

/// Writes a value as an error shows it: texts bare, everything else as TOML.
pub(super) fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Says whether every topic that matches `pattern` already matches `first`.
fn covers(first: &str, pattern: &str) -> bool {
    match first.strip_suffix('*') {
        Some(prefix) => pattern.starts_with(prefix),
        None => first == pattern,
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| String::from("must be a text"))
}

fn word<T: Clone>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    choice(value.as_str().unwrap_or_default(), words)
}

fn boolean(value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| String::from("must be true or false"))
}

fn kind(value: &Value) -> Result<Kind, String> {
    let words = [
        ("score", Kind::Score),
        ("chat_room", Kind::ChatRoom),
        ("videos", Kind::Videos),
        ("user", Kind::User),
        ("relay", Kind::Relay),
    ];
    word(value, &words)
}

fn records_only(entry: &Declaration) -> Result<(), String> {
    match entry.kind {
        Kind::Score | Kind::ChatRoom | Kind::Videos => Ok(()),
        Kind::User | Kind::Relay => {
            let kinds = listed(&["score", "chat_room", "videos"]);
            Err(format!("must not be given: only {kinds} have records"))
        }
    }
}

fn pattern(value: &Value) -> Result<String, String> {
    let topic = text(value)?;
    let prefix = topic.strip_suffix('*').unwrap_or(topic);
    if topic.is_empty() || topic.len() > NAME_BYTES_MAX || topic == "phoenix" {
        Err(format!(
            "must be 1 to {NAME_BYTES_MAX} bytes and not the topic \"phoenix\""
        ))
    } else if prefix.contains('*') {
        Err(String::from("must have its * at the end or nowhere"))
    } else {
        Ok(topic.to_owned())
    }
}

fn history(value: &Value) -> Result<usize, String> {
    value
        .as_integer()
        .filter(|count| (0..=HISTORY_MAX).contains(count))
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| format!("must be a whole number from 0 to {HISTORY_MAX}"))
}

fn keep_for(value: &Value) -> Result<Duration, String> {
    let text = one_line(value);
    duration(&text, Duration::from_secs(1), KEEP_FOR_MAX)
}

fn keep_records(value: &Value) -> Result<u64, String> {
    count(&one_line(value), 1, KEEP_RECORDS_MAX)
}

fn events(value: &Value) -> Result<Vec<String>, String> {
    let allowed = || String::from("must be one or more names of events");
    let names = value
        .as_array()
        .filter(|names| !names.is_empty())
        .ok_or_else(allowed)?;
    let mut events: Vec<String> = Vec::new();
    for name in names {
        let name = name.as_str().ok_or_else(allowed)?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(allowed());
        }
        if reserved(name) {
            return Err(format!(
                "must not have {name:?}, which only the server sends"
            ));
        }
        events.push(name.to_owned());
    }
    Ok(events)
}

/// Events whose meaning is the protocol's: a client could pretend to be the server with them.
fn reserved(event: &str) -> bool {
    event.starts_with("phx_")
        || event.starts_with("presence_")
        || matches!(event, "gap" | "disconnect" | "access_token")
}
