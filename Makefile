# Every target sets up .venv by itself when it is needed, and does nothing twice.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

BIN       := $(VENV)/bin
BOOTSTRAP := $(VENV)/.bootstrapped
INSTALLED := $(VENV)/.installed
PACKAGES  := clients/proto clients/python service

.PHONY: help
help: ## What there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Arguments go in ARGS: make test ARGS='tests/core -x'. Another Python: make install PYTHON=python3.12."

# ---- environment -----------------------------------------------------------------------------------------------------
.PHONY: install
install: $(INSTALLED) ## Set up .venv from the hashed requirements.

$(BOOTSTRAP): requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/build.txt
	@touch $@

# Nothing is built from source and nothing is fetched that no hash covers: our own packages are built by the hatchling
# of the bootstrap, without an environment of their own. --no-deps: the file is complete, but for what is overridden.
$(INSTALLED): $(BOOTSTRAP) requirements/dev.txt $(PACKAGES:=/pyproject.toml)
	$(BIN)/uv pip install --quiet --python $(VENV) --no-deps --require-hashes --only-binary :all: \
		--requirement requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(VENV) --no-deps --no-build-isolation $(addprefix --editable ,$(PACKAGES))
	@touch $@

# cpu first: the others take its versions.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--override requirements/overrides.txt --no-header --no-emit-index-url \
	$(foreach name,wavescope wavescope-client wavescope-proto,--no-emit-package $(name)) \
	$(ARGS)

.PHONY: lock
lock: $(BOOTSTRAP) ## Re-resolve the requirement files; ARGS=--upgrade takes the newest versions.
	for name in cpu gpu build dev; do $(LOCK) requirements/$$name.in --output-file requirements/$$name.txt; done

# ---- use -------------------------------------------------------------------------------------------------------------
.PHONY: demo
demo: $(INSTALLED) ## Explain a photograph through the real service; the picture goes to build/demo.
	$(BIN)/python tools/demo.py $(ARGS)

.PHONY: serve
serve: $(INSTALLED) ## Run the service on 127.0.0.1:8000 until interrupted.
	$(BIN)/wavescope serve $(ARGS)

.PHONY: bench
bench: $(INSTALLED) ## Run the benchmarks.
	$(BIN)/python bench/run.py $(ARGS)

.PHONY: pictures
pictures: $(INSTALLED) ## Draw the pictures of docs/methods.md; ARGS='wcam fam' draws these alone.
	$(BIN)/python tools/pictures.py $(ARGS)

.PHONY: coverage
coverage: $(INSTALLED) ## Measure how often 95 % intervals hold the true index; about four minutes.
	$(BIN)/python bench/coverage.py $(ARGS)

.PHONY: adaptive
adaptive: $(INSTALLED) ## Hold the adaptive plan against the truth; resumable, about an hour on four cores.
	$(BIN)/python bench/adaptive.py $(ARGS)

.PHONY: gradient-prior
gradient-prior: $(INSTALLED) ## Hold the gradient prior of the adaptive plan against that of sizes; resumable, half an hour.
	$(BIN)/python bench/gradients.py $(ARGS)

.PHONY: accuracy
accuracy: $(INSTALLED) ## Hold the accuracy that adaptive plans say of themselves against scores of known indices; minutes.
	$(BIN)/python bench/accuracy.py $(ARGS)

.PHONY: scores
scores: $(INSTALLED) ## Hold the scores against each other: whose map repeats; resumable, hours for all photographs.
	$(BIN)/python bench/scores.py $(ARGS)

.PHONY: attribution
attribution: $(INSTALLED) ## Hold kinds wcam and wam against each other: cost, faithfulness, seeds; resumable, half an hour.
	$(BIN)/python bench/attribution.py $(ARGS)

.PHONY: precision
precision: $(INSTALLED) ## Hold indices in a lower precision against those of float32; resumable, needs openvino.
	$(BIN)/python bench/precision.py $(ARGS)

.PHONY: null-table
null-table: $(INSTALLED) ## Count false alarms of the monitoring tests on streams in which nothing changes; resumable, minutes.
	$(BIN)/python bench/null_table.py $(ARGS)

.PHONY: drift
drift: $(INSTALLED) ## Hold monitors against photographs that change; ARGS=--measure measures the bank first; resumable, an hour.
	$(BIN)/python -m bench.drift $(ARGS)

.PHONY: image
image: $(INSTALLED) ## Build the cpu image and run it.
	$(BIN)/python tools/image/build.py $(ARGS)

# ---- tests and checks ------------------------------------------------------------------------------------------------
# Small matrices: threads of their own would wait for each other, and for those of the model.
test test-all: export OPENBLAS_NUM_THREADS = 1

# These start Ray, and nothing runs beside them; the others run on all cores.
ON_A_CLUSTER = tests/e2e tests/cluster

.PHONY: test
test: $(INSTALLED) ## Run the tests, without those marked slow or exhaustive; ARGS='tests/core -x' runs these alone.
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ON_A_CLUSTER:%=--ignore %)
	$(BIN)/python -m pytest $(ON_A_CLUSTER)
endif

.PHONY: test-all
test-all: $(INSTALLED) ## Run every test.
	$(BIN)/python -m pytest -m "" $(ARGS)

.PHONY: mutants
mutants: $(INSTALLED) ## Change the formulas one sign at a time: every mutant must fail a test; about fifteen minutes.
	$(BIN)/python tools/mutate.py $(ARGS)

.PHONY: fuzz
fuzz: $(INSTALLED) ## Send the running service bad input of every kind: no defect, no hang, no leak.
	$(BIN)/python -m tools.fuzz $(ARGS)

.PHONY: chaos
chaos: $(INSTALLED) ## Kill one part after another under load, hold the service with slow clients, take its store away; ARGS are for the first two.
	$(BIN)/python -m tools.faults.chaos $(ARGS)
	$(BIN)/python -m tools.faults.stores

.PHONY: slow
slow: $(INSTALLED) ## Hold the running service with every kind of slow client at once, and see who is still answered.
	$(BIN)/python -m tools.faults.slow $(ARGS)

.PHONY: distinct
distinct: $(INSTALLED) ## A thousand explanations that have nothing in common: no process may grow with them.
	$(BIN)/python -m tools.faults.distinct $(ARGS)

.PHONY: soak
soak: $(INSTALLED) ## Load the running service with twice what it can do, for half an hour.
	$(BIN)/python -m tools.faults.soak $(ARGS)

.PHONY: types
types: $(INSTALLED) ## Write the client's types, which are made of the service's.
	$(BIN)/python -m tools.client_types

.PHONY: reference
reference: $(INSTALLED) ## Write docs/reference: command line, Python, settings, OpenAPI.
	$(BIN)/python -m tools.reference

.PHONY: check check-format check-lint check-types check-layers check-dependencies check-proto check-secrets check-vulnerabilities
check: check-secrets check-vulnerabilities
check: check-format check-lint check-types check-layers check-dependencies check-proto ## Formatting, lint, types, layers, dependencies, protocols, secrets.

check-format: $(INSTALLED)
	$(BIN)/ruff format --check .

check-lint: $(INSTALLED)
	$(BIN)/ruff check .

check-types: $(INSTALLED)
	$(BIN)/pyright

check-layers: $(INSTALLED)
	$(BIN)/lint-imports

check-dependencies: $(INSTALLED)
	$(BIN)/python tools/check_dependencies.py

check-secrets: $(INSTALLED)
	$(BIN)/python tools/check_secrets.py

check-vulnerabilities: $(INSTALLED)
	$(BIN)/python tools/check_vulnerabilities.py

check-proto: $(INSTALLED)
	$(BIN)/python tools/check_proto.py

.PHONY: format
format: $(INSTALLED) ## Format the code and sort its imports.
	$(BIN)/ruff format .
	$(BIN)/ruff check --select I --fix .

.PHONY: clean
clean: ## Remove what was made, but for .venv and the models in .wavescope.
	rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf $(foreach package,$(PACKAGES),$(package)/build $(package)/dist)
	find $(PACKAGES) bench tests tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
