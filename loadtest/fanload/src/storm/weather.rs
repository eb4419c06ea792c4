//! The course of a storm: attempts, refusals, admissions and joins in steps of 10 ms.
//!
//! Clients that have tried equally often are counted together; nodes are counted one by one. Of the bounds of
//! admission `limits.handshakes_in_flight` is left out: a signed token and a player in memory wait for nobody.

use std::collections::VecDeque;

use super::backoff::{jittered_ms, reconnect_ms, rejoin_ms};
use super::chance::Chance;

/// A step, in milliseconds.
const STEP_MS: u32 = 10;
/// Steps of a second.
const STEPS_A_SECOND: usize = 1_000 / STEP_MS as usize;
/// Attempts that are told apart: from then on the delay stays.
const TRIES: usize = 11;
/// Joins that are told apart, likewise.
const REJOINS: usize = 5;
/// A storm that has not ended by then is cut off, in steps: 10 minutes.
const STEPS_MAX: usize = 600 * STEPS_A_SECOND;
/// How far ahead anything can be due, in steps.
const AHEAD: usize = 3_000;

/// A storm, and who stands in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storm {
    /// Clients that lose their connection.
    pub sockets: u64,
    /// Nodes that they come back to; each attempt goes to one by chance.
    pub nodes: usize,
    /// Cores of a node.
    pub cores: f64,
    /// `limits.connects_per_second` of a node; the bucket holds as many.
    pub connects_per_second: u32,
    /// `limits.joins_in_flight` of a node; more wait for a place.
    pub joins_in_flight: u32,
    /// How long a join keeps its place, in milliseconds: a history read from the store.
    pub join_holds_ms: u32,
    /// `limits.join_seconds` of a node, the wait for a place included.
    pub join_seconds: u32,
    /// Within which time clients notice, in milliseconds.
    pub noticed_within_ms: u32,
    /// Whether clients wait by [`jittered_ms`] instead of the stock ladder.
    pub jitters: bool,
    /// From an attempt to its answer, in milliseconds, when the node is idle.
    pub round_trip_ms: u32,
    /// CPU of a handshake that is refused, in µs.
    pub refusal_us: f64,
    /// CPU of a handshake that is admitted, in µs.
    pub connect_us: f64,
    /// CPU of a join and its history, in µs.
    pub join_us: f64,
}

impl Default for Storm {
    fn default() -> Self {
        Self {
            sockets: 1_000_000,
            nodes: 20,
            cores: 4.0,
            connects_per_second: 2_000,
            joins_in_flight: 1_000,
            join_holds_ms: 20,
            join_seconds: 5,
            noticed_within_ms: 1_000,
            jitters: false,
            round_trip_ms: 50,
            refusal_us: 30.0,
            connect_us: 50.0,
            join_us: 50.0,
        }
    }
}

/// What a storm came to, step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Clients.
    pub sockets: u64,
    /// Nodes.
    pub nodes: usize,
    /// Clients that had joined by the end of each step.
    pub joined: Vec<u64>,
    /// Attempts in each step.
    pub attempts: Vec<u64>,
    /// The largest share of its CPU that any node needed in a second.
    pub cpu_peak: f64,
}

impl Course {
    /// Returns the seconds until a share of the clients had joined.
    pub fn seconds_until(&self, share: f64) -> f64 {
        let wanted = (self.sockets as f64 * share).ceil() as u64;
        let at = self.joined.partition_point(|joined| *joined < wanted);
        at as f64 / STEPS_A_SECOND as f64
    }

    /// Returns attempts a client.
    pub fn attempts_each(&self) -> f64 {
        self.attempts.iter().sum::<u64>() as f64 / self.sockets as f64
    }

    /// Returns the most attempts of the whole cluster in a second.
    pub fn attempts_peak(&self) -> u64 {
        let seconds = self.attempts.chunks(STEPS_A_SECOND);
        seconds.map(|second| second.iter().sum()).max().unwrap_or(0)
    }

    /// Returns the share of clients that had joined after so many seconds.
    pub fn joined_at(&self, seconds: f64) -> f64 {
        let at = (seconds * STEPS_A_SECOND as f64) as usize;
        let joined = self.joined.get(at).or(self.joined.last()).copied();
        joined.unwrap_or(0) as f64 / self.sockets as f64
    }

    /// Returns the attempts at each node in each second, on average.
    pub fn attempts_a_node_by_second(&self) -> Vec<f64> {
        let seconds = self.attempts.chunks(STEPS_A_SECOND);
        let a_node = |second: &[u64]| second.iter().sum::<u64>() as f64 / self.nodes as f64;
        seconds.map(a_node).collect()
    }
}

/// A node: the bucket of its admission, joins that wait for a place, and work that waits for its cores.
#[derive(Clone)]
struct Node {
    tokens: f64,
    joins: f64,
    work_us: f64,
    second_us: f64,
}

/// What is due in a step.
#[derive(Clone, Copy, Default)]
struct Due {
    /// Attempts to connect, by how many came before.
    connects: [u64; TRIES],
    /// Joins on an open socket, by how many came before.
    joins: [u64; REJOINS],
    /// Clients whose join is answered.
    joined: u64,
}

impl Storm {
    /// Joins of a node that can end in a millisecond, as far as their places go.
    fn joins_a_ms(&self) -> f64 {
        f64::from(self.joins_in_flight) / f64::from(self.join_holds_ms.max(1))
    }

    /// Lets it pass.
    pub fn run(&self, seed: u64) -> Course {
        let mut sky = Sky::new(self, seed);
        let (mut joined, mut total, mut attempts) = (Vec::new(), 0, Vec::new());
        while total < self.sockets && joined.len() < STEPS_MAX {
            let (tried, done) = sky.step(joined.len());
            total += done;
            joined.push(total);
            attempts.push(tried);
        }
        Course {
            sockets: self.sockets,
            nodes: self.nodes,
            joined,
            attempts,
            cpu_peak: sky.cpu_peak,
        }
    }
}

struct Sky<'a> {
    storm: &'a Storm,
    chance: Chance,
    nodes: Vec<Node>,
    due: VecDeque<Due>,
    arrivals: Vec<u64>,
    cpu_peak: f64,
}

impl<'a> Sky<'a> {
    fn new(storm: &'a Storm, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut due: VecDeque<Due> = vec![Due::default(); AHEAD].into();
        // Each notices at some moment, and tries for the first time a little later.
        let mut noticed = vec![0; (storm.noticed_within_ms / STEP_MS).max(1) as usize];
        chance.scatter(storm.sockets, &mut noticed);
        for (at, clients) in noticed.into_iter().enumerate() {
            due[at + steps(reconnect_ms(1))].connects[0] += clients;
        }
        let node = Node {
            tokens: f64::from(storm.connects_per_second),
            joins: 0.0,
            work_us: 0.0,
            second_us: 0.0,
        };
        Self {
            nodes: vec![node; storm.nodes],
            arrivals: vec![0; storm.nodes],
            storm,
            chance,
            due,
            cpu_peak: 0.0,
        }
    }

    /// Lets 10 ms pass; returns the attempts to connect and the clients that joined.
    fn step(&mut self, at: usize) -> (u64, u64) {
        let now = self.due.pop_front().unwrap_or_default();
        self.due.push_back(Due::default());
        let rate = f64::from(self.storm.connects_per_second);
        for node in &mut self.nodes {
            node.tokens = (node.tokens + rate / STEPS_A_SECOND as f64).min(rate);
            let done_us = self.storm.cores * f64::from(STEP_MS) * 1_000.0;
            node.work_us = (node.work_us - done_us).max(0.0);
            let joined = self.storm.joins_a_ms() * f64::from(STEP_MS);
            node.joins = (node.joins - joined).max(0.0);
            if at.is_multiple_of(STEPS_A_SECOND) {
                let second_us = self.storm.cores * 1e6;
                self.cpu_peak = self.cpu_peak.max(node.second_us / second_us);
                node.second_us = 0.0;
            }
        }
        for (tries, clients) in now.connects.into_iter().enumerate() {
            self.connect(tries, clients);
        }
        for (tries, clients) in now.joins.into_iter().enumerate() {
            self.join(tries, clients);
        }
        (now.connects.iter().sum(), now.joined)
    }

    /// Clients come to the nodes; the bucket lets some in, the others wait for their next attempt.
    fn connect(&mut self, tries: usize, clients: u64) {
        if clients == 0 {
            return;
        }
        self.chance.scatter(clients, &mut self.arrivals);
        for at in 0..self.nodes.len() {
            let arrived = self.arrivals[at];
            let node = &mut self.nodes[at];
            let admitted = arrived.min(node.tokens as u64);
            let refused = arrived - admitted;
            node.tokens -= admitted as f64;
            let storm = self.storm;
            let us = admitted as f64 * storm.connect_us + refused as f64 * storm.refusal_us;
            let answered = storm.round_trip_ms + node.work(us, storm.cores);
            self.refuse(tries, refused, answered);
            // The stock client joins as soon as its socket is open.
            self.ahead(answered).joins[0] += admitted;
        }
    }

    /// Clients wait for their next attempt.
    fn refuse(&mut self, tries: usize, refused: u64, answered_ms: u32) {
        let next = (tries + 1).min(TRIES - 1);
        if !self.storm.jitters {
            let again = answered_ms + reconnect_ms(tries + 2);
            self.ahead(again).connects[next] += refused;
            return;
        }
        let (least, most) = jittered_ms(tries + 2);
        let mut moments = vec![0; steps(most - least).max(1)];
        self.chance.scatter(refused, &mut moments);
        for (nth, clients) in moments.into_iter().enumerate() {
            let again = answered_ms + least + nth as u32 * STEP_MS;
            self.ahead(again).connects[next] += clients;
        }
    }

    /// Channels join; one that waits longer than `join_seconds` for its place or the cores is refused and tries later.
    fn join(&mut self, tries: usize, clients: u64) {
        if clients == 0 {
            return;
        }
        self.chance.scatter(clients, &mut self.arrivals);
        for at in 0..self.nodes.len() {
            let (storm, joining) = (self.storm, self.arrivals[at]);
            let node = &mut self.nodes[at];
            let us = joining as f64 * storm.join_us;
            let placed = (node.joins + joining as f64) / storm.joins_a_ms();
            let waited = placed.max(node.worked_ms(us, storm.cores)) as u32;
            if waited > storm.join_seconds * 1_000 {
                let again = storm.join_seconds * 1_000 + rejoin_ms(tries + 1);
                self.ahead(again).joins[(tries + 1).min(REJOINS - 1)] += joining;
            } else {
                node.joins += joining as f64;
                node.work(us, storm.cores);
                self.ahead(storm.round_trip_ms + waited).joined += joining;
            }
        }
    }

    fn ahead(&mut self, ms: u32) -> &mut Due {
        &mut self.due[steps(ms).min(AHEAD - 1)]
    }
}

impl Node {
    /// Takes work; returns how long it waits and takes, in milliseconds.
    fn work(&mut self, us: f64, cores: f64) -> u32 {
        let worked = self.worked_ms(us, cores);
        self.work_us += us;
        self.second_us += us;
        worked as u32
    }

    /// Returns how long more work would wait and take, in milliseconds.
    fn worked_ms(&self, us: f64, cores: f64) -> f64 {
        (self.work_us + us) / cores / 1_000.0
    }
}

fn steps(ms: u32) -> usize {
    (ms / STEP_MS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_comes_back_and_nobody_twice() {
        let course = Storm {
            sockets: 30_000,
            nodes: 3,
            ..Storm::default()
        }
        .run(1);
        assert_eq!(course.joined.last(), Some(&30_000));
        assert!(course.joined.is_sorted());
        assert!(course.attempts_each() >= 1.0);
    }

    #[test]
    fn no_node_admits_more_than_its_bucket() {
        let storm = Storm {
            sockets: 200_000,
            nodes: 2,
            ..Storm::default()
        };
        let course = storm.run(1);
        // A full bucket at the start, and its rate for as long as it took.
        let seconds = course.seconds_until(1.0);
        let most = 2.0 * 2_000.0 * (seconds + 1.0);
        assert!(most >= 200_000.0, "{seconds} s are too few");
    }

    #[test]
    fn without_a_bound_the_cores_are_the_bound() {
        let storm = Storm {
            sockets: 400_000,
            nodes: 1,
            connects_per_second: 1_000_000,
            ..Storm::default()
        };
        let course = storm.run(1);
        // 400,000 at 100 µs on 4 cores.
        assert!(
            (10.0..12.0).contains(&course.seconds_until(1.0)),
            "{}",
            course.seconds_until(1.0)
        );
        assert!(course.cpu_peak > 1.0);
    }

    #[test]
    fn joins_that_wait_too_long_for_a_place_try_again() {
        let storm = Storm {
            sockets: 10_000,
            nodes: 1,
            connects_per_second: 100_000,
            ..Storm::default()
        };
        // 1,000 a second get a place: those who wait for more than a second are refused, and the ladder leaves
        // places unused, so that 10,000 take longer than 10 s.
        let slow = Storm {
            joins_in_flight: 20,
            join_seconds: 1,
            ..storm
        };
        let patient = Storm {
            join_seconds: 60,
            ..slow
        };
        assert!(storm.run(1).seconds_until(1.0) < 2.0);
        assert!((9.5..11.0).contains(&patient.run(1).seconds_until(1.0)));
        assert!(slow.run(1).seconds_until(1.0) > 15.0);
    }

    #[test]
    fn a_small_storm_is_over_with_the_first_attempts() {
        let course = Storm {
            sockets: 2_000,
            nodes: 20,
            ..Storm::default()
        }
        .run(1);
        assert!(course.seconds_until(1.0) < 1.5);
        assert_eq!(course.attempts_each(), 1.0);
    }
}
