//! The scripts of the faults, as data: what is done when, by a seed.
//!
//! It does nothing itself; the rig performs the acts.

use std::time::Duration;

use super::dice::Dice;
use super::fault::Fault;
use super::proxy::{Sieve, Weather};

/// One act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Only has the load go on until here.
    Wait,
    /// Kills Redis and starts it again.
    RestartRedis,
    /// `CLIENT KILL TYPE pubsub`.
    KillSubscribers,
    /// `FLUSHALL`.
    FlushRedis,
    /// Limits what Redis keeps for a slow subscriber: to 64 KiB, or as it was.
    LimitSubscribers(bool),
    /// Stops or continues the process of Redis.
    PauseRedis(bool),
    /// Leaves out what Redis publishes.
    Sift(Sieve),
    /// Has the clients publish, or be silent.
    Publish(bool),
    /// Kills a node.
    KillNode(usize),
    /// Ends a node with SIGTERM; it must exit with 0.
    DrainNode(usize),
    /// Starts a node that is gone.
    StartNode(usize),
    /// Stops or continues the process of a node.
    PauseNode(usize, bool),
    /// Has nothing pass between a node and Redis, or everything.
    CutNode(usize, bool),
    /// Stops Postgres at once.
    StopPostgres,
    /// Starts Postgres.
    StartPostgres,
    /// Stops or continues the processes of Postgres.
    PausePostgres(bool),
    /// Ends the nodes' sessions and takes no new ones, or does.
    RefuseSessions(bool),
    /// Has a session lock every topic and say nothing more.
    HoldTopics,
    /// Makes Postgres a standby, or promotes it.
    Standby(bool),
    /// Fills the disk of the records, or frees it.
    FillDisk(bool),
    /// Copies the tables.
    Save,
    /// Makes the tables what they were at the copy.
    Restore,
    /// Empties the tables.
    Truncate,
    /// Changes the weather on some ways.
    Change(Ways, Weather),
    /// Resets so many in a hundred of the clients' connections.
    ResetClients(u64),
    /// Has so many in a hundred of the clients' connections carry nothing more.
    FreezeClients(u64),
    /// Has so many in a hundred of the clients stop reading.
    StallClients(u64, Duration),
}

/// Ways through proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// From the nodes to Redis.
    Redis,
    /// From the nodes to Postgres.
    Postgres,
    /// From the clients to the nodes.
    Clients,
    /// From the slow ones among the clients.
    SlowClients,
}

/// An act and its time since the load began.
pub type Step = (Duration, Act);

/// What is done when.
pub fn script(fault: Fault, seed: u64, nodes: usize) -> Vec<Step> {
    let mut dice = Dice::new(seed, 1 << 32);
    let node = dice.within(0..nodes as u64) as usize;
    let at = dice.ms(1_500..3_000);
    let one = |act| vec![(at, act)];
    let two = |ms, first, second| vec![(at, first), (at + Duration::from_millis(ms), second)];
    let during = |ways, weather, ms| {
        let (change, clear) = (
            Act::Change(ways, weather),
            Act::Change(ways, Weather::Clear),
        );
        two(ms, change, clear)
    };
    match fault {
        Fault::None | Fault::Twins | Fault::Sqlite => Vec::new(),
        Fault::JoinStorm => two(15_000, Act::Wait, Act::Wait),
        Fault::OneTopic => two(8_000, Act::Wait, Act::Wait),
        Fault::RedisRestart => one(Act::RestartRedis),
        Fault::RedisKillPubsub => thrice(&mut dice, at, Act::KillSubscribers),
        Fault::RedisFlush => thrice(&mut dice, at, Act::FlushRedis),
        Fault::RedisPause => two(5_000, Act::PauseRedis(true), Act::PauseRedis(false)),
        Fault::RedisBlackhole => during(Ways::Redis, Weather::Blackhole, 30_000),
        Fault::RedisOutputLimit => {
            let mut steps = one(Act::LimitSubscribers(true));
            steps.extend(during(Ways::Redis, Weather::Trickle, 6_000));
            steps.push((at + Duration::from_secs(6), Act::LimitSubscribers(false)));
            steps
        }
        Fault::RedisDrop => two(8_000, Act::Sift(Sieve::Singles), Act::Sift(Sieve::Open)),
        Fault::RedisDropRuns => two(8_000, Act::Sift(Sieve::Runs), Act::Sift(Sieve::Open)),
        Fault::RedisDropLast => last_ones(at),
        Fault::NodeKill => two(2_000, Act::KillNode(node), Act::StartNode(node)),
        Fault::NodeKillUnpublished => unpublished(at, node),
        Fault::NodeDrain => two(3_000, Act::DrainNode(node), Act::StartNode(node)),
        Fault::NodeRolling => rolling(at, node, nodes),
        Fault::NodePause => two(
            10_000,
            Act::PauseNode(node, true),
            Act::PauseNode(node, false),
        ),
        Fault::SqliteKill => thrice(&mut dice, at, Act::KillNode(0))
            .into_iter()
            .flat_map(|(at, kill)| [(at, kill), (at, Act::StartNode(0))])
            .collect(),
        Fault::PostgresRestart => two(0, Act::StopPostgres, Act::StartPostgres),
        Fault::PostgresDown => two(60_000, Act::StopPostgres, Act::StartPostgres),
        Fault::PostgresPause => two(10_000, Act::PausePostgres(true), Act::PausePostgres(false)),
        Fault::PostgresBlackhole => during(Ways::Postgres, Weather::Blackhole, 5_000),
        Fault::PostgresConnections => {
            two(8_000, Act::RefuseSessions(true), Act::RefuseSessions(false))
        }
        Fault::PostgresHungLock => one(Act::HoldTopics),
        Fault::PostgresReadOnly => two(6_000, Act::Standby(true), Act::Standby(false)),
        Fault::PostgresDiskFull | Fault::SqliteDiskFull => {
            two(6_000, Act::FillDisk(true), Act::FillDisk(false))
        }
        Fault::PostgresRestored => two(4_000, Act::Save, Act::Restore),
        Fault::NewEpoch => one(Act::Truncate),
        Fault::SlowClients => {
            let stall = Act::StallClients(20, Duration::from_secs(10));
            two(10_000, stall, Act::Wait)
        }
        Fault::SlowLink => during(Ways::SlowClients, Weather::Throttled, 12_000),
        Fault::NeverReads => {
            let stall = Act::StallClients(10, Duration::from_secs(25));
            two(24_000, stall, Act::Wait)
        }
        Fault::HalfOpen => two(7_000, Act::FreezeClients(30), Act::Wait),
        Fault::ResetFifth => one(Act::ResetClients(20)),
        Fault::ResetHalf | Fault::QuickReturn => thrice(&mut dice, at, Act::ResetClients(50)),
        Fault::Weather => bad_weather(at),
    }
}

fn thrice(dice: &mut Dice, first: Duration, act: Act) -> Vec<Step> {
    let second = first + dice.ms(500..3_000);
    vec![
        (first, act),
        (second, act),
        (second + dice.ms(20..3_000), act),
    ]
}

/// Nothing arrives while the clients fall silent, so that what comes last is lost; then 3.5 s of silence.
fn last_ones(at: Duration) -> Vec<Step> {
    let round = |number: u64| {
        let begin = at + Duration::from_millis(6_000 * number);
        let then = |ms| begin + Duration::from_millis(ms);
        [
            (begin, Act::Sift(Sieve::Shut)),
            (then(150), Act::Publish(false)),
            (then(400), Act::Sift(Sieve::Open)),
            (then(3_900), Act::Publish(true)),
        ]
    };
    (0..3).flat_map(round).collect()
}

/// A node commits for a second and can tell nobody, then it is killed.
fn unpublished(at: Duration, node: usize) -> Vec<Step> {
    let then = |ms| at + Duration::from_millis(ms);
    vec![
        (at, Act::CutNode(node, true)),
        (then(1_000), Act::KillNode(node)),
        (then(1_100), Act::CutNode(node, false)),
        (then(3_000), Act::StartNode(node)),
    ]
}

fn rolling(at: Duration, first: usize, nodes: usize) -> Vec<Step> {
    let turn = |step: usize| {
        let node = (first + step) % nodes;
        let begin = at + Duration::from_millis(4_000 * step as u64);
        [
            (begin, Act::DrainNode(node)),
            (begin + Duration::from_millis(2_500), Act::StartNode(node)),
        ]
    };
    (0..nodes).flat_map(turn).collect()
}

fn bad_weather(at: Duration) -> Vec<Step> {
    let everywhere = [Ways::Redis, Ways::Postgres, Ways::Clients];
    let at_s = |seconds| at + Duration::from_secs(seconds);
    let all = |at, weather| everywhere.map(|ways| (at, Act::Change(ways, weather)));
    let mut steps = all(at, Weather::Choppy).to_vec();
    steps.extend(all(at_s(5), Weather::Delayed));
    steps.push((at_s(9), Act::Change(Ways::Clients, Weather::Throttled)));
    steps.extend(all(at_s(14), Weather::Clear));
    steps
}
