# Every target does its own set-up; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
export UV_PYTHON_DOWNLOADS := never
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
UV := $(or $(shell command -v uv 2>/dev/null),$(CURDIR)/.tools/uv/bin/uv)
PY312 := $(firstword $(shell python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null) \
                     $(wildcard $(HOME)/.pyenv/versions/3.12*/bin/python3.12) \
                     $(wildcard /usr/local/bin/python3.12 /opt/python3.12/bin/python3.12))
MEMBERS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml) deploy/local/pyproject.toml deploy/keys/pyproject.toml
SOURCES := conftest.py libs services deploy charts tests tools
STAMP := $(VENV)/.synced
BUF := node_modules/.bin/buf
PYTEST := $(BIN)/python -m pytest
ARGS ?=

.PHONY: help setup run test check format bench fuzz soak protos locks docs images chart cluster-test clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(STAMP) ## the Python environment in .venv, from the lock

$(CURDIR)/.tools/uv/bin/uv:
	@test -n "$(PY312)" || { echo "qmesh needs Python 3.12 (python3.12 on PATH); this machine has none" >&2; exit 78; }
	@echo "installing uv $(UV_VERSION) into .tools"
	@"$(PY312)" -m venv .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(STAMP): locks/dev.txt pyproject.toml $(MEMBERS) $(wildcard services/node/native/*) | $(UV)
	@test -n "$(PY312)" || { echo "qmesh needs Python 3.12 (python3.12 on PATH); this machine has none" >&2; exit 78; }
	@tools/prerequisites build
	@test -x $(BIN)/python || "$(UV)" venv --quiet --python "$(PY312)" $(VENV)
	@"$(UV)" pip sync --quiet --python $(BIN)/python --require-hashes locks/dev.txt
	@"$(UV)" pip install --quiet --python $(BIN)/python --no-deps $(patsubst %/pyproject.toml,-e ./%,$(MEMBERS))
	@$(BIN)/python -m compileall -q $(VENV)/lib > /dev/null || true
	@touch $@

$(BUF): package-lock.json
	@tools/prerequisites npm
	@npm ci --silent --no-audit --no-fund
	@touch $@

run: $(STAMP) ## set up, start a local mesh, run examples/seed.qasm, show the result (ARGS=--once stops at once)
	@PATH="$(BIN):$$PATH" $(BIN)/qmesh up $(if $(filter --once,$(ARGS)),--once,--submit) examples/seed.qasm $(filter-out --once,$(ARGS))

test: $(STAMP) ## every test that needs no cluster
	@tools/helm
	@PATH="$(BIN):$$PATH:$(CURDIR)/.tools/bin" $(PYTEST) -q $(ARGS)

check: $(STAMP) $(BUF) ## format, lint, types, import contracts, wire contract, drift: what CI runs
	@PATH="$(BIN):$$PATH" tools/check

format: $(STAMP) ## mend format and import order
	@$(BIN)/ruff check --quiet --fix --select I $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

bench: $(STAMP) ## benchmarks: a table, and JSON under build/
	@PATH="$(BIN):$$PATH" $(BIN)/python -m tests.perf $(ARGS)

fuzz: $(STAMP) ## coverage-guided fuzzing of what strangers may send (RUNS=100000, TARGET=circuits)
	@PATH="$(BIN):$$PATH" $(BIN)/python -m tests.fuzz $(if $(RUNS),--runs $(RUNS)) $(if $(TARGET),--target $(TARGET)) $(ARGS)

soak: $(STAMP) ## the acceptance lines at full size: hours; evidence under docs/evidence (ARGS="--only faults")
	@PATH="$(BIN):$$PATH" $(BIN)/python -m tests.soak $(ARGS)

protos: $(STAMP) $(BUF) ## the stubs in libs/protos, from proto/
	@tools/protos

locks: $(STAMP) ## resolve again what changed, and write locks/
	@UV="$(UV)" tools/lock

docs: $(STAMP) ## the generated pages in docs/reference
	@$(BIN)/python -m tools.reference

images: ## the container images, by docker, podman or buildah (PARTS="gateway node" for some)
	@mkdir -p build
	@deploy/docker/build $(PARTS)

chart: $(STAMP) ## lint, render, schema and policy tests of the Helm chart
	@tools/helm
	@PATH="$(BIN):$$PATH:$(CURDIR)/.tools/bin" $(PYTEST) -q tests/chart $(ARGS)

cluster-test: $(STAMP) ## images, install, use, hurt, upgrade, uninstall on a real cluster (KUBECONFIG, or QMESH_CLUSTER_UP)
	@tools/cluster-test $(ARGS)

clean: ## remove what the build made (not the data of a mesh)
	@rm -rf .venv .tools node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
