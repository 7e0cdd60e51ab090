# metanb. `make` alone lists the targets. Works with every GNU make from 3.81 on, the one macOS ships.

VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

NAMES := python3 python3.13 python3.12 python3.11
PYTHON ?=       # the interpreter to build .venv from; empty: the first suitable one of NAMES
JOBS ?= 2       # notebooks that `make demo`, and files of tests that `make test`, runs at the same time
FLAGS ?=        # cells that `make test` runs as well, such as FLAGS="slow gpu"

export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test gate lab docs docs-quarto install install-dev clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(RUN)  ## from a target to a verified design in each of the four spaces, on one page
	@$(BIN)/metanb run tutorials/tour --preset demo --out demo --yes

test: $(DEV)  ## the gate, the tests inside the notebooks, pytest, and every page
	@$(MAKE) --no-print-directory gate
	@echo "Library notebooks: nbdev_test"
	@METANB_WEIGHTS=$(CURDIR)/runs/none OMP_NUM_THREADS=1 $(BIN)/nbdev_test --flags "$(strip $(FLAGS))"
	@echo "The rest: pytest"
	@METANB_WEIGHTS=$(CURDIR)/runs/none OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile
	@echo "Pages: every figure and tutorial at preset=test"
	@METANB_WEIGHTS=$(CURDIR)/runs/none OMP_NUM_THREADS=$(JOBS) $(BIN)/metanb run --preset test --device cpu --jobs $(JOBS) --out runs/test --yes

gate: $(DEV)  ## check that notebooks are clean and metanb/ is what they export
	@echo "Gate: nbdev_export, nbdev_clean, no difference"
	@$(BIN)/nbdev_export && $(BIN)/nbdev_clean
	@$(BIN)/ruff check --quiet
	@git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { echo "This is not a git checkout, so there is nothing to compare with."; exit 0; }; \
	new=$$(git ls-files --others --exclude-standard nbs metanb); \
	git diff --exit-code --stat nbs metanb && test -z "$$new" && exit 0; \
	test -z "$$new" || echo "$$new"; \
	echo "The files above differ from what git has. If they are what you mean, stage them with git add." >&2; exit 1

lab: $(DEV)  ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --ServerApp.root_dir="$(CURDIR)" nbs/index.ipynb

docs: $(DEV)  ## build the site into _docs/, with all that it needs in it
	@$(BIN)/python -m tools.docs

docs-quarto: $(DEV)  ## the same pages as Quarto renders them, for those who have it
	@command -v quarto >/dev/null || { echo "make docs-quarto needs Quarto, from quarto.org; make docs needs nothing else." >&2; exit 1; }
	@PYTHONPATH="$(CURDIR)" quarto render --quiet
	@echo "site: _docs/nbs/index.html"

install: $(RUN)  ## make .venv with metanb and all that its notebooks need

install-dev: $(DEV)  ## the same with the tools for development

clean:  ## remove the rendered site and caches; runs/ and .venv stay
	@rm -rf _docs _proc .quarto build dist .pytest_cache .ruff_cache
	@find nbs metanb tests benchmarks -name __pycache__ -o -name .ipynb_checkpoints 2>/dev/null | xargs rm -rf

# Each stamp is newer than what decides about its packages, so nothing is installed, and no network needed, twice.
$(RUN): $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@echo "Installing metanb into $(VENV); the largest part is PyTorch."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV): $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@echo "Installing metanb and its tools for development into $(VENV); the largest part is PyTorch."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(RUN) $@

# An upgrade of the system's Python can leave a .venv without its interpreter; such a one is made anew.
ifneq ($(shell test -x $(BIN)/python && echo yes),yes)
.PHONY: $(VENV)/pyvenv.cfg
endif

$(VENV)/pyvenv.cfg:
	@for python in $(or $(strip $(PYTHON)),$(NAMES)); do \
	  "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || continue; \
	  "$$python" -c 'import ensurepip' 2>/dev/null || { echo "$$python lacks venv: install it (on Debian and Ubuntu: apt install python3-venv), then run make again." >&2; exit 1; }; \
	  "$$python" -m venv --clear $(VENV) && exit 0; exit 1; \
	done; \
	echo "metanb needs Python 3.11, 3.12 or 3.13, and found none under: $(or $(strip $(PYTHON)),$(NAMES)). Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1
