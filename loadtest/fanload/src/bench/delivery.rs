//! What a delivery costs: at a pace, at saturation, over many topics, and as a node fills.
//!
//! The server has one core and the generator another; node and floor get the same load one after the other.

use std::io;

use super::finding::{Finding, Goal};
use super::generator::{Generator, generate};
use super::node::{Floor, Node, NodePlan};
use super::process::GENERATOR_CORE;
use super::settings::Settings;
use crate::report::Report;

/// Deliveries a second while the number of sockets varies.
const DELIVERIES: f64 = 20_000.0;

/// Messages a second while the number of sockets varies: as many as one core can write to 15,000.
const MESSAGES: f64 = 8.0;

/// Puts the same load on the floor and on a node; returns both, the node first.
fn beside_floor(settings: &Settings, load: &str) -> io::Result<(Report, Report)> {
    let floor = Floor::start(settings)?;
    let low = generate(
        settings,
        GENERATOR_CORE,
        &format!("{} {load}", floor.target()),
    )?;
    drop(floor);
    let node = Node::start(settings, &NodePlan::default())?;
    let high = generate(
        settings,
        GENERATOR_CORE,
        &format!("{} {load}", node.target()),
    )?;
    Ok((high, low))
}

/// What counts as lost: deliveries, refusals and sockets. A floor that loses something measures something else.
pub fn losses(report: &Report) -> u64 {
    report.lost() + report.errors + report.dead as u64
}

/// CPU a delivery: 1 topic of 1,000 sockets, 20 messages a second.
pub fn cpu(settings: &Settings) -> io::Result<Vec<Finding>> {
    let load = format!("--sockets 1000 --rate 20 --seconds {}", settings.seconds);
    let (node, floor) = beside_floor(settings, &load)?;
    Ok(vec![Finding {
        floor: Some(floor.cpu_us_each(floor.delivered)),
        latency: Some(node.delivery_us),
        lost: losses(&node) + losses(&floor),
        ..Finding::new(
            "CPU a delivery",
            node.cpu_us_each(node.delivered),
            "µs",
            Goal::FloorTimesAtMost(1.15),
        )
    }])
}

/// Deliveries a second: 1 topic of 1,000 sockets, 8 messages in flight.
pub fn saturation(settings: &Settings) -> io::Result<Vec<Finding>> {
    let load = format!("--sockets 1000 --window 8 --seconds {}", settings.seconds);
    let (node, floor) = beside_floor(settings, &load)?;
    Ok(vec![Finding {
        floor: Some(floor.deliveries_a_second()),
        latency: Some(node.delivery_us),
        lost: losses(&node) + losses(&floor),
        ..Finding::new(
            "deliveries a second",
            node.deliveries_a_second(),
            "/s",
            Goal::FloorTimesAtLeast(4.0),
        )
    }])
}

/// CPU a publish: 500 topics of 10 sockets, 500 messages a second.
pub fn many_topics(settings: &Settings) -> io::Result<Vec<Finding>> {
    let seconds = settings.seconds;
    let load = format!("--sockets 5000 --topics 500 --rate 500 --seconds {seconds}");
    let (node, floor) = beside_floor(settings, &load)?;
    Ok(vec![Finding {
        floor: Some(floor.cpu_us_each(floor.published)),
        latency: Some(node.delivery_us),
        lost: losses(&node) + losses(&floor),
        ..Finding::new(
            "CPU a publish",
            node.cpu_us_each(node.published),
            "µs",
            Goal::FloorTimesAtMost(1.3),
        )
    }])
}

/// How much the cost of a delivery varies with the sockets of a topic, and with the topics of a node.
///
/// At equal deliveries a second the load is the same, but each of many sockets is written to so rarely that Linux no longer delays an
/// acknowledgement (it does not after a silence longer than the retransmission timeout): each write brings its own, inside the call. Equal messages a second, told beside it, leave
/// that out, and have few deliveries to share what a publish costs when there are few sockets.
pub fn flatness(settings: &Settings) -> io::Result<Vec<Finding>> {
    let deliveries = Sweep::run(settings, |sockets| DELIVERIES / sockets as f64)?;
    let messages = Sweep::run(settings, |_| MESSAGES)?;
    let mut found = deliveries.findings(
        "dearest of 100, 1,000, all sockets by cheapest",
        Goal::AtMost(1.3),
        [
            "CPU a delivery, 100 sockets",
            "CPU a delivery, 1,000 sockets",
            "CPU a delivery, all sockets",
        ],
    );
    found.extend(messages.findings(
        "the same at equal messages a second",
        Goal::Told,
        [
            "equal messages, 100 sockets",
            "equal messages, 1,000 sockets",
            "equal messages, all sockets",
        ],
    ));
    found.push(topics(settings)?);
    Ok(found)
}

/// What a delivery cost at 100, 1,000 and all sockets.
struct Sweep {
    nodes: Vec<f64>,
    floors: Vec<f64>,
    lost: u64,
}

impl Sweep {
    fn run(settings: &Settings, rate: impl Fn(usize) -> f64) -> io::Result<Self> {
        let (mut nodes, mut floors, mut lost) = (Vec::new(), Vec::new(), 0);
        for sockets in [100, 1_000, settings.sockets] {
            let (rate, seconds) = (rate(sockets), settings.seconds);
            let load = format!("--sockets {sockets} --rate {rate} --seconds {seconds}");
            let (node, floor) = beside_floor(settings, &load)?;
            lost += losses(&node) + losses(&floor);
            nodes.push(node.cpu_us_each(node.delivered));
            floors.push(floor.cpu_us_each(floor.delivered));
        }
        Ok(Self {
            nodes,
            floors,
            lost,
        })
    }

    /// Returns how flat it is, and what a delivery cost.
    fn findings(self, flat: &'static str, goal: Goal, each: [&'static str; 3]) -> Vec<Finding> {
        let mut found = vec![Finding {
            floor: Some(spread(&self.floors)),
            lost: self.lost,
            ..Finding::new(flat, spread(&self.nodes), "×", goal)
        }];
        for ((what, node), floor) in each.into_iter().zip(self.nodes).zip(self.floors) {
            found.push(Finding {
                floor: Some(floor),
                ..Finding::new(what, node, "µs", Goal::Told)
            });
        }
        found
    }
}

/// The same 1,000 sockets on one topic, while others hold no, 1,000 and 100,000 topics of the node.
fn topics(settings: &Settings) -> io::Result<Finding> {
    let node = Node::start(settings, &NodePlan::default())?;
    let load = format!(
        "{} --sockets 1000 --rate 20 --seconds {}",
        node.target(),
        settings.seconds
    );
    let mut held = Vec::new();
    let (mut costs, mut lost) = (Vec::new(), 0);
    for (name, sockets) in [("none", 0), ("few", 10), ("many", 990)] {
        if sockets > 0 {
            let holds = format!("--sockets {sockets} --own-topics 100 --topic bench:{name}:");
            let target = format!("--addr {} {holds}", node.clients);
            held.push(Generator::ready(settings, GENERATOR_CORE, &target)?);
        }
        let report = generate(settings, GENERATOR_CORE, &load)?;
        lost += losses(&report);
        costs.push(report.cpu_us_each(report.delivered));
    }
    Ok(Finding {
        lost,
        ..Finding::new(
            "dearest of 1, 1,000, 100,000 topics by cheapest",
            spread(&costs),
            "×",
            Goal::AtMost(1.3),
        )
    })
}

/// The largest by the smallest.
fn spread(costs: &[f64]) -> f64 {
    let most = costs.iter().copied().fold(f64::MIN, f64::max);
    most / costs.iter().copied().fold(f64::MAX, f64::min)
}

#[cfg(test)]
mod tests {
    #[test]
    fn equal_costs_are_flat() {
        assert_eq!(super::spread(&[2.0, 2.0]), 1.0);
        assert_eq!(super::spread(&[2.0, 3.0, 2.5]), 1.5);
    }
}
