# `make demo` and `make test` prepare all they need; Python 3.11 and make are enough to start with.
PYTHON ?= python3
DEMO ?= demo
BIN := .venv/bin

.PHONY: demo test check setup clean
.DELETE_ON_ERROR:

setup: .venv/ready

# uv fills the environment in seconds, from its cache in one; it is itself installed into it by pip.
.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	touch $@

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv $(DEMO)
