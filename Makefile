# Everything is done from here; `make` alone lists what there is. Needs Python 3.11 or newer and make.
.DEFAULT_GOAL := help
.PHONY: help install check test simulate-nightly demo demo-compose compose-check generate clean
SHELL := /bin/sh
BIN := .venv/bin

# The first of these that runs and is new enough; `make install PYTHON=/path/to/python` decides otherwise.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

install: .venv/installed  ## Make .venv with the package and its tools, at the versions of constraints.txt

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found: install one, or say make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory python3-venv
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; }
	@echo "installing $$(grep -c == constraints.txt) pinned packages into .venv (a minute or two)"
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -qq -c constraints.txt -e '.[dev]'
	@touch $@

# Debian keeps ensurepip, which venv needs, in a package of its own.
.PHONY: python3-venv
python3-venv:
	@test "$$(id -u)" = 0 && command -v apt-get >/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: install the package python3-venv"; exit 1; }
	@echo "installing the package python3-venv"
	@apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >/dev/null

check: install  ## Lint, formatting, types and the import ladder
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two processes, each with a broker that it starts. A broker of yours is one, and tests of two would meet on it.
test: check  ## Check, then every test, against a real broker that is found or started
	$(BIN)/pytest $(if $(SIDECAR_AMQP_URL),,-n 2 --dist loadfile)

simulate-nightly: install  ## Try to break the promises for an hour, on all cores; CONFIG=FILE is your own configuration
	$(BIN)/sidecar simulate $(if $(CONFIG),--config $(CONFIG)) --minutes $(or $(MINUTES),60) --arbiters 3 --orders-per-minute 20 --errands-per-minute 10 --seed $$(date +%Y%m%d)0000

demo: install  ## The whole system as processes: failover, halt, resume, arbiter takeover
	$(BIN)/sidecar demo

demo-compose:  ## The same system in containers, until interrupted (needs Docker with Compose)
	docker compose up --build

compose-check: install  ## Bring the containers up, kill the active one, see the standby take over, take them down
	$(BIN)/python .ci/compose_check.py

.PHONY: chaos
chaos: install  ## Kill, freeze, cut off and starve a cluster of three and the arbiters; nothing may be lost (needs Docker)
	$(BIN)/python -m benchmarks.chaos

.PHONY: once-race
once-race: install  ## Fifty processes race for one key of execute-once, over a real broker
	ONCE_RACERS=50 $(BIN)/pytest tests/agent/test_once_race.py

.PHONY: bench-failover
bench-failover: install  ## Kill, stop and cut real processes, 20 times each, on a real broker (about 20 minutes)
	$(BIN)/python -m benchmarks.failover

.PHONY: bench-deadman
bench-deadman: install  ## Stop whoever keeps gates open, 20 times each, and see them close (about 15 minutes)
	$(BIN)/python -m benchmarks.deadman

.PHONY: bench-journal
bench-journal: install  ## The journal's speeds beside the broker's own, with a million records (about 10 minutes)
	$(BIN)/python -m benchmarks.journal

.PHONY: bench-orders
bench-orders: install  ## Orders through pre-commit beside the broker's own, on one node and three, and memory (20 minutes)
	$(BIN)/python -m benchmarks.orders

.PHONY: bench-gate
bench-gate: install  ## The gate check in Python beside an empty call and one reading of the clock
	$(BIN)/python benchmarks/gate.py

.PHONY: gate-stress
gate-stress: install  ## Hammer the gate page with three processes for 10 s; no read may be torn
	$(BIN)/python -m benchmarks.gate_stress

.PHONY: bench-halt
bench-halt: install  ## A halt to the last of 1000 gates, and one under order traffic, beside the broker's own (3 minutes)
	$(BIN)/python -m benchmarks.halt

.PHONY: bench-shutdown
bench-shutdown: install  ## Emergency shutdown of 50 components on this machine, in less than 5 s (about 5 minutes)
	$(BIN)/python -m benchmarks.shutdown

.PHONY: bench-state
bench-state: install  ## Kill the active's host 20 times and see how old the state is that the next one begins with (2 minutes)
	$(BIN)/python -m benchmarks.state

generate: install  ## Write schemas/ and topology/ again from the code
	$(BIN)/sidecar schemas export schemas
	$(BIN)/sidecar topology export topology

clean:  ## Remove .venv and everything else that is made here
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find sidecar tests -name __pycache__ -type d -prune -exec rm -rf {} +
