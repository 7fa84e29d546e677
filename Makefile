# `make` lists the targets. All of them install into .venv what they need; that takes minutes once
# and nothing afterwards, until pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TREE := .mypy_tree/sing_monitor
EXAMPLES := $(wildcard examples/*.py)
# Rooms whose tests neither train nor serve nor start processes.
FAST := $(addprefix tests/,analyses app/charts app/wording head inputs scores translate) $(wildcard tests/test_*.py)
BENCHMARKS := $(wildcard tests/benchmarks/bench_*.py tests/benchmarks/*/bench_*.py)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast sweep lint format mypy-tree readme bench app app-demo mlflow clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv and install the project into it

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is %d.%d: name another one with `make PYTHON=python3.12 ...`" % v[:2])'
	@test -x $(BIN)/pip || { echo "Creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --editable ".[app,dev,examples,unclip]"
	@touch $@

demo: $(STAMP) ## train two models on digits and compare what their heads ignore
	$(BIN)/python examples/quickstart.py

# In the order of the folders: files with few tests, put last by default, are the longest.
test: $(STAMP) ## run the whole test suite but for the slow sweep, in two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(STAMP) ## run the tests of the method and of pure functions (under 3 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(FAST)

sweep: $(STAMP) ## find the heads of 270 public networks and write docs/heads.md (15 minutes)
	$(BIN)/python -m pytest tests/sweep -m slow -v --tb=line --no-header --show-capture=no --disable-warnings

lint: $(STAMP) mypy-tree ## ruff (format and rules) and mypy over all code but the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p sing_monitor $(EXAMPLES:examples/%.py=-m %)

format: $(STAMP) ## let ruff format the code and sort the imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

# mypy knows nothing of package-dir: without this tree it would check the core alone and say nothing.
mypy-tree:
	@rm -rf .mypy_tree
	@mkdir -p $(TREE)
	@ln -s "$(CURDIR)"/sing_monitor/* "$(CURDIR)/callbacks" "$(CURDIR)/app" $(TREE)/

readme: $(STAMP) ## write lists of metrics, tables and options into README and docstrings
	$(BIN)/python -m tests.project.readme_table
	$(BIN)/python -m tests.project.option_docs

bench: $(STAMP) ## run every benchmark and print its ratios
	@test -n "$(BENCHMARKS)" || { echo "tests/benchmarks holds no bench_*.py"; exit 1; }
	@set -e; for file in $(BENCHMARKS); do echo "== $$file"; PYTHONPATH=.:examples $(BIN)/python "$$file"; done

app: $(STAMP) ## open the app on the runs in ./mlflow.db
	$(BIN)/python -m streamlit run app/main.py -- --tracking-uri sqlite:///mlflow.db

app-demo: $(STAMP) ## train four models for longer (once, five minutes) and open the app on them
	$(BIN)/python examples/app_demo.py
	$(BIN)/python -m streamlit run app/main.py -- --tracking-uri sqlite:///demo/mlflow.db

mlflow: $(STAMP) ## open the MLflow UI on the runs in ./mlflow.db
	$(BIN)/python -m mlflow ui --backend-store-uri sqlite:///mlflow.db

clean: ## remove .venv, caches and build products; runs in mlflow.db, mlruns and demo stay
	rm -rf $(VENV) .mypy_tree .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find sing_monitor callbacks app examples tests -name __pycache__ -type d -prune -exec rm -rf {} +
