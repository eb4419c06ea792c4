//! One run: a fault and a seed in, a line and a verdict out.
//!
//! It waits with a limit, always; what is not well by then is in the verdict.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::client::{Client, Plan, Progress};
use super::fault::Fault;
use super::relays::{self, RelayVerdict};
use super::rig::{Counters, Rig};
use super::story::{End, Event, Ledger, Story};
use super::verdict::{self, Verdict};

/// How long everyone may take to join, to be answered, and to catch up after the load.
const JOIN_LIMIT: Duration = Duration::from_secs(40);
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);

/// Longer than an answer takes, also when a client went before it and asked again elsewhere.
const LATE: Duration = Duration::from_secs(2);

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Its name, as `LEDGER_SIZE` takes it.
    pub name: &'static str,
    /// Nodes.
    pub nodes: usize,
    /// Clients, each with one connection.
    pub clients: u32,
    /// Rooms.
    pub rooms: u32,
    /// Relay topics.
    pub relays: u32,
    /// The mean time between two records of a client.
    pub record_every: Duration,
    /// The mean time between two relayed messages of a client.
    pub sound_every: Duration,
    /// How long the load goes on after the last act.
    pub after: Duration,
    /// How long nothing may arrive any more until it is quiet.
    pub quiet: Duration,
}

/// For every change: about 120 records a second.
pub const SMALL: Size = Size {
    name: "small",
    nodes: 3,
    clients: 48,
    rooms: 6,
    relays: 2,
    record_every: Duration::from_millis(400),
    sound_every: Duration::from_millis(1_600),
    after: Duration::from_millis(3_500),
    quiet: Duration::from_millis(500),
};

/// For the long set: 300 sockets, more than 500 records a second.
pub const FULL: Size = Size {
    name: "full",
    nodes: 3,
    clients: 300,
    rooms: 20,
    relays: 5,
    record_every: Duration::from_millis(480),
    sound_every: Duration::from_millis(3_000),
    after: Duration::from_secs(6),
    quiet: Duration::from_millis(6_000),
};

/// What a run came to.
pub struct Outcome {
    fault: Fault,
    seed: u64,
    size: Size,
    sent: usize,
    acked: usize,
    deliveries: usize,
    joins: usize,
    rate: f64,
    counters: Counters,
    /// Connections that neither the client nor the script ended.
    dropped: usize,
    late: Duration,
    /// The verdict on records.
    pub records: Verdict,
    /// The verdict on relayed messages.
    pub relays: RelayVerdict,
    /// What the nodes logged, kept for a verdict that is not clean.
    pub log: String,
}

impl Outcome {
    /// Whether the promise for records held, and sockets stayed open where they must.
    pub fn is_clean(&self) -> bool {
        self.records.is_clean() && (self.dropped == 0 || !self.fault.spares_sockets())
    }

    /// How to run it again.
    pub fn replay(&self) -> String {
        format!(
            "LEDGER_FAULT={} LEDGER_SEEDS={} LEDGER_SIZE={} make faults",
            self.fault.name(),
            self.seed,
            self.size.name
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters {
            healed,
            resent,
            lost,
            reconnects,
            retries,
        } = self.counters;
        write!(
            out,
            "fault={} seed={} sent={} acked={} rate={:.0}/s deliveries={} joins={} healed={healed} \
             resent={resent} lost={lost} reconnects={reconnects} retries={retries} gap_ids={} \
             dropped={} late={:.1}s records={} relays={}",
            self.fault.name(),
            self.seed,
            self.sent,
            self.acked,
            self.rate,
            self.deliveries,
            self.joins,
            self.records.gap_ids,
            self.dropped,
            self.late.as_secs_f64(),
            self.records,
            self.relays,
        )
    }
}

/// Runs a fault with a seed.
pub fn run(fault: Fault, seed: u64, size: Size) -> Outcome {
    let runtime = Runtime::new().expect("a runtime");
    let slow = (fault == Fault::SlowClients).then_some(8 * 1024);
    let mut rig = Rig::start(runtime.handle(), size.nodes, seed, slow);
    let plan = Arc::new(plan(fault, seed, size, slow, rig.roads()));
    let mut crowd = Vec::new();
    let mut lives = Vec::new();
    for number in 0..size.clients {
        let progress = Arc::new(Progress::default());
        crowd.push(Arc::clone(&progress));
        lives.push(runtime.spawn(Client::new(Arc::clone(&plan), progress, number).live()));
    }
    await_all(&crowd, JOIN_LIMIT, |_, one| {
        one.joined.load(Ordering::Acquire)
    });

    let begun_ms = plan.now_ms();
    plan.publishing.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let mut last = Duration::from_secs(3);
    for (at, act) in fault.script(seed, size.nodes) {
        thread::sleep(at.saturating_sub(begun.elapsed()));
        rig.perform(act, &plan);
        last = begun.elapsed();
    }
    thread::sleep((last + size.after).saturating_sub(begun.elapsed()));
    plan.publishing.store(false, Ordering::Relaxed);
    let load = begun.elapsed();
    settle(&crowd, &rig, size);

    let counters = rig.counters();
    plan.over.send_replace(true);
    let stories = runtime.block_on(async {
        let mut stories = Vec::new();
        for life in lives {
            stories.push(life.await.expect("a client that does not panic"));
        }
        stories
    });
    let ledger = Ledger {
        stories,
        rooms: rig.rooms(size.rooms),
        wiped_ms: rig.wiped_ms,
    };
    let log = rig.log();
    let fault_ms = begun_ms + u32::try_from(last.as_millis()).expect("a short run");
    Outcome {
        fault,
        seed,
        size,
        counters,
        sent: count(&ledger, |event| matches!(event, Event::Sent(_))),
        acked: count(&ledger, |event| matches!(event, Event::Acked { .. })),
        rate: ledger
            .rooms
            .iter()
            .map(|room| room.rows.len())
            .sum::<usize>() as f64
            / load.as_secs_f64(),
        deliveries: count(&ledger, |event| matches!(event, Event::Received { .. })),
        joins: count(&ledger, |event| matches!(event, Event::Joined { .. })),
        dropped: count(&ledger, |event| match event {
            Event::Ended(End::Own) => false,
            Event::Ended(End::Silent | End::Closed(_) | End::Broken) => true,
            _ => false,
        }),
        late: late(&ledger, fault_ms),
        records: verdict::judge(&ledger),
        relays: relays::judge(&ledger),
        log,
    }
}

/// How the clients of a run behave.
fn plan(fault: Fault, seed: u64, size: Size, slow: Option<usize>, roads: Vec<SocketAddr>) -> Plan {
    let stay_ms = if fault == Fault::JoinStorm {
        400
    } else {
        8_000
    };
    Plan {
        begun: Instant::now(),
        roads,
        seed,
        rooms: size.rooms,
        relays: size.relays,
        record_every: size.record_every,
        sound_every: size.sound_every,
        stay: Duration::from_millis(stay_ms),
        twins_percent: if fault == Fault::Twins { 33 } else { 0 },
        padding: if slow.is_some() { 4_000 } else { 200 },
        buffer_bytes: slow,
        publishing: AtomicBool::new(false),
        over: watch::Sender::new(false),
        stalls: watch::Sender::new((0, Duration::ZERO)),
    }
}

/// Waits until all records are answered, everyone has caught up, and nothing arrives any more.
fn settle(crowd: &[Arc<Progress>], rig: &Rig, size: Size) {
    await_all(crowd, ANSWER_LIMIT, |_, one| {
        one.joined.load(Ordering::Acquire) && one.pending.load(Ordering::Acquire) == 0
    });
    let heads = rig.heads(size.rooms);
    await_all(crowd, CATCH_UP_LIMIT, |number, one| {
        let room = number % heads.len();
        one.joined.load(Ordering::Acquire) && one.position.load(Ordering::Acquire) == heads[room]
    });
    let heard = || -> u64 {
        crowd
            .iter()
            .map(|one| one.heard.load(Ordering::Relaxed))
            .sum()
    };
    let end = Instant::now() + CATCH_UP_LIMIT;
    let (mut before, mut since) = (heard(), Instant::now());
    while since.elapsed() < size.quiet && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
        let now = heard();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
}

/// Waits until all are so, or the limit; who is not then shows in the verdict.
fn await_all(
    crowd: &[Arc<Progress>],
    limit: Duration,
    is_so: impl Fn(usize, &Progress) -> bool,
) -> bool {
    let end = Instant::now() + limit;
    loop {
        if crowd
            .iter()
            .enumerate()
            .all(|(number, one)| is_so(number, one))
        {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn count(ledger: &Ledger, is: impl Fn(&Event) -> bool) -> usize {
    let of = |story: &Story| story.events.iter().filter(|(_, event)| is(event)).count();
    ledger.stories.iter().map(of).sum()
}

/// How long after the last act the answer to a record still took more than [`LATE`].
fn late(ledger: &Ledger, fault_ms: u32) -> Duration {
    let mut last = fault_ms;
    for story in &ledger.stories {
        let mut sent = HashMap::new();
        for (at, event) in &story.events {
            match event {
                Event::Sent(number) => {
                    sent.entry(*number).or_insert(*at);
                }
                Event::Acked { number, .. } => {
                    let waited = sent.remove(number).map_or(0, |sent| at - sent);
                    if u128::from(waited) > LATE.as_millis() {
                        last = last.max(*at);
                    }
                }
                _ => {}
            }
        }
    }
    Duration::from_millis(u64::from(last - fault_ms))
}
