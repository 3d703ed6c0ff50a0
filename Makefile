# Everything that is done with this tree. `make up` and `make test` alone do all set-up: Python 3.11 or newer is all that
# has to be there. Each target that needs it makes .venv and installs the pinned packages, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUF := $(BIN)/buf
# Made after each installation; older than what it was made from means: install again.
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
# The contract as it last landed, as a descriptor image. See `land`.
LANDED := proto/landed.binpb

.DEFAULT_GOAL := help
.PHONY: help up demo test browser lint gen deps breaking land bench bench-search clean

help:
	@echo 'make up     the whole mesh on this machine: PostgreSQL, server, streams, worker, Envoy'
	@echo 'make demo   a story told against a mesh of its own, which ends with it'
	@echo 'make test   all tests'
	@echo 'make lint   style, types, imports, contract, generated files'
	@echo 'make gen    stubs, Envoy configuration and OpenAPI document, out of proto/'
	@echo 'make deps   the protos of others that the contract imports, into .deps/'
	@echo 'make land   takes the contract as it is for the one that may not be broken'
	@echo 'make bench  speed, against a peer'
	@echo 'make bench-search  how good search is: Cranfield, or any collection in TREC form'
	@echo 'make clean  removes all that was made here but the data'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Plinth needs Python 3.11 or newer.")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# What only `make bench` needs.
$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@

up: $(STAMP)
	@$(BIN)/plinth up

demo: $(STAMP)
	@$(BIN)/plinth demo --ephemeral

deps: $(STAMP)
	@$(BIN)/python -m tools.deps

gen: $(STAMP)
	@$(BIN)/python -m tools.generate
	@$(BUF) lint

# Debian's Chromium, which the tests of what browsers do are made in. Installs it only where it is missing.
browser: $(STAMP)
	@$(BIN)/python -m tests.support.browser

# Twice: each domain in a process of its own with a single thread, where a call that waits for itself would wait for
# ever; then everything, in one process as `make up` runs it. Of the contract the first run tries what one process asks
# another: that every method is answered, and who is let in. What a field, an etag, a page token or a request_id may be,
# a process decides for itself, the same in both. Of documents and search it takes what goes through their methods alone.
test: deps browser
	@$(BIN)/pytest -n auto --apart --threads 1 --ignore-glob 'tests/*/model' \
		tests/contract/test_valid.py tests/contract/test_isolation.py tests/contract/test_refusals.py \
		tests/identity tests/tenancy tests/projects \
		tests/documents/test_documents.py tests/documents/test_uploads.py tests/documents/test_visibility.py \
		tests/search/test_index.py tests/search/test_search.py tests/search/test_search_privacy.py
	@$(BIN)/pytest -n auto

# Changes nothing: what is generated is made anew in a temporary folder and compared.
lint: deps
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BUF) lint
	$(BUF) format --diff --exit-code proto
	$(BIN)/python -m tools.generate --check
	@$(MAKE) --no-print-directory breaking

# Compared as one image, for buf builds an image a module otherwise; and ours alone, for Google's are pinned elsewhere.
breaking: deps
	@test -f $(LANDED) || { echo 'No contract has landed yet: run `make land`, and commit $(LANDED).' >&2; exit 1; }
	@mkdir -p .build
	@$(BUF) build --exclude-source-info --output .build/contract.binpb
	$(BUF) breaking .build/contract.binpb --against $(LANDED) --path plinth

# `make breaking` compares the contract with $(LANDED), which is committed, rather than with a branch: so it works in
# any clone, however shallow, and on main itself, and needs no third-party protos of the past. The last commit of a
# landing runs `make land`; between landings, what has not landed may still change. A broken contract does not land.
land: deps
	@test ! -f $(LANDED) || $(MAKE) --no-print-directory breaking
	@$(BUF) build --exclude-source-info --output $(LANDED)
	@echo 'The contract has landed: commit $(LANDED).'

bench: deps $(BENCH_STAMP)
	@$(BIN)/python -m tests.bench

# ARGS="--docs … --queries … --qrels …" for another collection than Cranfield.
bench-search: $(STAMP)
	@$(BIN)/python -m tests.bench_search $(ARGS)

clean:
	rm -rf $(VENV) .build .deps .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis \
		*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
