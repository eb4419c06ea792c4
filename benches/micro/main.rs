//! Micro-benchmarks: what the parts of the hot path cost alone, in time and in allocations.
//!
//! No network and no store. `cargo bench` measures; `cargo test --benches` runs each once.

mod batcher;
mod dispatch;
mod envelope;
mod fan_out;
mod pure;
mod serializers;

use divan::AllocProfiler;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}
