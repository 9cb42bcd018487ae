# make run    grow a model on real code (the standard library) and show the report
# make serve  open what `make run` grew
# make test   the tests; make check = lint, types, import contracts, fast tests

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/stdlib
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.PHONY: run serve test check lint slow hooks screenshot clean

run: $(VENV)/installed
	$(BIN)/codling grow --run-dir $(RUN) --minutes 5

serve: $(VENV)/installed
	$(BIN)/codling serve $(RUN)/checkpoint

test: $(VENV)/installed-dev
	$(TEST_ENV) $(BIN)/pytest -n 2

slow: $(VENV)/installed-dev
	$(TEST_ENV) $(BIN)/pytest -n 2 -m slow

check: lint
	$(TEST_ENV) $(BIN)/pytest -n 2 -q

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

hooks: $(VENV)/installed-dev
	$(BIN)/pre-commit install

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf runs build dist .mypy_cache .ruff_cache .pytest_cache
