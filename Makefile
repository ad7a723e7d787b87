# Two commands matter: `make quickstart` (the main job) and `make test` (all checks, all tests).
# Both need only Python >= 3.10, pip, make and git; everything is installed into $(VENV).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKERS ?= 2

# One arithmetic thread a test process: the processes share the cores.
export OMP_NUM_THREADS ?= 1

# With LOCKED=1, as CI has it, exactly the files of .ci/locked.txt are installed, by hash; without, what pyproject.toml
# allows on this machine.
LOCKED ?=

.PHONY: help quickstart test check audit lock docs bench soak format clean

help:
	@echo "make quickstart   environment, installation, the main job: train, evaluate and use SMCA on generated data"
	@echo "make test         everything installed, checks, all tests"
	@echo "make check        format, lint, types, security, in under a minute"
	@echo "make audit        known vulnerabilities of the packages that CI installs"
	@echo "make lock         write .ci/locked.txt anew: the packages that CI installs"
	@echo "make docs         the documentation as a site, in docs/_build/html"
	@echo "make bench        speed as ratios in one run, into docs/results (nothing else may run meanwhile)"
	@echo "make soak         long proofs of reliability (under 40 minutes), into docs/results"
	@echo "make format       rewrite the code in the project's format"
	@echo "make clean        remove the environment and caches (runs are kept)"

quickstart: $(VENV)/.main
	unset OMP_NUM_THREADS; $(BIN)/smca quickstart

test: check audit
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/.dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/pyrefly check --summary=none

audit: $(VENV)/.dev
	$(BIN)/python -m tests.supply.audit

# For Python 3.10 and newer on every platform. Releases younger than a week are left out: most that were tampered with are
# found by then. UV_CONSTRAINT=FILE keeps to a machine's own limits.
lock: $(VENV)/.created
	$(PIP) uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 --only-binary :all: --generate-hashes \
		--no-annotate --exclude-newer "7 days" --custom-compile-command "make lock" --extra dev pyproject.toml \
		--output-file .ci/locked.txt

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.main
	unset OMP_NUM_THREADS; $(BIN)/smca bench --out docs/results

soak: $(VENV)/.dev
	$(BIN)/python -m benchmarks.soak

format: $(VENV)/.dev
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format --quiet .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist *.egg-info

# Stamps: an environment is installed once, and again only when pyproject.toml changes.
$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

ifeq ($(LOCKED),)
$(VENV)/.main: pyproject.toml | $(VENV)/.created
	@echo "installing smca and what the main job needs into $(VENV) (minutes the first time)"
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.main
	@echo "installing what the tests need into $(VENV)"
	$(PIP) --editable '.[dev]'
	@touch $@
else
$(VENV)/.main: pyproject.toml .ci/locked.txt | $(VENV)/.created
	@echo "installing .ci/locked.txt into $(VENV)"
	$(PIP) --require-hashes --requirement .ci/locked.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.main
	@touch $@
endif
