# The two commands are `make run` and `make test`; everything they need is installed into .venv from hashed locks.
PYTHON ?= python3
BIN := .venv/bin
# uv would install into another one that the caller's shell has active.
export VIRTUAL_ENV := $(CURDIR)/.venv
ARGS ?=
# What to say when packages do not install: pip and uv name a package, not the reason.
UNREACHED = { echo "Packages did not install (above). The first build fetches them from a package registry: check the network" \
	"and PIP_INDEX_URL or UV_DEFAULT_INDEX; where it has a certificate authority of its own, PIP_CERT and SSL_CERT_FILE." >&2; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help run install install-dev test test-long lint lint-types lint-go format bench chaos docs screenshots locks clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

run: .venv/run.done  ## start CoreDNS, the cluster and the dashboard on this machine (ARGS="--help" lists options)
	@$(BIN)/verdict up $(ARGS)

install: .venv/run.done  ## install what `make run` needs, build CoreDNS, and start nothing
	@$(BIN)/python -m serve_app.golang build

install-dev: .venv/dev.done  ## the same with what tests, measurements and load tools need

test: lint  ## lint, then every test this machine can run (ARGS="tests/test_x.py": these alone)
ifeq ($(strip $(ARGS)),)
	$(BIN)/python -m tests
else
	$(BIN)/python -m pytest $(ARGS)
endif

test-long: .venv/dev.done  ## the tests that take minutes each and want the machine to themselves
	$(BIN)/python -m pytest -m long $(ARGS)

lint: .venv/dev.done  ## ruff, mypy, gofmt, go vet
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory --jobs=2 lint-types lint-go

lint-types: .venv/dev.done
	$(BIN)/mypy

lint-go: .venv/dev.done
	@$(BIN)/python -m serve_app.golang lint

format: .venv/dev.done  ## put every file into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@$(BIN)/python -m serve_app.golang format

bench: .venv/dev.done  ## measure, and write docs/benchmarks.md
	$(BIN)/python -m loadtest.bench $(ARGS)

chaos: .venv/dev.done  ## apply every failure of ARCHITECTURE.md under load, and print what held
	$(BIN)/python -m loadtest.chaos $(ARGS)

docs: .venv/dev.done  ## build the documentation site into build/site; a broken link fails it
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict $(ARGS) && echo "build/site/index.html"

screenshots: .venv/dev.done  ## all pages of the dashboard, light and dark, into docs/screenshots
	$(BIN)/python -m dashboard.screenshots --out docs/screenshots $(ARGS)

# For the oldest Python that is promised, and not for this one: a Debian's 3.11.2 is as good as 3.11.15.
COMPILE := $(BIN)/uv pip compile -q --upgrade --python-version 3.11 --generate-hashes --no-header
locks: .venv/tools.done  ## renew the locks from pyproject.toml
	for group in tools go; do $(COMPILE) --no-annotate --group pyproject.toml:$$group -o locks/$$group.txt; done
	$(COMPILE) pyproject.toml -o locks/run.txt
	for extra in dev gpu; do $(COMPILE) --extra $$extra -c locks/run.txt pyproject.toml -o locks/$$extra.txt; done

clean:  ## remove what was built and installed; the state in .verdict stays
	rm -rf .venv build dist

.venv/tools.done: locks/tools.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1): expected Python 3.11 to 3.13; name one with PYTHON=python3.12" >&2; exit 1; }
	@echo "Preparing .venv"
	@$(PYTHON) -m venv .venv || { echo "the venv module of $(PYTHON) is missing: on Debian, apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r locks/tools.txt || $(UNREACHED)
	@touch $@

# Either lock gives the package itself and, where the machine has no Go of the plugin's line, a Go toolchain.
define install
	@echo "Installing the packages of locks/$(1).txt (600 to 700 MB the first time)"
	@$(BIN)/uv pip install --compile-bytecode --require-hashes -r locks/$(1).txt || $(UNREACHED)
	@$(BIN)/uv pip install -q --no-deps --no-build-isolation -e .
	@$(BIN)/python -m serve_app.golang --quiet find || $(BIN)/uv pip install --require-hashes -r locks/go.txt
	@touch $@
endef

# dev.txt holds all of run.txt at the same versions: where it was installed, it is renewed as a whole.
.venv/run.done: .venv/tools.done locks/run.txt locks/go.txt pyproject.toml
	$(call install,$(if $(wildcard .venv/dev.done),dev,run))

.venv/dev.done: .venv/tools.done locks/dev.txt locks/go.txt pyproject.toml
	$(call install,dev)
