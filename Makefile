# What a developer types; `make` alone lists it. Nothing here needs root, a server, or more than Python 3.11 and make.
#
# Set-up is a virtual environment in .venv with every package locked by hash (requirements/*.txt). It is made when a
# target first needs it and again when a locked file changes; otherwise it costs nothing.
#   make PYTHON=python3.13 test    another interpreter
#   make test ARGS="-k admit"      more arguments for the command behind a target

SHELL := /bin/sh
# A distribution builds its Python with profiles, pyenv only when told to: without, all costs a sixth more CPU.
PYTHON ?= $(shell /usr/bin/python3 -c $(ENOUGH) 2>/dev/null && echo /usr/bin/python3 || echo python3)
ENOUGH := 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))'
ARGS ?=
BIN := .venv/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python

# A venv knows its own path: one whose interpreter went away, or that was copied with its folder, is made anew.
RUN := .venv/.run-stamp
DEV := .venv/.dev-stamp
STALE := $(shell $(BIN)/python -c '' 2>/dev/null && test "`cat $(RUN) 2>/dev/null`" = "$(CURDIR)" || echo stale)

.DEFAULT_GOAL := help
.PHONY: help demo rehearse test lint format types coverage docs alerts lock clean stale
.PHONY: bench bench-limits bench-fairness bench-routes bench-scale bench-steer bench-start bench-intake
.PHONY: fuzz-api fuzz-callbacks specs snippets chaos

help: ## Say what there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: $(RUN) ## Run 20,000 messages of 4,000 tenants from the streams to the built-in carrier, and account for each.
	@$(BIN)/smsd demo $(ARGS)

rehearse: $(RUN) ## Run 2,000 messages through every dialect that the carrier speaks (ARGS="telnyx" for some).
	@$(BIN)/python bench/rehearse.py $(ARGS)

# Python may write down what it has compiled: else each process of the run, and each smsd that a test starts, compiles
# the tests, the sources that have changed and the packages again, which is a third of the whole cost.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest
test: $(DEV) ## Run every test: those that measure time by themselves first, then all others in parallel.
	@$(PYTEST) -m alone $(ARGS) || test $$? -eq 5
	@$(PYTEST) --numprocesses auto --maxprocesses 8 --dist worksteal -m "not alone" $(ARGS)

lint: $(DEV) ## Judge style and likely mistakes, and whether everything is formatted.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

format: $(DEV) ## Mend what can be mended by a machine: order of imports, layout.
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

types: $(DEV) ## Prove the types: strict for smsd and the providers, standard for the tests.
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

coverage: $(DEV) ## Say which lines no test reaches.
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: $(DEV) ## Measure messages a second, and CPU seconds per 1,000, of one worker with limits and receipts on.
	@$(BIN)/python bench/throughput.py $(ARGS)

bench-limits: $(DEV) ## Hold 50 tenants' limits against 8 worker processes, in full.
	@$(BIN)/python bench/limits.py $(ARGS)

bench-fairness: $(DEV) ## Measure how long reminders wait beside a flood of marketing, in full.
	@$(BIN)/python bench/fairness.py $(ARGS)

bench-routes: $(DEV) ## Take a provider away and bring it back, beside a route that has nothing to do with it.
	@$(BIN)/python bench/routes.py $(ARGS)

bench-scale: $(DEV) ## Compare cost with many tenants and a long backlog against few; measure memory per message.
	@$(BIN)/python bench/scale.py $(ARGS)

bench-steer: $(DEV) ## Measure how soon a pause, a lower limit and a cancel hold at the carrier, with 500,000 queued.
	@$(BIN)/python bench/steer.py $(ARGS)

bench-start: $(DEV) ## Measure how long each command takes to start, and what of it is Python's own.
	@$(BIN)/python bench/start.py $(ARGS)

bench-intake: $(DEV) ## Measure how many messages a second one worker takes by HTTP, one by one and in lists of 100.
	@$(BIN)/python bench/intake_api.py $(ARGS)

.PHONY: bench-webhooks
bench-webhooks: $(DEV) ## Let a receiver of status webhooks hang and one be down: how late others are, what is missing.
	@$(BIN)/python bench/webhooks.py $(ARGS)

fuzz-api: $(DEV) ## Let schemathesis make 10,000 requests of the OpenAPI: no 5xx, no answer that it does not tell of.
	@$(BIN)/python bench/fuzz_api.py $(ARGS)

fuzz-callbacks: $(DEV) ## Fuzz what reads callbacks, by coverage (atheris, on Linux): forged and broken ones.
	@$(INSTALL) --require-hashes -r requirements/fuzz.txt
	@$(BIN)/python bench/fuzz_callbacks.py $(ARGS)

specs: $(DEV) ## Hold our requests against the vendors' own specifications (ARGS=FOLDER, with <type>.json in it).
	@$(BIN)/python bench/specs.py $(ARGS)

chaos: $(DEV) ## Kill and stop workers and the store at random for a long while; count what was lost or doubled.
	@$(BIN)/python bench/chaos.py $(ARGS)

snippets: $(DEV) ## Run the producers of docs/producers/ in each language that is installed (ARGS=node for one).
	@$(BIN)/python -m bench.snippets $(ARGS)

docs: $(DEV) ## Write the pages that are made from code.
	@$(BIN)/python docs/generate.py $(ARGS)

alerts: $(DEV) ## Test the alert rules and the dashboard of config/; by promtool too, where it is (PROMTOOL=PATH).
	@$(PYTEST) -q tests/test_alerts.py tests/test_dashboard.py $(ARGS)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"
lock: $(DEV) ## Lock the packages anew, with hashes and for every platform (ARGS=--upgrade for newer ones).
	@$(LOCK) $(ARGS) --output-file requirements/build.txt requirements/build.in
	@$(LOCK) $(ARGS) --output-file requirements/run.txt --extra embedded pyproject.toml
	@$(LOCK) $(ARGS) --output-file requirements/dev.txt requirements/dev.in
	@$(LOCK) $(ARGS) --output-file requirements/fuzz.txt requirements/fuzz.in

clean: ## Remove the virtual environment and what tools left behind; data (var/) stays.
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- Set-up ---------------------------------------------------------------------------------------------------------

# What smsd imports is compiled once, here: where Python may not write that down (PYTHONDONTWRITEBYTECODE, a folder of
# somebody else), each command would do it again, which takes longer than all else it does at its start.
WARM := import redis.asyncio, aiohttp, phonenumbers, rich.live, shtab, twilio.request_validator, smsd.shell.supervisor

$(RUN): pyproject.toml requirements/build.txt requirements/run.txt $(STALE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "smsd needs Python 3.11 or newer, which '$(PYTHON)' is not." \
	    "Install it, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up .venv: once, with the network, in less than a minute"
	@test -z "$(STALE)" || $(PYTHON) -m venv --clear .venv || { \
	  echo "Python's venv module is not complete: on Debian and Ubuntu, apt install python3-venv." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	@$(INSTALL) --require-hashes -r requirements/run.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c '$(WARM)'
	@$(BIN)/python -m compileall -q smsd providers
	@echo "$(CURDIR)" > $@

$(DEV): $(RUN) requirements/dev.txt
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

stale:
