# make book   install, execute every chapter, build the HTML       make test   install, test, validate the notebooks
# make lab    JupyterLab on the chapters                           make full   the published sizes (a GPU helps)
# make test-all   `make test` with many more kills and examples, then known faults of what is installed
# make bench  how fast it is, ten minutes on two cores             make gpu    all that a GPU is for, in pieces of six minutes
# make pdf    the whole book in _build/book.pdf (needs Chromium)
# make torch  the tests of fpcore with another torch: TORCH=2.11.0 VISION=0.26.0, the oldest that it takes
# Variables: PROFILE=quick|full DEVICE=auto|cpu|cuda SEED=0 PYTHON=python3

PYTHON  ?= python3
PROFILE ?= quick
DEVICE  ?= auto
SEED    ?= 0
FAULTS  ?= 200
EXAMPLES ?= 200
# Killed processes are waited for: three lanes keep two cores busy.
LANES   ?= 3
TORCH   ?= 2.11.0
VISION  ?= 0.26.0
# LOCKED=1 installs by hash: Python 3.11 on Linux, x86-64
REQUIRED := $(if $(LOCKED),--require-hashes --requirement requirements.lock,--requirement requirements.txt --constraint constraints.txt)
BIN     := .venv/bin
BOOK    := $(BIN)/python -m fpbook
READY   := .venv/.ready
OTHER   := _build/torch-$(TORCH)
# What is pinned with torch: another one brings its own.
OWN     := ^(torch|triton|cuda-|nvidia-)

.PHONY: book test test-all lint lab full pdf execute audit sbom bench gpu torch clean

book: execute
	@$(BOOK) build --profile $(PROFILE)

# Before the first book is there, its opening page is shown while the rest is executed.
execute: $(READY)
	@$(BOOK) execute --profile $(PROFILE) --device $(DEVICE) --seed $(SEED) --opening

pdf: execute
	@$(BOOK) pdf --profile $(PROFILE)

test: lint book
	$(BIN)/python -m pytest tests -n 2 --dist loadfile
	$(BOOK) validate --profile $(PROFILE)

test-all: lint book  # each test once, with more kills and examples than in `make test`
	$(BOOK) trust --all --faults $(FAULTS) --examples $(EXAMPLES) --lanes $(LANES)
	$(BOOK) validate --profile $(PROFILE)
	$(BOOK) verify
	$(MAKE) audit sbom

audit: $(READY)  # says so where the databases of known faults cannot be reached
	$(BOOK) audit

sbom: $(READY)
	$(BOOK) sbom

bench: $(READY)  # other libraries: .venv/bin/python -m pip install --no-deps --requirement requirements-bench.txt
	$(BIN)/python benchmarks/bench.py --publish

gpu: $(READY)
	$(BIN)/python benchmarks/gpu.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(READY)
	$(BIN)/jupyter lab chapters

full: $(READY)
	$(MAKE) book PROFILE=full
	$(BOOK) validate --profile full

torch:
	$(PYTHON) -m venv $(OTHER)
	grep -vE '$(OWN)' requirements.txt > $(OTHER)/requirements.txt
	grep -vE '$(OWN)' constraints.txt > $(OTHER)/constraints.txt
	$(OTHER)/bin/python -m pip install --quiet torch==$(TORCH) torchvision==$(VISION) --requirement $(OTHER)/requirements.txt --constraint $(OTHER)/constraints.txt
	PYTHONPATH=. $(OTHER)/bin/python -m pytest tests/fpcore

$(READY): requirements.txt constraints.txt requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python {v.major}.{v.minor} is too old: give make PYTHON=python3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(REQUIRED)
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $(READY)

clean:
	rm -rf _build
