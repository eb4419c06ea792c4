# Fanfare: what people and machines run. `make` alone says what there is.

CARGO ?= cargo
.DEFAULT_GOAL := help
.PHONY: help setup test faults fuzz bench lint fmt reference run demo clean

help: ## says what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## installs what the tests need and is missing: Redis, Postgres, Node.js, Chromium, packages of npm
	@bash tests/setup.sh

test: setup ## sets up and runs every test
	$(CARGO) test --locked --all-targets
	$(CARGO) test --locked --doc
	$(CARGO) test --locked -p fanload --all-targets

faults: setup ## runs what is too heavy for every change: crowds, and every fault with many seeds, for hours; LEDGER_FAULT, LEDGER_SEEDS and LEDGER_SIZE choose
	$(CARGO) test --locked --release --tests -- --ignored --nocapture

fuzz: ## mutates inputs of every decoder for FUZZ_SECONDS (600) each; FUZZ_SEED repeats a run, crashing inputs go to target/fuzz
	$(CARGO) test --locked --release --test fuzz -- --ignored --nocapture

bench: setup ## measures every scenario against the floor and prints a table (target/bench/bench.json); BENCH_ONLY, BENCH_RUNS, BENCH_SECONDS and BENCH_SOCKETS choose
	$(CARGO) build --locked --release --bin fanfare
	$(CARGO) build --locked --release -p fanload
	target/release/fanload bench

lint: ## checks the format and the lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## formats the code
	$(CARGO) fmt --all

reference: ## writes the manual's page of settings from the table of settings
	$(CARGO) build --locked --quiet --example settings-reference
	$(CARGO) run --locked --quiet --example settings-reference > src/manual/.settings.md
	mv src/manual/.settings.md src/manual/settings.md

run: ## runs a node on http://127.0.0.1:4000, as released
	$(CARGO) run --locked --release

demo: ## runs a node that keeps nothing; open http://127.0.0.1:4000 twice
	$(CARGO) run --locked --release -- --database-url sqlite::memory:

clean: ## removes what was built and installed here
	$(CARGO) clean
	rm -rf tests/npm/node_modules
