# `make best` answers the first question; `make test` runs every check.

VENV := .venv
# What CI ran with is what is installed here; `make constraints` looks for newer releases.
CONSTRAINTS := constraints.txt
PIP = $(VENV)/bin/python -m pip -qq --disable-pip-version-check
INSTALL = $(PIP) install --constraint $(CONSTRAINTS)

ROOMS := costmodel moeplan optimizer presets topology
SOURCES := $(foreach room,$(ROOMS),$(wildcard $(room)/*.py $(room)/*/*.py))

# The first interpreter that runs, is 3.11 or newer and can make an environment. A name on the
# path is not enough: version managers leave launchers for versions that are not switched on, and
# pyenv says where those are.
SUPPORTED := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
first = $(shell for name in $(1); do \
	for python in $$name "$$(pyenv root 2>/dev/null)"/versions/$$(echo $$name | tr -d a-z)*/bin/$$name; do \
	if $$python -c '$(SUPPORTED)' >/dev/null 2>&1; then echo $$python; exit; fi; done; done)
PYTHON ?= $(call first,python3 python3.14 python3.13 python3.12 python3.11)

.PHONY: best test golden accuracy calibration corpus examples scoreboard constraints lowest wheel newest clean

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
	$(VENV)/bin/python -m tools.examples README.md docs/examples.md docs/gb200-against-b200.md docs/options.md

calibration: $(VENV)/.installed
	$(VENV)/bin/moeplan calibrate presets/data/measurements/measured_serving.csv \
		presets/data/measurements/inferencex_2026-05-22.csv --from-priors \
		--output costmodel/data/calibration.toml

# Deviations, their intervals and anchors, from the public corpus; after `calibration`.
corpus: $(VENV)/.installed
	$(VENV)/bin/python -m tools.corpus docs/corpus.md

# Published headline figures beside what is predicted now; after `corpus`.
scoreboard: $(VENV)/.installed
	$(VENV)/bin/python -m tools.scoreboard docs/scoreboard.md

# The lowest versions that pyproject.toml allows, then every command once. They have no binaries
# for a Python that is much younger.
lowest: OLD = $(call first,python3.11 python3.12)
lowest: | $(VENV)/bin/python
	@if test -z "$(OLD)"; then echo "skipped: no Python 3.11 or 3.12 to try the lowest versions"; \
	else set -e; rm -rf build/lowest; $(OLD) -m venv build/lowest; \
	$(VENV)/bin/python -m tools.floors > build/floors.txt; cat build/floors.txt; \
	build/lowest/bin/python -m pip -qq --disable-pip-version-check install \
		--constraint build/floors.txt '.[plot]'; \
	$(VENV)/bin/python tools/smoke.py build/lowest/bin/moeplan; fi

# The wheel alone in an environment of its own, without the optional libraries.
wheel: | $(VENV)/bin/python
	rm -rf build/bare build/lib dist
	$(PIP) wheel --no-deps --wheel-dir dist .
	$(VENV)/bin/python -m venv build/bare
	build/bare/bin/python -m pip -qq --disable-pip-version-check install \
		--constraint $(CONSTRAINTS) dist/*.whl
	$(VENV)/bin/python tools/smoke.py build/bare/bin/moeplan --bare

# What hangs on the Python more than on our own code, with the newest that is here where that is
# another: doctests, facts, links, and every command once. `make newest TESTS=` runs all tests, which
# takes as long again as `make test`.
newest: NEW = $(call first,python3.14 python3.13 python3.12)
newest: TESTS = $(ROOMS) tools docs tests/presets tests/topology
newest: | $(VENV)/bin/python
	@if test -z "$(NEW)"; then echo "skipped: no Python newer than 3.11 to test with"; \
	else set -e; $(NEW) --version; $(MAKE) VENV=build/newest PYTHON=$(NEW) build/newest/.installed-test; \
	build/newest/bin/pytest --numprocesses auto --dist loadfile $(TESTS); \
	$(VENV)/bin/python tools/smoke.py build/newest/bin/moeplan; fi

# Writes constraints.txt anew: the newest releases that pyproject.toml allows.
constraints:
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip -qq --disable-pip-version-check install '.[test]'
	{ sed -n '/^#/p' $(CONSTRAINTS); build/constraints/bin/python -m pip freeze --exclude moeplan; } \
		> build/constraints.txt
	mv build/constraints.txt $(CONSTRAINTS)

# The stamps hold an installation to its pyproject.toml: a second run installs nothing.
$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(INSTALL) --editable '.[plot]'
	touch $@

# An editable installation leaves our own modules to be compiled at start-up, every time where
# Python may not write bytecode: a fifth of a short command.
$(VENV)/.compiled: $(SOURCES) | $(VENV)/.installed
	$(VENV)/bin/python -m compileall -q $(ROOMS)
	touch $@

$(VENV)/.installed-test: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(INSTALL) --editable '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "moeplan needs Python 3.11 or newer with venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
