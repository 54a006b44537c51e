# Every target does the set-up it needs: a virtual environment in .venv, exact versions.
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(if $(shell $(p) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(p))))
BIN := .venv/bin
READY := .venv/ready
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench soak clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

setup: $(READY)  ## make the virtual environment .venv

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "ostraca needs Python 3.11 or newer: pass PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up .venv with $$($(PYTHON) --version); this takes some minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==$(shell sed -n 's/^torch==//p' constraints.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)  ## build, verify, reproduce and inspect a corpus, train two models on it, draw their curves
	PATH="$(BIN):$$PATH" DEMO="$(DEMO)" bash scripts/demo.sh

test: lint  ## lint, format check, type check, and all tests
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## measure speed, next to yardsticks of the same run
	$(BIN)/python tests/benchmarks/run.py

soak: $(READY)  ## long runs of the fault tests
	$(BIN)/python -m pytest -m soak --timeout 3600 tests

clean:  ## remove the virtual environment and the demo
	rm -rf .venv $(DEMO)
