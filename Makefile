# The commands that people and CI use. Each one first brings .venv up to date, which is instant when it is.
#   make test PYTEST_ARGS="-m 'not slow'"     pass options to pytest
#   make check WORKERS=0                     run the tests in one process, in order
#   make bench BENCH_ARGS="--rounds 3"       pass options to dotresize bench
#   make bench-hostile HOSTILE_ARGS="--kinds config"     some kinds only; FAULTS_ARGS of bench-faults likewise
#   make bench-quality QUALITY_ARGS="--quick"   or --rows "mlp: magnitude, full": a part of the rows
#   make bench-plan PLAN_ARGS="--quick --only 'params 0.7'"      or --part speed: a part of the page
#   make soak MODEL=narrow MINUTES=5         serve another directory, made by `make demo` otherwise
#   make test PYTHON=python3.12               choose the Python that .venv is made from (3.11 or newer)

PYTHON ?= python3
PYTEST_ARGS ?=
WORKERS ?= 2
PYTEST_PARALLEL := $(if $(filter-out 0,$(WORKERS)),-n $(WORKERS) --dist loadfile --no-loadscope-reorder)
MODEL ?= demo-out/mlp-0.9
MINUTES ?= 10
BENCH_ARGS ?=
QUALITY_ARGS ?=
HOSTILE_ARGS ?=
RECOVER_ARGS ?=
FAULTS_ARGS ?=
SCALE_ARGS ?=
PLAN_ARGS ?=
TASKS_ARGS ?=
BITS_ARGS ?=
ADAPTERS_ARGS ?=
FIDELITY_ARGS ?=
VENV_PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help set-up demo test check bench bench-quality bench-results bench-export bench-fidelity bench-recover bench-bits bench-adapters bench-hostile bench-faults bench-plan bench-scale bench-tasks \
	soak pins clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

set-up:  ## create .venv, or return at once when it is up to date
	@$(PYTHON) .ci/set_up.py

demo: set-up  ## narrow the real SmolLM2-135M, verify it in vLLM, compare perplexities and answers
	@$(VENV_PYTHON) -m dotresize.cli.demo

test: set-up  ## run the tests
	@$(VENV_PYTHON) -m pytest $(PYTEST_PARALLEL) $(PYTEST_ARGS)

check: set-up  ## formatting, lint, types and tests: what CI runs
	@$(VENV_PYTHON) .ci/check.py --workers $(WORKERS) -- $(PYTEST_ARGS)

bench-quality: set-up  ## measure methods x texts on the real model and write docs/QUALITY.md (hours; goes on)
	@$(VENV_PYTHON) -m docs.make.quality $(QUALITY_ARGS)

bench-fidelity: set-up  ## measure each claim of the paper and write docs/FIDELITY.md (hours; goes on)
	@$(VENV_PYTHON) -m docs.make.fidelity $(FIDELITY_ARGS)

bench-recover: set-up  ## recover a model (RECOVER_ARGS="--narrow DIR") and write docs/RECOVER.md (hours; goes on)
	@$(VENV_PYTHON) -m docs.make.recovery $(RECOVER_ARGS)

bench-bits: set-up  ## measure width, bits and both at equal bytes and write docs/BITS.md (hours; goes on)
	@$(VENV_PYTHON) -m docs.make.bits $(BITS_ARGS)

bench-adapters: set-up  ## measure adapters (ADAPTERS_ARGS="--base DIR --speed") and write docs/ADAPTERS.md (goes on)
	@$(VENV_PYTHON) -m docs.make.adapters $(ADAPTERS_ARGS)

bench: set-up  ## measure MODEL against the demo's original, side by side, and write a report to bench-out/
	@$(VENV_PYTHON) -m dotresize.cli bench demo:smollm2-135m $(MODEL) -o bench-out --force $(BENCH_ARGS)

bench-results: set-up  ## measure several widths on every engine and write docs/RESULTS.md (about an hour)
	@$(VENV_PYTHON) -m docs.make.results

bench-export: set-up  ## measure the peak memory of every export of MODEL beside its prediction
	@$(VENV_PYTHON) -m dotresize.bench.roofline.export_memory $(MODEL)

bench-hostile: set-up  ## damage inputs in 2,380 ways, run every command on them, report by kind (half an hour)
	@$(VENV_PYTHON) -m tests.hostile $(HOSTILE_ARGS)

bench-plan: set-up  ## measure plans against each axis alone, and their predictions; docs/PLAN.md (hours; goes on)
	@$(VENV_PYTHON) -m docs.make.plan $(PLAN_ARGS)

bench-scale: set-up  ## measure the memory of compress against depth and size and write docs/SCALE.md (an hour)
	@$(VENV_PYTHON) -m docs.make.scale $(SCALE_ARGS)

bench-tasks: set-up  ## score models on tasks without a network (TASKS_ARGS="--narrow DIR") and write docs/TASKS.md (goes on)
	@$(VENV_PYTHON) -m docs.make.tasks $(TASKS_ARGS)

bench-faults: set-up  ## kill commands at 200 random moments and repeat them (half an hour)
	@$(VENV_PYTHON) -m tests.hostile.faults $(FAULTS_ARGS)

soak: set-up  ## serve MODEL under constant load for MINUTES and report requests, failures and memory
	@$(VENV_PYTHON) -m dotresize.cli.soak $(MODEL) --minutes $(MINUTES) --concurrency 8

pins:  ## rebuild .venv from the newest allowed versions and record them in .ci/constraints.txt
	@$(PYTHON) .ci/set_up.py --pin

clean:  ## remove .venv and everything that was built
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
