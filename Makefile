# Two commands are all the set-up: `make demo` and `make test`. Each makes what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Compiled modules are kept, whatever the shell says: without them every worker of pytest
# rewrites all tests again (10 s each), and every process that a test starts compiles ours.
unexport PYTHONDONTWRITEBYTECODE
STAMP := $(VENV)/.installed

.PHONY: help dev check lint type imports shape few quick test fuzz demo labels bench soak deb wheel sbom oci lock vm-test vm-test-all vm-bench previous clean

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sluicegate needs Python >= 3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

dev: $(STAMP) ## make the virtual environment with everything in it

# mypy has one core and the tests the other, until it is done; `few` has the shape in it
check: lint imports ## all checks and the quick tests, with few examples of each property (1.5 minutes on two cores)
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target type few

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

shape: imports
	$(BIN)/pytest -q tests/shape

few: $(STAMP)
	$(BIN)/pytest -q -n auto -m "not slow" --hypothesis-profile few

quick: $(STAMP)
	$(BIN)/pytest -q -n auto -m "not slow"

test: quick ## the whole test suite (8 minutes on two cores); what runs against a clock by itself
	$(BIN)/pytest -q -n auto --dist loadgroup --no-loadscope-reorder -m "slow and not alone"
	$(BIN)/pytest -q -n 4 --dist loadgroup --no-loadscope-reorder -m "slow and alone"

FUZZ_MINUTES ?= 60
fuzz: $(STAMP) ## fuzz every reader of hostile input for FUZZ_MINUTES (CPython 3.11 to 3.13)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,fuzz]'
	$(BIN)/python tests/fuzz/run_atheris.py --minutes $(FUZZ_MINUTES)

demo: $(STAMP) ## broker, vehicle, plant, agent and collector on 127.0.0.1; cut, kill, recover, verify
	$(BIN)/sluicegate demo

labels: $(STAMP) ## measure the suggester on docs/labels and write docs/classification.md
	PYTHONPATH=. $(BIN)/python tests/support/label_measure.py --write

bench: $(STAMP) ## measure DESIGN's budgets and write docs/performance.md
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	$(BIN)/python bench/run.py

DEB_ARCH ?= amd64
deb: $(STAMP) ## build dist/sluicegate_<version>_<DEB_ARCH>.deb with Debian's tools (DEB_ARCH=amd64 or arm64)
	$(BIN)/python systemd/build_deb.py --architecture $(DEB_ARCH) $(if $(DEB_VERSION),--version $(DEB_VERSION))

wheel: $(STAMP) ## build the gateway's and the operator's wheel into dist/
	$(BIN)/python systemd/build_wheels.py

sbom: $(STAMP) ## write CycloneDX beside every package and wheel in dist/ (deb and wheel do so themselves)
	$(BIN)/python systemd/build_sbom.py $(wildcard dist/*.deb dist/*.whl)

oci: deb ## build the image from the package with buildah (BASE=image@sha256:..., else by mmdebstrap)
	$(BIN)/python systemd/build_oci.py $(if $(BASE),--base $(BASE))

lock: $(STAMP) ## resolve the package's dependencies anew and write systemd/debian/requirements.lock
	$(BIN)/python systemd/build_lock.py

HOURS ?= 2
SOAK ?= build/soak
soak: $(STAMP) ## run everything for HOURS with outages and kills; rows, picture and report in SOAK (build/soak)
	$(BIN)/python -m bench.soak --hours $(HOURS) --folder $(SOAK)

vm-test: $(STAMP) ## install, break and cut the package in virtual machines (root, Debian on amd64); `make deb` first
	$(BIN)/python -m tests.vm

vm-test-all: $(STAMP) ## the same and what is long: units, doctor, search for secrets, docs/operations.md, control
	$(BIN)/python -m tests.vm --all --limit 3600

vm-bench: $(STAMP) ## measure in a virtual machine: eight full CAN buses, python-can beside; a backlog of 2 GB to its end
	SLUICEGATE_BIG=1 $(BIN)/python -m tests.vm bench_can8 cuts_backlog --limit 7200

previous: $(STAMP) ## build dist/previous/sluicegate_0.0.9_amd64.deb, which `make vm-test` upgrades from
	$(BIN)/python systemd/build_deb.py --version 0.0.9 --out dist/previous

clean:
	rm -rf $(VENV) build dist *.egg-info
