# What can be done with this checkout, in one word each?

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first Python that is new enough; `make PYTHON=/path/to/python3.12 …` overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DEMO_DATA ?= ./demo-data

.PHONY: help install demo test check format bench lock notices pages

help: ## what this file can do
	@grep -hE '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

install: $(VENV)/.packages pages $(VENV)/.teleread ## the environment, the built pages, .venv/bin/teleread

$(VENV)/.packages: requirements.lock
	@test -n "$(PYTHON)" || { echo "Teleread needs Python 3.11 or newer (with venv)." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "== Python environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "== Python packages from requirements.lock, every hash checked (about a minute)"
	@$(BIN)/pip install --require-hashes -r requirements.lock | sed -uE '/^(Collecting|Installing|Successfully)/!d; s/^(.{0,100}).*/  \1/'
	@touch $@

pages: $(VENV)/.packages
	@echo "== Typeface and front end"
	@$(BIN)/python hatch_build.py

$(VENV)/.teleread: pyproject.toml hatch_build.py $(VENV)/.packages | pages
	@echo "== Teleread itself"
	@TELEREAD_SKIP_FRONTEND=1 $(BIN)/pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@

demo: install ## a running gateway with made-up centers, users and studies
	@exec $(BIN)/python -m gateway.demo

test: install ## the whole suite, with all it needs
	@bash tools/debian_packages.sh
	@if [ -f viewers/web/dist/index.html ]; then $(BIN)/python tools/pages.py test; fi
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --no-loadscope-reorder $(PYTEST_ARGS)

check: install ## format, lint, types, rooms, licences, docs
	@echo "== format"; $(BIN)/ruff format --check .
	@echo "== lint"; $(BIN)/ruff check .
	@echo "== types"; $(BIN)/mypy
	@echo "== rooms"; $(BIN)/lint-imports
	@echo "== licences"; $(BIN)/python tools/licences.py
	@echo "== docs and house rules"; $(BIN)/python -m pytest -q tests/unit/test_house.py
	@echo "== pages"; if [ "$${TELEREAD_SKIP_FRONTEND:-}" = 1 ]; then echo "  left out"; else $(BIN)/python tools/pages.py check; fi

format: $(VENV)/.packages ## put the code into the house's form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install ## figures on this machine
	@$(BIN)/python -m tools.bench

lock: ## resolve requirements.lock anew (needs uv); no registry is named in it
	@uv pip compile pyproject.toml --extra build --extra demo --extra test --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --no-config $(LOCK_ARGS) -o requirements.lock

notices: $(VENV)/.packages ## write THIRD_PARTY.md from what is installed
	@$(BIN)/python tools/licences.py --write
