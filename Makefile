# make demo | test | test-slow | lab | bench   Each sets up .venv first, when it is missing or out of date.
# Needs Python 3.11 or newer, pip, git and make. Another Python: make setup PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
WORKERS ?= 2

# Several processes with one thread each are faster and steadier than one process with several.
PYTEST = OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile

# JupyterLab asks to be told when it runs as root, as in most containers.
AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lab bench bench-quick explorer format clean

help:
	@echo "make demo       train with and without FR Head on the embedded data, compare"
	@echo "make test       the fast tests"
	@echo "make test-slow  browser, faults, notebooks at length"
	@echo "make lab        JupyterLab at notebooks/02_train_fr_head.ipynb"
	@echo "make bench      how fast training, data, analysis and explorer are (make bench-quick: in minutes)"
	@echo "make setup      only the environment, in $(VENV)"
	@echo "make explorer   bundle the explorer's JavaScript again, after a change (needs node and npm)"
	@echo "make format     format and lint the code"
	@echo "make clean      remove caches and builds (keeps $(VENV), data/ and runs/)"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, '$(PYTHON)' is not: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: $(STAMP)
	$(PY) -m frcore demo --compared
	@$(PY) -m frviz compare runs/demo/synthetic_tiny runs/demo/synthetic_tiny_frhead \
	  --names "plain model" "FR Head" --verdict --report runs/demo/report.html

test: $(STAMP)
	$(PYTEST) -m "not slow and not browser"

# Chromium comes by apt only on a build machine; elsewhere the browser tests skip and say so.
test-slow: $(STAMP)
	@if [ -n "$${CI:-}" ] && ! command -v chromium >/dev/null && command -v apt-get >/dev/null \
	    && [ "$$(id -u)" = 0 ]; then \
	  { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; } \
	    || echo "Chromium could not be installed: the browser tests will skip."; fi
	$(PYTEST) -m "slow or browser" || [ $$? = 5 ]  # 5: no test has these marks

lab: $(STAMP)
	$(VENV)/bin/jupyter lab --ip 127.0.0.1 $(AS_ROOT) \
	  --LabApp.default_url=/lab/tree/notebooks/02_train_fr_head.ipynb

BENCH ?= runs/bench# where the figures of make bench go; results/ has those that were committed

bench: $(STAMP)
	$(PY) benchmarks/training.py --out $(BENCH)/bench_training.json
	$(PY) benchmarks/training.py --sizes ntu --device cuda --compile default --out $(BENCH)/bench_training_ntu_cuda.json
	$(PY) benchmarks/pipeline.py --out $(BENCH)/bench_pipeline.json
	$(PY) benchmarks/ntu_raw.py --out $(BENCH)/bench_raw.json
	$(PY) benchmarks/analysis.py --out $(BENCH)/bench_analysis.json
	$(PY) benchmarks/explorer.py --out $(BENCH)/bench_explorer.json
	$(PY) benchmarks/scale.py --out $(BENCH)/bench_scale.json
	$(PY) benchmarks/targets.py $(BENCH)

bench-quick: $(STAMP)
	$(PY) benchmarks/training.py --quick --out $(BENCH)-quick/bench_training.json
	$(PY) benchmarks/pipeline.py --quick --out $(BENCH)-quick/bench_pipeline.json
	$(PY) benchmarks/ntu_raw.py --files 20 --repeats 3 --out $(BENCH)-quick/bench_raw.json
	$(PY) benchmarks/analysis.py --quick --out $(BENCH)-quick/bench_analysis.json
	$(PY) benchmarks/explorer.py --quick --out $(BENCH)-quick/bench_explorer.json
	$(PY) benchmarks/scale.py --quick --out $(BENCH)-quick/bench_scale.json
	$(PY) benchmarks/targets.py $(BENCH)-quick

explorer:
	cd frviz/explorer/js && npm ci --no-audit --no-fund && npm run build

format: $(STAMP)
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find frcore frviz tests -name __pycache__ -type d -prune -exec rm -rf {} +
