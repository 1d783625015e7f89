# All targets use .venv. `make` creates it at first use and updates it when the requirements change.
# To use another interpreter: make PYTHON=python3.12 test
PYTHON ?= python3

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo cluster cluster-night test test-faults check constraints bench-scale bench-publish bench-score bench-year bench-affinity bench-cashiers bench-peers bench-ablations bench-kernel clean java uv

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 17

demo: .venv java ## run one night of a synthetic chain and compare it with the known truth
	python -m jobs.demo

cluster: .venv java ## run a Spark cluster on this machine until Ctrl-C; its GPUs do not exist, the CPU does the work
	python tests/cluster/standalone.py

cluster-night: .venv java ## run a night by Airflow's scheduler on that cluster, and kill a worker
	python tests/cluster/night.py

# Two processes, each with its own Spark session and one thread for torch: more threads only wait for each other.
test: .venv java ## all tests
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile

test-faults: .venv java ## let each job fail in every way at each of its writes, and race whole nights (hours)
	OMP_NUM_THREADS=1 python -m pytest tests/jobs/faults --all-points --timeout=0

check: .venv ## check formatting, lint and types
	ruff format --check
	ruff check
	mypy

constraints: | uv ## update constraints.txt to the newest compatible versions
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
	    --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	    --output-file constraints.txt pyproject.toml

bench-scale: .venv ## measure how the nightly jobs grow with the size of the chain
	python tests/bench/bench_scale.py

bench-publish: .venv ## measure build_affinity for a million receipts and 10,000 products
	OMP_NUM_THREADS=1 python tests/bench/bench_publish.py --receipts 1000000 4000000

bench-score: .venv java ## measure the photos scored per second on this machine
	python tests/bench/bench_score.py

bench-year: .venv ## measure what a year of nights and weekly housekeeping leave on disk (20 minutes)
	OMP_NUM_THREADS=1 python tests/bench/bench_year.py

bench-affinity: .venv ## measure the corrected index against known truth (40 minutes): [PURCHASES=CHAIN]
	OMP_NUM_THREADS=1 python tests/bench/bench_affinity.py $(if $(PURCHASES),--purchases '$(PURCHASES)')

bench-cashiers: .venv ## measure false alarms and power of the screening of cashiers (20 minutes)
	OMP_NUM_THREADS=1 python tests/bench/bench_cashiers.py

bench-peers: .venv java uv ## compare the jobs with Daft, Ray Data (installed into .venv), DataLoader and DuckDB (hours): [PROJECT='A B'] [OUT=FILE]
	uv pip install --quiet --compile-bytecode --python .venv/bin/python --constraint constraints.txt --editable '.[airflow,dev,peers]'
	python tests/bench/bench_peers.py $(if $(PROJECT),--project $(PROJECT)) $(if $(OUT),--out '$(OUT)')

bench-ablations: .venv ## measure each choice of the training recipe (7 hours): make bench-ablations DATA=LABELLED
	python tests/bench/bench_ablations.py --data '$(or $(DATA),$(error DATA is not set: make bench-ablations DATA=LABELLED))' --out .ablations

bench-kernel: .venv ## measure how many till photos are needed to correct the affinity indices
	python tests/bench/bench_kernel.py

clean: ## delete outputs and caches, except .venv
	rm -rf .demo .ablations .mypy_cache .pytest_cache .ruff_cache spark-warehouse metastore_db derby.log
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.venv: .venv/installed

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'Python 3.11 or newer is required: make PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv

uv: | .venv/bin/python
	@command -v uv >/dev/null || python -m pip install --quiet uv

# With bytecode, because uv writes none: importing torch takes 2 s of CPU with it and 6 s without, in each process where
# PYTHONDONTWRITEBYTECODE is set or .venv belongs to another user.
# grep removes the list of about 190 installed packages from the output.
.venv/installed: pyproject.toml constraints.txt | uv
	@echo 'Installing into .venv: about 6 GB, one minute or more'
	@uv pip install --compile-bytecode --python .venv/bin/python --constraint constraints.txt --editable '.[airflow,dev]' \
	    2> >(grep -v '^ [-+~] ' >&2)
	@touch $@

# Spark 4.2 needs Java 17 or 21. An installed Java of another version is not replaced.
java:
	@version=$$("$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' || true); \
	case "$$version" in \
	    17 | 21) exit ;; \
	    ?*) echo "Java 17 or 21 is required, found $$version: set JAVA_HOME" >&2; exit 1 ;; \
	esac; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'Installing Java 17'; \
	    apt-get update -qq && apt-get install -y -qq openjdk-17-jre-headless >/dev/null; \
	else \
	    echo 'Java 17 or 21 is required: sudo apt-get install openjdk-17-jre-headless' >&2; exit 1; \
	fi
