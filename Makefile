# `make best` answers the first question; `make test` runs every check.

VENV := .venv
PIP := $(VENV)/bin/python -m pip -qq --disable-pip-version-check

ROOMS := costmodel moeplan optimizer presets topology
SOURCES := $(foreach room,$(ROOMS),$(wildcard $(room)/*.py $(room)/*/*.py))

# The first interpreter that runs, is 3.11 or newer and can make an environment. A name on the
# path is not enough: version managers leave launchers for versions that are not switched on.
SUPPORTED := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$python -c '$(SUPPORTED)' >/dev/null 2>&1; then echo $$python; break; fi; done)

.PHONY: best test golden accuracy calibration examples clean

best: $(VENV)/.compiled
	$(VENV)/bin/moeplan best --sku gb200 --target 125

test: $(VENV)/.installed-test $(VENV)/.compiled
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest --cov --numprocesses auto --dist loadfile

# What predictions and answers are now: after a change that is meant to move them.
golden: $(VENV)/.installed-test
	$(VENV)/bin/python -m tests.golden.figures

# The first and the last take minutes: they write docs/accuracy.md and the shipped constants.
accuracy: $(VENV)/.installed
	$(VENV)/bin/python -m tools.accuracy docs/accuracy.md

# The outputs in the documents, the figures that README.md takes from docs/accuracy.md, and the table
# of options.
examples: $(VENV)/.installed
	$(VENV)/bin/python -m tools.examples README.md docs/examples.md docs/options.md

calibration: $(VENV)/.installed
	$(VENV)/bin/moeplan calibrate presets/data/measurements/measured_serving.csv \
		presets/data/measurements/inferencex_2026-05-22.csv --from-priors \
		--output costmodel/data/calibration.toml

# The stamps hold an installation to its pyproject.toml: a second run installs nothing.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable .
	touch $@

# An editable installation leaves our own modules to be compiled at start-up, every time where
# Python may not write bytecode: a fifth of a short command.
$(VENV)/.compiled: $(SOURCES) | $(VENV)/.installed
	$(VENV)/bin/python -m compileall -q $(ROOMS)
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "moeplan needs Python 3.11 or newer with venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
