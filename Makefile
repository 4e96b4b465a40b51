# make demo   from nothing to a trained policy and its report (srl quickstart)
# make test   the whole test suite
# make lint   ruff and basedpyright
# make study-small   the main table of the comparison, docs/results.md: 22 runs, about 40 minutes on two free cores
# Each makes .venv first. Python 3.11 to 3.13; set PYTHON to choose one.

PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint study-small clean

demo: .venv/installed
	$(BIN)/srl quickstart

test: .venv/installed-dev
	$(BIN)/python -m pytest -n 2

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

study-small: .venv/installed-sft
	$(BIN)/srl study studies/quickstart.toml --lanes 2 \
		--only sft-traces sft-outline rlvr sft-rlvr r3 srl srl-rlvr

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch goes first and alone: once it is there, no other package's range makes pip fetch a different one.
.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) torch
	$(PIP) --editable .
	touch $@

.venv/installed-sft: .venv/installed
	$(PIP) --editable '.[sft]'
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs
