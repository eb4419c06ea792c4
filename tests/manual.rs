//! The manual and the README against the program: settings, metrics, crates, links, and the lines to type.
//!
//! It never judges prose; it finds what is missing, stale or does not work.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use fanfare::config::Settings;
use support::node::Setup;
use support::ws::{Frame, Handshake};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(project().join(path));
    text.unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// The files below a directory whose names end so.
fn files(below: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).expect("a directory of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found
}

/// The names that begin so, with small letters and `_` behind.
fn names(text: &str, start: &str) -> Vec<String> {
    let of = |(at, _)| {
        let rest = text[at..].chars();
        let name: String = rest
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect();
        name
    };
    text.match_indices(start).map(of).collect()
}

#[test]
fn the_page_of_settings_is_what_the_table_says() {
    let page = read("src/manual/settings.md");
    assert!(
        page == Settings::reference_markdown(),
        "src/manual/settings.md is out of date: run `make reference`"
    );
}

#[test]
fn every_metric_is_explained() {
    let page = read("src/manual/operators.md");
    let mut count = 0;
    for path in files(&project().join("src"), ".rs") {
        let text = fs::read_to_string(&path).expect("UTF-8 source");
        for name in names(&text, "fanfare_") {
            count += 1;
            let row = ["{", "`"].map(|end| format!("| `{name}{end}"));
            let explained = row.iter().any(|row| page.contains(row));
            assert!(explained, "`{name}` of {} is not there", path.display());
        }
    }
    assert!(count > 30, "only {count} metrics found");
}

#[test]
fn every_explained_metric_exists() {
    let sources = files(&project().join("src"), ".rs");
    let text: String = sources
        .iter()
        .map(|path| fs::read_to_string(path).expect("UTF-8 source"))
        .collect();
    for name in names(&read("src/manual/operators.md"), "fanfare_") {
        assert!(text.contains(&name), "`{name}` is in no source");
    }
}

#[test]
fn every_explained_metric_is_there_from_the_start() {
    let node = Setup::new().start();
    let page = support::http::get(node.admin, "/metrics").body;
    for name in names(&read("src/manual/operators.md"), "fanfare_") {
        let there = page.contains(&format!("# TYPE {name} "));
        assert!(there, "`{name}` is not");
    }
}

#[test]
fn every_crate_is_accounted_for() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let page = read("src/manual/dependencies.md");
    let mut wanted = Vec::new();
    for section in ["dependencies", "dev-dependencies"] {
        let crates = manifest[section].as_table().expect("a table");
        wanted.extend(crates.keys().cloned());
    }
    let lines = page.lines().filter_map(|line| line.strip_prefix("- `"));
    let mut listed: Vec<String> = lines
        .filter_map(|line| Some(line.split_once("`: ")?.0.to_owned()))
        .collect();
    wanted.sort();
    wanted.dedup();
    listed.sort();
    assert_eq!(listed, wanted);
}

#[test]
fn every_link_leads_to_a_file() {
    let mut pages = files(&project().join("src"), ".md");
    pages.push(project().join("README.md"));
    let mut count = 0;
    for page in pages {
        let text = fs::read_to_string(&page).expect("UTF-8 text");
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            // Addresses and paths of rustdoc are checked elsewhere, or not at all.
            if target.contains("://") || target.contains("::") {
                continue;
            }
            count += 1;
            let found = page.parent().expect("a directory").join(target);
            assert!(found.exists(), "{}: {target}", page.display());
        }
    }
    assert!(count > 5, "only {count} links found");
}

#[test]
fn every_page_is_in_rustdoc() {
    let index = read("src/manual/mod.rs");
    let root = project().join("src/manual");
    for page in files(&root, ".md") {
        let name = page.strip_prefix(&root).expect("below the manual");
        let line = format!("include_str!(\"{}\")", name.display());
        assert!(index.contains(&line), "{} is not there", name.display());
    }
}

/// Compares with `…` for whatever the server made.
fn fits(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    for (at, part) in pattern.split('…').enumerate() {
        match rest.find(part) {
            Some(0) if at == 0 => rest = &rest[part.len()..],
            Some(found) if at > 0 => rest = &rest[found + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || pattern.ends_with('…')
}

#[test]
fn the_lines_of_the_readme_can_be_typed() {
    let readme = read("README.md");
    let lines: Vec<_> = readme
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(mark, rest)| matches!(*mark, ">" | "<") && rest.starts_with('['))
        .collect();
    assert_eq!(lines.len(), 6, "{lines:?}");
    let node = Setup::new().start();
    let mut wire = Handshake::new(node.clients, "vsn=2.0.0")
        .open()
        .expect("a guest on loopback");
    for (mark, frame) in lines {
        if mark == ">" {
            wire.text(frame);
            continue;
        }
        // Presence, replies and the old channel's close come in between.
        loop {
            match wire.read() {
                Frame::Text(text) if fits(frame, &text) => break,
                Frame::Text(_) => {}
                other => panic!("{other:?} instead of {frame}"),
            }
        }
    }
}
