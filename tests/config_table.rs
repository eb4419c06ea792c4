//! The table of settings: it is whole, its defaults are the modules', and the reference shows it.
//!
//! It names no setting that it could read from the table.

mod given;

use std::collections::HashSet;

use fanfare::config::{Anonymous, Preset, Settings, keys};
use given::{SECRET, sources};

/// A value of each setting that differs from its default.
const OTHERS: &[(&str, &str)] = &[
    ("listen", "127.0.0.1:5000"),
    ("admin_listen", "127.0.0.1:5001"),
    ("redis_url", "redis://127.0.0.1"),
    ("database_url", "sqlite::memory:"),
    ("secret_key_base", SECRET),
    ("anonymous", "deny"),
    ("workers", "7"),
    ("node_name", "seven"),
    ("log", "json"),
    ("log_level", "debug"),
    ("migrate", "false"),
    ("auth.salt", "salt"),
    ("auth.key_digest", "sha512"),
    ("auth.jwt_secret", SECRET),
    ("auth.issuer", "us"),
    ("auth.audience", "them"),
    ("auth.jwks_url", "https://issuer.example/jwks.json"),
    ("auth.jwks_ca_file", "ca.pem"),
    ("players.auto_create", "false"),
    ("transport.origins", "off"),
    ("transport.longpoll", "false"),
    ("transport.trusted_proxies", "10.0.0.0/8"),
    ("transport.proxy_protocol", "true"),
    ("broker.prefix", "other:"),
    ("broker.ca_file", "ca.pem"),
    ("store.synchronous_commit", "off"),
];

/// Reads one setting alone; with a secret beside it where it needs one.
fn alone(path: &str, value: &str) -> Settings {
    let fixed = ("node_name", "fixed");
    let given: Vec<(&str, &str)> = match path {
        "node_name" => vec![(path, value)],
        "redis_url" => vec![fixed, ("secret_key_base", SECRET), (path, value)],
        "transport.proxy_protocol" if value == "true" => vec![
            fixed,
            ("transport.trusted_proxies", "192.0.2.0/24"),
            (path, value),
        ],
        _ => vec![fixed, (path, value)],
    };
    Settings::assemble(&sources(&given, &[], "")).expect(path)
}

#[test]
fn every_setting_has_a_sentence_and_the_default_of_its_module() {
    let plain = alone("node_name", "fixed");
    for key in keys() {
        assert!(key.about.ends_with('.') && key.about.len() > 10, "{key:?}");
        assert!(!key.about.contains('|'), "{key:?} breaks the table");
        match key.preset {
            Preset::Value(text) => assert_eq!(alone(&key.path(), text), plain, "{key:?}"),
            Preset::Words(words) => assert!(!words.is_empty(), "{key:?}"),
        }
    }
}

#[test]
fn every_setting_changes_something_of_its_own() {
    let plain = alone("node_name", "fixed");
    let mut changed: Vec<(String, Settings)> = Vec::new();
    for key in keys() {
        let path = key.path();
        let listed = OTHERS.iter().find(|(name, _)| *name == path);
        let other = listed.map_or("77", |(_, value)| value);
        // Sizes and small counts have bounds of their own.
        let other = match path.as_str() {
            "limits.resume_max" | "limits.lane_records" => "777",
            "auth.leeway" => "7",
            name if name.ends_with("_bytes") && name != "limits.topic_bytes" => "70KiB",
            _ => other,
        };
        let settings = alone(&path, other);
        assert_ne!(settings, plain, "{path} changes nothing");
        if let Some((twin, _)) = changed.iter().find(|(_, one)| *one == settings) {
            panic!("{path} does the same as {twin}");
        }
        changed.push((path, settings));
    }
    assert!(changed.len() > 55, "{}", changed.len());
}

#[test]
fn names_are_unique_and_the_reference_has_them_all() {
    let reference = Settings::reference_markdown();
    let mut names = HashSet::new();
    for key in keys() {
        assert!(names.insert(key.path()), "{key:?} twice");
        assert!(names.insert(key.variable()), "{key:?} shares its variable");
        let row = reference
            .lines()
            .find(|row| row.contains(&format!("`{}`", key.variable())))
            .unwrap_or_else(|| panic!("{key:?} is not in the reference"));
        assert!(
            row.starts_with(&format!("| `{}` |", key.name)) && row.contains(key.about),
            "{row}"
        );
    }
    for field in [
        "topic",
        "kind",
        "persist",
        "history",
        "keep_for",
        "keep_records",
        "presence",
        "anonymous",
        "events",
        "auto_create",
    ] {
        assert!(reference.contains(&format!("\n| `{field}` |")), "{field}");
    }
    for table in reference.split("\n\n").filter(|part| part.starts_with('|')) {
        let bars = |row: &str| row.matches(" | ").count();
        let head = table.lines().next().map(bars);
        assert!(
            table.lines().skip(2).all(|row| Some(bars(row)) == head),
            "{table}"
        );
    }
}

#[test]
fn defaults_need_no_source() {
    let default = Settings::default();
    let named = Settings {
        node_name: String::from("fixed"),
        ..default
    };
    assert_eq!(named, alone("node_name", "fixed"));
    assert_eq!(named.anonymous, Anonymous::Allow);
}
