# make run    grow a model on real code (the standard library) and show the report
# make serve  open what `make run` grew
# make test   the tests; make check = lint, types, import contracts, tests that take under a second
# make docs   the pages as one site, in build/site; make coverage = which lines the tests reach
# make web    rebuilds the editor of the server's page from tools/web (needs node and npm)
# make oldest the tests with the lowest versions that pyproject.toml allows: docs/install.md
# make clean  remove what building and checking left; make clean-runs removes trained models

PYTHON ?= python3.11
# Words for pip, such as where the CPU build of torch lies: docs/install.md.
PIP_ARGS ?=
# Words for pytest: make test PYTEST_ARGS="-rs -k engine".
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/stdlib
NOT_LONG := -m 'not slow and not gpu and not long' --durations 5 --durations-min 2
# Neighbouring tests share fixtures and compiled loops: each of two processes takes whole stretches.
ON_TWO := -n 2 --dist worksteal
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.PHONY: run serve test oldest check lint slow coverage docs web hooks clean clean-runs

run: $(VENV)/installed
	$(BIN)/codling grow --run-dir $(RUN) --minutes 5

serve: $(VENV)/installed
	$(BIN)/codling serve $(RUN)/checkpoint

test: $(VENV)/installed-dev
	$(TEST_ENV) $(BIN)/pytest $(ON_TWO) $(PYTEST_ARGS)

oldest: .venv-oldest/installed
	$(TEST_ENV) NUMBA_CACHE_DIR=.venv-oldest/numba .venv-oldest/bin/pytest $(ON_TWO) $(PYTEST_ARGS)

slow: $(VENV)/installed-dev
	$(TEST_ENV) $(BIN)/pytest $(ON_TWO) -m slow $(PYTEST_ARGS)

check: lint
	$(TEST_ENV) $(BIN)/pytest $(ON_TWO) -q $(NOT_LONG) $(PYTEST_ARGS)

# The floor is in pyproject.toml, two points below what was measured (CONTRIBUTING.md).
coverage: $(VENV)/installed-dev
	$(TEST_ENV) $(BIN)/pytest $(ON_TWO) -q --cov --cov-report term $(PYTEST_ARGS)

docs: $(VENV)/installed-dev
	$(BIN)/python tools/site_pages.py build/pages
	$(BIN)/zensical build --strict --config-file mkdocs.yml

web:
	@command -v npm >/dev/null || { echo "make web needs node and npm; the file that it makes is committed"; exit 2; }
	cd tools/web && npm ci --no-progress && node build.mjs

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports

hooks: $(VENV)/installed-dev
	$(BIN)/pre-commit install

$(VENV)/bin/python:
	@$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is no Python 3.11 with venv; name one: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 2; }

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install -q $(PIP_ARGS) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install -q $(PIP_ARGS) -e '.[dev]'
	@touch $@ $(VENV)/installed

.venv-oldest/installed: pyproject.toml tools/oldest.py
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python tools/oldest.py > .venv-oldest/pins.txt
	.venv-oldest/bin/pip install -q $(PIP_ARGS) -c .venv-oldest/pins.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf build dist .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

clean-runs:
	@echo "removing runs, with every model and data set in it:"; du -sh runs/* 2>/dev/null || true
	rm -rf runs
