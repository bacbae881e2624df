# The two commands of a new user: `make demo` and `make test`. Without make, see "By hand" in README.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
INSTALLED := $(VENV)/.medzoo-installed
ARGS ?=

.PHONY: help setup demo test lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, segment two embedded real brains, score one, show both in napari"
	@echo "make test    install, run all tests (the window's too) off screen; ARGS='-k cli' for some"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make setup   only install, into .venv (PYTHON=python3.12 for another Python)"
	@echo "make clean   remove .venv, caches and demo-output"

setup: $(INSTALLED)

# Once per pyproject.toml and constraints.txt. torch goes first, so that nothing chooses another one.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed, $(PYTHON) is older or missing; try: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	    rm -rf $(VENV); \
	    echo "Python's venv module is missing; on Debian or Ubuntu type: sudo apt-get install -y python3-venv"; exit 1; }
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e ".[all,train,dev]"
	@$(BIN)/python -m napari_medzoo.screen install
	@touch $@

demo: setup
	$(BIN)/python -m napari_medzoo demo --output demo-output

test: setup
	$(BIN)/python -m napari_medzoo.screen run $(BIN)/python -m pytest $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo-output build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
