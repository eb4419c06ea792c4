//! What is wrong with a configuration, in one line each.
//!
//! A line names the setting, where it came from and what is allowed; it never shows a secret.

use std::fmt;

/// Longest value that an error repeats, in characters.
const SHOWN_MAX: usize = 80;

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag, such as `--listen`.
    Flag(String),
    /// A variable of the environment.
    Environment(String),
    /// A file, by its path.
    File(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

/// Why a node is not started with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The file can't be read.
    Unreadable {
        /// Its path.
        path: String,
        /// The system's reason.
        why: String,
    },
    /// The file is not TOML.
    Syntax {
        /// Its path.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The parser's reason.
        why: String,
    },
    /// There is no such setting.
    Unknown {
        /// The name as given.
        name: String,
        /// Where it was given.
        source: Source,
        /// The setting that may be meant.
        near: Option<String>,
    },
    /// A setting's value is not allowed.
    Value {
        /// The setting.
        name: String,
        /// Where it was given.
        source: Source,
        /// The value; `None` for a secret.
        value: Option<String>,
        /// What is allowed, beginning with `must`.
        allowed: String,
    },
    /// Settings that are allowed alone are not allowed together, or one is missing.
    Conflict(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => write!(f, "cannot read the file {path}: {why}"),
            Self::Syntax { path, line, why } => {
                // The parser's own text would repeat the line, which may hold a secret.
                write!(f, "file {path}, line {line}: {}", one_line(why))
            }
            Self::Unknown { name, source, near } => {
                match source {
                    // The name is the variable's own.
                    Source::Environment(_) => write!(f, "{name} (environment)")?,
                    Source::Flag(_) | Source::File(_) => write!(f, "{name} ({source})")?,
                }
                f.write_str(": is not a setting")?;
                match near {
                    Some(near) => write!(f, "; is {near} meant?"),
                    None => Ok(()),
                }
            }
            Self::Value {
                name,
                source,
                value: Some(value),
                allowed,
            } => {
                write!(f, "{name} = {} ({source}): {allowed}", shown(value))
            }
            Self::Value {
                name,
                source,
                value: None,
                allowed,
            } => {
                write!(f, "{name} ({source}): {allowed}")
            }
            Self::Conflict(line) => f.write_str(line),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Puts a text on one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

/// Finds the name that `given` most likely means: at most three edits away.
pub fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (edits(given, name), name))
        .filter(|(edits, name)| *edits <= 3 && *edits < name.len().div_ceil(2))
        .min()
        .map(|(_, name)| name)
}

/// Counts the insertions, deletions and substitutions between two short texts.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(SHOWN_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_within_three_edits() {
        let names = ["frame_bytes", "topic_bytes", "topics"];
        let check = |given, expected| assert_eq!(nearest(given, names.into_iter()), expected);
        check("frame_byte", Some("frame_bytes"));
        check("framebytes", Some("frame_bytes"));
        check("topic", Some("topics"));
        check("entirely_different", None);
        check("", None);
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown("a\nb"), r#""a\nb""#);
        assert_eq!(
            shown(&"é".repeat(100)),
            format!("\"{}\"…", "é".repeat(SHOWN_MAX))
        );
    }
}
