# `make` prints the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint guests guests-tests guests-all operators openapi bench sweep clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 14

setup:           ## make .venv with all that development needs
	@$(PYTHON) tools/venv.py $(VENV) node demo mqtt mesh otel gateway fleet hsm orchestrator stores dev

demo:            ## index real frames, find similar ones, leave a page up (CHECK=1: exit after the check; PHOTOS=DIR: your own pictures)
	@$(PYTHON) tools/venv.py $(VENV) node demo
	@$(BIN)/littoral demo $(if $(CHECK),--check) $(if $(PHOTOS),--photos "$(PHOTOS)")

test: setup      ## lint, types, layers, and all tests (ARGS: more for pytest)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

lint: setup      ## ruff, mypy, import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

guests: setup    ## rebuild the shipped Rust guests and compare with the committed ones
	@$(BIN)/python tools/guests.py

guests-tests: setup ## the same, and the guests that tests use
	@$(BIN)/python tools/guests.py --tests

guests-all: setup  ## the same, and the agents of the examples, which takes minutes
	@$(BIN)/python tools/guests.py --all

operators: setup ## rewrite docs/reference/operators.md from the importers and the ONNX project's cases
	@$(BIN)/python tools/operators.py

openapi: setup   ## rewrite docs/reference/openapi.json and fleet-openapi.json from routes and types
	@$(BIN)/python tools/openapi.py

bench: setup     ## every benchmark, with its limit; writes bench/RESULTS.md
	@$(BIN)/python -m bench --all --write

sweep: setup     ## the tests that take minutes
	@LITTORAL_SWEEP=1 $(BIN)/python -m pytest tests/sweep

clean:           ## remove what was built; keeps nothing of the demo
	@rm -rf $(VENV) .cache build dist demo-data
