# `make up` runs the demo, `make test` runs every check; both set up what they need. Python, make and gcc are enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready

.PHONY: up demo test bench unit lint format clean help

help:
	@echo "make up      run the demo: a gateway, an autoscaler and two versions of a small model"
	@echo "make demo    the same with a load beside it, told as a timeline"
	@echo "make test    every check"
	@echo "make bench   time the hot path and the cores, piece by piece"
	@echo "make format  write the code in its one format"

up: $(RUN_READY)
	$(BIN)/tidegate up config/demo.yaml

demo: $(RUN_READY)
	$(BIN)/python loadtests/demo/run.py --result .tidegate/demo.json

test: lint unit

lint: $(DEV_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(DEV_READY)
	$(BIN)/pytest -n 2

bench: $(DEV_READY)
	$(BIN)/pytest tests/bench --benchmark-enable --benchmark-only --benchmark-columns=min,median,iqr,rounds -p no:randomly

format: $(DEV_READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Tidegate needs Python 3.11, 3.12 or 3.13; name one with: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_READY): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV_READY): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(RUN_READY)

clean:
	rm -rf $(VENV) .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
