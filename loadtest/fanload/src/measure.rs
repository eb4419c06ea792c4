//! A generator's run: connect, settle, publish, drain, come back, leave.
//!
//! One thread. It measures the server by its processes, never by asking it.

use std::collections::BinaryHeap;
use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::dialect::State;
use crate::plan::Plan;
use crate::report::Report;
use crate::stamp;
use crate::storm::backoff;
use crate::tally::Latencies;
use crate::usage::{self, Cpu};

/// How long all may take to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(300);
/// How long deliveries and answers may take to come after the last publish.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);
/// Clients that come back between two looks at the others.
const KNOCKS_A_TURN: usize = 256;
/// How long all may take to come back.
const REJOIN_WITHIN: Duration = Duration::from_secs(60);

/// Does what a plan says and returns the figures.
///
/// # Errors
/// When sockets can't be made, or more than half of them were refused.
pub fn run(plan: Plan) -> io::Result<Report> {
    let mut run = Run::new(plan)?;
    run.connect()?;
    run.settle()?;
    run.publish()?;
    if run.crowd.plan().rejoin {
        run.rejoin()?;
    }
    if let Some(seconds) = run.crowd.plan().leave {
        run.crowd.close_all();
        std::thread::sleep(Duration::from_secs_f64(seconds));
        run.report.rss_left_kib = usage::rss_kib(&run.pids);
    }
    Ok(run.report)
}

struct Run {
    crowd: Crowd,
    pids: Vec<u32>,
    report: Report,
    /// Publishes by topic.
    published: Vec<u64>,
    /// Members of each topic that read.
    members: Vec<Vec<usize>>,
    beats: u64,
}

impl Run {
    fn new(plan: Plan) -> io::Result<Self> {
        Ok(Self {
            pids: plan.pid.clone(),
            published: vec![0; plan.topics],
            members: vec![Vec::new(); plan.topics],
            crowd: Crowd::new(plan)?,
            report: Report::default(),
            beats: 0,
        })
    }

    fn connect(&mut self) -> io::Result<()> {
        let (begun, before) = (Instant::now(), Cpu::of(&self.pids));
        self.report.rss_before_kib = usage::rss_kib(&self.pids);
        let spare = usage::available_kib();
        let opening = self.crowd.plan().opening;
        while !self.crowd.is_settled() {
            self.crowd.open_more(opening)?;
            self.crowd.turn(Duration::from_millis(20))?;
            if begun.elapsed() > CONNECT_WITHIN || self.crowd.dead() * 2 > self.crowd.clients.len()
            {
                break;
            }
        }
        let (ready, dead) = (self.crowd.ready(), self.crowd.dead());
        self.report.connect_seconds = begun.elapsed().as_secs_f64();
        let cpu = Cpu::of(&self.pids).us_since(&before);
        self.report.cpu_us_a_connect = cpu / ready.max(1) as f64;
        let taken = spare.saturating_sub(usage::available_kib());
        self.report.machine_kib_a_socket = taken as f64 / ready.max(1) as f64;
        if ready <= dead {
            let why = &self.crowd.tally.first_error;
            return Err(io::Error::other(format!(
                "{ready} joined, {dead} did not: {why}"
            )));
        }
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs_f64(self.crowd.plan().settle);
        while Instant::now() < until {
            self.crowd.turn(Duration::from_millis(50))?;
        }
        self.report.rss_joined_kib = usage::rss_kib(&self.pids);
        if self.crowd.plan().gate {
            println!("ready");
            io::stdout().flush()?;
            io::stdin().lock().read_line(&mut String::new())?;
        }
        let stalled = self.crowd.plan().stalled;
        for (number, client) in self.crowd.clients.iter().enumerate().skip(stalled) {
            if client.state == State::Ready {
                self.members[client.topic].push(number);
            }
        }
        Ok(())
    }

    fn publish(&mut self) -> io::Result<()> {
        let seconds = self.crowd.plan().seconds;
        self.crowd.tally.measuring = true;
        let (begun, before) = (Instant::now(), Cpu::of(&self.pids));
        while begun.elapsed().as_secs_f64() < seconds {
            let within = self.say_what_is_due(begun.elapsed().as_secs_f64());
            self.crowd.turn(within)?;
            if self.is_said() && self.is_drained() {
                break;
            }
        }
        let drained_by = Instant::now() + DRAIN_WITHIN;
        while !self.is_drained() && Instant::now() < drained_by {
            self.crowd.turn(Duration::from_millis(5))?;
        }
        self.report.cpu_us = Cpu::of(&self.pids).us_since(&before);
        self.report.seconds = begun.elapsed().as_secs_f64();
        self.report.rss_end_kib = usage::rss_kib(&self.pids);
        self.crowd.tally.measuring = false;
        self.sum_up();
        Ok(())
    }

    /// Publishes and beats what is due; returns how long there is nothing to say.
    fn say_what_is_due(&mut self, elapsed: f64) -> Duration {
        let (rate, heartbeat) = (self.crowd.plan().rate, self.crowd.plan().heartbeat);
        let mut within: f64 = 0.01;
        if self.crowd.plan().window > 0 {
            self.fill_windows();
            within = 0.001;
        } else if self.crowd.plan().in_flight > 0 {
            self.fill_sockets();
            within = 0.001;
        } else if rate > 0.0 {
            let stops = self.crowd.plan().publishes;
            let stops = if stops > 0 { stops } else { u64::MAX };
            let due = ((elapsed * rate) as u64 + 1).min(stops);
            while self.report.published < due {
                let topic = (self.report.published as usize) % self.members.len();
                self.publish_to(topic);
            }
            within = within.min(due as f64 / rate - elapsed);
        }
        if heartbeat > 0.0 {
            let each_second = self.crowd.clients.len() as f64 / heartbeat;
            let due = (elapsed * each_second) as u64;
            while self.beats < due {
                self.beat();
            }
            within = within.min((due + 1) as f64 / each_second - elapsed);
        }
        Duration::from_secs_f64(within.max(0.0))
    }

    /// Keeps so many publishes of each topic on their way.
    fn fill_windows(&mut self) {
        let window = self.crowd.plan().window;
        for topic in 0..self.members.len() {
            let members = self.members[topic].len() as u64;
            let delivered = |run: &Self| run.crowd.tally.delivered_by_topic[topic];
            while members > 0
                && self.published[topic] * members < delivered(self) + window * members
            {
                self.publish_to(topic);
            }
        }
    }

    /// Keeps so many pushes of each socket on their way.
    fn fill_sockets(&mut self) {
        let in_flight = self.crowd.plan().in_flight;
        for number in 0..self.crowd.clients.len() {
            let client = &self.crowd.clients[number];
            if client.state != State::Ready {
                continue;
            }
            for _ in client.in_flight..in_flight {
                self.push(number);
            }
        }
    }

    /// Publishes to a topic through its members in turn.
    fn publish_to(&mut self, topic: usize) {
        let members = &self.members[topic];
        if members.is_empty() {
            // It counts all the same, so that a rate goes on.
            self.report.published += 1;
            return;
        }
        self.push(members[self.published[topic] as usize % members.len()]);
    }

    fn push(&mut self, number: usize) {
        let plan = self.crowd.plan();
        let now_ns = stamp::now_ns();
        let payload = plan
            .payload
            .replace("MSG", &stamp::write(now_ns, plan.size));
        let topic = self.crowd.clients[number].topic;
        let text = plan
            .dialect
            .publish(&plan.topic(topic), &plan.event, &payload, now_ns);
        let client = &mut self.crowd.clients[number];
        client.in_flight += 1;
        client.say(&text);
        self.published[topic] += 1;
        self.report.published += 1;
    }

    fn beat(&mut self) {
        let number = self.beats as usize % self.crowd.clients.len();
        self.beats += 1;
        let client = &self.crowd.clients[number];
        if client.state != State::Ready {
            return;
        }
        if let Some(text) = self.crowd.plan().dialect.heartbeat(stamp::now_ns()) {
            self.crowd.clients[number].say(&text);
            self.report.heartbeats += 1;
        }
    }

    fn expected(&self) -> u64 {
        let foreign = self.crowd.plan().foreign;
        let by_topic = self.published.iter().zip(&self.members);
        by_topic
            .map(|(published, members)| (published + foreign) * members.len() as u64)
            .sum()
    }

    /// Says whether nothing more will be said before the time is over.
    fn is_said(&self) -> bool {
        let plan = self.crowd.plan();
        let listens = plan.foreign > 0 && plan.rate == 0.0;
        listens || (plan.publishes > 0 && self.report.published >= plan.publishes)
    }

    fn is_drained(&self) -> bool {
        let plan = self.crowd.plan();
        let answers = match plan.in_flight {
            0 => self.report.heartbeats,
            _ => self.report.published,
        };
        self.crowd.tally.delivered >= self.expected() && self.crowd.tally.answered >= answers
    }

    fn sum_up(&mut self) {
        let expected = self.expected();
        let (tally, report) = (&self.crowd.tally, &mut self.report);
        report.ready = self.crowd.ready();
        report.dead = self.crowd.dead();
        report.errors = tally.errors;
        report.first_error.clone_from(&tally.first_error);
        report.expected = expected;
        report.delivered = tally.delivered;
        report.answered = tally.answered;
        report.delivery_us = tally.deliveries.summary();
        report.answer_us = tally.answers.summary();
    }

    /// Breaks all off at once and lets them come back as the stock client does.
    fn rejoin(&mut self) -> io::Result<()> {
        self.crowd.break_all();
        self.crowd.lost.clear();
        let (begun, begun_ns) = (Instant::now(), stamp::now_ns());
        let total = self.crowd.clients.len();
        let mut tries = vec![0usize; total];
        let mut due: BinaryHeap<_> = (0..total)
            .map(|number| (std::cmp::Reverse(0), number))
            .collect();
        let (mut joined, mut counted) = (Latencies::default(), vec![false; total]);
        while self.crowd.ready() < total && begun.elapsed() < REJOIN_WITHIN {
            let elapsed_ms = begun.elapsed().as_millis() as u64;
            // Not all in one go, or those who got in first would wait for the last to knock.
            for _ in 0..KNOCKS_A_TURN {
                if due.peek().is_none_or(|(at, _)| at.0 > elapsed_ms) {
                    break;
                }
                let Some((_, number)) = due.pop() else { break };
                self.crowd.reopen(number)?;
            }
            self.crowd.turn(Duration::from_millis(1))?;
            let now_ns = stamp::now_ns();
            for (number, client) in self.crowd.clients.iter().enumerate() {
                if client.state == State::Ready && !counted[number] {
                    counted[number] = true;
                    joined.record(begun_ns, now_ns);
                }
            }
            for number in self.crowd.lost.drain(..) {
                self.report.rejoin_refused += 1;
                tries[number] += 1;
                let at_ms = elapsed_ms + u64::from(backoff::reconnect_ms(tries[number]));
                due.push((std::cmp::Reverse(at_ms), number));
            }
        }
        self.report.rejoin_seconds = begun.elapsed().as_secs_f64();
        self.report.rejoined = self.crowd.ready();
        self.report.rejoin_us = joined.summary();
        self.report
            .first_error
            .clone_from(&self.crowd.tally.first_error);
        Ok(())
    }
}
