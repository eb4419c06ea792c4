//! Records a second: stored, answered and broadcast, on Postgres and on SQLite.
//!
//! Each socket has a room of its own and hears its own messages, so nothing but the record's way is measured.

use std::io;

use tempfile::TempDir;

use super::delivery::losses;
use super::finding::{Finding, Goal};
use super::generator::generate;
use super::node::{Node, NodePlan};
use super::postgres::Postgres;
use super::process::ANY_CORE;
use super::settings::Settings;
use crate::report::Report;

/// 200 sockets with 64 records in flight each.
const LOAD: &str =
    "--sockets 200 --topics 200 --topic chat_room:bench --event new_message --in-flight 64";

/// Records a second on Postgres, by the rows a second that it commits one by one.
pub fn postgres(settings: &Settings) -> io::Result<Vec<Finding>> {
    let postgres = Postgres::start()?;
    let rows = postgres.commits_a_second(settings.seconds)?;
    let report = stored(settings, postgres.url())?;
    let finding = finding(&report, Goal::FloorTimesAtLeast(5.0));
    Ok(vec![Finding {
        floor: Some(rows),
        ..finding
    }])
}

/// Records a second on SQLite, in a file.
pub fn sqlite(settings: &Settings) -> io::Result<Vec<Finding>> {
    let dir = TempDir::new()?;
    let report = stored(
        settings,
        format!("sqlite://{}", dir.path().join("bench.db").display()),
    )?;
    Ok(vec![finding(&report, Goal::AtLeast(15_000.0))])
}

fn stored(settings: &Settings, database_url: String) -> io::Result<Report> {
    let plan = NodePlan {
        pin: ANY_CORE,
        workers: 0,
        database_url,
        ..NodePlan::default()
    };
    let node = Node::start(settings, &plan)?;
    let load = format!("{} {LOAD} --seconds {}", node.target(), settings.seconds);
    generate(settings, ANY_CORE, &load)
}

fn finding(report: &Report, goal: Goal) -> Finding {
    Finding {
        latency: Some(report.answer_us),
        lost: losses(report) + report.published.abs_diff(report.answered),
        ..Finding::new(
            "records stored and answered a second",
            report.answers_a_second(),
            "/s",
            goal,
        )
    }
}
