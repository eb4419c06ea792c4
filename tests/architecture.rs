//! The rules of the house, read off the source: floors, sizes, words, and who may do what.
//!
//! It never runs the server. Each rule also meets a small bad sample, so that it can fail.

#[path = "support/rules.rs"]
mod rules;
#[path = "support/source.rs"]
mod source;

use std::path::Path;
use std::process::Command;

use rules::{FILE_LINES_MAX, FUNCTION_LINES_MAX, Rule};
use source::{File, read_tree};

const ENTRIES: [&str; 19] = [
    ".ci",
    ".dockerignore",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "benches",
    "clippy.toml",
    "deploy",
    "examples",
    "helm",
    "loadtest",
    "migrations",
    "rustfmt.toml",
    "src",
    "tests",
];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rule fails on the sample and holds for `src/`.
fn check(rule: Rule, path: &str, bad: &str) {
    let sample = rule(&[File::sample(path, bad)]);
    assert_eq!(
        sample.len(),
        1,
        "the rule must fail once on: {bad}\n{sample:?}"
    );
    let found = rule(&read_tree(&project().join("src")));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The rule lets the sample pass.
fn passes(rule: Rule, path: &str, good: &str) {
    let found = rule(&[File::sample(path, good)]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The rule holds for a directory of the project; the packaged crate lacks some.
fn holds(rule: Rule, below: &str) {
    let root = project().join(below);
    if root.exists() {
        let found = rule(&read_tree(&root));
        assert!(found.is_empty(), "{below}: {}", found.join("\n"));
    }
}

/// The rule holds for what is tested and measured with, too.
fn holds_beside_src(rule: Rule) {
    for below in ["tests", "benches", "loadtest/fanload"] {
        holds(rule, below);
    }
}

#[test]
fn plain_commands_mean_the_gateway_alone() {
    let manifest = std::fs::read_to_string(project().join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    // The packaged crate is no workspace.
    if let Some(workspace) = manifest.get("workspace") {
        assert_eq!(workspace["default-members"], vec!["."].into());
    }
}

fn entries() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached"])
        .current_dir(project())
        .output();
    let listed = listed
        .ok()
        .filter(|out| out.status.success() && !out.stdout.is_empty());
    let mut names: Vec<String> = match listed {
        Some(out) => {
            let text = String::from_utf8(out.stdout).expect("UTF-8 paths");
            let first = |line: &str| line.split('/').next().unwrap_or(line).to_owned();
            text.lines().map(first).collect()
        }
        None => {
            let entries = project().read_dir().expect("the project's directory");
            let name =
                |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
            let names = entries.map(|entry| name(entry).to_string_lossy().into_owned());
            names
                .filter(|name| !matches!(name.as_str(), ".git" | "target"))
                .collect()
        }
    };
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_file_opens_with_what_it_is() {
    check(rules::opening, "a.rs", "use x;\n//! late\n");
    holds_beside_src(rules::opening);
}

#[test]
fn no_file_passes_500_lines() {
    check(rules::size, "a.rs", &"// line\n".repeat(FILE_LINES_MAX + 1));
    passes(rules::size, "a.rs", &"// line\n".repeat(FILE_LINES_MAX));
    holds_beside_src(rules::size);
}

#[test]
fn no_function_passes_70_lines() {
    let of = |lines: usize| format!("fn f<'a>(x: [u8; 2]) {{{}}}\n", "\n".repeat(lines - 1));
    check(rules::functions, "a.rs", &of(FUNCTION_LINES_MAX + 1));
    passes(rules::functions, "a.rs", &of(FUNCTION_LINES_MAX));
    passes(
        rules::functions,
        "a.rs",
        "fn f() { let c = '{'; let s = \"{ \\\" {\"; /* { */ }\nfn g() {}\n",
    );
    passes(
        rules::functions,
        "a.rs",
        &format!("trait T {{ fn f(&self);\n{} }}", "\n".repeat(99)),
    );
    holds(rules::functions, "benches");
    holds(rules::functions, "loadtest/fanload");
}

#[test]
fn imports_go_down_the_floors() {
    check(
        rules::direction,
        "protocol/v2.rs",
        "use crate::socket::Socket;",
    );
    let bad = [
        ("channels/score.rs", "use crate::store::Store;"),
        ("channels/score.rs", "use crate::socket::Socket;"),
        (
            "channel/mod.rs",
            "use crate::{protocol::{Topic, Frame}, worker::{a, b}};",
        ),
        ("broker/mod.rs", "fn f() -> crate::pubsub::Topic {}"),
        ("store/mod.rs", "use super::super::http;"),
        ("store/pool.rs", "use super::super::http::x;"),
        ("store.rs", "use super::http;"),
        ("presence/mod.rs", "use crate::store::Store;"),
        ("surprise.rs", "use crate::protocol::Topic;"),
    ];
    for (path, text) in bad {
        assert_eq!(
            rules::direction(&[File::sample(path, text)]).len(),
            1,
            "{path}: {text}"
        );
    }
    let good = [
        (
            "channels/score.rs",
            "use crate::channel::{Channel, Context}; use crate::auth::Identity;",
        ),
        (
            "channels/score.rs",
            "// use crate::store::Store;\nconst S: &str = \"crate::store::X\";",
        ),
        (
            "channels/score.rs",
            "#[cfg(test)]\nmod tests {\n use crate::store::Store;\n}",
        ),
        (
            "store/pool.rs",
            "use super::Store; use crate::channel::Record;",
        ),
        ("presence/mod.rs", "use crate::pubsub::PubSub;"),
        (
            "main.rs",
            "use fanfare::gateway; use fanfare::{config, drain};",
        ),
    ];
    for (path, text) in good {
        passes(rules::direction, path, text);
    }
}

#[test]
fn names_say_more_than_manager() {
    check(rules::naming, "a.rs", "pub struct ConnectionManager;");
    for (path, text) in [
        ("util.rs", ""),
        ("socket/event_handler.rs", ""),
        ("a.rs", "mod core {}"),
    ] {
        assert_eq!(
            rules::naming(&[File::sample(path, text)]).len(),
            1,
            "{path}: {text}"
        );
    }
    passes(
        rules::naming,
        "a.rs",
        "struct Metadata; enum Score { Core } // struct Helper",
    );
}

#[test]
fn nothing_is_named_get() {
    check(
        rules::getters,
        "a.rs",
        "impl A { pub fn get_name(&self) {} }",
    );
    passes(rules::getters, "a.rs", "fn get(&self) {} // fn get_x()");
}

#[test]
fn nothing_unwraps() {
    check(rules::unwraps, "a.rs", "fn f() { g()\n    .unwrap(); }");
    passes(
        rules::unwraps,
        "a.rs",
        "fn f() { g().unwrap_or(1); }\n#[cfg(test)]\nmod tests { fn h() { g().unwrap() } }",
    );
    let apart = [
        File::sample("a/mod.rs", "#[cfg(test)]\nmod tests;"),
        File::sample("a/tests.rs", "fn f() { g().unwrap() }"),
    ];
    assert!(rules::unwraps(&apart).is_empty());
}

#[test]
fn only_the_clock_asks_for_the_time() {
    check(
        rules::time,
        "store/pool.rs",
        "fn f() { let now = std::time::Instant::now(); }",
    );
    passes(rules::time, "clock.rs", "fn f() { Instant::now() }");
}

#[test]
fn only_the_configuration_reads_the_environment() {
    check(
        rules::environment,
        "auth/mod.rs",
        "fn f() { std::env::var(\"X\"); }",
    );
    passes(
        rules::environment,
        "config/mod.rs",
        "fn f() { std::env::var(\"X\"); }",
    );
    passes(
        rules::environment,
        "http/api.rs",
        "const V: &str = env!(\"CARGO_PKG_VERSION\");",
    );
}

#[test]
fn only_workers_and_the_gateway_spawn() {
    check(
        rules::spawning,
        "broker/redis.rs",
        "fn f() { tokio::spawn(async {}); }",
    );
    for text in [
        "use tokio::task::{spawn, yield_now};",
        "fn f() { set.spawn_local(g()); }",
    ] {
        assert_eq!(
            rules::spawning(&[File::sample("pubsub/mod.rs", text)]).len(),
            1,
            "{text}"
        );
    }
    passes(
        rules::spawning,
        "worker/mod.rs",
        "fn f() { tokio::task::spawn_local(g()); }",
    );
    passes(
        rules::spawning,
        "store/sqlite.rs",
        "fn f() { std::thread::spawn(g); }",
    );
}

#[test]
fn only_main_exits() {
    check(
        rules::exits,
        "gateway.rs",
        "fn f() { std::process::exit(1) }",
    );
    passes(
        rules::exits,
        "main.rs",
        "fn main() { std::process::exit(1) }",
    );
}

#[test]
fn the_protocol_is_pure() {
    check(
        rules::purity,
        "protocol/frame.rs",
        "use tokio::io::AsyncRead;",
    );
    passes(rules::purity, "worker/mod.rs", "use tokio::io::AsyncRead;");
}

#[test]
fn the_top_level_holds_what_was_agreed() {
    let found = entries();
    assert!(found.iter().any(|name| name == "src"), "{found:?}");
    let surprise = found
        .iter()
        .filter(|name| !ENTRIES.contains(&name.as_str()));
    assert_eq!(surprise.collect::<Vec<_>>(), Vec::<&String>::new());
}
