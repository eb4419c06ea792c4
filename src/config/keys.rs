//! The table of settings: each is one entry with its name, default, unit, sentence and parser.
//!
//! Nothing else knows the name of a setting: flags, environment, file and reference come from here.

mod auth;
mod limits;
mod node;
mod ports;

use super::settings::Draft;
use super::text::Allowed;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Any text.
    Text,
    /// One of a few words.
    Word,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Count,
    /// A duration: seconds, or with `ms`, `s`, `m`, `h`, `d`.
    Duration,
    /// A size: bytes, or with `KiB`, `MiB`, `GiB`.
    Bytes,
    /// `IP:PORT`.
    Address,
    /// A URL.
    Url,
    /// Texts separated by commas; in the file an array, too.
    List,
}

impl Unit {
    /// Returns its name in the reference.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Word => "word",
            Self::Boolean => "boolean",
            Self::Count => "count",
            Self::Duration => "duration",
            Self::Bytes => "bytes",
            Self::Address => "address",
            Self::Url => "URL",
            Self::List => "list",
        }
    }
}

/// What a setting is when it isn't given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// This value, as one would write it.
    Value(&'static str),
    /// Nothing, or something that is found at start; in words.
    Words(&'static str),
}

/// A setting's flag on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// `--name VALUE`.
    Value {
        /// The name without dashes.
        long: &'static str,
        /// The placeholder in the help.
        placeholder: &'static str,
    },
    /// `--no-name`: sets the value to `false`.
    Off {
        /// The name without dashes.
        long: &'static str,
        /// What is then not done, in a sentence.
        about: &'static str,
    },
}

impl Flag {
    /// Returns the name without dashes.
    pub fn long(self) -> &'static str {
        match self {
            Self::Value { long, .. } | Self::Off { long, .. } => long,
        }
    }
}

/// One setting.
pub struct Key {
    /// Its table in the file; empty for the settings of the node, which stand first.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Its value when it isn't given.
    pub preset: Preset,
    /// What its value is.
    pub unit: Unit,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Its flag, if it has one.
    pub flag: Option<Flag>,
    /// Whether its value is never to be shown.
    pub secret: bool,
    pub(super) set: fn(&mut Draft, &str) -> Result<(), Allowed>,
}

impl Key {
    const fn new(
        section: &'static str,
        name: &'static str,
        preset: &'static str,
        unit: Unit,
        about: &'static str,
        set: fn(&mut Draft, &str) -> Result<(), Allowed>,
    ) -> Self {
        let preset = Preset::Value(preset);
        Self {
            section,
            name,
            preset,
            unit,
            about,
            flag: None,
            secret: false,
            set,
        }
    }

    /// Says the default in words: there is no value that one could write.
    const fn by_default(self, words: &'static str) -> Self {
        Self {
            preset: Preset::Words(words),
            ..self
        }
    }

    const fn flag(self, long: &'static str, placeholder: &'static str) -> Self {
        Self {
            flag: Some(Flag::Value { long, placeholder }),
            ..self
        }
    }

    const fn off_flag(self, long: &'static str, about: &'static str) -> Self {
        Self {
            flag: Some(Flag::Off { long, about }),
            ..self
        }
    }

    const fn secret(self) -> Self {
        Self {
            secret: true,
            ..self
        }
    }

    /// Returns its name with its section: `limits.frame_bytes`, `listen`.
    pub fn path(&self) -> String {
        match self.section {
            "" => self.name.to_owned(),
            section => format!("{section}.{}", self.name),
        }
    }

    /// Returns its name in the environment: `FANFARE_LIMITS__FRAME_BYTES`, `FANFARE_LISTEN`.
    pub fn variable(&self) -> String {
        match self.section {
            "" => format!("FANFARE_{}", self.name.to_uppercase()),
            section => format!("FANFARE_{section}__{}", self.name).to_uppercase(),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path())
    }
}

/// Goes through every setting, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Key> {
    let sections = [
        node::KEYS,
        limits::KEYS,
        limits::DRAIN,
        auth::KEYS,
        auth::PLAYERS,
        ports::TRANSPORT,
        ports::BROKER,
        ports::STORE,
    ];
    sections.into_iter().flatten()
}

/// Stores a value that was read, or passes the error on.
fn put<T>(place: &mut T, read: Result<T, Allowed>) -> Result<(), Allowed> {
    *place = read?;
    Ok(())
}

/// As [`put`], for a setting that may be absent.
fn put_some<T>(place: &mut Option<T>, read: Result<T, Allowed>) -> Result<(), Allowed> {
    *place = Some(read?);
    Ok(())
}
