# The front door: `make demo` and `make test` set up what they need, once, in .venv.
#
# TORCH is installed first and alone, so that a machine decides which build it gets:
#   make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
# keeps the CUDA libraries (several GB) off a machine without a GPU.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
TORCH ?= torch==2.13.0

BIN := $(VENV)/bin
# Python compiles the modules that a run imports; pip would compile all of them.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# What the script below writes last.
NODE_CLIENT := tests/contract/node_modules/.package-lock.json

.PHONY: install demo test check evaluate clean
.NOTPARALLEL:

install: $(VENV)/.installed

demo: $(VENV)/.client
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev node-client
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_house.py

# What the trained small checkpoints show: ten minutes of a core for each row of 200 prompts.
# EVALUATE="--prompts 40 --out results.json" asks for less, and keeps it.
evaluate: $(VENV)/.dev
	$(BIN)/python -m weights.train.evaluate weights/mini $(EVALUATE)

clean:
	rm -rf $(VENV) weights/random demo-data demo.mp4 tests/contract/node_modules

$(VENV)/.torch: constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "wan-local needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) -e .
	@touch $@

$(VENV)/.client: $(VENV)/.torch pyproject.toml
	$(PIP) -e '.[client]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) -e '.[dev]'
	@touch $@

# The tests of the JavaScript client skip, and say so, where there is no Node.
.PHONY: node-client
node-client:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(NODE_CLIENT); \
	else echo "npm is not here: the tests of the JavaScript client will be skipped"; fi

$(NODE_CLIENT): tests/contract/package-lock.json
	npm ci --prefix tests/contract --no-audit --no-fund --loglevel=error
