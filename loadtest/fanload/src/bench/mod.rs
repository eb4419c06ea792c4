//! The benchmark: every scenario against Fanfare and its floor, one table, one file of JSON.
//!
//! It starts all that it needs on free ports of this machine and ends it again.

mod cluster;
mod finding;
mod fleet;
mod generator;
mod node;
mod postgres;
pub mod process;
mod scenario;
mod settings;
mod table;

mod delivery;
mod records;
mod sockets;

use std::io;

use finding::Row;
use scenario::Scenario;
use settings::Settings;

/// Runs the scenarios that the environment names, prints the table and writes it.
///
/// `BENCH_ONLY`: names with commas between, default all. `BENCH_RUNS`: 5. `BENCH_SECONDS`: 4, of a measurement.
/// `BENCH_SOCKETS`: 15,000, a node's in the large scenarios. `BENCH_FANFARE`: the node, default beside this program.
///
/// # Errors
/// For a setting that is none, and when a scenario could not be run; a target that is missed is no error.
pub fn run() -> io::Result<()> {
    let settings = Settings::read()?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for scenario in settings.chosen.iter().copied() {
        match measure(scenario, &settings) {
            Ok(measured) => {
                eprint!("{}", table::print(&measured));
                rows.extend(measured);
            }
            Err(error) => {
                eprintln!("{}: {error}", scenario.name());
                failures.push(scenario.name());
            }
        }
    }
    print!("{}", table::print(&rows));
    let path = table::write(&rows, &settings)?;
    println!("\nwritten to {}", path.display());
    match failures.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "not measured: {}",
            failures.join(", ")
        ))),
    }
}

fn measure(scenario: Scenario, settings: &Settings) -> io::Result<Vec<Row>> {
    let runs = scenario.runs(settings.runs);
    let mut all = Vec::new();
    for run in 1..=runs {
        eprintln!("{} {run}/{runs}", scenario.name());
        all.push(scenario.run(settings)?);
    }
    Ok(finding::medians(scenario.name(), &all))
}
