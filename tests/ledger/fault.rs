//! The faults, as data: what is done when, by a seed.
//!
//! It does nothing itself; the rig performs the acts.

use std::time::Duration;

use super::dice::Dice;
use super::proxy::Weather;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing but clients that come and go.
    None,
    /// Redis is killed and started again.
    RedisRestart,
    /// Redis cuts its subscribers off, three times.
    RedisKillPubsub,
    /// Redis does nothing for 5 s.
    RedisPause,
    /// Nothing passes between the nodes and Redis for 30 s.
    RedisBlackhole,
    /// A node is killed, and comes back.
    NodeKill,
    /// A node is told to go, and comes back.
    NodeDrain,
    /// Each node in turn is told to go, and comes back.
    NodeRolling,
    /// A node does nothing for 10 s.
    NodePause,
    /// Postgres crashes and starts again.
    PostgresRestart,
    /// Postgres is away for 15 s.
    PostgresDown,
    /// Postgres and its sessions do nothing for 5 s.
    PostgresPause,
    /// Nothing passes between the nodes and Postgres for 5 s.
    PostgresBlackhole,
    /// Every fifth client reads nothing for 10 s.
    SlowClients,
    /// Half of the clients' connections are reset, three times.
    ResetHalf,
    /// Everything is chopped, then delayed; the clients are throttled.
    Weather,
    /// The tables are emptied.
    NewEpoch,
    /// Clients come and go as fast as they can.
    JoinStorm,
    /// A third of the records is sent through two nodes at once.
    Twins,
}

/// One act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Kills Redis and starts it again.
    RestartRedis,
    /// `CLIENT KILL TYPE pubsub`.
    KillSubscribers,
    /// Stops or continues the process of Redis.
    PauseRedis(bool),
    /// Kills a node.
    KillNode(usize),
    /// Ends a node with SIGTERM; it must exit with 0.
    DrainNode(usize),
    /// Starts a node that is gone.
    StartNode(usize),
    /// Stops or continues the process of a node.
    PauseNode(usize, bool),
    /// Stops Postgres at once.
    StopPostgres,
    /// Starts Postgres.
    StartPostgres,
    /// Stops or continues the processes of Postgres.
    PausePostgres(bool),
    /// Changes the weather on some ways.
    Change(Ways, Weather),
    /// Resets so many in a hundred of the clients' connections.
    ResetClients(u64),
    /// Has so many in a hundred of the clients stop reading.
    StallClients(u64, Duration),
    /// Empties the tables.
    Truncate,
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
}

/// An act and its time since the load began.
pub type Step = (Duration, Act);

impl Fault {
    /// Every one.
    pub const ALL: [Self; 19] = [
        Self::None,
        Self::RedisRestart,
        Self::RedisKillPubsub,
        Self::RedisPause,
        Self::RedisBlackhole,
        Self::NodeKill,
        Self::NodeDrain,
        Self::NodeRolling,
        Self::NodePause,
        Self::PostgresRestart,
        Self::PostgresDown,
        Self::PostgresPause,
        Self::PostgresBlackhole,
        Self::SlowClients,
        Self::ResetHalf,
        Self::Weather,
        Self::NewEpoch,
        Self::JoinStorm,
        Self::Twins,
    ];

    /// Its name, as `LEDGER_FAULT` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::RedisRestart => "redis-restart",
            Self::RedisKillPubsub => "redis-kill-pubsub",
            Self::RedisPause => "redis-pause",
            Self::RedisBlackhole => "redis-blackhole",
            Self::NodeKill => "node-kill",
            Self::NodeDrain => "node-drain",
            Self::NodeRolling => "node-rolling",
            Self::NodePause => "node-pause",
            Self::PostgresRestart => "postgres-restart",
            Self::PostgresDown => "postgres-down",
            Self::PostgresPause => "postgres-pause",
            Self::PostgresBlackhole => "postgres-blackhole",
            Self::SlowClients => "slow-clients",
            Self::ResetHalf => "reset-half",
            Self::Weather => "weather",
            Self::NewEpoch => "new-epoch",
            Self::JoinStorm => "join-storm",
            Self::Twins => "twins",
        }
    }

    /// Whether sockets must stay open all the time, but for those that clients end themselves.
    pub fn spares_sockets(self) -> bool {
        match self {
            Self::None
            | Self::RedisRestart
            | Self::RedisKillPubsub
            | Self::RedisPause
            | Self::RedisBlackhole
            | Self::PostgresRestart
            | Self::PostgresDown
            | Self::PostgresPause
            | Self::PostgresBlackhole
            | Self::NewEpoch
            | Self::JoinStorm
            | Self::Twins => true,
            Self::NodeKill
            | Self::NodeDrain
            | Self::NodeRolling
            | Self::NodePause
            | Self::SlowClients
            | Self::ResetHalf
            | Self::Weather => false,
        }
    }

    /// What is done when.
    pub fn script(self, seed: u64, nodes: usize) -> Vec<Step> {
        let mut dice = Dice::new(seed, 1 << 32);
        let node = dice.within(0..nodes as u64) as usize;
        let at = dice.ms(1_500..3_000);
        let for_ms = |ms: u64| at + Duration::from_millis(ms);
        let during = |ways, weather, ms| {
            let clear = (for_ms(ms), Act::Change(ways, Weather::Clear));
            vec![(at, Act::Change(ways, weather)), clear]
        };
        match self {
            Self::None | Self::JoinStorm | Self::Twins => Vec::new(),
            Self::RedisRestart => vec![(at, Act::RestartRedis)],
            Self::RedisKillPubsub => thrice(&mut dice, at, Act::KillSubscribers),
            Self::RedisPause => {
                vec![
                    (at, Act::PauseRedis(true)),
                    (for_ms(5_000), Act::PauseRedis(false)),
                ]
            }
            Self::RedisBlackhole => during(Ways::Redis, Weather::Blackhole, 30_000),
            Self::NodeKill => {
                vec![
                    (at, Act::KillNode(node)),
                    (for_ms(2_000), Act::StartNode(node)),
                ]
            }
            Self::NodeDrain => {
                vec![
                    (at, Act::DrainNode(node)),
                    (for_ms(3_000), Act::StartNode(node)),
                ]
            }
            Self::NodeRolling => (0..nodes)
                .flat_map(|step| {
                    let (one, then) = ((node + step) % nodes, 4_000 * step as u64);
                    [
                        (for_ms(then), Act::DrainNode(one)),
                        (for_ms(then + 2_500), Act::StartNode(one)),
                    ]
                })
                .collect(),
            Self::NodePause => vec![
                (at, Act::PauseNode(node, true)),
                (for_ms(10_000), Act::PauseNode(node, false)),
            ],
            Self::PostgresRestart => vec![(at, Act::StopPostgres), (at, Act::StartPostgres)],
            Self::PostgresDown => {
                vec![
                    (at, Act::StopPostgres),
                    (for_ms(15_000), Act::StartPostgres),
                ]
            }
            Self::PostgresPause => vec![
                (at, Act::PausePostgres(true)),
                (for_ms(5_000), Act::PausePostgres(false)),
            ],
            Self::PostgresBlackhole => during(Ways::Postgres, Weather::Blackhole, 5_000),
            Self::SlowClients => vec![(at, Act::StallClients(20, Duration::from_secs(10)))],
            Self::ResetHalf => thrice(&mut dice, at, Act::ResetClients(50)),
            Self::Weather => bad_weather(at),
            Self::NewEpoch => vec![(at, Act::Truncate)],
        }
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
