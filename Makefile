# Everything happens in .venv; nothing global, no root. `make setup` runs again only when pyproject.toml changes.
.PHONY: setup demo test check resolve docs bench bench-quick clean
PYTHON ?= python3
# threads that spin while they wait starve each other on a busy machine (docs/LOG.md)
export OMP_WAIT_POLICY ?= PASSIVE
BIN := .venv/bin
TORCH ?= torch==2.13.0

setup: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cpu,dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps torchrec==1.8.0
	touch $@

demo: setup
	$(BIN)/recsys demo --out demo

# one process per core, each with one thread: small tensors gain nothing from more
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# whether pip can install every extra; needs PyPI, and downloads nothing but metadata
resolve: setup
	$(BIN)/python .ci/resolve.py

# a site that opens from the disk: site/index.html
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: setup benchmarks/.peers/.done
	$(BIN)/python -m benchmarks.speed.run --out bench

bench-quick: setup
	$(BIN)/python -m benchmarks.speed.quick

benchmarks/.peers/.done: benchmarks/peers.txt
	test -d benchmarks/.peers || $(PYTHON) -m venv benchmarks/.peers
	benchmarks/.peers/bin/pip install --quiet --disable-pip-version-check $(TORCH)
	benchmarks/.peers/bin/pip install --quiet --disable-pip-version-check --requirement benchmarks/peers.txt
	touch $@

clean:
	rm -rf .venv demo bench site benchmarks/.peers
