# `make up` runs the demo, `make test` runs every check; both set up what they need. Python, make and gcc are enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready

# A copy of the sources with the hot path as machine code, and what is installed from it.
COMPILED := build/compiled
COMPILED_VENV := .venv-compiled
COMPILED_READY := $(COMPILED_VENV)/.ready
# KServe's SDK asks for older packages than the constraints have.
SDK := .venv-sdk
SDK_READY := $(SDK)/.ready
SOURCES := pyproject.toml constraints.txt README.md LICENSE $(shell find gateway autoscaler -name '*.py' -o -name py.typed)

.PHONY: up demo test test-cluster test-compiled compiled bench unit lint format crds sdk clean help

help:
	@echo "make up      run the demo: a gateway, an autoscaler and two versions of a small model"
	@echo "make demo    the same with a load beside it, told as a timeline"
	@echo "make test    every check"
	@echo "make compiled  install into $(COMPILED_VENV) with the hot path as machine code: twice as fast, for production and load tests"
	@echo "make test-compiled  the data plane's tests on that"
	@echo "make test-cluster  Tidegate as pods: in the API server emulation, and in the cluster that KUBECONFIG names"
	@echo "make sdk     set up KServe's Python SDK in $(SDK), apart from everything else, so that test-cluster can use it"
	@echo "make bench   time the hot path and the cores, piece by piece"
	@echo "make crds    write the definitions of InferenceService in deploy/crds"
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

test-cluster: $(DEV_READY)
	TIDEGATE_TEST_CLUSTER=1 $(BIN)/pytest -n 2 tests/cluster

sdk: $(SDK_READY)

bench: $(DEV_READY)
	$(BIN)/pytest tests/bench --benchmark-enable --benchmark-only --benchmark-columns=min,median,iqr,rounds -p no:randomly

compiled: $(COMPILED_READY)

test-compiled: $(COMPILED_READY)
	rm -rf $(COMPILED)/tests $(COMPILED)/config $(COMPILED)/deploy
	cp -r tests config deploy $(COMPILED)
	$(COMPILED_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$$(echo $(COMPILED)/wheel/*.whl)[dev]"
	cd $(COMPILED) && $(CURDIR)/$(COMPILED_VENV)/bin/pytest -n 2 tests/gateway tests/integration tests/fuzz

crds: $(DEV_READY)
	$(BIN)/python deploy/crds/make.py

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

$(SDK_READY): pyproject.toml
	rm -rf $(SDK)
	$(PYTHON) -m venv $(SDK)
	$(SDK)/bin/python -m pip install --quiet --disable-pip-version-check '.[cluster]'
	@touch $@

$(COMPILED_READY): $(SOURCES)
	@command -v gcc >/dev/null || { echo "make compiled needs gcc (on Debian: apt install gcc)" >&2; exit 1; }
	rm -rf $(COMPILED) $(COMPILED_VENV)
	mkdir -p $(COMPILED)
	cp -r pyproject.toml constraints.txt README.md LICENSE gateway autoscaler $(COMPILED)
	$(PYTHON) -m venv $(COMPILED_VENV)
	HATCH_BUILD_HOOKS_ENABLE=1 PIP_CONSTRAINT=$(CURDIR)/constraints.txt \
		$(COMPILED_VENV)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w $(COMPILED)/wheel ./$(COMPILED)
	$(COMPILED_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(COMPILED)/wheel/*.whl
	@# The load tests import each other from here; the gateway is the installed one, which stands first.
	@echo $(CURDIR) > $$($(COMPILED_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/loadtests.pth
	@touch $@

clean:
	rm -rf $(VENV) $(SDK) $(COMPILED) $(COMPILED_VENV) .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
