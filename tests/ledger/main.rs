//! The ledger: every record sent, acknowledged, stored and received, held against the promise, under faults.
//!
//! A run is a fault and a seed, and is told again by the same two. `make faults` runs the long set.
//! `LEDGER_FAULT` (a name, or `all`), `LEDGER_SEEDS` (`7`, or `1-20`) and `LEDGER_SIZE` (`small`,
//! `full`) choose from it.

mod client;
mod dice;
mod doctored;
mod fault;
mod proxy;
mod relays;
mod rig;
mod run;
mod session;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod twin;
mod verdict;
mod wire;

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use fault::Fault;
use run::{FULL, Outcome, SMALL, Size};

/// One run at a time: each wants the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

/// Runs and says the line; what is found in words, too.
fn tell(fault: Fault, seed: u64, size: Size) -> Outcome {
    let outcome = run::run(fault, seed, size);
    println!("{outcome}");
    for finding in &outcome.records.findings {
        println!("  {finding}");
    }
    outcome
}

fn holds(fault: Fault, seed: u64) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = tell(fault, seed, SMALL);
    let (replay, log) = (outcome.replay(), &outcome.log);
    assert!(outcome.is_clean(), "{outcome}\nagain with: {replay}\n{log}");
}

#[test]
fn the_promise_holds_while_clients_come_and_go() {
    holds(Fault::None, 1);
}

#[test]
fn the_promise_holds_when_redis_is_killed() {
    holds(Fault::RedisRestart, 2);
}

#[test]
fn the_promise_holds_when_a_node_is_killed() {
    holds(Fault::NodeKill, 3);
}

#[test]
fn the_promise_holds_when_postgres_crashes() {
    holds(Fault::PostgresRestart, 4);
}

#[test]
#[ignore = "the long set takes hours; `make faults` runs it"]
fn the_promise_holds_under_every_fault_and_seed() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut broken = Vec::new();
    for fault in chosen_faults() {
        for seed in chosen_seeds() {
            let outcome = tell(fault, seed, chosen_size());
            if !outcome.is_clean() {
                broken.push(outcome.replay());
                println!("  again with: {}", outcome.replay());
                if std::env::var("LEDGER_LOG").is_ok() {
                    println!("{}", outcome.log);
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "broken, again with:\n{}",
        broken.join("\n")
    );
}

fn chosen_faults() -> Vec<Fault> {
    let name = std::env::var("LEDGER_FAULT").unwrap_or_else(|_| String::from("all"));
    let all = Fault::ALL.into_iter();
    let chosen: Vec<Fault> = all
        .filter(|fault| name == "all" || fault.name() == name)
        .collect();
    let names = Fault::ALL.map(Fault::name).join(", ");
    assert!(
        !chosen.is_empty(),
        "LEDGER_FAULT must be all or one of: {names}"
    );
    chosen
}

fn chosen_seeds() -> RangeInclusive<u64> {
    let text = std::env::var("LEDGER_SEEDS").unwrap_or_else(|_| String::from("1-20"));
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let number = |text: &str| {
        text.parse()
            .expect("LEDGER_SEEDS must be a seed, or first-last")
    };
    number(first)..=number(last)
}

fn chosen_size() -> Size {
    match std::env::var("LEDGER_SIZE").as_deref() {
        Err(_) | Ok("full") => FULL,
        Ok("small") => SMALL,
        Ok(_) => panic!("LEDGER_SIZE must be small or full"),
    }
}
