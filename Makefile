# make run opens the lab, make test passes; everything else is for people who change it.
# Options go through ARGS: make run ARGS="--port 7861".
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test unit check docs screenshot bench clean

run: $(VENV)/.runs
	$(BIN)/python -m app $(ARGS)

test: unit
	$(SIDE_BY_SIDE) -m "slow and not browser and not gpu"
	$(BIN)/python -m pytest -m "browser or gpu"

unit: $(VENV)/.tests
	$(SIDE_BY_SIDE) -m "not slow and not browser and not gpu"

check: $(VENV)/.tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.tests
	$(BIN)/python -m docs.settings_page

screenshot: $(VENV)/.tests
	$(BIN)/python -m pytest tests/browser/test_whole_lab.py
	cp test-output/screenshot.png assets/screenshot.png

bench: $(VENV)/.tests
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 run")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv is missing; on Debian: apt install python3-venv"; exit 1; }

$(VENV)/.runs: requirements.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing the lab into $(VENV); the first time takes some minutes."
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.tests: requirements-dev.txt requirements-ocr.txt requirements-datasets.txt requirements.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing the lab and its test tools into $(VENV); the first time takes some minutes."
	$(INSTALL) -r requirements-dev.txt
	@touch $@ $(VENV)/.runs
