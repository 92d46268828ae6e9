# Abyme: `make demo` shows it at work, `make test` checks all of it. Both make their own .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STDLIB = $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
# Three for two cores: two fifths of the time tests wait for deadlines and for processes.
JOBS ?= 3

.PHONY: demo test check bench bench-peers bench-reader study lock clean

demo: $(STAMP)
	@$(BIN)/abyme ask "Which function is a least-recently-used cache decorator?" "$(STDLIB)" \
		--exclude site-packages --model reader --runs "$${ABYME_RUNS:-$(VENV)/runs}"

test: check
	$(BIN)/pytest -n $(JOBS) --dist worksteal

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

# The same workloads beside rlms and dspy, which are installed into environments of their own.
bench-peers: $(STAMP)
	$(BIN)/python benchmarks/peers/run.py

# How often the built-in reader finds the passage that answers; --fetch gets the second corpus.
bench-reader: $(STAMP)
	$(BIN)/python benchmarks/reader/run.py

# The simulation of widths and depths; what is among the results already is not done again.
study: $(STAMP)
	$(BIN)/python benchmarks/async_depth/run.py

# uv where it is installed, pip otherwise; both from the same lock, hashes checked.
$(STAMP): requirements.lock pyproject.toml
	@echo "installing what abyme needs into $(VENV) (once) …"
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		VIRTUAL_ENV=$(VENV) uv pip install --quiet --require-hashes -r requirements.lock && \
		VIRTUAL_ENV=$(VENV) uv pip install --quiet --no-deps -e .; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
		$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@touch $(STAMP)

# The build backend is locked with the rest, so that installing asks for nothing unlocked.
lock:
	uv pip compile pyproject.toml --group dev --python-version 3.11 --universal \
		--generate-hashes --no-emit-index-url --no-header -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
