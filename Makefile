# Each target sets up whatever it needs: Python 3.11+, make and a package registry are enough.
.PHONY: bench-growth sbom audit help setup up down reset status test test-fast check format proto bench bench-fraud bench-suggest bench-raft chaos chaos-compose last-copy sim planted model linearizability golden
.DEFAULT_GOAL := help

export UV_PYTHON_DOWNLOADS := never
VENV := .venv
PYTHON := $(VENV)/bin/python
# uv itself comes from the registry, into an environment of its own, where it is not installed.
UV := $(shell command -v uv 2>/dev/null || echo $(VENV)-uv/bin/uv)

help: ## Says what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(VENV)/.complete ## Installs Python packages into .venv

$(VENV)/.complete: pyproject.toml uv.lock
	@python3 -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or later is needed, and python3 is {v[0]}.{v[1]}: install a newer one, or put it first on PATH")'
	@test -x "$(UV)" || (echo "Installing uv..." && python3 -m venv $(VENV)-uv && $(VENV)-uv/bin/pip install --quiet --require-hashes --requirement docker/uv.txt)
	@echo "Installing packages (under a minute the first time)..."
	@"$(UV)" sync --quiet --locked --python "$$(python3 -c 'import sys; print(sys.executable)')"
	@touch $@

up: setup ## Starts the bookstore on http://localhost:8080 and stops it on Ctrl-C
	@$(PYTHON) -m bookstore up

down: setup ## Stops a bookstore that runs
	@$(PYTHON) -m bookstore down

reset: setup ## Stops it and deletes its data
	@$(PYTHON) -m bookstore reset

status: setup ## Shows every process, its health and its memory
	@$(PYTHON) -m bookstore status

test: setup ## The whole suite
	@$(PYTHON) -m pytest

test-fast: setup ## What starts no whole system, for daily work
	@$(PYTHON) -m pytest -n 2 -m "not system and not slow"

check: setup ## Lint, types, import rules, fresh protobuf code
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy .
	@$(VENV)/bin/lint-imports
	@$(PYTHON) -m bookstore.protobuf --check

format: setup ## Formats the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

sbom: setup ## Lists the packages of the images, as locked, in build/sbom.json (CycloneDX)
	@mkdir -p build
	@"$(UV)" export --quiet --locked --format cyclonedx1.5 --no-default-groups --group torch --output-file build/sbom.json >/dev/null
	@$(PYTHON) -c 'import json; print(len(json.load(open("build/sbom.json"))["components"]), "packages are in build/sbom.json")'

audit: setup ## Asks osv.dev for known vulnerabilities of the locked packages
	@"$(UV)" audit --locked $(if $(OSV_URL),--service-url $(OSV_URL)); status=$$?; if [ $$status = 2 ]; then \
		echo "Nothing is known about vulnerabilities: osv.dev cannot be asked from here."; else exit $$status; fi

proto: setup ## Generates the code of utils/pb/*.proto
	@$(PYTHON) -m bookstore.protobuf

golden: setup ## Writes the golden files of new formats (docs/formats.md)
	@$(PYTHON) -m tests.formats

bench: setup ## Drives checkouts through a system of its own and prints what they cost
	@$(PYTHON) -m benchmarks.checkout

bench-growth: setup ## Shows which process is busy when a bookstore can do no more, and what more orchestrators change
	@$(PYTHON) -m benchmarks.growth $(if $(SECONDS),--seconds $(SECONDS)) $(if $(CELLS),--cells $(CELLS)) $(if $(CLIENTS),--clients $(CLIENTS))

bench-fraud: setup ## Prints precision and recall of fraud detection on a labelled set (SEED=n)
	@$(PYTHON) -m benchmarks.fraud $(if $(SEED),--seed $(SEED))

bench-raft: setup ## Compares utils/raft with pysyncobj and etcd (SECONDS=n, FAILOVERS=n, RIVALS=pysyncobj,etcd)
	@GRPC_VERBOSITY=ERROR $(PYTHON) -m benchmarks.raft $(if $(SECONDS),--seconds $(SECONDS)) $(if $(FAILOVERS),--failovers $(FAILOVERS)) $(if $(RIVALS),--rivals $(RIVALS))

bench-suggest: setup ## Prints how well books are found and recommended, and how fast
	@$(PYTHON) -m benchmarks.suggestions

chaos: setup ## Breaks a bookstore of its own while clients order, and checks every promise (CYCLES=n, SEED=n)
	@$(PYTHON) -m tests.chaos $(if $(CYCLES),--cycles $(CYCLES)) $(if $(SEED),--seed $(SEED))

chaos-compose: setup ## The same to a bookstore in containers, also to their networks and disks (CYCLES=n, SEED=n)
	@$(PYTHON) -m tests.chaos --containers $(if $(CYCLES),--cycles $(CYCLES)) $(if $(SEED),--seed $(SEED))

last-copy: setup ## Lets 50 buyers order the last copy of a book, 100 times (ROUNDS=n)
	@LAST_COPY_ROUNDS=$(or $(ROUNDS),100) $(PYTHON) -m pytest tests/e2e/test_last_copy.py

sim: setup ## Simulates clusters of nodes under faults from seeds, plays scenarios, plants bugs (SEEDS=n, SEED=first, or NEW_BASE=1)
	@$(PYTHON) -m tests.simulation --seeds $(or $(SEEDS),20000) $(if $(SEED),--seed $(SEED)) $(if $(NEW_BASE),--new-base)

linearizability: setup ## Kills, pauses and cuts off nodes, and checks what clients were told (ROUNDS=n, SEED=n)
	@$(PYTHON) -m tests.linearizability $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

planted: setup ## Plants bugs on the way of an order, one at a time, and shows which test kills each
	@$(PYTHON) -m tests.orders

model: setup ## Explores a model of the order protocol, with the real code in lockstep
	@$(PYTHON) -m tests.model
