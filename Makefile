# Needs make and a Python of version 3.11 or later; everything else goes into .venv.
# PYTHON=/path/to/python chooses which one that is made from.

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
UNFINISHED := $(VENV)/.unfinished
LOCK := requirements/dev.lock
PIP := $(PY) -m pip --disable-pip-version-check

# Most of the time a test waits for processes: more of them than cores use these well. Among the
# slow tests are whole batch systems, which have enough with two.
PYTEST := $(PY) -m pytest -n 2 --dist worksteal

# Job scripts say `python3`; in the examples and tests that is the one of the environment.
WITH_PATH := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

# Says which Python .venv is made from. A name on the PATH may be a shim for a Python that is not
# there: it has to answer.
define FIND_PYTHON
for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do
  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
  if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$$python"
    exit 0
  fi
  incomplete="$$incomplete $$python"
done
if [ -n "$$incomplete" ]; then
  echo "found$$incomplete, but without the module venv (on Debian: apt install python3-venv)"
else
  echo "no Python of version 3.11 or later: tried $(PYTHON) python3 python3.13 python3.12" \
    "python3.11; say which with make PYTHON=/path/to/python"
fi >&2
exit 1
endef
export FIND_PYTHON

.DEFAULT_GOAL := help
.PHONY: help run test test-all explore test-compat check lint ruff format mypy imports bench bench-growth docs lock clean distclean \
	environment find-python

help: ## this text
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 22

run: $(STAMP) ## both examples, from reset to printed result
	@for example in quickstart convergence; do \
	  printf '\n== %s\n' "examples/$$example"; \
	  $(WITH_PATH) $(PY) -m motoko create "examples/$$example" --validated --no-backup && \
	  $(WITH_PATH) $(PY) -m motoko run "examples/$$example" && \
	  cat "examples/$$example/result.txt" || exit 1; \
	done

test: $(STAMP) ## the tests, without those that take long
	@$(WITH_PATH) $(PYTEST) -n 4 -m "not slow"

test-all: $(STAMP) ## all tests
	@$(WITH_PATH) $(PYTEST)

explore: $(STAMP) ## the property tests, with other examples than usual and 20 times as many
	@$(WITH_PATH) MOTOKO_EXPLORE="$${MOTOKO_EXPLORE:-20}" $(PYTEST) -m hypothesis --timeout=3600

test-compat: $(STAMP) ## the same studies through the existing packages, installed apart
	@$(WITH_PATH) MOTOKO_PEERS="$${MOTOKO_PEERS:-$(CURDIR)/$(VENV)/peers}" \
	  $(PY) -m pytest tests/differential

# All of it is done, whatever fails before; the summary of the tests comes last.
check: $(STAMP) ## all tests, also against the existing packages, ruff, mypy, import-linter
	@status=0; \
	$(MAKE) --no-print-directory --keep-going lint || status=1; \
	$(MAKE) --no-print-directory test-all || status=1; \
	$(MAKE) --no-print-directory test-compat || status=1; \
	exit $$status

lint: ruff format mypy imports ## ruff, mypy, import-linter

ruff: $(STAMP)
	$(PY) -m ruff check

format: $(STAMP)
	$(PY) -m ruff format --check

mypy: $(STAMP)
	$(PY) -m mypy

imports: $(STAMP)
	$(PY) -c 'from importlinter.cli import lint_imports_command as check; check()' --no-cache

bench: $(STAMP) ## measure, as in docs/explanation/performance.md
	@$(WITH_PATH) $(PY) -m tests.bench

bench-growth: $(STAMP) ## measure from a thousand runs to a million, and draw docs/explanation/growth.png
	@$(WITH_PATH) $(PY) -m tests.bench --growth docs/explanation/growth.png

docs: $(STAMP) ## write the reference pages that follow from the code
	@$(PY) -m docs.generate

environment: $(STAMP) ## only make .venv

lock: $(STAMP) ## pin again what pyproject.toml asks for (needs uv)
	uv pip compile pyproject.toml --extra plot --extra tls --extra dask --group dev --universal --python-version 3.11 \
	  --generate-hashes --upgrade --quiet --custom-compile-command "make lock" -o $(LOCK)

clean: ## remove what runs and tests have left
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name $(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
	cd examples && rm -rf */result.txt */convergence.png */.wf */motoko-backup-* \
	  */*/.bd */*/BD-*-runs

distclean: clean ## and the environment too
	rm -rf $(VENV)

find-python:
	@$(SHELL) -c "$$FIND_PYTHON"

# An environment of ours that was not finished is made anew; one that somebody else made is kept.
$(STAMP): $(LOCK) pyproject.toml
	@set -e; \
	if [ -e $(UNFINISHED) ] || ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  python=$$($(SHELL) -c "$$FIND_PYTHON"); \
	  echo "making $(VENV) with $$python"; \
	  rm -rf $(VENV); \
	  mkdir $(VENV); \
	  touch $(UNFINISHED); \
	  "$$python" -m venv $(VENV); \
	elif [ -e $(STAMP) ]; then \
	  mv $(STAMP) $(UNFINISHED); \
	fi; \
	echo "installing what $(LOCK) lists"; \
	$(PIP) install --quiet --require-hashes -r $(LOCK); \
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .; \
	rm -f $(UNFINISHED); \
	touch $(STAMP)
