# Each target is one command that also sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
DEPLOY := .venv-deploy
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
JOBS ?= 2
RUNTIME := $(VENV)/.runtime
NATIVE := $(VENV)/.native
STAMP := $(VENV)/.installed
DEV := $(NATIVE) $(STAMP)

.PHONY: help setup demo test fuzz chaos check format bench integration browser-test downstream compose-test deploy-test k8s-test chart schemas docs site lock dist lowest wheels clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(DEV) ## make the virtual environment, compile the codec

# what runs, in half a minute; the tools of tests and checks are a gigabyte more
$(RUNTIME): requirements/run.txt requirements/build.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: apt-get install python3 python3-venv python3-dev"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || [ -x $(BIN)/pip ] || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -qq -y python3-venv python3-dev >/dev/null; \
	  else echo "$(PYTHON) has no venv module: apt-get install python3-venv python3-dev"; exit 1; fi; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt -r requirements/build.txt
	@touch $@

$(STAMP): requirements/dev.txt $(RUNTIME)
	@echo "adding the tools of tests and checks (once, some minutes: a gigabyte)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/dev.txt
	@touch $@

# editable, and compiled in place: again whenever the codec or the packaging changes
$(NATIVE): $(RUNTIME) pyproject.toml setup.py $(wildcard connector/*/*.pxd connector/*/*/*.pxd connector/*/*.h connector/*/_native.pyx connector/*/*/_native.pyx)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: $(NATIVE) ## simulated market, embedded broker, connector, live view (DURATION=20, REPLICAS=3)
	@$(BIN)/kite-connector demo $(if $(DURATION),--duration $(DURATION)) $(if $(REPLICAS),--replicas $(REPLICAS))

test: $(DEV) ## unit, property, loopback and a little chaos, over both twins of the codec (JOBS=2 at a time)
	@$(BIN)/pytest -n $(JOBS) --dist worksteal tests/unit tests/property tests/loopback tests/chaos -m "not chaos" $(ARGS)

fuzz: $(DEV) ## the property tests with examples that no run has had (TIMES=10, until one fails)
	@for time in $$(seq $(or $(TIMES),1)); do \
	  $(BIN)/pytest -q -n $(JOBS) -m hypothesis --hypothesis-profile search tests/unit tests/property $(ARGS); done

chaos: $(DEV) ## replicas killed, frozen, cut off by a seed for minutes (SEED=7 CHAOS_SECONDS=300)
	@CHAOS_SEED=$(or $(SEED),$(shell date +%s)) CHAOS_SECONDS=$(or $(CHAOS_SECONDS),180) \
	  $(BIN)/pytest tests/chaos -m chaos -s -o faulthandler_timeout=$$(($(or $(CHAOS_SECONDS),180) + 900)) $(ARGS)

check: $(DEV) ## lint, types, import contracts, generated files, the site
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy --config-file tests/mypy.ini
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/pytest -q tests/contracts
	@$(BIN)/python docs/site/build.py

format: $(DEV) ## format and mend what lint can mend
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(DEV) ## every figure, next to pykiteconnect + fastavro + confluent-kafka
	@$(BIN)/python -m tests.bench $(ARGS)

integration: $(DEV) ## against real Kafka and registry (containers, or addresses in the environment)
	@$(BIN)/pytest tests/integration -m integration $(ARGS)

browser-test: $(DEV) $(VENV)/.browser ## the page in a real Chromium (apt-get install chromium, or CHROMIUM=path)
	@$(BIN)/pytest tests/browser -m browser $(ARGS)

$(VENV)/.browser: requirements/browser.txt $(STAMP)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/browser.txt
	@touch $@

downstream: $(DEV) ## every reader over one tape of ticks, on a real Kafka; TICKS=10000000: their rates
ifdef TICKS
	@$(BIN)/python -m tests.integration.downstream.rates --ticks $(TICKS) $(ARGS)
else
	@$(BIN)/pytest tests/integration/downstream -m downstream $(ARGS)
endif

compose-test: $(DEV) ## build the image, run docker-compose.yml, consume, clean up (needs Docker)
	@$(BIN)/pytest tests/deploy/test_image.py tests/deploy/test_compose.py -m deploy $(ARGS)

deploy-test: $(DEV) $(DEPLOY)/.installed $(DEPLOY)/bin/prometheus $(DEPLOY)/bin/actionlint ## the Helm chart, its policies, alerts, dashboard and the workflows, without a cluster
	@$(BIN)/pytest tests/deploy -m deploy --ignore-glob "*/test_image.py" --ignore-glob "*/test_compose.py" $(ARGS)

wheels: ## a compiled wheel by each CPython of this machine, installed alone and tried (PYTHONS=python3.14)
	@tests/deploy/wheels.sh $(PYTHONS)

k8s-test: $(DEV) ## the chart on a running Kubernetes: rolls, kills, drains, outages (KUBECONFIG, or ../shared/k8s)
	@$(BIN)/pytest tests/k8s -m k8s -x $(ARGS)

# tools whose own requirements do not fit ours
$(DEPLOY)/.installed: requirements/deploy.txt $(STAMP)
	@echo "setting up $(DEPLOY) (once, about a minute)"
	@$(PYTHON) -m venv $(DEPLOY)
	@$(DEPLOY)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/deploy.txt
	@touch $@

# Prometheus and promtool, without installing the package, which would start the server
$(DEPLOY)/bin/prometheus: $(DEPLOY)/.installed
	@if command -v promtool >/dev/null && command -v prometheus >/dev/null; then \
	  for tool in promtool prometheus; do ln -sf "$$(command -v $$tool)" $(DEPLOY)/bin/$$tool; done; \
	elif command -v apt-get >/dev/null; then \
	  { [ "$$(id -u)" != 0 ] || apt-get update -qq; }; \
	  to=$$(mktemp -d); (cd "$$to" && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb .); \
	  cp "$$to/usr/bin/promtool" "$$to/usr/bin/prometheus" $(DEPLOY)/bin/; rm -rf "$$to"; \
	else echo "no promtool found: install Prometheus"; exit 1; fi
	@touch $@

# by its own lock of versions and hashes; without Go its test says what is missing
$(DEPLOY)/bin/actionlint: requirements/go.mod requirements/go.sum $(DEPLOY)/.installed
	@if command -v go >/dev/null; then cd requirements && GOBIN="$(abspath $(DEPLOY))/bin" go install -mod=readonly tool; \
	else echo "no Go found: the workflows are not linted"; exit 0; fi
	@[ ! -e $@ ] || touch $@

docs: $(DEV) ## renew the pages that are made of the code
	@$(BIN)/kite-connector settings > docs/settings.md
	@$(BIN)/python -m tests.contracts.test_topics_reference
	@$(BIN)/python -m tests.contracts.test_asyncapi
	@$(BIN)/python -m tests.contracts.test_metrics_reference

site: $(DEV) ## the documentation with search and the library's reference, in build/site/html
	@$(BIN)/python docs/site/build.py
	@echo "look at it: $(BIN)/python -m http.server -d build/site/html"

schemas: $(NATIVE) ## list the schemas, or compare them with a registry's (REGISTRY=http://…)
	@$(BIN)/kite-connector schemas $(if $(REGISTRY),check --registry $(REGISTRY),list)

chart: $(DEV) ## renew the chart's schema and table of values
	@$(BIN)/python deploy/helm/generate.py

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock"
lock: $(STAMP) ## renew requirements/*.txt
	@$(BIN)/pip install --quiet uv
	@$(LOCK) pyproject.toml -o requirements/run.txt
	@$(LOCK) --extra dev pyproject.toml -o requirements/dev.txt
	@$(LOCK) --group deploy -o requirements/deploy.txt
	@$(LOCK) --group sbom -o requirements/sbom.txt
	@$(LOCK) --group browser -o requirements/browser.txt
	@$(LOCK) --group spark -o requirements/spark.txt
	@$(LOCK) --group clickhouse -o requirements/clickhouse.txt
	@$(LOCK) --group iceberg -o requirements/iceberg.txt
	@$(LOCK) --group frames -o requirements/frames.txt
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(LOCK) - -o requirements/build.txt

dist: $(DEV) ## sdist, a native wheel and a pure wheel in dist/
	@rm -rf dist && $(BIN)/python -m build --quiet
	@KITE_CONNECTOR_BUILD=pure $(BIN)/python -m build --quiet --wheel

LOW := .venv-lowest
lowest: $(STAMP) ## unit tests with the lowest versions that pyproject.toml allows
	@$(BIN)/pip install --quiet uv
	@mkdir -p build && $(BIN)/uv pip compile --quiet --resolution lowest-direct --python-version 3.11 \
	  --no-annotate --no-header --extra arrow pyproject.toml -o build/lowest.txt
	@$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(LOW)
	@$(BIN)/uv pip install --quiet --python $(LOW)/bin/python -r build/lowest.txt
	@$(BIN)/uv pip install --quiet --python $(LOW)/bin/python -c build/lowest.txt Cython setuptools \
	  'confluent-kafka[schemaregistry]' hypothesis jsonschema kiteconnect pytest pytest-asyncio time-machine
	@$(BIN)/uv pip install --quiet --python $(LOW)/bin/python --no-deps --no-build-isolation -e .
	@$(LOW)/bin/python -m pytest -q tests/unit $(ARGS)

clean: ## remove everything that was made
	@rm -rf $(VENV) $(DEPLOY) $(LOW) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find connector -name '*.so' -delete; find connector -name '_native.c' -delete
