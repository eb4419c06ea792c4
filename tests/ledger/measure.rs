//! What a ledger says about time: recovery, and how long messages took.
//!
//! It judges nothing by itself.

use std::collections::HashMap;
use std::time::Duration;

use super::story::{Event, Ledger, Sound, Story};

/// Longer than an answer takes, also when a client went before it and asked again elsewhere.
const LATE_MS: u32 = 2_000;

/// How long relayed messages took to clients that were there and do nothing wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delays {
    /// Before the trouble: 99 in a hundred took at most this.
    pub p99_before: Duration,
    /// Since the trouble began.
    pub p99_after: Duration,
    /// All of them, since the trouble began.
    pub slowest: Duration,
}

/// How long after the last act something still took more than 2 s: an answer to a record, or a record's way to
/// a client that was there when it was acknowledged.
pub fn recovery(ledger: &Ledger, fault_ms: u32) -> Duration {
    let mut last = fault_ms;
    let mut acked: HashMap<u128, u32> = HashMap::new();
    for story in &ledger.stories {
        let mut sent = HashMap::new();
        for (at, event) in &story.events {
            match event {
                Event::Sent(number) => {
                    sent.entry(*number).or_insert(*at);
                }
                Event::Acked { number, uid, .. } => {
                    acked.entry(*uid).or_insert(*at);
                    let waited = sent.remove(number).map_or(0, |sent| at - sent);
                    if waited > LATE_MS {
                        last = last.max(*at);
                    }
                }
                _ => {}
            }
        }
    }
    for story in ledger.stories.iter().filter(|story| behaves(story)) {
        let mut joined = u32::MAX;
        for (at, event) in &story.events {
            match event {
                Event::Joined { .. } => joined = *at,
                Event::Ended(_) => joined = u32::MAX,
                Event::Received { uid, .. } => {
                    let acked = acked.get(uid).copied().unwrap_or(*at);
                    if joined <= acked && at.saturating_sub(acked) > LATE_MS {
                        last = last.max(*at);
                    }
                }
                _ => {}
            }
        }
    }
    Duration::from_millis(u64::from(last - fault_ms))
}

/// Whether a client neither stopped reading nor went a slow way.
fn behaves(story: &Story) -> bool {
    let stalls = |(_, event): &(u32, Event)| *event == Event::Stalled;
    !story.is_slow && !story.events.iter().any(stalls)
}

/// How long relayed messages took; the trouble begins and ends with the first and the last act.
pub fn delays(ledger: &Ledger, begun_ms: u32) -> Delays {
    let mut said: HashMap<Sound, u32> = HashMap::new();
    for story in ledger.stories.iter().filter(|story| behaves(story)) {
        for (at, event) in &story.events {
            if let Event::Said(sound) = event {
                said.insert(*sound, *at);
            }
        }
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for story in ledger.stories.iter().filter(|story| behaves(story)) {
        let mut since = u32::MAX;
        for (at, event) in &story.events {
            match event {
                Event::Listening => since = *at,
                Event::Ended(_) => since = u32::MAX,
                Event::Heard(sound) => {
                    let Some(said) = said.get(sound).filter(|said| since <= **said) else {
                        continue;
                    };
                    let took = at.saturating_sub(*said);
                    match *said < begun_ms {
                        true => before.push(took),
                        false => after.push(took),
                    }
                }
                _ => {}
            }
        }
    }
    Delays {
        p99_before: percentile(&mut before, 99),
        p99_after: percentile(&mut after, 99),
        slowest: percentile(&mut after, 100),
    }
}

fn percentile(took: &mut [u32], share: usize) -> Duration {
    took.sort_unstable();
    let place = (took.len() * share).div_ceil(100).saturating_sub(1);
    let found = took.get(place).copied().unwrap_or(0);
    Duration::from_millis(u64::from(found))
}
