# Every target does its own set-up on a bare Debian or Ubuntu with Python 3.11; the second call finds it done.
#   make demo        reconstruct slices of a head the prior never saw, beside today's methods; ends with a page
#   make test        linter, type checker and tests
#   make prior       train the shipped prior again, from nothing
#   make em          one EM round on top of the shipped prior: scans completed by its samples train it further
#   make oracle      the comparison prior on fully sampled scans
#   make rivals      the other methods that learn, on the same scans
#   make organs      small labelled pictures from a sample CT, and a prior, a noisy classifier and a judge of them
#   make experiment  the study behind the figures in the documentation
#   make compare     every way to reconstruct on the same slices (after make rivals, em and oracle)
#   make masked-images, make noise-and-masks, make ablation   the studies of those names, under experiments/
#   make benchmark   side by side with other libraries
# Variables: PYTHON (interpreter for the virtual environment), VENV (its folder), PIP_OPTIONS (extra words for pip install).

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV ?= .venv
PIP_OPTIONS ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_OPTIONS) -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint prior em oracle rivals organs experiment compare masked-images noise-and-masks ablation benchmark clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; found: $$($(PYTHON) --version 2>&1)."; \
	  echo "Install it (sudo apt-get install python3.11 python3.11-venv) or name one: make PYTHON=/path/to/python3.11 ..."; \
	  exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is incomplete on this machine. Install it, then run make again:"; \
	  echo "  sudo apt-get install $$($(PYTHON) -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"; \
	  exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/skiagraph demo

prior: $(READY)
	$(BIN)/skiagraph train --config src/skiagraph/presets/brain-prior.yaml

em oracle: $(READY)
	@test -e runs/brain-t1-128/prior.json || { mkdir -p runs; cp -r src/skiagraph/presets/priors/brain-t1-128 runs/; }
	$(BIN)/skiagraph train --config src/skiagraph/presets/brain-$@.yaml
	$(if $(filter oracle,$@),$(BIN)/skiagraph train --config src/skiagraph/presets/brain-oracle-stage-2.yaml)

rivals: $(READY)
	$(BIN)/skiagraph train ssdu --config src/skiagraph/presets/rivals/ssdu.yaml
	$(BIN)/skiagraph train ambient --config src/skiagraph/presets/rivals/ambient.yaml
	$(BIN)/skiagraph train image-prior --config src/skiagraph/presets/rivals/image-prior.yaml
	$(BIN)/skiagraph train image-prior --config src/skiagraph/presets/rivals/image-prior-stage-2.yaml

organs: $(READY)
	@test -e runs/organs/crops/labels.csv || $(BIN)/skiagraph samples organ-crops --output runs/organs/crops
	$(BIN)/skiagraph train --config src/skiagraph/presets/synthesize/organs-prior.yaml
	$(BIN)/skiagraph train --config src/skiagraph/presets/synthesize/organs-noisy-classifier.yaml
	$(BIN)/skiagraph train --config src/skiagraph/presets/synthesize/organs-judge.yaml

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

test: export OMP_NUM_THREADS = 1
test: lint
	$(BIN)/python -m pytest

experiment: $(READY)
	$(BIN)/python experiments/reconstruct-brain/run.py \
	  $(if $(wildcard runs/brain-t1-128-em/prior.json),--em runs/brain-t1-128-em) \
	  $(if $(wildcard runs/brain-t1-128-oracle-2/prior.json),--oracle runs/brain-t1-128-oracle-2)

compare: $(READY)
	$(BIN)/skiagraph evaluate --config src/skiagraph/presets/rivals/compare.yaml
	$(BIN)/python experiments/rivals/collect.py

masked-images noise-and-masks: export OMP_NUM_THREADS = 1
masked-images noise-and-masks: $(READY)
	$(BIN)/python experiments/$@/run.py

ablation: export OMP_NUM_THREADS = 1
ablation: $(READY)
	$(BIN)/python experiments/ablation/run.py \
	  $(if $(wildcard runs/brain-t1-128-em/prior.json),--em runs/brain-t1-128-em)

benchmark: $(READY)
	$(INSTALL) -e '.[benchmarks]'
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
