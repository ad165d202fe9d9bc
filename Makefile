# One door for humans and for CI. `make` lists what there is.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
CONV := AzureLLMInferenceTrace_conv.csv
AZURE := $(firstword $(wildcard traces/$(CONV) ../*/traces/$(CONV)))
#: Tests that read published traces look for them here; they are skipped where there are none.
export PARALLAX_TRACES ?= $(if $(AZURE),$(abspath $(dir $(AZURE))))
# Dozens of processes are started here, and each would translate all it imports anew.
unexport PYTHONDONTWRITEBYTECODE
# Three sets, each within the next: `make check`, the fast tests, all. The first draws a twentieth of
# the random examples, the second a quarter; `make test` draws all of them.
QUICK := PARALLAX_EXAMPLE_SHARE=$(or $(SHARE),0.05) $(BIN)/python -m pytest -q -n 3 --dist loadfile -m "not slow and not e2e and not dear"
FAST  := PARALLAX_EXAMPLE_SHARE=$(or $(SHARE),0.25) $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not e2e"
.PHONY: help demo test servers llama fuzz prometheus monitor monitoring-files grafana-pictures compiled test-compiled manifests image check lint coverage verify stateful mutants laws e2e bench bench-queue bench-limit bench-latency bench-flat bench-fairness bench-rescue bench-metrics bench-recovery bench-sim bench-many bench-blocked bench-streaming bench-scan bench-rivals bench-gateway bench-streams bench-engines bench-constants bench-orders format clean

## help: show this list
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST) | sed 's/^/  make /'

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "Python >= 3.11 is needed: make PYTHON=python3.12 ..."; exit 1)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

## demo: the whole system at work: overload, a crash, and the promises checked (a minute)
demo: $(STAMP)
	$(BIN)/parallax demo

# What fails beside thousands of tests of processes and clocks is tried once more, alone; what fails
# twice has failed. Both times are printed. Where nothing was noted as failed, that is a failure too.
AGAIN := $(abspath $(BIN))/python -m pytest -q --last-failed --last-failed-no-failures none

## test: every test, those that start and kill processes included (a quarter of an hour on two cores)
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile || $(AGAIN)

## servers: install Debian's Redis 7 and libfaketime, which `make test` uses if they are here (as root)
servers: $(STAMP)
	@$(BIN)/python -m tests.servers >/dev/null || { \
	  command -v apt-get && test "$$(id -u)" = 0 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -qq --no-install-recommends redis-server faketime; } >/dev/null \
	|| echo "apt-get, as root, could not be used"
	@$(BIN)/python -m tests.servers || true

# A real engine of a few megabytes, with random weights: no model is downloaded.
## llama: install llama.cpp, which `make test` asks then, and run the tests that do
llama: $(STAMP)
	timeout 600 $(BIN)/python -m pip install --quiet --editable '.[llama]' || echo "llama.cpp could not be installed"
	$(BIN)/python -m pytest -q -m real_backend || $(AGAIN)

## fuzz: install schemathesis and LangChain, and ask a gateway what they ask
fuzz: $(STAMP)
	timeout 600 $(BIN)/python -m pip install --quiet --editable '.[fuzz]' || echo "schemathesis or LangChain could not be installed"
	PARALLAX_EXAMPLE_SHARE=$(or $(SHARE),0.5) $(BIN)/python -m pytest -q -rs -m "fuzzed or second_client" || $(AGAIN)

## prometheus: install Debian's Prometheus (as root) and run the tests that ask it: rules, alerts, every panel
prometheus: $(STAMP)
	@command -v prometheus promtool >/dev/null || { command -v apt-get && test "$$(id -u)" = 0 && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends prometheus; } >/dev/null \
	|| echo "apt-get, as root, could not be used"
	$(BIN)/python -m pytest -q -rs -m prometheus tests/unit/ops tests/e2e/test_prometheus.py || $(AGAIN)

## monitor: Parallax, a load, and Prometheus with all rules and alerts, until Ctrl-C (docs/monitoring.md)
monitor: $(STAMP)
	$(BIN)/python -m ops.prometheus.monitor $(if $(RATE),--rate $(RATE))

## monitoring-files: write grafana/, the rules of Prometheus and docs/metrics.md anew from Python
monitoring-files: $(STAMP)
	$(BIN)/python -m ops.grafana

## grafana-pictures: draw every dashboard from a real Prometheus (two minutes; docs/images/grafana-*.svg)
grafana-pictures: $(STAMP)
	$(BIN)/python -m ops.grafana.pictures

# In a tree of its own: `make test` and whoever edits sources never meet code that is older than they are.
COMPILED := build/compiled
## compiled: the hot modules as machine code (mypyc, a C compiler), in a copy of this tree: build/compiled (two minutes)
compiled: $(STAMP)
	$(BIN)/python -m ops.compile.build

## test-compiled: the same decisions to the last byte, and the tests of the pure layers, over the compiled build
test-compiled: compiled
	$(BIN)/python -m ops.compile.same $(COMPILED)
	cd $(COMPILED) && $(abspath $(BIN))/python -m parallax version | grep -q "^compiled *yes"
	PARALLAX_COMPILE=1 $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel . && ls build/wheel/*-cp*.whl
	cd $(COMPILED) && PARALLAX_EXAMPLE_SHARE=$(or $(SHARE),0.25) PARALLAX_EXAMPLES=$(or $(EXAMPLES),50) $(abspath $(BIN))/python -m pytest -q -n 2 --dist loadfile \
	  -m "not slow and not e2e" tests/laws tests/conformance tests/stateful tests/unit/core tests/unit/policies \
	  tests/unit/engine tests/unit/scheduling tests/unit/sim tests/unit/services tests/unit/consumers tests/unit/ops || $(AGAIN)

# `docker compose up` and a cluster are not here: what can be known without them.
## manifests: hold docker-compose.yml and ops/k8s against schemas, a linter and the command line
manifests: $(STAMP)
	timeout 600 $(BIN)/python -m pip install --quiet --editable '.[deploy]' || echo "the schemas could not be installed"
	$(BIN)/python -m pytest -q -rs $(wildcard tests/unit/ops/test_compose.py tests/unit/ops/test_kubernetes*.py)
	if command -v npx >/dev/null; then timeout 300 npx --yes dclint@3.1.0 --max-warnings 0 -c ops/docker/dclint.json docker-compose.yml; \
	else echo "npx is not here: docker-compose.yml is not linted"; fi

## image: carry out the Dockerfile in a clean root, without Docker, and run its processes (as root on Linux)
image: $(STAMP)
	$(BIN)/python -m pytest -q -rs tests/e2e/test_image.py

# The dashboard's pages are written in TypeScript and shipped as files; only who changes them needs Node.
.PHONY: dashboard dashboard-check browser bench-dashboard screenshots
PAGES  := ops/dashboard
STATIC := parallax/dashboard/static
$(PAGES)/node_modules/.package-lock.json: $(PAGES)/package-lock.json
	cd $(PAGES) && npm ci --silent && touch node_modules/.package-lock.json

## dashboard: build the dashboard's pages anew, into the package (needs Node >= 20 and npm)
dashboard: $(PAGES)/node_modules/.package-lock.json
	cd $(PAGES) && npm run types && npm run --silent build && find out -type d -empty -delete
	rm -rf $(STATIC) && mkdir -p $(dir $(STATIC)) && cp -R $(PAGES)/out $(STATIC)

## dashboard-check: are the pages in the package those of the source? (needs Node >= 20 and npm)
dashboard-check: $(PAGES)/node_modules/.package-lock.json
	cd $(PAGES) && npm run types && npm run --silent build && find out -type d -empty -delete
	diff -r $(PAGES)/out $(STATIC) >&2 || { echo "parallax/dashboard/static is not current: make dashboard"; exit 1; }

# What the browser needs: Debian's chromium, and a library that drives it.
$(VENV)/.browser: $(STAMP)
	@command -v chromium >/dev/null || { command -v apt-get && test "$$(id -u)" = 0 && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium; } >/dev/null \
	|| echo "chromium could not be installed: the tests of the pages will be skipped"
	timeout 600 $(BIN)/python -m pip install --quiet --editable '.[browser]' || echo "playwright could not be installed"
	touch $@

## browser: look at every page of the dashboard with a real browser (installs chromium if it can, as root)
browser: $(VENV)/.browser
	$(BIN)/python -m pytest -q -m browser tests/browser || $(AGAIN)

## bench-dashboard: how long pages take to be live, and frames, with 10,000 tenants and 500 workers (docs/dashboard.md)
bench-dashboard: $(VENV)/.browser
	$(BIN)/python -m tests.browser.timings

## screenshots: pictures of the dashboard for the docs, of a live system
screenshots: $(VENV)/.browser
	$(BIN)/python -m tests.browser.screenshots docs/images

## check: lint, format, types, layers and of the fast tests those that cost least (a minute on two cores)
check: lint
	$(QUICK)

## lint: lint, format and types
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## coverage: all fast tests, and how much of the code they run; less than pyproject.toml says is a failure
coverage: $(STAMP)
	$(FAST) --cov --cov-report=term:skip-covered || $(AGAIN)

## laws: only the laws of policies, scheduler and engine, with their negative controls (minutes)
laws: $(STAMP)
	$(BIN)/python -m pytest -q tests/laws tests/conformance

## format: let ruff put the code in order
format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The queues measured beside Parallax need older clients: they live in an environment of their own.
PEERS  := .venv-peers
$(PEERS)/.installed: ops/bench/peers/requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement $<
	touch $@

## verify: break things on purpose and check every promise (5 to 10 minutes; SEEDS="1 2 3", SHAPE=small, DURATION=20 to choose, PAGE=file to keep)
SEEDS ?= 11 12 13 $(shell $(PYTHON) -c 'import secrets; print(secrets.randbelow(10**6))')
verify: $(STAMP)
	$(BIN)/parallax verify $(foreach seed,$(SEEDS),--seed $(seed)) $(foreach part,$(SHAPE),--shape $(part)) --duration $(or $(DURATION),60) --rate 280 --pause 0.2 $(if $(PAGE),-o $(PAGE))

## stateful: the protocol as a state machine, 1,000 examples of 50 steps on each of two servers
stateful: $(STAMP)
	PARALLAX_EXAMPLES=$(or $(EXAMPLES),1000) $(BIN)/python -m pytest -q -n 2 tests/stateful

## mutants: plant bugs, one at a time, and see whether the tests notice (a quarter of an hour)
mutants: $(STAMP)
	$(BIN)/python -m ops.mutants.run

## bench: all benchmarks (a quarter of an hour; see docs/benchmarks.md)
bench: bench-queue bench-latency bench-flat bench-fairness bench-sim bench-scan

## bench-queue: jobs per second beside other Python queues, and beside the limit (BESIDE=tree: beside another tree of this)
bench-queue: $(STAMP) $(PEERS)/.installed
	$(BIN)/python -m ops.bench.queue $(if $(BESIDE),--beside $(BESIDE))

## bench-limit: a bare pipeline of stream commands, with consumer groups and without
bench-limit: $(STAMP)
	$(BIN)/python -m ops.bench.limit

## bench-latency: submit to result, one job at a time (BESIDE=tree takes turns with another tree)
bench-latency: $(STAMP)
	$(BIN)/python -m ops.bench.latency $(if $(BESIDE),--beside $(BESIDE))

## bench-flat: does cost grow with tenants or backlog?
bench-flat: $(STAMP)
	$(BIN)/python -m ops.bench.flat

## bench-sim: simulated requests per second (TRACE=file; else one found beside this, or a made-up one; BESIDE=tree takes turns)
bench-sim: $(STAMP)
	$(BIN)/python -m ops.bench.sim $(if $(BESIDE),--beside $(BESIDE),--profile) $(or $(TRACE),$(AZURE),azure_like)

## bench-many: a million simulated requests on 256 workers, outcomes summarised as they come (REQUESTS=n)
bench-many: $(STAMP)
	$(BIN)/python -m ops.bench.many --requests $(or $(REQUESTS),1000000)

## bench-blocked: how long Redis is stopped by one call while long lists of jobs are submitted
bench-blocked: $(STAMP)
	$(BIN)/python -m ops.bench.blocked

## bench-streaming: how late chunks arrive when a thousand answers flow at once
bench-streaming: $(STAMP)
	$(BIN)/python -m ops.bench.streaming

## bench-scan: batches placed by prefix sums and by a heap; scans in one process and in two
bench-scan: $(STAMP)
	$(BIN)/python -m ops.bench.scan

## bench-rivals: the default beside the rules of other routers, on traces (TRACES=directory OPTIONS='--fleet speeds --load 1.2x ...')
bench-rivals: $(STAMP)
	$(BIN)/python -m ops.bench.rivals $(TRACES) $(OPTIONS)

## bench-constants: the default with each constant of its cost left out, halved and doubled, on traces (TRACES, OPTIONS)
bench-constants: $(STAMP)
	$(BIN)/python -m ops.bench.rivals $(TRACES) --entrants constants --load 0.9 $(OPTIONS)

## bench-orders: overload with other orders, with and without dropping what is too late, on traces (TRACES, OPTIONS)
bench-orders: $(STAMP)
	$(BIN)/python -m ops.bench.rivals $(TRACES) --entrants orders --load 1.2x $(OPTIONS)

.PHONY: bench-autoscale soak
## bench-autoscale: worker-seconds of a week, of our autoscaler and of the cluster's rule, at one objective (RATE=n DAYS=n)
bench-autoscale: $(STAMP)
	$(BIN)/python -m ops.bench.autoscale --rate $(or $(RATE),4) --days $(or $(DAYS),7)

## soak: load and a fault every ten seconds on the full stack: promises, keys, slopes of memory (half an hour; DURATION=n RATE=n)
soak: $(STAMP)
	$(BIN)/python -m ops.soak --duration $(or $(DURATION),1800) --rate $(or $(RATE),40)

.PHONY: bench-rq
## bench-rq: a sweep of 200 simulations over one worker of rq and over two, records compared (RUNS=n REQUESTS=n)
bench-rq: $(STAMP)
	$(BIN)/python -m ops.bench.rq --runs $(or $(RUNS),200) --requests $(or $(REQUESTS),1000)

# Each proxy that a gateway is measured beside has an environment of its own.
FRONTS := litellm vllm-router sglang-router smg
build/peers/%/.installed:
	$(PYTHON) -m venv build/peers/$*
	timeout 900 build/peers/$*/bin/python -m pip install --quiet '$*$(if $(filter litellm,$*),[proxy])' && touch $@ || echo "$* could not be installed"

## bench-gateway: what a gateway costs beside litellm, vllm-router, sglang-router and smg, before an instant engine
bench-gateway: $(STAMP) $(FRONTS:%=build/peers/%/.installed)
	$(BIN)/python -m ops.bench.gateway

## bench-streams: 1,000 streams at once through a gateway: errors, lateness, memory (DURATION=300)
bench-streams: $(STAMP)
	$(BIN)/python -m ops.bench.streams --seconds $(or $(DURATION),300)

## bench-rescue: hedging and stealing on real processes, each beside the same load without it
bench-rescue: $(STAMP)
	$(BIN)/python -m ops.bench.rescue

## bench-metrics: CPU time of jobs with all metrics, and with none
bench-metrics: $(STAMP)
	$(BIN)/python -m ops.bench.metrics

## bench-recovery: how long work stands still after a worker or the leader was killed
bench-recovery: $(STAMP)
	$(BIN)/python -m ops.bench.recovery

## bench-engines: three real llama.cpp servers: caches, one killed, weights, a flood (4 minutes; ONLY=part; needs `make llama`)
bench-engines: $(STAMP)
	$(BIN)/python -m ops.bench.engines $(if $(ONLY),--only $(ONLY))

## bench-fairness: served cost of two tenants with weights 4:1, gateways apart, leaders killed, a control
bench-fairness: $(STAMP)
	$(BIN)/python -m ops.bench.fairness

## clean: remove what make made
clean:
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
