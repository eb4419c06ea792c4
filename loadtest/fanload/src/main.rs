//! The program `fanload`: one generator, the whole benchmark, or the simulated storm.
//!
//! It only reads the command line and prints; the work is in the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fanload::plan::Plan;
use fanload::storm;
use fanload::{bench, measure};

#[derive(Parser)]
#[command(about = "Measures pub/sub gateways", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Opens sockets on a server, publishes, and prints one line of JSON.
    Run(Box<Plan>),
    /// Runs every scenario against Fanfare and its floor, prints a table, writes it as JSON.
    Bench,
    /// Simulates a reconnect storm and prints its table; writes its picture where told.
    Storm {
        /// The seed of the simulated chances.
        #[arg(long, default_value_t = storm::SEED)]
        seed: u64,
        /// Where the picture goes.
        #[arg(long)]
        svg: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(plan) => measure::run(*plan).map(|report| {
            let line = serde_json::to_string(&report);
            println!("{}", line.expect("numbers and text have a JSON form"));
        }),
        Command::Bench => bench::run(),
        Command::Storm { seed, svg } => {
            let told = storm::tell(seed);
            print!("{}", told.table);
            svg.map_or(Ok(()), |path| std::fs::write(path, told.picture))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanload: {error}");
            ExitCode::FAILURE
        }
    }
}
