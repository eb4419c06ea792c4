//! What the house forbids, as functions from source files to the places that break a rule.
//!
//! They never read the disk; `architecture.rs` hands them the tree and small bad samples.

use super::source::{File, Token, body, closing, find, production, test_modules, tokens};

/// Lines of a file.
pub const FILE_LINES_MAX: usize = 500;
/// Lines of a function.
pub const FUNCTION_LINES_MAX: usize = 70;
const WORDS_REFUSED: [&str; 14] = [
    "manager",
    "managers",
    "handler",
    "handlers",
    "helper",
    "helpers",
    "util",
    "utils",
    "common",
    "core",
    "data",
    "misc",
    "stuff",
    "utilities",
];

/// Every module and the floor it is on.
const FLOORS: [(&str, u8); 22] = [
    ("main", 5),
    ("gateway", 5),
    ("drain", 5),
    ("config", 5),
    ("http", 4),
    ("worker", 3),
    ("transport", 2),
    ("pubsub", 2),
    ("broker", 2),
    ("presence", 2),
    ("store", 2),
    ("socket", 1),
    ("channel", 1),
    ("channels", 1),
    ("protocol", 0),
    ("auth", 0),
    ("clock", 0),
    ("backoff", 0),
    ("limits", 0),
    ("tls", 0),
    ("metrics", 0),
    ("manual", 0),
];

/// The arrows between modules of one floor.
const ARROWS: [(&str, &str); 11] = [
    ("auth", "tls"),
    ("socket", "channel"),
    ("channels", "channel"),
    ("pubsub", "broker"),
    ("presence", "pubsub"),
    ("main", "gateway"),
    ("main", "config"),
    ("main", "drain"),
    ("gateway", "config"),
    ("gateway", "drain"),
    ("config", "drain"),
];

/// A rule: what it finds wrong, one line each.
pub type Rule = fn(&[File]) -> Vec<String>;

/// Files that are compiled for tests only: their paths without `.rs` or `/mod.rs`.
fn test_only(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let mut at = file.module().join("/");
        if matches!(at.as_str(), "lib" | "main") {
            at.clear();
        }
        let names = test_modules(&tokens(&file.text));
        found.extend(
            names
                .iter()
                .map(|name| format!("{at}/{name}").trim_matches('/').to_owned()),
        );
    }
    found
}

/// Runs `check` over the production tokens of each file.
fn each(
    files: &[File],
    check: impl Fn(&File, &[Token], &mut dyn FnMut(usize, String)),
) -> Vec<String> {
    let skipped = test_only(files);
    let mut found = Vec::new();
    for file in files {
        let module = file.module().join("/");
        let skip = |test: &String| module == *test || module.starts_with(&format!("{test}/"));
        if !skipped.iter().any(skip) {
            let tokens = production(&tokens(&file.text));
            check(file, &tokens, &mut |line, what| {
                found.push(format!("{}:{line}: {what}", file.path));
            });
        }
    }
    found
}

/// Runs `refuse` over the places of some sequences of words, outside of the modules that may.
fn refused(files: &[File], words: &[&[&str]], may: fn(&File) -> bool, why: &str) -> Vec<String> {
    each(files, |file, tokens, say| {
        for words in words.iter().filter(|_| !may(file)) {
            for at in find(tokens, words) {
                say(tokens[at].line, format!("`{}`: {why}", words.concat()));
            }
        }
    })
}

fn within(file: &File, module: &str) -> bool {
    file.module()[0] == module
}

/// Files that do not open with what they are.
pub fn opening(files: &[File]) -> Vec<String> {
    let opens = |file: &&File| !file.text.starts_with("//! ");
    let say = |file: &File| format!("{}:1: does not open with `//!`", file.path);
    files.iter().filter(opens).map(say).collect()
}

/// Files that are too long.
pub fn size(files: &[File]) -> Vec<String> {
    let lines = |file: &File| file.text.lines().count();
    let long = files.iter().filter(|file| lines(file) > FILE_LINES_MAX);
    long.map(|file| format!("{}: {} lines", file.path, lines(file)))
        .collect()
}

/// Functions that are too long, tests included.
pub fn functions(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let tokens = tokens(&file.text);
        for at in find(&tokens, &["fn"]) {
            let name = tokens.get(at + 1).map_or("", |token| token.text);
            let named = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
            let Some(open) = body(&tokens, at).filter(|open| named && tokens[*open].text == "{")
            else {
                continue;
            };
            let lines = tokens[closing(&tokens, open)].line - tokens[at].line + 1;
            if lines > FUNCTION_LINES_MAX {
                found.push(format!(
                    "{}:{}: `{name}` has {lines} lines",
                    file.path, tokens[at].line
                ));
            }
        }
    }
    found
}

/// The names right below the crate's root that a file speaks of, with their lines.
fn roots<'t>(file: &File, tokens: &'t [Token<'t>]) -> Vec<Token<'t>> {
    let depth = match file.path.as_str() {
        "lib.rs" | "main.rs" => 0,
        _ => file.module().len(),
    };
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        let mut supers = 0;
        while tokens[at].text == "super" && tokens.get(at + 1).is_some_and(|t| t.text == "::") {
            supers += 1;
            at += 2;
        }
        let root = matches!(tokens[at].text, "crate" | "fanfare")
            && tokens.get(at + 1).is_some_and(|t| t.text == "::");
        at += if root { 2 } else { 0 };
        if root || (supers > 0 && supers >= depth) {
            found.extend(firsts(tokens, at));
        }
        at = at.max(start + 1);
    }
    found
}

/// The first names of a path or of each path in a group.
fn firsts<'t>(tokens: &'t [Token<'t>], at: usize) -> Vec<Token<'t>> {
    match tokens.get(at) {
        Some(token) if token.text == "{" => {
            let (close, mut from, mut found) = (closing(tokens, at), at + 1, Vec::new());
            while from < close {
                found.push(tokens[from]);
                while from < close && tokens[from].text != "," {
                    let group = tokens[from].text == "{";
                    from = if group { closing(tokens, from) } else { from } + 1;
                }
                from += 1;
            }
            found
        }
        Some(token) => vec![*token],
        None => Vec::new(),
    }
}

fn floor(module: &str) -> Option<u8> {
    let found = FLOORS.iter().find(|(name, _)| *name == module);
    found.map(|(_, floor)| *floor)
}

fn may_import(from: &str, to: &str) -> bool {
    let (Some(above), Some(below)) = (floor(from), floor(to)) else {
        return false;
    };
    let drawn = from == to || ARROWS.contains(&(from, to));
    drawn || above > below
}

/// Imports that do not go down, and modules without a floor.
pub fn direction(files: &[File]) -> Vec<String> {
    each(files, |file, tokens, say| {
        let module = file.module()[0];
        if module == "lib" {
            return;
        }
        if floor(module).is_none() {
            return say(1, format!("`{module}` has no floor"));
        }
        for name in roots(file, tokens) {
            if !may_import(module, name.text) {
                say(name.line, format!("`{module}` imports `{}`", name.text));
            }
        }
    })
}

/// The words of a name in any case: `OpenHTTPSocket` and `open_http_socket` have three.
fn words(name: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let letters: Vec<char> = name.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| letters[before]);
        let after_small = before.is_some_and(|c| c.is_lowercase() || c == '_');
        let before_small = letters.get(at + 1).is_some_and(|c| c.is_lowercase());
        let starts = letter.is_uppercase() && (after_small || before_small);
        if found.is_empty() || starts || before == Some('_') {
            found.push(String::new());
        }
        let last = found.last_mut().expect("at least one word");
        last.extend(letter.to_lowercase().filter(|c| *c != '_'));
    }
    found
}

/// Files, modules and types with a name that says nothing.
pub fn naming(files: &[File]) -> Vec<String> {
    let bad = |name: &str| {
        words(name)
            .iter()
            .any(|word| WORDS_REFUSED.contains(&word.as_str()))
    };
    each(files, |file, tokens, say| {
        let name = *file.module().last().expect("a name");
        if bad(name) {
            say(1, format!("a file named `{name}`"));
        }
        for kind in ["mod", "struct", "enum", "trait", "type", "union"] {
            for at in find(tokens, &[kind]) {
                let name = tokens.get(at + 1).map_or("", |token| token.text);
                if bad(name) {
                    say(tokens[at].line, format!("a {kind} named `{name}`"));
                }
            }
        }
    })
}

/// Functions named `get_…`.
pub fn getters(files: &[File]) -> Vec<String> {
    each(files, |_, tokens, say| {
        for at in find(tokens, &["fn"]) {
            let name = tokens.get(at + 1).map_or("", |token| token.text);
            if name.starts_with("get_") {
                say(tokens[at].line, format!("a function named `{name}`"));
            }
        }
    })
}

/// Calls of `unwrap`.
pub fn unwraps(files: &[File]) -> Vec<String> {
    let why = "say `expect` with the invariant, or return an error";
    refused(files, &[&[".", "unwrap", "("]], |_| false, why)
}

/// Questions for the time outside of `clock`.
pub fn time(files: &[File]) -> Vec<String> {
    let words: [&[&str]; 4] = [
        &["Instant", "::", "now"],
        &["SystemTime", "::", "now"],
        &["OffsetDateTime", "::", "now_utc"],
        &["UtcDateTime", "::", "now"],
    ];
    refused(
        files,
        &words,
        |file| within(file, "clock"),
        "only `clock` asks for the time",
    )
}

/// Reads of the environment outside of `config` and `main`.
pub fn environment(files: &[File]) -> Vec<String> {
    let words: [&[&str]; 3] = [
        &["std", "::", "env"],
        &["env", "::", "var"],
        &["env", "::", "vars"],
    ];
    let may = |file: &File| within(file, "config") || within(file, "main");
    let mut found = refused(files, &words, may, "only `config` reads the environment");
    found.dedup_by_key(|line| line.split(": ").next().unwrap_or_default().to_owned());
    found
}

/// Tasks and threads made outside of `worker`, `gateway` and the SQLite store.
pub fn spawning(files: &[File]) -> Vec<String> {
    let may = |file: &File| {
        within(file, "worker") || within(file, "gateway") || file.path.starts_with("store/sqlite")
    };
    each(files, |file, tokens, say| {
        for pair in tokens.windows(2).filter(|_| !may(file)) {
            let path = matches!(pair[0].text, "::" | "." | "{" | ",");
            let call = pair[1].text == "spawn" && path || pair[1].text.starts_with("spawn_");
            if call && pair[0].text != "fn" {
                say(
                    pair[1].line,
                    format!("`{}`: only worker and gateway spawn", pair[1].text),
                );
            }
        }
    })
}

/// Exits outside of `main`.
pub fn exits(files: &[File]) -> Vec<String> {
    let words: [&[&str]; 2] = [&["process", "::", "exit"], &["process", "::", "abort"]];
    refused(
        files,
        &words,
        |file| within(file, "main"),
        "only `main` exits",
    )
}

/// I/O in `protocol`.
pub fn purity(files: &[File]) -> Vec<String> {
    let words: [&[&str]; 4] = [
        &["tokio"],
        &["std", "::", "net"],
        &["std", "::", "fs"],
        &["std", "::", "io"],
    ];
    refused(
        files,
        &words,
        |file| !within(file, "protocol"),
        "`protocol` is pure",
    )
}
