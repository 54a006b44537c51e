# Every target does the set-up it needs: a virtual environment in .venv, exact versions.
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(if $(shell $(p) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(p))))
BIN := .venv/bin
READY := .venv/ready
DEMO := demo
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder --durations=10 --durations-min=5

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick test-lowest lint audit bench soak peers clean

define need-python
@test -n "$(PYTHON)" || { echo "ostraca needs Python 3.11 or newer: pass PYTHON=/path/to/python3.11"; exit 1; }
endef

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY)  ## make the virtual environment .venv

$(READY): pyproject.toml constraints.txt
	$(need-python)
	@echo "Setting up .venv with $$($(PYTHON) --version); this takes some minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==$(shell sed -n 's/^torch==//p' constraints.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)  ## build, verify, reproduce and look at all five tasks; train two models on Depo, draw their curves
	@rm -rf $(DEMO)
	$(BIN)/ostraca build corpus=five-tasks out=$(DEMO)/corpus dedup.mode=drop
	$(BIN)/ostraca verify path=$(DEMO)/corpus
	$(BIN)/ostraca reproduce path=$(DEMO)/corpus shards=2
	$(BIN)/ostraca inspect path=$(DEMO)/corpus show=1 max_tokens=120
	$(BIN)/ostraca build corpus=depo-demo out=$(DEMO)/depo
	$(BIN)/ostraca curve model=llama train=demo eval=demo corpus_path=$(DEMO)/depo out=$(DEMO)/llama
	$(BIN)/ostraca curve model=llama_canon train=demo eval=demo corpus_path=$(DEMO)/depo out=$(DEMO)/llama_canon
	$(BIN)/ostraca plot 'runs=[$(DEMO)/llama,$(DEMO)/llama_canon]' 'labels=[Llama,Llama with Canon layers]' out=$(DEMO)/hop_curves.png
	@echo
	@echo "the corpus    $(DEMO)/corpus          (manifest.json says all about it)"
	@echo "its report    $(DEMO)/corpus/report.html   and a dataset card, README.md"
	@echo "the curves    $(DEMO)/hop_curves.png   $(DEMO)/llama_canon/depo_hop_metrics.csv"
	@echo "try next      . .venv/bin/activate"
	@echo "              ostraca inspect dataset=brevo2 show=1"
	@echo "              ostraca inspect dataset=lano tree=true show=1"
	@echo "              ostraca build corpus=depo1 out=corpora/depo1 examples=1000000"
	@echo "              ostraca curve model=llama_canon train=demo eval=demo corpus_path=$(DEMO)/depo train.max_steps=6000"

test: lint  ## lint, format check, type check, and all tests
	$(BIN)/python -m pytest $(PARALLEL)

quick: $(READY)  ## some tests of every room, in under 90 seconds
	$(BIN)/python -m pytest -n 2 -m quick

test-lowest:  ## the tests that need no extra, with the lowest versions that pyproject.toml allows
	$(need-python)
	$(PYTHON) tests/harness/lowest.py
	.venv-lowest/bin/python -m pytest $(PARALLEL)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: $(READY)  ## a million examples of every preset, fewer of its test form, against their exact laws; no shortcut anywhere
	@status=0; for preset in $(basename $(notdir $(wildcard conf/dataset/*-*.yaml))); do \
	for how in "" "test_form=true examples=50_000"; do \
	found=$$($(BIN)/ostraca audit dataset=$$preset $$how) || status=1; echo "$$found" | grep -E ' OFF|: '; done; done; exit $$status

bench: $(READY)  ## measure speed, next to yardsticks of the same run
	$(BIN)/python tests/benchmarks/run.py

soak: $(READY)  ## long runs of the fault tests
	$(BIN)/python -m pytest -s -m soak --timeout 3600 tests

peers: $(READY)  ## the exports, read by other projects' own libraries (some hundred MB to download)
	$(BIN)/python tests/peers/environments.py
	$(BIN)/python -m pytest -m peers --timeout 900 tests/peers

clean:  ## remove the virtual environments and the demo
	rm -rf .venv .venv-lowest .venv-peers $(DEMO)
