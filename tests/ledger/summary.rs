//! What the long set came to, by fault: a file each, and a table of all for the manual.
//!
//! It keeps what earlier runs of other faults wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Fault;
use super::run::Outcome;

fn folder() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    target.expect("target/tmp").join("faults")
}

/// Writes what the runs of a fault came to, and the table anew.
pub fn write(fault: Fault, size: &str, outcomes: &[Outcome]) {
    let folder = folder();
    fs::create_dir_all(&folder).expect("target/faults");
    let mut late: Vec<Duration> = outcomes.iter().map(|one| one.recovery).collect();
    late.sort_unstable();
    let seconds = |time: Option<&Duration>| time.map(|time| time.as_secs_f64());
    let broken: Vec<u64> = outcomes
        .iter()
        .filter(|one| !one.is_clean())
        .map(|one| one.seed)
        .collect();
    let total = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let found = json!({
        "fault": fault.name(),
        "size": size,
        "seeds": outcomes.len(),
        "broken_seeds": broken,
        "recovery_median_s": seconds(late.get(late.len().saturating_sub(1) / 2)),
        "recovery_worst_s": seconds(late.last()),
        "stored_per_second": outcomes.iter().map(|one| one.rate).fold(f64::MAX, f64::min),
        "records": total(|one| one.acked as u64),
        "deliveries": total(|one| one.deliveries as u64),
        "joins": total(|one| one.joins as u64),
        "healed": total(|one| one.counters.healed),
        "resent": total(|one| one.counters.resent),
        "gap_ids": total(|one| one.records.gap_ids),
        "relay_told": total(|one| one.relays.told),
        "relay_untold": total(|one| one.relays.untold),
        "slowest_relay_s": outcomes.iter().map(|one| one.delays.slowest.as_secs_f64()).fold(0.0, f64::max),
        "peak_mib": outcomes.iter().map(|one| one.counters.peak_kib / 1_024).max(),
    });
    let text = serde_json::to_string_pretty(&found).expect("JSON");
    let file = folder.join(format!("{}.json", fault.name()));
    fs::write(file, text + "\n").expect("target/faults");
    fs::write(folder.join("table.md"), table(&folder)).expect("target/faults");
}

/// The table of every fault that has a file, in the order of the faults.
fn table(folder: &Path) -> String {
    let mut table = String::from(
        "| fault | seeds | clean | recovery, median | recovery, worst | records | deliveries |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (_, name) in Fault::ALL {
        let Ok(text) = fs::read_to_string(folder.join(format!("{name}.json"))) else {
            continue;
        };
        let found: Value = serde_json::from_str(&text).expect("a file of ours");
        let seeds = found["seeds"].as_u64().unwrap_or(0);
        let broken = found["broken_seeds"].as_array().map_or(0, Vec::len) as u64;
        let time = |name: &str| found[name].as_f64().unwrap_or(0.0);
        table.push_str(&format!(
            "| `{name}` | {seeds} | {} | {:.1} s | {:.1} s | {} | {} |\n",
            seeds - broken,
            time("recovery_median_s"),
            time("recovery_worst_s"),
            found["records"],
            found["deliveries"],
        ));
    }
    table
}
