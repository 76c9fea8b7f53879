# What can be done with a clone. `make` lists it.

PYTHON ?= python3
JOBS ?= 2
MARKERS ?= not gpu and not network and not ray

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CONSTRAINTS := requirements/constraints.txt
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

IMAGES ?=
PROMPT ?=
# A prompt travels as an environment variable, so that the shell does not take it apart.
export PROMPT

.DEFAULT_GOAL := help
.PHONY: help install demo check-images test format builtin clean

help: ## list what make can do
	@echo 'make TARGET, where TARGET is one of:'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1	\2/p' $(MAKEFILE_LIST) | expand -t 12

install: $(INSTALLED) ## make .venv and install the package into it

demo: check-images $(INSTALLED) ## score the examples, and yours: IMAGES="a.png 'b c.jpg'" PROMPT="..."
	@mkdir -p demo-report
	@HF_HUB_OFFLINE=1 $(BIN)/visreward score --input examples/images/samples.jsonl \
		--report demo-report/report.html $(if $(strip $(IMAGES)),--prompt "$$PROMPT" -- $(IMAGES))
	@echo
	@HF_HUB_OFFLINE=1 $(BIN)/visreward score --input examples/edits/samples.jsonl \
		--report demo-report/edits.html

check-images:
ifneq ($(strip $(IMAGES)),)
ifeq ($(strip $(PROMPT)),)
	@echo 'IMAGES needs a PROMPT: make demo IMAGES="a.png b.jpg" PROMPT="what they show"' >&2; exit 2
endif
endif

test: $(INSTALLED_DEV) ## run every check: format, lint, types, layers, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "$(MARKERS)"

format: $(INSTALLED_DEV) ## put all code into the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

builtin: $(INSTALLED_DEV) ## make the models that ship again, from nothing; hours on a CPU
	$(BIN)/python -m visreward.training.builtin

clean: ## remove what can be made again in minutes; .venv, work/ and runs/ stay
	rm -rf build dist demo-report .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "visreward needs Python 3.11 or newer, but '$(PYTHON)' is: $$($(PYTHON) -V 2>&1)." >&2; \
		echo "Name another one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@echo 'Making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo 'Installing visreward and what it needs (a minute or two)'
	@$(PIP) -c $(CONSTRAINTS) -e .
	@touch $@

$(INSTALLED_DEV): pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo 'Installing visreward, and what its checks need (a minute or two)'
	@$(PIP) -c $(CONSTRAINTS) -e '.[dev]'
	@touch $@ $(INSTALLED)
