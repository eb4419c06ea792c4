//! What a node may use and whether it lets clients in, for operators to set usage against.
//!
//! It decides nothing: the bounds are kept elsewhere.

use std::path::Path;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry};

use crate::limits::Limits;
use crate::store;
use crate::worker::Node;

/// Registers `fanfare_ready`, `fanfare_draining`, `fanfare_handshakes_in_flight` and the bounds of the node; the series of each worker start at 0.
///
/// # Errors
/// When one of the names is registered already.
pub(super) fn register(
    registry: &Registry,
    node: &Arc<Node>,
    (limits, store): (&Limits, &store::Config),
) -> prometheus::Result<()> {
    let state = State {
        node: node.clone(),
        ready: IntGauge::new("fanfare_ready", "1 while another client would be let in")?,
        draining: IntGauge::new("fanfare_draining", "1 from the signal to go on")?,
        handshakes: IntGauge::new(
            "fanfare_handshakes_in_flight",
            "Handshakes whose connect hook is under way",
        )?,
    };
    registry.register(Box::new(state))?;
    for worker in 0..node.beats.len() {
        let label = worker.to_string();
        node.metrics.sockets.with_label_values(&[&label]);
        node.metrics.turn_seconds.with_label_values(&[&label]);
    }
    let bound = |name: &str, about: &str, value: usize| {
        let gauge = IntGauge::new(name, about)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(Box::new(gauge))
    };
    bound(
        "fanfare_connections_limit",
        "Connections that the node may have",
        limits.connections,
    )?;
    bound(
        "fanfare_writer_queue_limit",
        "Records that may wait for their commit, in all lanes",
        limits.lane_records.saturating_mul(store.lanes.max(1)),
    )?;
    // Where it can't be known the family is left out: a wrong bound would be worse.
    match memory_limit(Path::new("/")) {
        Some(bytes) => bound(
            "fanfare_memory_limit_bytes",
            "Memory that the node may use: its control group's, else the machine's",
            bytes,
        ),
        None => Ok(()),
    }
}

/// What is asked of the node at each scrape.
struct State {
    node: Arc<Node>,
    ready: IntGauge,
    draining: IntGauge,
    handshakes: IntGauge,
}

impl Collector for State {
    fn desc(&self) -> Vec<&Desc> {
        let mut descs = self.ready.desc();
        descs.extend(self.draining.desc());
        descs.extend(self.handshakes.desc());
        descs
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let admission = &self.node.admission;
        self.ready.set(admission.is_ready().into());
        self.draining.set(admission.is_leaving().into());
        let handshakes = admission.handshakes();
        self.handshakes
            .set(i64::try_from(handshakes).unwrap_or(i64::MAX));
        let mut families = self.ready.collect();
        families.extend(self.draining.collect());
        families.extend(self.handshakes.collect());
        families
    }
}

/// The smallest limit of the process's control group (version 2) and those above it, else the machine's memory.
fn memory_limit(root: &Path) -> Option<usize> {
    let read = |path: &Path| std::fs::read_to_string(root.join(path)).ok();
    let groups = read(Path::new("proc/self/cgroup")).unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let limits = Path::new(own.unwrap_or_default()).ancestors();
    let limits = limits.filter_map(|group| {
        let file = Path::new("sys/fs/cgroup").join(group).join("memory.max");
        read(&file)?.trim().parse().ok()
    });
    limits.min().or_else(|| {
        let machine = read(Path::new("proc/meminfo"))?;
        let total = machine
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: usize = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], limit: Option<usize>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        assert_eq!(memory_limit(root.path()), limit, "{files:?}");
    }

    #[test]
    fn the_memory_limit_is_the_smallest_that_holds() {
        let machine = ("proc/meminfo", "MemTotal:   4 kB\nMemFree: 1 kB\n");
        let group = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        let own = "sys/fs/cgroup/a.slice/b.service/memory.max";
        let above = "sys/fs/cgroup/a.slice/memory.max";
        check(&[], None);
        check(&[machine], Some(4096));
        check(&[machine, group, (own, "max\n")], Some(4096));
        check(&[machine, group, (own, "300\n")], Some(300));
        check(&[group, (own, "300\n"), (above, "200\n")], Some(200));
        let container = ("proc/self/cgroup", "0::/\n");
        check(&[container, ("sys/fs/cgroup/memory.max", "99\n")], Some(99));
    }
}
