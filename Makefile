# The two commands of a new user: `make demo` and `make test`. Without make, see "By hand" in README.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
PYSIDE := .venv-pyside
PYSIDE_TESTS := test_story test_docks test_jobs test_ortho_views test_correct
INSTALLED := $(VENV)/.medzoo-installed
ARGS ?=
# Processes that share the tests, a file at a time.
WORKERS ?= 2

.PHONY: help setup demo test test-pyside lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, segment two embedded real brains, score one, show both in napari"
	@echo "make test    install, run all tests (the window's too) off screen; ARGS='-k cli' for some"
	@echo "make test-pyside  the window's main tests under PySide6 instead of PyQt6"
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
	$(BIN)/python -m napari_medzoo.screen run $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# A second environment that sees the first one's packages. PySide6 6.12.0 aborts on Python 3.11.
test-pyside: setup
	test -x $(PYSIDE)/bin/python || $(PYTHON) -m venv $(PYSIDE)
	$(PYSIDE)/bin/python -m pip install --disable-pip-version-check "PySide6-Essentials<6.11"
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > $$($(PYSIDE)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/medzoo.pth
	QT_API=pyside6 PYTEST_QT_API=pyside6 $(BIN)/python -m napari_medzoo.screen run $(PYSIDE)/bin/python -m pytest $(PYSIDE_TESTS:%=tests/widgets/%.py) $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(PYSIDE) demo-output build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
