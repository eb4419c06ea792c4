//! The table of the benchmark, for people and as JSON.
//!
//! It rounds what it prints, never what it writes.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::json;

use super::finding::{Goal, Row, Verdict};
use super::settings::Settings;
use crate::tally::Latency;

/// Prints rows for people.
pub fn print(rows: &[Row]) -> String {
    let mut cells = vec![
        [
            "scenario",
            "measured",
            "figure",
            "floor",
            "ratio",
            "target",
            "verdict",
            "p50 / p99 / p99.9 ms",
        ]
        .map(str::to_owned),
    ];
    cells.extend(rows.iter().map(line));
    let width = |at: usize| cells.iter().map(|row| row[at].chars().count()).max();
    let widths: Vec<usize> = (0..cells[0].len())
        .map(|at| width(at).unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in &cells {
        let padded = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn line(row: &Row) -> [String; 8] {
    let found = &row.median;
    let unit = found.unit;
    let target = match found.goal {
        Goal::FloorTimesAtMost(most) => format!("≤ {most} × floor"),
        Goal::FloorTimesAtLeast(least) => format!("≥ {least} × floor"),
        Goal::AtMost(most) => format!("≤ {} {unit}", rounded(most)),
        Goal::AtLeast(least) => format!("≥ {} {unit}", rounded(least)),
        Goal::Told => String::new(),
    };
    let verdict = match row.verdict {
        Verdict::Ok => String::from("ok"),
        Verdict::Missed => String::from("MISSED"),
        Verdict::Told => String::new(),
        Verdict::Lost => format!("LOST {}", found.lost),
    };
    [
        row.scenario.to_owned(),
        found.what.to_owned(),
        format!("{} {unit}", rounded(found.figure)),
        found.floor.map(rounded).unwrap_or_default(),
        row.ratio
            .map(|ratio| format!("{ratio:.2}"))
            .unwrap_or_default(),
        target,
        verdict,
        found.latency.map(in_ms).unwrap_or_default(),
    ]
}

fn in_ms(latency: Latency) -> String {
    let ms = |us: u64| rounded(us as f64 / 1_000.0);
    let Latency { p50, p99, p999, .. } = latency;
    format!("{} / {} / {}", ms(p50), ms(p99), ms(p999))
}

/// Three digits or so.
fn rounded(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// Writes rows as JSON, with the machine and how it was run; returns where.
///
/// # Errors
/// When the file can't be written.
pub fn write(rows: &[Row], settings: &Settings) -> io::Result<PathBuf> {
    fs::create_dir_all(&settings.out)?;
    let path = settings.out.canonicalize()?.join("bench.json");
    let text = |file| fs::read_to_string(file).unwrap_or_default();
    let info = text("/proc/cpuinfo");
    let models = info.lines().filter(|line| line.starts_with("model name"));
    let model = models.clone().next().and_then(|line| line.split_once(": "));
    let whole = json!({
        "machine": {
            "cpu": model.map(|(_, name)| name),
            "cores": models.count(),
            "kernel": text("/proc/sys/kernel/osrelease").trim(),
        },
        "runs": settings.runs,
        "seconds": settings.seconds,
        "sockets": settings.sockets,
        "rows": rows,
    });
    fs::write(&path, serde_json::to_string_pretty(&whole)?)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::finding::{Finding, medians};

    #[test]
    fn a_row_says_what_is_met_and_what_is_lost() {
        let found = Finding {
            floor: Some(6.7),
            latency: Some(Latency {
                p50: 410,
                p99: 1_900,
                p999: 12_345,
                max: 20_000,
            }),
            ..Finding::new("CPU a delivery", 7.9, "µs", Goal::FloorTimesAtMost(1.15))
        };
        let lost = Finding {
            lost: 3,
            ..Finding::new("got it", 2.0, "sockets", Goal::AtLeast(5.0))
        };
        let text = print(&medians("cpu-delivery", &[vec![found, lost]]));
        let lines: Vec<&str> = text.lines().collect();
        for part in [
            "7.90 µs",
            "6.70",
            "1.18",
            "≤ 1.15 × floor",
            "MISSED",
            "0.41 / 1.90 / 12.3",
        ] {
            assert!(lines[1].contains(part), "{part} in {}", lines[1]);
        }
        assert!(lines[2].contains("LOST 3"), "{}", lines[2]);
    }
}
