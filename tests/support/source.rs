//! Rust source as tokens: just enough of the language to check the rules of the house.
//!
//! It never parses expressions or types; comments and the contents of literals are gone.

use std::fs;
use std::path::{Path, PathBuf};

/// A word or a sign, and the line that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// The word; `::` and `->` are one sign each; a literal is `"`.
    pub text: &'a str,
    /// Its line, from 1.
    pub line: usize,
}

/// A source file: where it lies below `src/`, and its text.
#[derive(Debug, Clone)]
pub struct File {
    /// The path below the directory that was read, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl File {
    /// Makes a file for a self-check.
    pub fn sample(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The module path below the crate: `a/b/mod.rs` and `a/b.rs` are both `["a", "b"]`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs");
        let path = path.strip_suffix("/mod").unwrap_or(path);
        path.split('/').collect()
    }
}

/// Reads every `.rs` file below `root`, in the order of their paths.
pub fn read_tree(root: &Path) -> Vec<File> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of the project") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.extend((!path.ends_with("node_modules")).then_some(path));
            } else if path.extension().is_some_and(|end| end == "rs") {
                let below = path.strip_prefix(root).expect("below the root");
                found.push(File {
                    path: below.to_string_lossy().replace('\\', "/"),
                    text: fs::read_to_string(&path).expect("UTF-8 source"),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Splits source into tokens; lifetimes become nothing.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let bytes = source.as_bytes();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < bytes.len() {
        let (end, kind) = next(source, at);
        let text = match kind {
            Kind::Word | Kind::Sign => Some(&source[at..end]),
            Kind::Literal => Some("\""),
            Kind::Nothing => None,
        };
        found.extend(text.map(|text| Token { text, line }));
        line += source[at..end].matches('\n').count();
        at = end;
    }
    found
}

enum Kind {
    Word,
    Sign,
    Literal,
    Nothing,
}

fn next(source: &str, at: usize) -> (usize, Kind) {
    let rest = &source[at..];
    let first = rest.chars().next().expect("not at the end");
    if rest.starts_with("//") {
        return (at + rest.find('\n').unwrap_or(rest.len()), Kind::Nothing);
    }
    if rest.starts_with("/*") {
        return (at + comment(rest), Kind::Nothing);
    }
    if let Some(length) = raw_string(rest) {
        return (at + length, Kind::Literal);
    }
    if first == '"' {
        return (at + quoted(rest), Kind::Literal);
    }
    if first == '\'' {
        return quote(rest, at);
    }
    if first.is_alphanumeric() || first == '_' {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
        return (at + end, Kind::Word);
    }
    if rest.starts_with("::") || rest.starts_with("->") {
        return (at + 2, Kind::Sign);
    }
    let kind = if first.is_whitespace() {
        Kind::Nothing
    } else {
        Kind::Sign
    };
    (at + first.len_utf8(), kind)
}

/// The length of a block comment, which may hold others.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` and the like; `None` when it is something else.
fn raw_string(rest: &str) -> Option<usize> {
    let start = ["r", "br", "cr"].iter().find_map(|prefix| {
        let after = rest.strip_prefix(prefix)?;
        after.starts_with(['"', '#']).then_some(prefix.len())
    })?;
    let hashes = rest[start..].bytes().take_while(|b| *b == b'#').count();
    let body = start + hashes;
    if !rest[body..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let found = rest[body + 1..].find(&close)?;
    Some(body + 1 + found + close.len())
}

/// The length of a string with escapes.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal or a lifetime.
fn quote(rest: &str, at: usize) -> (usize, Kind) {
    let mut chars = rest.char_indices().skip(1);
    let Some((_, first)) = chars.next() else {
        return (at + 1, Kind::Nothing);
    };
    if first == '\\' {
        let close = rest[3..].find('\'').map_or(rest.len(), |found| found + 4);
        return (at + close, Kind::Literal);
    }
    match chars.next() {
        Some((close, '\'')) => (at + close + 1, Kind::Literal),
        _ => {
            let name = rest[1..]
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len() - 1);
            (at + 1 + name, Kind::Nothing)
        }
    }
}

/// The index of the sign that closes what `open` opens; the last token when it is missing.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let (up, down) = match tokens[open].text {
        "{" => ("{", "}"),
        "(" => ("(", ")"),
        _ => ("[", "]"),
    };
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.text == up {
            depth += 1;
        } else if token.text == down {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    tokens.len() - 1
}

/// The index of the first `{` or `;` that belongs to the item at `from`: its body, or its end.
pub fn body(tokens: &[Token], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "(" | "[" => at = closing(tokens, at),
            "{" | ";" => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

const TEST_ONLY: [&[&str]; 2] = [
    &["#", "[", "cfg", "(", "test", ")", "]"],
    &["#", "[", "cfg", "(", "all", "(", "test"],
];

/// Where each sequence of words begins.
pub fn find<'t>(tokens: &'t [Token], words: &'t [&'t str]) -> impl Iterator<Item = usize> + 't {
    (0..tokens.len()).filter(move |at| follows(&tokens[*at..], words))
}

fn follows(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() >= words.len() && words.iter().zip(tokens).all(|(word, t)| *word == t.text)
}

/// Leaves out the items that are compiled for tests only.
pub fn production<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if !TEST_ONLY.iter().any(|words| follows(&tokens[at..], words)) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        let attribute = closing(tokens, at + 1);
        at = match body(tokens, attribute + 1) {
            Some(open) if tokens[open].text == "{" => closing(tokens, open) + 1,
            Some(end) => end + 1,
            None => tokens.len(),
        };
    }
    kept
}

/// The names of modules in files of their own that are compiled for tests only.
pub fn test_modules(tokens: &[Token]) -> Vec<String> {
    let attributes = find(tokens, TEST_ONLY[0]);
    let names = attributes.filter_map(|at| {
        let after = &tokens[at + TEST_ONLY[0].len()..];
        let start = after.iter().position(|t| t.text == "mod")?;
        let file = start <= 4 && after.get(start + 2)?.text == ";";
        file.then(|| after[start + 1].text.to_owned())
    });
    names.collect()
}
