# Everything that is needed is set up by the targets themselves, in .venv/.
#
#   make demo       pack a real data set, train four tasks on two workers, evaluate
#   make test       the tests, in under 15 minutes; 'make test-all' adds the slow suites
#   make check      lint, types, import layers
#
# PYTHON picks the interpreter (3.11 or newer). TORCH_INDEX may name another index for torch, such as that of the
# CPU builds: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest

# S3 tests start a server of their own, where its packages are installed (docs/s3.md says which).
LEFT_OUT := slow or slurm or netns or gpu
ifeq ($(shell command -v radosgw || true),)
LEFT_OUT := $(LEFT_OUT) or s3
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo results test test-all check fmt lint types arch bench bench-peers docs schema clean

help:
	@sed -n 's/^#   //p' Makefile

# torch comes first: a later resolution would take a newer one, with gigabytes of CUDA.
.venv/runtime: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "distmtl needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) --editable .
	@touch $@

.venv/dev: .venv/runtime
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps LibMTL  # of the packages that it asks for, its weighting classes need torch alone
	@touch $@

setup: .venv/dev

demo: .venv/runtime
	$(BIN)/distmtl pack examples/adult/train.parquet examples/adult/valid.parquet examples/adult/test.parquet \
		--out examples/adult/packed --overwrite
	$(BIN)/distmtl train configs/adult.yaml --resume never
	$(BIN)/distmtl eval runs/adult --split test

test: .venv/dev
	@case "$(LEFT_OUT)" in *s3*) echo "The S3 tests are left out: radosgw is not installed. See docs/s3.md." ;; esac
	$(PYTEST) -m "not ($(LEFT_OUT))"

test-all: .venv/dev
	$(PYTEST)

check: lint types arch

fmt: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/dev
	$(BIN)/mypy

arch: .venv/dev
	$(BIN)/lint-imports

schema: .venv/dev
	$(BIN)/python -m distmtl.config.schema configs/schema.json
	$(BIN)/python -m distmtl.config.reference docs/run-file.md

bench: .venv/dev
	for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

# The loaders that ours is compared with have an environment of their own: they pin what the project does not.
.venv-peers/ready: pyproject.toml constraints.txt benchmarks/peers.txt
	@test -n "$(PYTHON)" || { echo "distmtl needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 2; }
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
		$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	.venv-peers/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
		--editable . --requirement benchmarks/peers.txt
	@touch $@

bench-peers: .venv-peers/ready
	.venv-peers/bin/python benchmarks/loader.py

docs: .venv/dev
	$(PIP) --editable '.[docs]'
	$(BIN)/mkdocs build --quiet

results: .venv/dev
	$(BIN)/python examples/adult/results.py

clean:
	rm -rf .venv .venv-peers runs examples/adult/packed .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site
