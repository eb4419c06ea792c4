//! How the benchmark is run, from the environment.
//!
//! A value that can't be read is an error, never a default.

use std::env;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use super::scenario::Scenario;

/// How the benchmark is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which scenarios.
    pub chosen: Vec<Scenario>,
    /// Runs of each scenario; the median counts.
    pub runs: usize,
    /// Seconds of a measurement.
    pub seconds: f64,
    /// Sockets of a node in the large scenarios.
    pub sockets: usize,
    /// The node's program.
    pub fanfare: PathBuf,
    /// The floor's program.
    pub floor: PathBuf,
    /// This program, which is the generator too.
    pub fanload: PathBuf,
    /// Where the JSON goes.
    pub out: PathBuf,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// For a value that is none, and for a program that is not there.
    pub fn read() -> io::Result<Self> {
        let fanload = env::current_exe()?;
        let beside = |name: &str| fanload.with_file_name(name);
        let settings = Self {
            chosen: chosen(&env::var("BENCH_ONLY").unwrap_or_default())?,
            runs: number("BENCH_RUNS", 5)?,
            seconds: number("BENCH_SECONDS", 4.0)?,
            sockets: number("BENCH_SOCKETS", 15_000)?,
            fanfare: env::var_os("BENCH_FANFARE").map_or_else(|| beside("fanfare"), PathBuf::from),
            floor: beside("floor"),
            out: fanload.with_file_name("../bench"),
            fanload,
        };
        for program in [&settings.fanfare, &settings.floor] {
            if !program.exists() {
                let why = format!("{} is not there: `make bench` builds it", program.display());
                return Err(io::Error::other(why));
            }
        }
        Ok(settings)
    }
}

fn number<T: FromStr + Copy>(name: &str, default: T) -> io::Result<T> {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .map_err(|_| io::Error::other(format!("{name}: {text:?} is no number"))),
        Err(_) => Ok(default),
    }
}

fn chosen(names: &str) -> io::Result<Vec<Scenario>> {
    if names.is_empty() {
        return Ok(Scenario::ALL.to_vec());
    }
    let of = |name: &str| {
        let found = Scenario::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| {
            let all = Scenario::ALL.map(Scenario::name).join(", ");
            io::Error::other(format!("BENCH_ONLY: no scenario {name:?}; there are {all}"))
        })
    };
    names.split(',').map(str::trim).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_name() {
        assert_eq!(chosen("").unwrap().len(), Scenario::ALL.len());
        let two = chosen("saturation, flatness").unwrap();
        assert_eq!(two, [Scenario::Saturation, Scenario::Flatness]);
        assert!(
            chosen("saturatoin")
                .unwrap_err()
                .to_string()
                .contains("many-nodes")
        );
    }
}
