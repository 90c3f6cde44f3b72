# Everything a person needs, the same at the desk and in CI. `make help` lists it.
# Nothing is touched outside this folder but the caches of package managers.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup up test lint bench bench-peers bench-peers-ratings bench-peers-api nano schemas clean

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
# The uv that wrote the lock; fetched into .tools if the machine has none that works.
UV_VERSION := 0.13.9
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .tools/bin/uv)
BIN := .venv/bin

help: ## What can be made.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | awk -F '\t' '{printf "  make %-20s %s\n", $$1, $$2}'

setup: .venv/.installed ## Install everything into .venv from the lock; the targets below do so by themselves.
	@$(BIN)/python -m agon.local.jars

# Compiled once here, torch and transformers are imported in less than half of the time, in every worker.
# A changed lock or project file installs again, and so does a checkout that was moved or copied with its .venv, whose
# programs belong to another place; otherwise this costs nothing.
ifneq ($(shell cat .venv/.installed 2>/dev/null),$(CURDIR))
.PHONY: .venv/.installed
endif
.venv/.installed: uv.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "there is no Python: install Python 3.11 or newer"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$$($(PYTHON) -V) is too old: install Python 3.11 or newer, or name one: make PYTHON=..."; exit 2; }
	@if test "$(UV)" != uv && ! test -x .tools/bin/uv; then echo "fetching uv $(UV_VERSION)"; \
	  { $(PYTHON) -m venv .tools 2>/dev/null >&2 && .tools/bin/pip install -q uv==$(UV_VERSION); } || \
	  { rm -rf .tools && $(PYTHON) -m pip install -q --target .tools uv==$(UV_VERSION); } || \
	  { echo "uv could not be fetched: check the network, or install uv yourself"; exit 2; }; fi
	@if test -s $@ && test "$$(cat $@)" != "$(CURDIR)"; then rm -rf .venv; fi
	@echo "installing into .venv from uv.lock; the first time this fetches about 3 GB, most of it torch"
	@UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV= $(UV) sync --frozen --compile-bytecode --extra dev --python $(PYTHON)
	@printf '%s' "$(CURDIR)" > $@

up: setup ## Run the whole stack here until Ctrl-C; ARGS="--port 9000" goes to `agon up`.
	@exec $(BIN)/agon up $(ARGS)

# Three at a time on two cores: half of its time a test waits for a process, a lease or a time-out. Bytecode is kept
# whatever the machine is told, because tests start hundreds of processes.
test: setup ## All tests, on real servers, three files at a time; ARGS="-k gate" goes to pytest.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## Style and types.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

fuzz: setup ## 100,000 malformed bodies to the API; COUNT=N for another number.
	@AGON_FUZZ=$${COUNT:-100000} $(BIN)/pytest -q --timeout 3600 tests/unit/agon_ingress/test_fuzz.py

clients: setup ## Other people's clients (docs/clients) against a running stack; ARGS="--url http://HOST:PORT".
	@$(BIN)/python benchmarks/clients.py $(ARGS)

bench: setup ## Every figure of the README, measured here; results go to benchmarks/results.
	@for script in bus_latency bus_throughput memory engine ratings; do $(BIN)/python benchmarks/$$script.py || exit 1; done

# Libraries that only the engine's benchmark runs, beside .venv and behind it on the path: what agon needs stays as locked.
PEERS := .tools/peers
PEER := $(UV) pip install -q --python $(BIN)/python --target $(PEERS) --no-deps
bench-peers: setup ## Fetch the engine's peers; llama.cpp is compiled, which takes a quarter of an hour.
	@$(PEER) ctranslate2==4.8.5 gguf==0.19.0 diskcache==5.6.3
	@CMAKE_ARGS="-DLLAVA_BUILD=OFF" $(PEER) llama-cpp-python==0.3.36 || \
	  echo "llama-cpp-python could not be built (it needs a C++ compiler); the figures go without"

# The ratings' peers need other versions of what agon has: a virtual environment of their own. FastChat's newest rating
# module is in no release, so it comes from its repository; that of its last release is measured beside it.
RATINGS_PEERS := .tools/peers-ratings
RATING_SYSTEMS := https://raw.githubusercontent.com/lm-sys/FastChat/2bdb2e0cf988821ecd40cdb6db40e5e01efe7c85/fastchat/serve/monitor/rating_systems.py
bench-peers-ratings: setup ## Fetch the ratings' peers.
	@test -x $(RATINGS_PEERS)/bin/python || $(UV) venv -q --python $(PYTHON) $(RATINGS_PEERS)
	@$(UV) pip install -q --python $(RATINGS_PEERS)/bin/python arena-rank==0.1.1 evalica==0.4.2 choix==0.4.1 \
	  leaderbot==0.4.3 pandas==3.1.1 pyarrow==26.0.1 scipy==1.17.1 tqdm==4.70.1 scikit-learn==1.9.1 pytz==2026.2
	@$(UV) pip install -q --python $(RATINGS_PEERS)/bin/python --no-deps fschat==0.2.36
	@curl -fsSL --max-time 20 $(RATING_SYSTEMS) -o $(RATINGS_PEERS)/rating_systems.py || \
	  echo "FastChat's rating module could not be fetched; the figures go without"

# LiteLLM needs other versions of what agon has, too. The newest one whose proxy can be installed from PyPI alone.
API_PEERS := .tools/peers-api
bench-peers-api: setup ## Fetch the API's peer, LiteLLM's proxy.
	@test -x $(API_PEERS)/bin/python || $(UV) venv -q --python $(PYTHON) $(API_PEERS)
	@$(UV) pip install -q --python $(API_PEERS)/bin/python 'litellm[proxy]==1.108.7'

nano: setup ## Train the bundled models again, with their cards.
	@$(BIN)/python -m agon.nano.train $(ARGS)

schemas: setup ## Write schemas/ and docs/api.md from the classes of messages and requests.
	@$(BIN)/python -m agon.messages.schemas
	@$(BIN)/python -m agon_ingress.openapi schemas/openapi.json
	@$(BIN)/python -m agon_ingress.reference docs/api.md

clean: ## Remove what was installed and made here: .venv, caches, the default data folder.
	rm -rf .venv .tools .agon .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
