# Each target does its own set-up. Nothing is installed outside this folder (and uv's own cache).
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
ARGS ?=
NIGHTS ?= 20000
VOLUME ?= 100000
SESSIONS ?= 5000
MINUTES ?= 60

# uv as found on the machine, or its own copy from the package registry in .tools.
UV_VERSION := 0.13.9
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
export UV
# Set in many container images: each of the processes that the tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
# Apart from the project's dependencies: they bring a hundred of their own, which would have to agree with them.
RANDOMLY_VERSION := 5.1.0
CHECKOV_VERSION := 3.3.30
CHECK_JSONSCHEMA_VERSION := 0.39.0
ZIZMOR_VERSION := 1.32.0
RUN := $(UV) run --frozen --all-extras

.PHONY: help demo test test-fast test-random prove mutants coverage soak bench check audit format build deploy destroy cost clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

demo: $(UV) ## run the whole pipeline on this machine, emulated; ARGS=--keep leaves it up, ARGS="--layout NAME" shows another layout
	@$(RUN) python -m sandbox.demo $(ARGS)

test-fast: $(UV) ## run most unit tests in under a minute: no engine, emulator or browser; ARGS="-k name" for some
	@$(RUN) python -m pytest -n 2 --dist load -m "not slow" tests/unit --ignore tests/unit/bench $(ARGS)

# Five workers for two cores, since tests against the emulator mostly wait; those begin first, so that none of
# them runs alone at the end.
test: $(UV) ## run all tests; ARGS="tests/unit -k name" for some
	@$(RUN) python -m pytest -n 5 --dist loadscope --no-loadscope-reorder $(ARGS)

test-random: $(UV) ## run all tests in random order; ARGS="--randomly-seed=7" repeats an order
	@$(RUN) --with pytest-randomly==$(RANDOMLY_VERSION) python -m pytest -n 3 --dist loadscope $(ARGS)

prove: $(UV) ## run the long proofs: 20,000 modelled nights, every crash, hostile field, permission and demo layout, fault storms (NIGHTS=, VOLUME=, SESSIONS=)
	@$(RUN) python -m tests.model --nights $(NIGHTS) --workers 2
	@PROVE=all $(RUN) python -m pytest -n 2 --dist worksteal --timeout 3000 tests/crash tests/hostile tests/model tests/compat tests/integration \
		tests/infra/test_build.py tests/unit/ops/test_dlq_redrive.py tests/unit/ops/test_ledger_moves.py \
		tests/unit/producer/test_repeats.py tests/unit/producer/test_continuations.py tests/fault_injection/test_storm.py
	@VOLUME=$(VOLUME) $(RUN) python -m pytest --timeout 3000 tests/unit/producer/test_volume.py -k "any_volume or undelivered or memory"
	@PROVE=all $(RUN) python -m pytest tests/e2e/test_demo.py -k "own_layout or signal or closed"
	@PROVE=all $(RUN) python -m pytest -n 2 --dist load tests/e2e/test_least_privilege.py tests/e2e/test_report_page.py
	@$(RUN) python -m tests.fault_injection --sessions $(SESSIONS)

mutants: $(UV) ## run mutation testing of what decides about and writes orders (hours); ARGS="'recon.domain.order.*'" for a module
	@$(RUN) mutmut run $(ARGS)
	@$(RUN) mutmut results | { grep -v ': not checked$$' || true; }

coverage: $(UV) ## measure branch coverage of producer, consumer and recon; fails below 97 %
	@mkdir -p .cache
	@$(RUN) coverage run -m pytest -q tests/unit/recon tests/unit/producer tests/unit/consumer
	@$(RUN) coverage report --fail-under=97

soak: $(UV) ## run an hour of steady load and rotating faults, and check that nothing grows (MINUTES=)
	@$(RUN) python -m tests.fault_injection.soak --minutes $(MINUTES)

bench: $(UV) ## measure speed, rate limits and requests into bench/RESULTS.md; ARGS="nightly polite" for some
	@$(RUN) python -m bench $(ARGS)

check: $(UV) ## run linters, types, import contracts, template and workflow checks
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) cfn-lint infra/template.yaml
	@$(UV) tool run --from checkov==$(CHECKOV_VERSION) checkov --file infra/template.yaml --framework cloudformation \
		--skip-download --compact --quiet
	@$(UV) tool run --from check-jsonschema==$(CHECK_JSONSCHEMA_VERSION) check-jsonschema --quiet \
		--builtin-schema vendor.github-workflows .github/workflows/ci.yml
	@$(UV) tool run --from zizmor==$(ZIZMOR_VERSION) zizmor --offline --quiet .github/workflows

# Needs the vulnerability database at osv.dev, so it is no part of check, which needs the package registry only.
audit: $(UV) ## check the locked dependencies for vulnerabilities (needs osv.dev)
	@$(UV) audit --frozen

format: $(UV) ## format the sources
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

build: $(UV) ## build one folder per Lambda function in build/; ARGS="--platform x86_64" for that processor
	@$(RUN) python -m infra.build $(ARGS)

deploy: $(UV) ## deploy to AWS: ask once, keep the answers in deploy.*.json, show the changes, deploy, check; ARGS=--dry-run only shows them
	@$(RUN) python -m infra.deploy deploy $(ARGS)

destroy: $(UV) ## delete the stack; the table stays; ARGS=--dry-run only shows what would be deleted
	@$(RUN) python -m infra.deploy destroy $(ARGS)

cost: $(UV) ## count a night's requests and write their cost into docs/scaling.md and README.md
	@$(RUN) python -m bench.cost

clean: ## remove what the other targets made
	rm -rf build mutants .venv .tools .cache .sandbox .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
