//! The command line: which command, and which settings are given as flags.
//!
//! It never reads a setting's value; the table of settings does, so that a secret can't be repeated here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};
use url::Url;

use super::error::one_line;
use super::keys::{self, Flag, Key, Preset};
use super::load::Flags;
use super::text;

/// What the process is asked to do.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The command.
    pub command: Command,
    /// The settings among the flags.
    pub flags: Flags,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Runs a node; the default.
    Serve,
    /// Applies the migrations and exits.
    Migrate,
    /// Prints a signed token.
    Token(Grant),
    /// Validates the configuration and tries each dependency.
    Check,
    /// Connects to a node as a client does.
    Probe(Probe),
}

/// What `fanfare token` signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The player's id.
    pub sub: String,
    /// The user name.
    pub name: Option<String>,
    /// How long the token holds. Default 1 h.
    pub ttl: Duration,
}

/// What `fanfare probe` tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// A socket, such as `ws://127.0.0.1:4000/socket`, or a path that answers 2xx, such as
    /// `http://127.0.0.1:4001/readyz`.
    pub url: String,
    /// A topic to join and leave.
    pub topic: Option<String>,
    /// A player to connect as, with a token of the configured secret.
    pub sub: Option<String>,
    /// A PEM file of the authority that signed the node's (or its balancer's) certificate. Default: those of the public web.
    pub ca_file: Option<PathBuf>,
}

/// Why there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Help or version was asked for: this text, for standard output.
    Answer(String),
    /// The command line is wrong: one line.
    Usage(String),
}

impl Invocation {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// As for [`Invocation::parse`].
    pub fn of_process() -> Result<Self, Refusal> {
        Self::parse(std::env::args_os())
    }

    /// Reads a command line; its first word is the program's name.
    ///
    /// # Errors
    /// [`Refusal`], also for `--help` and `--version`.
    pub fn parse<T>(line: impl IntoIterator<Item = T>) -> Result<Self, Refusal>
    where
        T: Into<OsString> + Clone,
    {
        let matches = program().try_get_matches_from(line).map_err(refusal)?;
        let (command, flags) = match matches.subcommand() {
            None | Some(("serve", _)) => (Command::Serve, &matches),
            Some(("migrate", _)) => (Command::Migrate, &matches),
            Some(("check", _)) => (Command::Check, &matches),
            Some(("token", inner)) => (Command::Token(grant(inner)?), &matches),
            Some(("probe", inner)) => (Command::Probe(probe(inner)?), &matches),
            Some((other, _)) => return Err(Refusal::Usage(format!("no command {other:?}"))),
        };
        // Flags may stand before and after the command: clap copies them into both.
        let inner = flags.subcommand().map_or(flags, |(_, inner)| inner);
        Ok(Self {
            command,
            flags: given(inner),
        })
    }
}

fn program() -> clap::Command {
    let command = |name: &'static str, about: &'static str| clap::Command::new(name).about(about);
    let required = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .required(true)
    };
    let optional = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    clap::Command::new("fanfare")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A pub/sub gateway that speaks the Phoenix Channels protocol")
        .after_help(
            "Flags win over the environment, the environment over the file, the file over the defaults.\n\
             Every other setting is in the file, and in the environment as FANFARE_<SECTION>__<KEY>.",
        )
        .disable_help_subcommand(true)
        .arg(
            optional("config", "FILE", "The configuration, a TOML file [env: FANFARE_CONFIG] [default: none]")
                .global(true)
            .help_heading("Settings"),
        )
        .args(keys::all().filter_map(|key| key.flag.map(|flag| setting(key, flag))))
        .subcommand(command("serve", "Runs a node; the default"))
        .subcommand(command("migrate", "Brings the database's tables up to date and exits"))
        .subcommand(command("check", "Validates the configuration, tries each dependency, prints a table"))
        .subcommand(
            command("token", "Prints a signed token (JWT, HS256) for a player")
                .arg(required("sub", "ID", "The player's id"))
                .arg(optional("name", "NAME", "The user name"))
                .arg(optional("ttl", "DURATION", "How long it holds").default_value("1h")),
        )
        .subcommand(
            command("probe", "Connects to a node as a client does, heartbeats, joins and leaves; or GETs a path")
                .arg(required("url", "URL", "A socket, such as ws://127.0.0.1:4000/socket, or http://127.0.0.1:4001/readyz"))
                .arg(optional("topic", "TOPIC", "A topic to join and leave [default: none]"))
                .arg(optional("sub", "ID", "A player to connect as, with a token of the configured secret [default: none]"))
                .arg(optional("ca-file", "FILE", "PEM file of the authority behind wss:// or https:// [default: the public web's authorities]")),
        )
}

fn setting(key: &'static Key, flag: Flag) -> Arg {
    let default = match key.preset {
        Preset::Value(value) => value,
        Preset::Words(words) => words,
    };
    let about = key.about.trim_end_matches('.').replace('`', "");
    let variable = key.variable();
    let arg = Arg::new(key.name).global(true).help_heading("Settings");
    match flag {
        Flag::Value { long, placeholder } => arg
            .long(long)
            .value_name(placeholder)
            .help(format!("{about} [env: {variable}] [default: {default}]")),
        Flag::Off { long, about } => arg
            .long(long)
            .action(ArgAction::SetTrue)
            .help(format!("{about} [env: {variable}=false]")),
    }
}

fn given(matches: &ArgMatches) -> Flags {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let value = |key: &Key| match key.flag? {
        Flag::Value { .. } => text(key.name),
        Flag::Off { .. } => matches.get_flag(key.name).then(|| String::from("false")),
    };
    Flags {
        config: text("config"),
        values: keys::all()
            .filter_map(|key| value(key).map(|text| (key, text)))
            .collect(),
    }
}

fn grant(matches: &ArgMatches) -> Result<Grant, Refusal> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let ttl = text("ttl").unwrap_or_default();
    Ok(Grant {
        sub: text("sub").unwrap_or_default(),
        name: text("name"),
        ttl: text::seconds(&ttl, 1, 3_650 * 86_400)
            .map_err(|allowed| Refusal::Usage(format!("--ttl {ttl:?}: {allowed}")))?,
    })
}

fn probe(matches: &ArgMatches) -> Result<Probe, Refusal> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let url = text("url").unwrap_or_default();
    let (topic, sub) = (text("topic"), text("sub"));
    let ca_file = text("ca-file").map(PathBuf::from);
    let scheme = Url::parse(&url)
        .ok()
        .filter(Url::has_host)
        .map(|url| url.scheme().to_owned());
    match scheme.as_deref() {
        Some("ws" | "wss") => {}
        Some("http" | "https") if topic.is_none() && sub.is_none() => {}
        Some("http" | "https") => {
            return Err(Refusal::Usage(String::from(
                "--topic and --sub are for a socket, such as --url ws://127.0.0.1:4000/socket",
            )));
        }
        // The URL may hold a token, so it is not repeated.
        _ => {
            return Err(Refusal::Usage(String::from(
                "--url: must be ws://, wss://, http:// or https://, such as ws://127.0.0.1:4000/socket",
            )));
        }
    }
    Ok(Probe {
        url,
        topic,
        sub,
        ca_file,
    })
}

fn refusal(error: clap::Error) -> Refusal {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Answer(error.to_string()),
        _ => {
            let text = error.to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            let line = one_line(first.trim_start_matches("error:"));
            Refusal::Usage(format!("{line}; see fanfare --help"))
        }
    }
}
