//! What the tests of settings share: sources that are given instead of the process's own.
//!
//! It never touches the environment of the process.
#![allow(dead_code, reason = "each test program uses some of it")]

use fanfare::config::{Flags, Settings, Sources, keys};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Makes sources; a flag is named by its setting.
pub fn sources(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> Sources {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flag = |(name, value): &(&str, &str)| {
        let key = keys().find(|key| key.path() == *name).expect("a setting");
        (key, (*value).to_owned())
    };
    Sources {
        flags: Flags {
            config: None,
            values: flags.iter().map(flag).collect(),
        },
        environment: environment.iter().map(owned).collect(),
        file: Some((String::from("f.toml"), file.to_owned())),
    }
}

pub fn settings(environment: &[(&str, &str)], file: &str) -> Settings {
    Settings::assemble(&sources(&[], environment, file)).expect("settings")
}

/// Returns the line of the error.
pub fn line(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> String {
    match Settings::assemble(&sources(flags, environment, file)) {
        Ok(settings) => panic!("accepted: {flags:?} {environment:?} {file:?}: {settings:?}"),
        Err(error) => error.to_string(),
    }
}
