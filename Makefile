# Provisor. `make help` lists the targets.

PYTHON   ?= python3
VENV     ?= .venv
BIN      := $(VENV)/bin
STEPPATH ?= $(CURDIR)/.provisor
ADDRESS  ?= 127.0.0.1:9000
PEERS    ?= $(CURDIR)/.peers

export STEPPATH ADDRESS PEERS

.DEFAULT_GOAL := help

.PHONY: help install up test check peers bench bench-large fuzz-templates lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## the environment in .venv, from the lock

$(VENV)/.installed: pyproject.toml requirements.lock
	@scripts/install $(PYTHON) $(VENV)
	@touch $@

up: install ## a running CA: PKI if there is none, then the server (STEPPATH, ADDRESS)
	@scripts/up $(BIN)

test: install ## every test; those whose peer is missing are skipped and say so
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: install ## format, lint and types, tests included
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

peers: install ## the real step and step-ca into .peers, for the interoperability tests
	@scripts/peers $(BIN) $(PEERS)

bench: install peers ## the real step-ca and Provisor beside each other, 25 minutes (BENCH="--rows sign --rounds 3")
	@mkdir -p build
	$(BIN)/python -m bench --peers $(PEERS) --json build/bench.json --markdown build/bench.md $(BENCH)

bench-large: install peers ## the rows that need many records
	@mkdir -p build
	$(BIN)/python -m bench --large --peers $(PEERS) --json build/bench-large.json --markdown build/bench-large.md $(BENCH)

fuzz-templates: install ## 20,000 templates, here and by Go (FUZZ="--seed 2 --count 50000")
	$(BIN)/python -W ignore scripts/fuzz_templates.py $(FUZZ)

lock: install ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --group dev pyproject.toml -o requirements.lock

clean: ## remove what make made, but no PKI
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
