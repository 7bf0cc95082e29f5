# Each target works alone in a fresh clone: all it needs is make and a Python of 3.11 or later.
#
#   make demo           ask a question of the sample documents with the model that ships
#   make test           run the tests
#   make check          lint, formatting, types and the direction of imports
#   make constraints    pin the newest versions of everything but torch
#   make clean          remove what these made, the environment included
#
# Pass options to pip with PIP_OPTIONS, for example to choose another build of torch.

PYTHON ?= python3
VENV ?= .venv
PIP_OPTIONS ?=
QUESTION ?= How many elephants did P. T. Barnum lead across the Brooklyn Bridge?
SAMPLES = core/cocom/samples/documents

BIN = $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet $(PIP_OPTIONS) --constraint constraints.txt
# What decides whether an installation is still good.
INPUTS = pyproject.toml constraints.txt
# Written last, so that a broken installation is tried again.
INSTALLED = $(VENV)/.cocom-installed
INSTALLED_DEV = $(VENV)/.cocom-installed-dev

.PHONY: demo test check constraints clean
.DEFAULT_GOAL := test

demo: $(INSTALLED)
	$(BIN)/cocom ask "$(QUESTION)" $(SAMPLES)

test: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q

check: $(INSTALLED_DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "cocom needs Python 3.11 or later, and %s is older: set PYTHON=..." % sys.executable)'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(INPUTS) | $(BIN)/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(INSTALLED_DEV): $(INPUTS) | $(BIN)/python
	$(PIP_INSTALL) --editable '.[all,dev]'
	@touch $(INSTALLED) $@

# In a fresh environment, because an old one keeps what it has. Builds of torch are large, so its
# version is the one that constraints.txt names, and packages that only some builds bring stay out.
FRESH = build/fresh
TORCH = $(shell sed -n 's/^torch==//p' constraints.txt)

constraints:
	rm -rf $(FRESH)
	$(PYTHON) -m venv $(FRESH)
	$(FRESH)/bin/python -m pip install --quiet $(PIP_OPTIONS) torch==$(TORCH) --editable '.[all,dev]'
	{ sed '/^[^#]/,$$d' constraints.txt; \
	  $(FRESH)/bin/python -m pip freeze --exclude-editable \
	    | sed -e 's/^\(torch==[^+]*\)+.*/\1/' -e '/^nvidia-/d' -e '/^triton==/d' -e '/^cuda-/d'; \
	} > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find core langchain_cocom llamaindex_cocom tests -name __pycache__ -type d -prune -exec rm -rf {} +
