# Needs Python 3.11 or newer and make; everything else is fetched into .venv from uv.lock.
#   make run     the demo on this machine          make lint     ruff, mypy, import contracts, unused things
#   make test    every test                        make bench    speed of the hot path
#   make clean   removes .venv and caches          make mutants  are the tests awake?
#   make format  puts right what ruff can          make proofs   the long tests: the real logs whole, a million texts for the parser

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
# uv puts the locked versions in place; it comes by pip, at the version the lock names.
UV_VERSION = $(shell $(PYTHON) -c 'import tomllib; print(next(p["version"] for p in tomllib.load(open("uv.lock", "rb"))["package"] if p["name"] == "uv"))')
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON := $(BIN)/python
WORKERS ?= 2
ARGS ?=

.PHONY: help run test lint format bench mutants proofs clean system

help:
	@sed -n '1,5s/^# *//p' Makefile

run: $(VENV)/.run-ready
	@exec $(BIN)/hyperseg demo $(ARGS)

test: $(VENV)/.dev-ready system
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(ARGS)

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/vulture

format: $(VENV)/.dev-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev-ready
	$(BIN)/python -m tests.benchmarks $(ARGS)

mutants: $(VENV)/.dev-ready
	$(BIN)/python -m tests.mutants $(ARGS)

proofs: $(VENV)/.dev-ready
	HYPERSEG_WHOLE_LOGS=1 HYPERSEG_FUZZ=1000000 $(BIN)/pytest -n $(WORKERS) \
		tests/golden/test_real_logs.py tests/properties/test_fuzz_grammar.py $(ARGS)

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find app agents tables tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------ environment

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed: none was found on PATH; install it, or name it with PYTHON=…" >&2; exit 3; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot create $(VENV): on Debian install python3-venv" >&2; exit 3; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# uv does not read pip's configuration: where only pip's index is reachable the same locked versions come by pip.
define install
@echo "installing what uv.lock names into $(VENV) …"; \
$(BIN)/uv sync --locked --inexact --quiet $(1) || { \
	$(BIN)/uv export --frozen --quiet --no-emit-project --format requirements-txt $(1) >$(VENV)/requirements.txt && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/requirements.txt && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .; }
@touch $@
endef

$(VENV)/.run-ready: pyproject.toml uv.lock | $(BIN)/uv
	$(call install,--no-dev)

$(VENV)/.dev-ready: pyproject.toml uv.lock | $(BIN)/uv
	$(call install,)
	@touch $(VENV)/.run-ready

# What the browser and Kafka tests need beside Python; only Debian as root can be helped, elsewhere those tests say what is lacking.
system:
	@missing=""; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v chromedriver >/dev/null || missing="$$missing chromium-driver"; \
	command -v java >/dev/null || missing="$$missing default-jre-headless"; \
	command -v mvn >/dev/null || missing="$$missing maven"; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
			|| echo "make: could not install$$missing; the tests that need them will say so" >&2; \
	fi
