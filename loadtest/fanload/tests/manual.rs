//! The manual's picture and table of a reconnect storm against the simulation.
//!
//! `fanload storm --svg src/manual/scaling-storm.svg` draws the picture again.

use std::path::Path;

use fanload::storm;

fn page(name: &str) -> String {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/manual");
    std::fs::read_to_string(manual.join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

#[test]
fn the_picture_is_what_the_program_draws() {
    let drawn = storm::tell(storm::SEED).picture;
    assert!(
        drawn == page("scaling-storm.svg"),
        "the picture is out of date: `make storm`"
    );
}

#[test]
fn the_table_is_what_the_program_prints() {
    let printed = storm::tell(storm::SEED).table;
    assert!(
        page("scaling.md").contains(&printed),
        "the page lacks:\n{printed}"
    );
}
