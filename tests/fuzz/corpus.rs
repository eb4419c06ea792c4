//! The seeds: files of `corpus/<target>/`, named after what becomes of them.
//!
//! It never writes there; crashing inputs go to `target/fuzz/`, to be looked at first.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::targets::Verdict;

/// A file of a corpus.
pub struct Seed {
    pub name: String,
    pub bytes: Vec<u8>,
    /// By its name: `ok-…` or `err-…`.
    pub expected: Verdict,
}

/// Reads a target's seeds, in the order of their names.
pub fn read(target: &str) -> Vec<Seed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let files = folder
        .read_dir()
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| seed(path)).collect()
}

fn seed(path: &Path) -> Seed {
    let name = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let expected = match name.split_once('-') {
        Some(("ok", _)) => Verdict::Taken,
        Some(("err", _)) => Verdict::Refused,
        _ => panic!("{}: neither ok- nor err-", path.display()),
    };
    let bytes = std::fs::read(path).expect("a readable seed");
    Seed {
        name,
        bytes,
        expected,
    }
}

/// Returns a target's seeds that are taken.
pub fn taken(target: &str) -> HashSet<Vec<u8>> {
    let seeds = read(target).into_iter();
    let taken = seeds.filter(|seed| seed.expected == Verdict::Taken);
    taken.map(|seed| seed.bytes).collect()
}
