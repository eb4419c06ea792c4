//! Fuzzing on stable Rust: mutated inputs against every decoder, and the properties each must hold.
//!
//! It never draws a seed unseen: a run prints the one it had, and `FUZZ_SEED` repeats it.

mod corpus;
mod mutate;
mod targets;

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mutate::Mutator;
use targets::{TARGETS, Target, Verdict};

/// Inputs of a target in every run of the tests, and their seed.
const INPUTS: u64 = 20_000;
const SEED: u64 = 0xFA_2FA2;
/// How long `make fuzz` stays with a target, unless `FUZZ_SECONDS` says otherwise.
const SECONDS_DEFAULT: u64 = 600;
/// Inputs between two looks at the clock.
const ROUND: u64 = 1_000;

fn target(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.expect("a target of the table")
}

/// Runs one input; when a property is broken, the input is kept and the panic goes on.
fn run(target: &Target, input: &[u8]) -> Verdict {
    let bytes = Bytes::copy_from_slice(input);
    catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes))).unwrap_or_else(|panic| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
        let name = RandomState::new().hash_one(0);
        let path = folder.join(format!("{}-{name:016x}", target.name));
        let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
        eprintln!(
            "{}: the input is in {} ({kept:?})",
            target.name,
            path.display()
        );
        resume_unwind(panic)
    })
}

/// Runs mutated inputs until `ends` says so, which is asked with their number.
fn fuzz(target: &Target, seed: u64, ends: impl Fn(u64) -> bool) -> (u64, u64) {
    let seeds = corpus::read(target.name).into_iter();
    let corpus: Vec<Vec<u8>> = seeds.map(|seed| seed.bytes).collect();
    let mut mutator = Mutator::new(seed, &corpus, target.dictionary);
    let (mut inputs, mut taken) = (0, 0);
    while !ends(inputs) {
        let input = mutator.next_input();
        inputs += 1;
        if run(target, &input) == Verdict::Taken {
            taken += 1;
            mutator.keep(input);
        }
    }
    (inputs, taken)
}

/// A seed of every corpus is what its name says, and 20,000 mutations break nothing.
fn check(name: &str) {
    let target = target(name);
    let (inputs, taken) = fuzz(target, SEED, |inputs| inputs == INPUTS);
    assert!(
        taken > 0,
        "{name}: none of {inputs} inputs got past the first check"
    );
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

/// Runs a target for `FUZZ_SECONDS`, from `FUZZ_SEED` or a seed of its own.
fn at_length(name: &str) {
    let target = target(name);
    let seconds = number("FUZZ_SECONDS").unwrap_or(SECONDS_DEFAULT);
    let seed = number("FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(name));
    println!("{name}: FUZZ_SEED={seed}, {seconds} s");
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let (inputs, taken) = fuzz(target, seed, |inputs| {
        inputs % ROUND == 0 && Instant::now() >= end
    });
    let rate = inputs as f64 / start.elapsed().as_secs_f64();
    println!("{name}: FUZZ_SEED={seed}, {inputs} inputs, {taken} taken, {rate:.0} inputs/s");
}

#[test]
fn every_seed_is_what_its_name_says() {
    for target in &TARGETS {
        let seeds = corpus::read(target.name);
        assert!(seeds.len() >= 10, "{}: {} seeds", target.name, seeds.len());
        let wrong: Vec<&str> = seeds
            .iter()
            .filter(|seed| run(target, &seed.bytes) != seed.expected)
            .map(|seed| seed.name.as_str())
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", target.name);
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        mod mutated {
            $(#[test] fn $name() { super::check(stringify!($name)); })*
        }

        mod at_length {
            $(
                #[test]
                #[ignore = "runs for FUZZ_SECONDS (600): make fuzz"]
                fn $name() { super::at_length(stringify!($name)); }
            )*
        }

        #[test]
        fn every_target_of_the_table_is_run() {
            let run = [$(stringify!($name)),*];
            assert_eq!(TARGETS.each_ref().map(|target| target.name), run);
        }
    };
}

targets!(v1_text v2_text v2_binary ndjson token session phoenix jwt term envelope proxy_header);
