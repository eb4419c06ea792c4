# Fanfare: what people and machines run. `make` alone says what there is.

CARGO ?= cargo
.DEFAULT_GOAL := help
.PHONY: help setup test ops-test faults soak fuzz bench storm lint fmt reference chart-files chart-reference run demo loadtest rolling-restart clean

help: ## says what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## installs what the tests need and is missing: Redis, Postgres, Node.js, Chromium, packages of npm
	@bash tests/setup.sh

test: setup ## sets up and runs every test
	$(CARGO) test --locked --all-targets
	$(CARGO) test --locked --doc
	$(CARGO) test --locked -p fanload --all-targets

ops-test: setup ## tests the chart, rules, dashboards, load tests, proxies and image; OPS chooses, all without a cluster
	CARGO="$(CARGO)" tests/ops/run.sh $(OPS)

faults: setup ## runs what is too heavy for every change: crowds, and every fault with many seeds, for hours; LEDGER_FAULT, LEDGER_SEEDS, LEDGER_SIZE, LEDGER_JOBS and SIMULATION_SEEDS choose; the table is in target/faults
	$(CARGO) test --locked --release --tests -- --ignored --nocapture

soak: setup ## has clients come and go for SOAK_SECONDS (3600): memory, descriptors and threads must stay flat
	SOAK_SECONDS=$${SOAK_SECONDS:-3600} $(CARGO) test --locked --release --test soak -- --ignored --nocapture

fuzz: ## mutates inputs of every decoder for FUZZ_SECONDS (600) each; FUZZ_SEED repeats a run, crashing inputs go to target/fuzz
	$(CARGO) test --locked --release --test fuzz -- --ignored --nocapture

bench: setup ## measures every scenario against the floor and prints a table (target/bench/bench.json); BENCH_ONLY, BENCH_RUNS, BENCH_SECONDS and BENCH_SOCKETS choose
	$(CARGO) build --locked --release --bin fanfare
	$(CARGO) build --locked --release -p fanload
	target/release/fanload bench

storm: ## simulates reconnect storms, prints their table and draws the manual's picture
	$(CARGO) run --locked --quiet --release -p fanload --bin fanload -- storm --svg src/manual/scaling-storm.svg

lint: ## checks the format and the lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## formats the code
	$(CARGO) fmt --all

reference: ## writes the manual's page of settings from the table of settings
	$(CARGO) build --locked --quiet --example settings-reference
	$(CARGO) run --locked --quiet --example settings-reference > src/manual/.settings.md
	mv src/manual/.settings.md src/manual/settings.md

chart-files: ## copies rules and dashboards of deploy/ into the chart
	mkdir -p helm/fanfare/files/rules helm/fanfare/files/dashboards
	rm -f helm/fanfare/files/rules/*.yml helm/fanfare/files/dashboards/*.json
	cp deploy/prometheus/rules/*.yml helm/fanfare/files/rules/
	cp deploy/grafana/dashboards/*.json helm/fanfare/files/dashboards/

chart-reference: ## writes the tables of the chart's README and the descriptions of its schema from its values
	$(or $(wildcard target/ops/chart/venv/bin/python),python3) tests/ops/chart/reference.py

run: ## runs a node on http://127.0.0.1:4000, as released
	$(CARGO) run --locked --release

demo: ## runs a node that keeps nothing; open http://127.0.0.1:4000 twice
	$(CARGO) run --locked --release -- --database-url sqlite::memory:

loadtest: setup ## runs the k6 smoke set against two nodes with Redis and Postgres; FANFARE_BIN and P95_MS choose
	@tests/ops/load/run.sh loadtest

rolling-restart: setup ## restarts three nodes in turn under load: with a drain, all at once, killed; minutes
	@tests/ops/load/run.sh rolling-restart

clean: ## removes what was built and installed here
	$(CARGO) clean
	rm -rf tests/npm/node_modules
