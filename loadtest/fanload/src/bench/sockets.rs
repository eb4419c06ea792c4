//! What sockets cost: to connect and join, to hold, to keep alive, to lose, and to take back.
//!
//! The server has one core and the generator another.

use std::io;

use super::delivery::losses;
use super::finding::{Finding, Goal};
use super::generator::{Generator, generate};
use super::node::{Floor, Node, NodePlan, token};
use super::process::GENERATOR_CORE;
use super::settings::Settings;

/// Sockets that connect in the scenario of connects.
const CONNECTS: usize = 5_000;
/// Seconds between two heartbeats of a socket.
const BEAT_SECONDS: f64 = 3.0;
/// Sockets that come and go before memory is looked at.
const FIRST_SOCKETS: usize = 10;
/// Seconds that the allocator has after all have left.
const LEFT_SECONDS: f64 = 10.0;
/// The counter of histories that a node read from its store.
const STORE_READS: &str = r#"fanfare_histories_total{source="store"}"#;

/// CPU of a connect and a join, without a token and with one whose player is known.
pub fn connect_join(settings: &Settings) -> io::Result<Vec<Finding>> {
    let load = format!("--sockets {CONNECTS} --settle 0 --seconds 0");
    let floor = Floor::start(settings)?;
    let low = generate(
        settings,
        GENERATOR_CORE,
        &format!("{} {load}", floor.target()),
    )?;
    drop(floor);
    let plain = Node::start(settings, &NodePlan::default())?;
    let guests = generate(
        settings,
        GENERATOR_CORE,
        &format!("{} {load}", plain.target()),
    )?;
    drop(plain);
    let plan = NodePlan {
        secret: true,
        ..NodePlan::default()
    };
    let (signed, token) = (Node::start(settings, &plan)?, token(settings)?);
    let load = format!("{} {load} --query token={token}", signed.target());
    let players = generate(settings, GENERATOR_CORE, &load)?;
    let finding = |what, report: &crate::report::Report, most| Finding {
        floor: Some(low.cpu_us_a_connect),
        lost: losses(report) + losses(&low),
        ..Finding::new(what, report.cpu_us_a_connect, "µs", Goal::AtMost(most))
    };
    Ok(vec![
        finding("CPU a connect and join", &guests, 70.0),
        finding("CPU a connect and join, JWT", &players, 90.0),
    ])
}

/// Memory of a joined socket while all beat.
pub fn rss_idle(settings: &Settings) -> io::Result<Vec<Finding>> {
    let node = Node::start(settings, &NodePlan::default())?;
    // Long enough for each socket to have beaten.
    let seconds = settings.seconds.max(BEAT_SECONDS + 1.0);
    let sockets = settings.sockets;
    let load = format!("--sockets {sockets} --heartbeat {BEAT_SECONDS} --seconds {seconds}");
    let report = generate(
        settings,
        GENERATOR_CORE,
        &format!("{} {load}", node.target()),
    )?;
    let a_socket = |kib: u64| kib as f64 / report.ready.max(1) as f64;
    let grown = report.rss_end_kib.saturating_sub(report.rss_before_kib);
    Ok(vec![
        Finding {
            lost: losses(&report),
            ..Finding::new(
                "RSS a joined socket",
                a_socket(grown),
                "KiB",
                Goal::AtMost(3.0),
            )
        },
        Finding::new(
            "the whole process by its sockets",
            a_socket(report.rss_end_kib),
            "KiB",
            Goal::Told,
        ),
    ])
}

/// Memory ten seconds after all have left, by what is allowed.
///
/// "Before" is a node that a few sockets have come to and left: the code that only sockets need is in memory.
pub fn rss_after(settings: &Settings) -> io::Result<Vec<Finding>> {
    let node = Node::start(settings, &NodePlan::default())?;
    let first = format!(
        "{} --sockets {FIRST_SOCKETS} --seconds 0 --leave 1",
        node.target()
    );
    generate(settings, GENERATOR_CORE, &first)?;
    let sockets = settings.sockets;
    let load = format!("--sockets {sockets} --seconds 0 --leave {LEFT_SECONDS}");
    let report = generate(
        settings,
        GENERATOR_CORE,
        &format!("{} {load}", node.target()),
    )?;
    let mib = |kib: u64| kib as f64 / 1_024.0;
    let allowed = 1.05 * report.rss_before_kib as f64 + 2.0 * sockets as f64 / 100.0;
    Ok(vec![
        Finding {
            lost: losses(&report),
            ..Finding::new(
                "RSS after all have left",
                mib(report.rss_left_kib),
                "MiB",
                Goal::AtMost(allowed / 1_024.0),
            )
        },
        Finding::new("RSS before", mib(report.rss_before_kib), "MiB", Goal::Told),
        Finding::new(
            "RSS with all joined",
            mib(report.rss_joined_kib),
            "MiB",
            Goal::Told,
        ),
    ])
}

/// CPU of a heartbeat and its answer, beside the floor's echo in groups of one.
pub fn heartbeats(settings: &Settings) -> io::Result<Vec<Finding>> {
    let (sockets, seconds) = (settings.sockets, settings.seconds);
    let floor = Floor::start(settings)?;
    let rate = sockets as f64 / BEAT_SECONDS;
    let echo = format!("--sockets {sockets} --topics {sockets} --rate {rate} --seconds {seconds}");
    let low = generate(
        settings,
        GENERATOR_CORE,
        &format!("{} {echo}", floor.target()),
    )?;
    drop(floor);
    let node = Node::start(settings, &NodePlan::default())?;
    let beats = format!("--sockets {sockets} --heartbeat {BEAT_SECONDS} --seconds {seconds}");
    let report = generate(
        settings,
        GENERATOR_CORE,
        &format!("{} {beats}", node.target()),
    )?;
    Ok(vec![Finding {
        floor: Some(low.cpu_us_each(low.published)),
        latency: Some(report.answer_us),
        lost: losses(&report) + report.heartbeats.abs_diff(report.answered) + losses(&low),
        ..Finding::new(
            "CPU a heartbeat and its answer",
            report.cpu_us_each(report.heartbeats),
            "µs",
            Goal::FloorTimesAtMost(1.3),
        )
    }])
}

/// All sockets of a node come back at once; their topic has a history of ten.
pub fn mass_rejoin(settings: &Settings) -> io::Result<Vec<Finding>> {
    let node = Node::start(settings, &NodePlan::default())?;
    let sockets = settings.sockets;
    let load = format!(
        "{} --sockets {sockets} --topic chat_room:bench --event new_message --publishes 10 --rate 20 \
         --seconds 20 --rejoin",
        node.target()
    );
    let mut generator = Generator::ready(settings, GENERATOR_CORE, &load)?;
    let before = node.metric(STORE_READS)?;
    generator.go()?;
    let report = generator.report()?;
    let reads = node.metric(STORE_READS)? - before;
    let missing = sockets.abs_diff(report.rejoined) as u64;
    Ok(vec![
        Finding {
            latency: Some(report.rejoin_us),
            lost: missing + report.lost(),
            ..Finding::new(
                "all joined again",
                report.rejoin_seconds,
                "s",
                Goal::AtMost(4.0),
            )
        },
        Finding::new("reads of the store", reads, "reads", Goal::AtMost(100.0)),
        Finding::new(
            "attempts refused",
            report.rejoin_refused as f64,
            "attempts",
            Goal::Told,
        ),
    ])
}
