# Everything a newcomer needs. `make` alone lists the targets.
BIN := .venv/bin
PYTHON := $(BIN)/python
UV := $(shell command -v uv 2>/dev/null)
# python3 if it is of a version that the lock was run with, else one beside it; `make BASE=/usr/bin/python3.12` takes another.
# The interpreter behind the name, which may mean .venv's: that has no pip.
BASE := $(shell for name in python3 python3.13 python3.12 python3.11; do $$name -c 'import sys; \
	(3, 11) <= sys.version_info < (3, 14) or sys.exit(1); \
	print("{}/bin/python{}.{}".format(sys.base_prefix, *sys.version_info))' 2>/dev/null && break; done)
# DVC's stages call `python`: the environment's comes first. (macOS' make looks for a recipe's own programs elsewhere: hence BIN.)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help repro test check report exp-show ablation pose-model generator wheel lessons lessons-table docs clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# DVC wants git. Where the project lies in no repository, as after unpacking a ZIP of it, it is told so, and once it does, that again.
TELL_DVC = git rev-parse --git-dir >/dev/null 2>&1 && grep -qs no_scm .dvc/config.local && $(CURDIR)/$(BIN)/dvc config --local --unset core.no_scm; \
	git rev-parse --git-dir >/dev/null 2>&1 || grep -qs no_scm .dvc/config.local || $(CURDIR)/$(BIN)/dvc config --local core.no_scm true

repro: .venv/ready  ## Run every stage that is not up to date, then say where to look
	@$(TELL_DVC)
	$(BIN)/dvc repro
	@echo; echo "Metrics:  metrics.json"
	@echo "Report:   reports/evaluation/index.html"
	@echo "Images:   reports/evaluation/grid.png, reports/samples/"

# Side by side, a process a core (up to four, for their memory's sake); each computes in one thread, since threads that wait for each
# other would spin in the others' way.
test: .venv/ready  ## Run the tests
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n auto --maxprocesses 4 --dist loadfile

check: .venv/ready  ## Check format, lint and types; warnings are errors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

report: .venv/ready  ## Open the report of the last evaluation
	$(PYTHON) -m webbrowser -t file://$(CURDIR)/reports/evaluation/index.html

exp-show: .venv/ready  ## Show the experiments as a table that fits a terminal
	$(PYTHON) -m pipeline.exp_show

ablation: .venv/ready  ## Train every recipe with one budget, two seeds each; write reports/ablation.md (metrics) and .png (pictures)
	$(PYTHON) -m pipeline ablation

pose-model: .venv/ready  ## Train the shipped pose detector again and measure it: REAL=market.zip ANNOTATIONS=folder START=yolov8n-pose.pt
	$(PYTHON) -m pipeline.pose_model train $(if $(START),--start $(START)) $(if $(REAL),--real $(REAL)) \
		$(if $(ANNOTATIONS),--annotations $(ANNOTATIONS))

generator: .venv/ready  ## Train a shipped generator again and measure it: NAME=real|drawn REAL=market.zip ANNOTATIONS=folder
	$(PYTHON) -m pipeline.generators train $(or $(NAME),drawn) $(if $(REAL),--real $(REAL)) \
		$(if $(ANNOTATIONS),--annotations $(ANNOTATIONS)) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(JUDGE),--judge $(JUDGE)) $(if $(VGG),--vgg $(VGG))

wheel: .venv/ready  ## Build dist/*.whl, the library alone, and draw a picture with it in a bare environment, build/bare
	rm -rf dist build/bare && mkdir -p dist build/bare
	$(PYTHON) -c 'from setuptools import build_meta; build_meta.build_wheel("dist")'
	$(BASE) -m venv build/bare/venv
	build/bare/venv/bin/python -m pip install --quiet dist/*.whl
	cp posegan/demo/people/1.jpg posegan/demo/people/keypoints.csv build/bare
	cd build/bare && venv/bin/posegan transfer 1.jpg --keypoints keypoints.csv --pose walking-3/left --model drawn --out drawn.png
	@du -sh dist/*.whl build/bare/venv; echo "Picture: build/bare/drawn.png"

lessons: .venv/ready  ## Run the six lessons, from a classifier in NumPy to a conditional GAN
	@cd lessons && { $(TELL_DVC); }
	cd lessons && dvc repro
	@echo; echo "Numbers:  lessons/results/*/metrics.json"
	@echo "Pictures: lessons/results/*/pictures/"
	@echo "Text:     docs/lessons.md, and the files themselves, from lessons/lesson1_numpy_network.py on"

lessons-table: .venv/ready  ## Run them with three seeds, print the means: lessons/results/table.md
	test -f lessons/data/objects.npz || $(PYTHON) -m lessons data
	$(PYTHON) -m lessons table

docs: .venv/ready  ## Build the documentation, build/docs/index.html; warnings are errors
	$(PYTHON) -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "Documentation: build/docs/index.html"

clean:  ## Remove the environment, all training states (state/) and caches; DVC's outputs and cache stay
	rm -rf .venv build state .mypy_cache .pytest_cache .ruff_cache *.egg-info

# The lock names versions only, so it is installed without asking for more. `ready` is written last:
# an interrupted installation starts again. An environment that works keeps its Python: `make clean` comes before another.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c '' 2>/dev/null || rm -rf .venv
ifdef UV
	@test -d .venv || $(UV) venv --quiet --python $(or $(BASE),3.13) .venv
	$(UV) pip install --quiet --python .venv --no-deps -r requirements.lock
	$(UV) pip install --quiet --python .venv --no-deps -e .
else
	@test -n "$(BASE)" || { echo "no Python 3.11, 3.12 or 3.13 on the PATH; install one with pip, or uv, then run make again" >&2; exit 1; }
	@test -d .venv || $(BASE) -m venv --without-pip .venv
	$(BASE) -m pip --python $(PYTHON) install --quiet --no-deps -r requirements.lock
	$(BASE) -m pip --python $(PYTHON) install --quiet --no-deps -e .
endif
	@# The wheel is the library alone; here the pipeline, the benchmarks and the tests are importable from anywhere.
	@$(PYTHON) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "posegan-checkout.pth").write_text("$(CURDIR)\n")'
	@touch $@
