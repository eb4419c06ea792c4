//! One run: a fault and a seed in, a line and a verdict out.
//!
//! It waits with a limit, always; what is not well by then is in the verdict.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::client::{Client, Plan, Progress};
use super::fault::{Database, Evidence, Fault};
use super::measure::{self, Delays};
use super::relays::{self, RelayVerdict};
use super::rig::{Counters, Rig};
use super::script::script;
use super::story::{End, Event, Ledger, Story};
use super::verdict::{self, Verdict};

/// How long everyone may take to join, to be answered, and to catch up after the load.
const JOIN_LIMIT: Duration = Duration::from_secs(40);
const ANSWER_LIMIT: Duration = Duration::from_secs(150);
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);

/// What well-behaved clients may wait, whatever they waited before the trouble.
const HARMED: Duration = Duration::from_millis(400);

/// Longer than anything may be late after the last act.
const RECOVERY_MAX: Duration = Duration::from_secs(20);

/// More memory than a node may hold, in KiB, whatever its clients do.
const PEAK_KIB: u64 = 512 * 1_024;

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

impl Size {
    /// As large as a fault wants it.
    fn for_fault(self, fault: Fault) -> Self {
        let mut size = self;
        match fault.database() {
            Database::Sqlite | Database::SqliteOnSmallDisk => size.nodes = 1,
            Database::Postgres | Database::PostgresOnSmallDisk => {}
        }
        if fault.troubles_relays() {
            // Longer than it takes until a message is given up and its gap told.
            size.quiet = size.quiet.max(Duration::from_millis(6_500));
        }
        if fault == Fault::OneTopic {
            size.rooms = 1;
            // Everybody gets everything, so a crowd of listeners would be the limit, not the topic.
            size.clients = size.clients.min(60);
            size.record_every = Duration::from_millis(100);
        }
        size
    }
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
    quiet: Duration::from_secs(3),
};

/// For the long set: 300 sockets, more than 500 records a second.
pub const FULL: Size = Size {
    name: "full",
    nodes: 3,
    clients: 300,
    rooms: 20,
    relays: 5,
    record_every: Duration::from_millis(430),
    sound_every: Duration::from_millis(3_000),
    after: Duration::from_secs(6),
    quiet: Duration::from_millis(6_000),
};

/// What a run came to.
pub struct Outcome {
    fault: Fault,
    /// The seed.
    pub seed: u64,
    size: Size,
    sent: usize,
    /// Records that were acknowledged.
    pub acked: usize,
    /// Records that arrived at clients.
    pub deliveries: usize,
    /// Joins of rooms.
    pub joins: usize,
    /// Records stored a second.
    pub rate: f64,
    /// What the nodes counted.
    pub counters: Counters,
    /// Connections that neither the client nor the script ended.
    dropped: usize,
    /// How long after the last act something was still late.
    pub recovery: Duration,
    /// How long relayed messages took.
    pub delays: Delays,
    /// The verdict on records.
    pub records: Verdict,
    /// The verdict on relayed messages.
    pub relays: RelayVerdict,
    /// What the nodes logged, kept for a verdict that is not clean.
    pub log: String,
}

impl Outcome {
    /// Whether every promise held, and the fault was felt.
    pub fn is_clean(&self) -> bool {
        self.records.is_clean() && self.relays.is_clean() && self.complaints().is_empty()
    }

    /// What else is not as it must be.
    pub fn complaints(&self) -> Vec<String> {
        let felt = match self.fault.evidence() {
            Evidence::Nothing => true,
            Evidence::Reconnects => self.counters.reconnects > 0,
            Evidence::Resent => self.counters.resent > 0,
            Evidence::Retries => self.counters.retries > 0,
            Evidence::Dropped => self.dropped > 0,
        };
        let Delays {
            p99_before,
            p99_after,
            slowest,
        } = self.delays;
        let is_slow = self.fault.slowest().is_some_and(|limit| slowest > limit);
        let harmed = self.fault.spares_others() && p99_after > (p99_before * 5).max(HARMED);
        let peak = self.counters.peak_kib;
        let checks = [
            (!felt, String::from("the fault was not felt")),
            (
                self.dropped > 0 && self.fault.spares_sockets(),
                format!("{} sockets did not stay open", self.dropped),
            ),
            (is_slow, format!("a relayed message took {slowest:?}")),
            (
                harmed,
                format!("others waited: 99 % within {p99_after:?}, {p99_before:?} before"),
            ),
            (
                self.recovery > RECOVERY_MAX,
                format!("it took {:?} until nothing was late", self.recovery),
            ),
            (peak > PEAK_KIB, format!("a node held {peak} KiB")),
        ];
        let found = checks.into_iter().filter(|(holds, _)| *holds);
        found.map(|(_, what)| what).collect()
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
            peak_kib,
        } = self.counters;
        write!(
            out,
            "fault={} seed={} sent={} acked={} rate={:.0}/s deliveries={} joins={} healed={healed} \
             resent={resent} lost={lost} reconnects={reconnects} retries={retries} gap_ids={} \
             dropped={} recovery={:.1}s p99={}ms>{}ms slowest={}ms peak={}MiB records={} relays={}",
            self.fault.name(),
            self.seed,
            self.sent,
            self.acked,
            self.rate,
            self.deliveries,
            self.joins,
            self.records.gap_ids,
            self.dropped,
            self.recovery.as_secs_f64(),
            self.delays.p99_before.as_millis(),
            self.delays.p99_after.as_millis(),
            self.delays.slowest.as_millis(),
            peak_kib / 1_024,
            self.records,
            self.relays,
        )
    }
}

/// When the load and the acts were, in milliseconds since the run began.
struct Times {
    first_act: u32,
    last_act: u32,
    load: Duration,
}

/// Runs a fault with a seed; `None` where it can't be had.
pub fn run(fault: Fault, seed: u64, size: Size) -> Option<Outcome> {
    let size = size.for_fault(fault);
    let runtime = Runtime::new().expect("a runtime");
    let is_slow = matches!(fault, Fault::SlowClients | Fault::NeverReads);
    let slow = is_slow.then_some(8 * 1024);
    let mut rig = Rig::start(runtime.handle(), fault, size.nodes, seed, slow)?;
    let plan = Arc::new(plan(fault, seed, size, slow, &rig));
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
    let times = load(fault, seed, size, &mut rig, &plan);
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
        kills: rig.kills.clone(),
    };
    Some(Outcome {
        log: rig.log(),
        ..outcome(fault, seed, size, counters, &ledger, &times)
    })
}

/// Has the clients publish while the script is played.
fn load(fault: Fault, seed: u64, size: Size, rig: &mut Rig, plan: &Plan) -> Times {
    let begun_ms = plan.now_ms();
    plan.publishing.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let (mut first, mut last) = (None, Duration::from_secs(3));
    for (at, act) in script(fault, seed, size.nodes) {
        thread::sleep(at.saturating_sub(begun.elapsed()));
        first.get_or_insert(begun.elapsed());
        rig.perform(act, plan);
        last = begun.elapsed();
    }
    thread::sleep((last + size.after).saturating_sub(begun.elapsed()));
    plan.publishing.store(false, Ordering::Relaxed);
    let since = |time: Duration| begun_ms + u32::try_from(time.as_millis()).expect("a short run");
    Times {
        first_act: since(first.unwrap_or(last)),
        last_act: since(last),
        load: begun.elapsed(),
    }
}

fn outcome(
    fault: Fault,
    seed: u64,
    size: Size,
    counters: Counters,
    ledger: &Ledger,
    times: &Times,
) -> Outcome {
    let stored: usize = ledger.rooms.iter().map(|room| room.rows.len()).sum();
    Outcome {
        fault,
        seed,
        size,
        counters,
        sent: count(ledger, |event| matches!(event, Event::Sent(_))),
        acked: count(ledger, |event| matches!(event, Event::Acked { .. })),
        rate: stored as f64 / times.load.as_secs_f64(),
        deliveries: count(ledger, |event| matches!(event, Event::Received { .. })),
        joins: count(ledger, |event| matches!(event, Event::Joined { .. })),
        dropped: count(ledger, |event| match event {
            Event::Ended(End::Own) => false,
            Event::Ended(End::Silent | End::Closed(_) | End::Broken) => true,
            _ => false,
        }),
        recovery: measure::recovery(ledger, times.last_act),
        delays: measure::delays(ledger, times.first_act),
        records: verdict::judge(ledger),
        relays: relays::judge(ledger),
        log: String::new(),
    }
}

/// How the clients of a run behave.
fn plan(fault: Fault, seed: u64, size: Size, slow: Option<usize>, rig: &Rig) -> Plan {
    let stay_ms = if fault == Fault::JoinStorm {
        400
    } else {
        8_000
    };
    let is_quick = fault == Fault::QuickReturn;
    Plan {
        begun: Instant::now(),
        roads: rig.roads(),
        slow_roads: rig.slow_roads(),
        has_slow: fault == Fault::SlowLink,
        back_ms: if is_quick { 1..50 } else { 20..600 },
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
