# `make help` lists the targets. Everything runs in a virtual environment that `make setup` makes; the only thing a
# machine must have is Python 3.11 or later (and make). PYTHON=… names another interpreter.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
BIN := $(VENV)/bin
IMAGE ?= sentry-esc-sync:dev
# Arguments for pytest: make test ARGS="-k merge -x"
ARGS ?=
# How many tests at a time; 0: one after the other, in one process.
WORKERS ?= auto

# COV=1 measures coverage and holds it to the limit; a run that may skip nothing always does.
# Without REQUIRE_ALL=1 make test runs what a contributor needs: no test that takes Docker or is marked `full`, and a
# tenth of the random cases.
QUICK := $(if $(filter 1,$(REQUIRE_ALL)),,-m "not docker and not full" \
	tests/unit tests/contract tests/cli tests/console tests/mcp tests/faults tests/fuzz)

COVERAGE := $(if $(or $(filter 1,$(COV)),$(filter 1,$(REQUIRE_ALL))),--cov=sophia_sync --cov-branch --cov-fail-under=95)

UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" \
	$(if $(UPGRADE),--upgrade --exclude-newer "7 days")

.DEFAULT_GOAL := help
.PHONY: help setup cli run test bench faults fuzz atheris mutants lint format lock image pin clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.complete cli ## make the virtual environment, the Pulumi CLI and the local ESC's engine

# The stamp carries the hash-locked requirements that it was made from: a change makes it anew.
$(VENV)/.complete: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $$($(PYTHON) --version) is too old: Python 3.11 or later is needed (make PYTHON=python3.13 …)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m tools.packages requirements/dev.txt
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation \
		--config-settings editable_mode=compat --editable .
	@# An editable install in this mode knows one root; the MCP server's package has another.
	@$(PY) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "sentry_mcp.pth").write_text("$(CURDIR)/mcp-servers/sentry\n")'
	@touch $@

cli: $(VENV)/.complete
	@$(PY) -m tools.pulumi_cli >/dev/null
	@$(PY) -m tools.esc_engine >/dev/null

run: setup ## the main job against a local Pulumi ESC, GitHub and Sentry: nothing to sign up for
	@$(PY) -m sandbox.demo

test: setup ## what a contributor needs (REQUIRE_ALL=1: all tests, none skipped; COV=1: coverage; ARGS=… for pytest)
	@$(if $(QUICK),CASES=2000) $(PY) -m pytest $(QUICK) --numprocesses=$(WORKERS) --maxprocesses=4 --no-loadscope-reorder $(COVERAGE) $(ARGS)

# make bench FORMER=43ec2e3 ROUNDS=7 measures the image of that commit, too.
bench: setup ## what a person waits for, beside the script: prints every figure and writes docs/maintainers/performance.md
	@$(PY) -m benchmarks $(if $(FORMER),--former $(FORMER)) $(if $(ROUNDS),--rounds $(ROUNDS))

faults: setup ## every request of a sync with every fault: shows what each leads to, and writes build/faults.md
	@$(PY) -m tests.faults

# The tests under tests/fuzz with many more cases than the suite gives them; make fuzz CASES=10000
CASES ?= 1000000
fuzz: $(VENV)/.complete ## a million random merges, and arbitrary inputs (CASES=… for another number)
	@CASES=$(CASES) $(PY) -m pytest --capture=no tests/fuzz $(ARGS)

atheris: $(VENV)/.complete ## coverage-guided fuzzing of the parsers (SECONDS=60)
	@$(PY) -m tools.packages requirements/atheris.txt
	@$(PY) -m tests.fuzz.parsers -artifact_prefix=.cache/ -max_total_time=$(or $(SECONDS),60)

# A mutant that never ends its loop would fill the machine: hence the limit, in KiB.
mutants: $(VENV)/.complete requirements/mutants.txt ## mutation tests of plan, merge, proof and redactor; prints what survives
	@$(PY) -m tools.packages requirements/mutants.txt
	@rm -rf mutants
	@ulimit -v 4194304; nice $(BIN)/mutmut run --max-children 2
	@$(BIN)/mutmut results

lint: $(VENV)/.complete ## all linters and the type checker
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/deptry .
	$(BIN)/shellcheck .ci/run tools/*.sh benchmarks/*.sh
	$(BIN)/hadolint Dockerfile mcp-servers/sentry/Dockerfile
	$(PY) -m tools.actionlint -shellcheck $(BIN)/shellcheck -pyflakes ''
	$(BIN)/zizmor --offline --quiet --persona=auditor .github action.yml actions

format: $(VENV)/.complete ## let ruff format the code and sort the imports
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

lock: $(VENV)/.complete ## write requirements/*.txt anew from pyproject.toml (UPGRADE=1: with the newest that are a week old)
	$(UV_COMPILE) pyproject.toml --output-file requirements/runtime.txt
	$(UV_COMPILE) pyproject.toml --extra mcp --constraints requirements/runtime.txt --output-file requirements/mcp.txt
	$(UV_COMPILE) pyproject.toml --extra backend --extra cli --extra mcp --extra sandbox --extra dev \
		--constraints requirements/mcp.txt --output-file requirements/dev.txt
	$(UV_COMPILE) requirements/build.in --constraints requirements/dev.txt --output-file requirements/build.txt
	$(UV_COMPILE) requirements/atheris.in --constraints requirements/runtime.txt --output-file requirements/atheris.txt
	$(UV_COMPILE) requirements/go.in --output-file requirements/go.txt
	$(UV_COMPILE) requirements/mutants.in --constraints requirements/dev.txt --output-file requirements/mutants.txt
	$(UV_COMPILE) requirements/bugsink.in --output-file requirements/bugsink.txt

image: ## build the image (IMAGE=name:tag)
	docker build --tag $(IMAGE) .

pin: ## write the digests of the base images into the Dockerfiles
	@tools/pin_images.sh

clean: ## remove what was made, downloads and the virtual environment included
	rm -rf $(VENV) .cache .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache build mutants *.egg-info
