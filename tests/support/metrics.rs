//! What a node says it counted, read from its operators' port.
//!
//! It never adds series up: each is asked for by its whole name.

use std::thread;
use std::time::{Duration, Instant};

use super::http;
use super::node::Node;
use super::ws::LIMIT;

/// The value of a series, such as `fanfare_connections{transport="websocket"}`; 0 when there is none.
pub fn metric(node: &Node, series: &str) -> f64 {
    let answer = http::get(node.admin, "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    let value = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |text| text.parse().expect("a number"))
}

/// Waits until a series is as it should be; its value then.
///
/// # Panics
/// After 10 s.
pub fn await_metric(node: &Node, series: &str, good: impl Fn(f64) -> bool) -> f64 {
    let end = Instant::now() + LIMIT;
    loop {
        let value = metric(node, series);
        if good(value) {
            return value;
        }
        assert!(Instant::now() < end, "{series} is {value} after {LIMIT:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
