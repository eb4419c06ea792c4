//! Several nodes over Redis: latency and cost between them, and one broadcast to very many.
//!
//! Nothing is pinned.

use std::io;
use std::time::Duration;

use super::delivery::losses;
use super::finding::{Finding, Goal};
use super::fleet::Fleet;
use super::generator::{Generator, generate};
use super::process::ANY_CORE;
use super::settings::Settings;
use crate::tally::Latency;
use crate::usage;

/// Nodes of the large cluster; each has its own generator.
const NODES: usize = 8;
/// How long the generators that listen have to begin before the one that publishes.
const LISTENING: Duration = Duration::from_millis(500);

/// 3 nodes, 100 topics of 9 sockets (3 a node), 1,000 publishes a second.
pub fn cross_node(settings: &Settings) -> io::Result<Vec<Finding>> {
    let fleet = Fleet::start(settings, 3, 0)?;
    // Socket n goes to node n mod 3 and topic n mod 100, so that a topic has three on each node.
    let load = format!(
        "--addr {} --pid {} --sockets 900 --topics 100 --rate 1000 --settle 2 --seconds {}",
        fleet.addresses(),
        fleet.pids(),
        settings.seconds
    );
    let report = generate(settings, ANY_CORE, &load)?;
    let ms = |us: u64| us as f64 / 1_000.0;
    let Latency { p50, p99, .. } = report.delivery_us;
    let finding = |what, figure, unit, most| Finding {
        latency: Some(report.delivery_us),
        lost: losses(&report),
        ..Finding::new(what, figure, unit, Goal::AtMost(most))
    };
    let each = report.cpu_us_each(report.published);
    Ok(vec![
        finding("latency, p50", ms(p50), "ms", 0.5),
        finding("latency, p99", ms(p99), "ms", 2.0),
        finding("CPU of nodes and Redis a publish", each, "µs", 250.0),
    ])
}

/// 8 nodes with all their sockets on one topic, and one broadcast.
pub fn many_nodes(settings: &Settings) -> io::Result<Vec<Finding>> {
    let fleet = Fleet::start(settings, NODES, 1)?;
    let sockets = settings.sockets;
    let mut generators = Vec::new();
    for (nth, node) in fleet.nodes.iter().enumerate() {
        // The first one publishes; the others only listen.
        let says = match nth {
            0 => "--publishes 1 --rate 1",
            _ => "--foreign 1",
        };
        let load = format!(
            "--addr {} --sockets {sockets} --seconds 30 {says}",
            node.clients
        );
        generators.push(Generator::ready(settings, ANY_CORE, &load)?);
    }
    let memory = fleet
        .nodes
        .iter()
        .map(|node| usage::rss_kib(&[node.pid()]))
        .sum::<u64>();
    for generator in generators.iter_mut().skip(1) {
        generator.go()?;
    }
    std::thread::sleep(LISTENING);
    generators[0].go()?;
    let (mut got, mut latency) = (0, Latency::default());
    for generator in generators {
        let report = generator.report()?;
        got += report.delivered;
        latency = slower(latency, report.delivery_us);
    }
    let wanted = (NODES * sockets) as f64;
    Ok(vec![
        Finding {
            latency: Some(latency),
            ..Finding::new(
                "sockets that got the broadcast",
                got as f64,
                "sockets",
                Goal::AtLeast(wanted),
            )
        },
        Finding::new(
            "RSS of all nodes",
            memory as f64 / 1_024.0,
            "MiB",
            Goal::Told,
        ),
        Finding::new(
            "RSS of all nodes by their sockets",
            memory as f64 / wanted,
            "KiB",
            Goal::Told,
        ),
    ])
}

/// The slower of two, quantile by quantile: no quantile of all is slower.
fn slower(a: Latency, b: Latency) -> Latency {
    Latency {
        p50: a.p50.max(b.p50),
        p99: a.p99.max(b.p99),
        p999: a.p999.max(b.p999),
        max: a.max.max(b.max),
    }
}
