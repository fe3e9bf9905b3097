# make bench   sets up .venv and runs the main job      make test    sets up and runs the tests
# make check   lint, format, types, documentation       make docs    builds the site in site/
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
SOURCES := gnas tests benchmarks docs

.PHONY: bench test check docs format clean
.DEFAULT_GOAL := bench

bench: .venv/installed
	$(BIN)/gnas bench nasbench101 --samples 500

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal $(PYTEST_ARGS)

check: .venv/installed-dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal tests/docs tests/test_repo.py

docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site

format: .venv/installed-dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean:
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "gnas needs Python 3.11 or 3.12, but found $$(python3 --version \
	2>&1 || echo none); install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
	{ echo "gnas needs Python 3.11 or 3.12, but $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; \
	exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch .venv/installed $@
