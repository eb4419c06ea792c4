//! What processes use: CPU time and memory, from `/proc`.
//!
//! Linux only. It never guesses: a process that is gone uses nothing.

use std::fs;
use std::path::Path;

/// Nanoseconds of a tick of `/proc/<pid>/stat`: USER_HZ is 100 on every Linux.
const TICK_NS: u64 = 10_000_000;

/// CPU time of some processes since they began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Sum over the threads that live; exact to the nanosecond, but blind to threads that ended.
    threads_ns: u64,
    /// Sum over the processes, ended threads included, in ticks.
    processes_ns: u64,
    /// How many processes.
    processes: u64,
}

impl Cpu {
    /// Reads the CPU time of processes and their children.
    pub fn of(pids: &[u32]) -> Self {
        let mut sum = Self::default();
        for pid in family(pids) {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            sum.processes_ns += ticks(&stat).unwrap_or_default() * TICK_NS;
            sum.processes += 1;
            for task in tasks(pid) {
                let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
                let on_cpu = text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
                sum.threads_ns += on_cpu.unwrap_or_default();
            }
        }
        sum
    }

    /// Returns the microseconds used since an earlier reading.
    ///
    /// The exact figure counts, unless threads ended meanwhile: then the ticks do.
    pub fn us_since(&self, before: &Self) -> f64 {
        let exact = self.threads_ns.saturating_sub(before.threads_ns);
        let coarse = self.processes_ns.saturating_sub(before.processes_ns);
        let doubt = 4 * TICK_NS * self.processes.max(1);
        let ns = if exact.abs_diff(coarse) <= doubt {
            exact
        } else {
            coarse
        };
        ns as f64 / 1_000.0
    }
}

/// Returns the resident memory of processes and their children, in KiB.
pub fn rss_kib(pids: &[u32]) -> u64 {
    let of = |pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        field_kib(&text, "Rss:").unwrap_or_default()
    };
    family(pids).into_iter().map(of).sum()
}

/// Returns what the machine has to spare, in KiB.
pub fn available_kib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    field_kib(&text, "MemAvailable:").unwrap_or_default()
}

fn field_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// User and system ticks of a `stat` line, whose second field may hold anything in parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

fn tasks(pid: u32) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    let entries = entries.into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Processes and all their children, each once.
fn family(pids: &[u32]) -> Vec<u32> {
    let (mut found, mut open) = (Vec::new(), pids.to_vec());
    while let Some(pid) = open.pop() {
        if found.contains(&pid) {
            continue;
        }
        found.push(pid);
        for task in tasks(pid) {
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            open.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 64 1 0 0 0 880 20 0 0 25 5 3 0 1 2 3";
        assert_eq!(ticks(stat), Some(900));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn work_shows_as_time_of_this_process() {
        let me = [std::process::id()];
        let before = Cpu::of(&me);
        let mut sum = 0u64;
        while Cpu::of(&me).us_since(&before) < 20_000.0 {
            sum = (0..100_000).fold(sum, |sum, n: u64| sum.wrapping_mul(31) ^ n);
        }
        assert_ne!(sum, 1);
    }

    #[test]
    fn this_process_has_memory_and_a_dead_one_none() {
        assert!(rss_kib(&[std::process::id()]) > 100);
        assert_eq!(rss_kib(&[u32::MAX]), 0);
        assert!(available_kib() > 1_000);
    }

    #[test]
    fn threads_that_ended_count_by_ticks() {
        let before = Cpu {
            threads_ns: 5_000_000_000,
            processes_ns: 5_000_000_000,
            processes: 1,
        };
        let after = Cpu {
            threads_ns: 1_000_000_000,
            processes_ns: 7_000_000_000,
            processes: 1,
        };
        assert_eq!(after.us_since(&before), 2_000_000.0);
        let exact = Cpu {
            threads_ns: 5_012_345_000,
            processes_ns: 5_010_000_000,
            processes: 1,
        };
        assert_eq!(exact.us_since(&before), 12_345.0);
    }
}
