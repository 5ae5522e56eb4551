# make demo: the whole pipeline on the embedded data set.   make check, make test: the tests.   All build the environment.
VADISTILL_VENV ?= .venv
PYTHON ?= python3
BIN := $(VADISTILL_VENV)/bin
READY := $(VADISTILL_VENV)/.ready
CORES := $(shell nproc)
DATASET ?= demo
export PYTHONPATH := $(CURDIR)/src
$(if $(strip $(DATASET)),,$(error DATASET is empty; say which results to remove))

.PHONY: help environment demo check test benchmark starter settings pins lint types units
.PHONY: clean-frames clean-detections clean-moving clean-motion clean-trivial clean-teachers clean-maps clean-student clean-flow_cells clean

help:
	@echo "make demo            run everything on the embedded data set and show where the pictures are"
	@echo "make check           lint, types and the fast tests, in two minutes"
	@echo "make test            all of it: the workflow, exports and benchmarks, too"
	@echo "make benchmark       measure the speed of everything on this machine, after make demo"
	@echo "make starter         train the detector that comes with the package"
	@echo "make settings        write config.yaml's defaults, its schema, docs/settings.md and the keys of docs/outputs.md"
	@echo "make pins            write the pins of envs/requirements.txt into envs/vadistill.yaml"
	@echo "make lint            ruff, snakefmt, codespell, snakemake --lint"
	@echo "make clean-STAGE DATASET=NAME   remove one stage's results: frames, detections, moving, motion, trivial, teachers, maps, student, flow_cells"
	@echo "make clean DATASET=NAME         remove all results of a data set"

environment: $(READY)

$(READY): envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "error: $(PYTHON) is not Python 3.11 to 3.13; say which one to use: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VADISTILL_VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: $(READY)
	$(BIN)/snakemake --unlock --cores 1 results/demo/auc.json > /dev/null 2>&1 || true
	$(BIN)/snakemake --cores $(CORES) --workflow-profile workflow/profiles/default results/demo/auc.json results/demo/pictures
	@$(BIN)/python -m vadistill.report.summary results/demo

# Processes of their own: NNCF changes torch when it is imported, and torch's exporter crashed behind it.
RUNTIMES := $(addprefix tests/inference/test_,export.py inference.py light.py)
SPEED := tests/benchmark/test_benchmark.py

# Two processes of one thread each, a file of tests in one of them: its tests may share a costly fixture.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
OTHERS := $(addprefix --ignore=,$(RUNTIMES) $(SPEED))

check: $(READY)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint types units

units: $(READY)
	$(PYTEST) -m "not slow and not workflow" $(OTHERS)

test: $(READY)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint types
	$(PYTEST) $(OTHERS)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(RUNTIMES)
	$(BIN)/python -m pytest $(SPEED)

benchmark: $(READY)
	PYTHONPATH=$(CURDIR)/src:$(CURDIR)/tests $(BIN)/python -m benchmarks results/benchmarks

# The detector that comes with the package, trained anew (a quarter of an hour on two cores).
starter: $(READY)
	$(BIN)/snakemake --cores $(CORES) --workflow-profile workflow/profiles/default \
		results/starter/auc.json results/starter/localisation.json --configfile workflow/presets/starter.yaml
	$(BIN)/vadistill pack results/starter src/vadistill/starter

settings: $(READY)
	$(BIN)/python -m vadistill.settings.documents .
	$(BIN)/python -m vadistill.evaluation.documents .

pins:
	$(PYTHON) envs/pins.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/codespell
	$(BIN)/snakemake --lint > /dev/null

types: $(READY)
	$(BIN)/mypy

clean-frames clean-detections clean-moving clean-motion clean-trivial clean-maps clean-student clean-flow_cells: clean-%:
	rm -rf results/$(DATASET)/$*

clean-teachers:
	rm -rf results/$(DATASET)/teachers results/$(DATASET)/object_scores

clean:
	rm -rf results/$(DATASET)
