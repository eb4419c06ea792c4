//! Reads settings from flags, environment and file, in that order of precedence.
//!
//! A bad value is an error even where a better source overrides it.

use std::ffi::OsString;

use toml::{Table, Value};

use super::channels;
use super::error::{ConfigError, Source, nearest};
use super::keys::{self, Key, Unit};
use super::settings::{Draft, Settings};

/// The environment's name for the path of the file.
const CONFIG_VARIABLE: &str = "FANFARE_CONFIG";

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`: the path of the file.
    pub config: Option<String>,
    /// Each setting that was given, with its value.
    pub values: Vec<(&'static Key, String)>,
}

/// Where settings come from, already read.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The command line.
    pub flags: Flags,
    /// The environment: names and values. Names that don't begin with `FANFARE_` are not looked at.
    pub environment: Vec<(String, String)>,
    /// The file: its path and its text.
    pub file: Option<(String, String)>,
}

impl Settings {
    /// Reads the settings of this process: flags, then environment, then file, then defaults.
    ///
    /// # Errors
    /// [`ConfigError`], the first that is found.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let environment = variables(std::env::vars_os())?;
        let named = environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
        let path = flags.config.as_ref().or(named.map(|(_, path)| path));
        let file = match path {
            None => None,
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
                        path: path.clone(),
                        why: error.to_string(),
                    })?;
                Some((path.clone(), text))
            }
        };
        Self::assemble(&Sources {
            flags: flags.clone(),
            environment,
            file,
        })
    }

    /// Makes settings from sources that were already read.
    ///
    /// # Errors
    /// [`ConfigError`], the first that is found.
    pub fn assemble(sources: &Sources) -> Result<Self, ConfigError> {
        let mut draft = Draft::new();
        if let Some((path, text)) = &sources.file {
            apply_file(&mut draft, path, text)?;
        }
        for (name, value) in &sources.environment {
            apply_variable(&mut draft, name, value)?;
        }
        for (key, value) in &sources.flags.values {
            let name = key.flag.map_or(key.name, |flag| flag.long());
            apply(&mut draft, key, value, Source::Flag(format!("--{name}")))?;
        }
        draft.finish()
    }
}

/// Takes our variables; one that is not UTF-8 is an error.
fn variables(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut ours = Vec::new();
    for (name, value) in all {
        let Some(name) = name.to_str().filter(|name| name.starts_with("FANFARE_")) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => ours.push((name.to_owned(), value)),
            Err(_) => {
                return Err(ConfigError::Value {
                    name: name.to_owned(),
                    source: Source::Environment(name.to_owned()),
                    value: None,
                    allowed: String::from("must be UTF-8"),
                });
            }
        }
    }
    ours.sort();
    Ok(ours)
}

fn apply(draft: &mut Draft, key: &Key, text: &str, source: Source) -> Result<(), ConfigError> {
    (key.set)(draft, text).map_err(|allowed| ConfigError::Value {
        name: key.path(),
        source,
        value: (!key.secret).then(|| text.to_owned()),
        allowed,
    })
}

fn apply_variable(draft: &mut Draft, name: &str, value: &str) -> Result<(), ConfigError> {
    if !name.starts_with("FANFARE_") || name == CONFIG_VARIABLE {
        return Ok(());
    }
    match keys::all().find(|key| key.variable() == name) {
        Some(key) => apply(draft, key, value, Source::Environment(name.to_owned())),
        None if of_kubernetes(name, value) => Ok(()),
        None => {
            let bare = |name: &str| name.trim_start_matches("FANFARE_").to_owned();
            let names: Vec<String> = keys::all().map(|key| bare(&key.variable())).collect();
            let near = nearest(&bare(name), names.iter().map(String::as_str));
            Err(ConfigError::Unknown {
                name: name.to_owned(),
                source: Source::Environment(name.to_owned()),
                near: near.map(|near| format!("FANFARE_{near}")),
            })
        }
    }
}

/// Says whether Kubernetes made a variable for a service whose name begins with `fanfare`.
///
/// It gives every pod `<SERVICE>_SERVICE_HOST`, `<SERVICE>_SERVICE_PORT[_<NAME>]`, `<SERVICE>_PORT` and
/// `<SERVICE>_PORT_<N>_<PROTOCOL>[_PROTO|_PORT|_ADDR]` ("Accessing the Service" in its documentation).
fn of_kubernetes(name: &str, value: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let link = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let part_of_link = || {
        let Some((_, rest)) = name.split_once("_PORT_") else {
            return false;
        };
        let parts: Vec<&str> = rest.split('_').collect();
        match parts.as_slice() {
            [port, "TCP" | "UDP" | "SCTP"] => number(port) && link,
            [port, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"] => number(port),
            _ => false,
        }
    };
    name.ends_with("_SERVICE_HOST")
        || (name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_")) && number(value)
        || name.ends_with("_PORT") && link
        || part_of_link()
}

fn apply_file(draft: &mut Draft, path: &str, text: &str) -> Result<(), ConfigError> {
    let source = Source::File(path.to_owned());
    let table: Table = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        ConfigError::Syntax {
            path: path.to_owned(),
            line,
            why: error.message().to_owned(),
        }
    })?;
    for (name, value) in &table {
        if name == "channels" {
            draft.settings.channels = channels::parse(value, &source)?;
        } else if is_section(name) {
            let Value::Table(section) = value else {
                return Err(ConfigError::Value {
                    name: name.clone(),
                    source,
                    value: None,
                    allowed: format!("must be a section: [{name}]"),
                });
            };
            for (key, value) in section {
                apply_entry(draft, name, key, value, &source)?;
            }
        } else {
            apply_entry(draft, "", name, value, &source)?;
        }
    }
    Ok(())
}

fn is_section(name: &str) -> bool {
    !name.is_empty() && keys::all().any(|key| key.section == name)
}

fn apply_entry(
    draft: &mut Draft,
    section: &str,
    name: &str,
    value: &Value,
    source: &Source,
) -> Result<(), ConfigError> {
    match keys::all().find(|key| key.section == section && key.name == name) {
        Some(key) => match scalar(key, value) {
            Some(text) => apply(draft, key, &text, source.clone()),
            None => Err(ConfigError::Value {
                name: key.path(),
                source: source.clone(),
                value: None,
                allowed: format!("must be one value ({})", key.unit.name()),
            }),
        },
        None => Err(unknown_entry(section, name, value, source)),
    }
}

fn unknown_entry(section: &str, name: &str, value: &Value, source: &Source) -> ConfigError {
    let shown = match (section, value) {
        ("", Value::Table(_)) => format!("[{name}]"),
        ("", _) => name.to_owned(),
        _ => format!("{section}.{name}"),
    };
    let near = match value {
        Value::Table(_) if section.is_empty() => {
            nearest(name, keys::all().map(|key| key.section)).map(|near| format!("[{near}]"))
        }
        _ => {
            let same = keys::all()
                .filter(|key| key.section == section)
                .map(|key| key.name);
            let elsewhere = || keys::all().find(|key| key.name == name).map(Key::path);
            let here = nearest(name, same).map(|near| match section {
                "" => near.to_owned(),
                _ => format!("{section}.{near}"),
            });
            here.or_else(elsewhere)
        }
    };
    ConfigError::Unknown {
        name: shown,
        source: source.clone(),
        near,
    }
}

/// Writes a value of the file as the text that the setting's parser reads.
fn scalar(key: &Key, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Array(items) if key.unit == Unit::List => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Array(_) | Value::Table(_) | Value::Datetime(_) => None,
    }
}
