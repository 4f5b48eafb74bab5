# Two commands matter: `make run` makes the report, `make test` runs the tests. Both set the project up first.
# Settings: PYTHON=python3.12 (interpreter), OUT=folder, HIMC_INSTALL=1 (may install system packages).

OUT ?= out
PDK ?= freepdk45
BIN := .venv/bin

.PHONY: help run test setup check docs tables validate pages readme clean

help:
	@echo "make run       characterise, estimate, train; writes $(OUT)/report.html, .md and .json"
	@echo "make test      all tests but the slow validation"
	@echo "make setup     only the set-up: .venv, ngspice, process kit"
	@echo "make check     ruff, mypy, import contracts, tests of tables and system; no simulator needed"
	@echo "make docs      the documentation as pages, in docs/_build; a warning fails"
	@echo "make tables    the wide grid of the shipped tables (an hour of solver and more)"
	@echo "make validate  the slow validation tests"
	@echo "make pages     README results and every page made from the code, from shipped tables (some minutes)"
	@echo "make readme    only README results, docs/results.json and docs/reproduction.md; bit densities of $(OUT)/report.json"
	@echo "make clean     removes $(OUT), caches of tools; keeps .venv and himc.sqlite"

run: setup
	$(BIN)/himc run --out $(OUT)

test:
	@$(MAKE) --no-print-directory setup SETUP_FLAGS=--keep-going
	$(BIN)/python -m pytest -q

setup:
	@python=$$(PYTHON="$(PYTHON)" tools/find-python.sh) && "$$python" tools/setup_environment.py $(SETUP_FLAGS)

# Types are checked beside the tests, on the second core.
check:
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	@$(BIN)/mypy & types=$$!; \
	$(BIN)/python -m pytest -q -m "not ngspice and not train and not validate" tests/core tests/system; tests=$$?; \
	wait $$types && exit $$tests

# Sphinx comes with the first call (20 MB); pages of commands, schemas and modules are made from the code.
docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt -e '.[docs]'
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build
	@echo "docs/_build/index.html"

tables: setup
	$(BIN)/himc characterize --preset pvt --pdk $(PDK) --tolerance 1 --out charlib/data/tables/$(PDK)

# What only validation needs: Dask, Arrow, Sphinx, Jupyter's kernel and timm's networks, four more kits, another ngspice (52 MB), OpenSTA and Yosys where they are.
VALIDATED_KITS := sky130 sky130_models ptm32hp ptm22hp

validate: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		-e '.[cluster,export,docs,notebooks,counts]'
	for kit in $(VALIDATED_KITS) second-ngspice; do $(BIN)/himc pdk install $$kit; done
	HIMC_REQUIRE=ngspice,pdk $(BIN)/python -m pytest -q -s -m validate
	$(BIN)/python tools/composition.py --check

# Written, not compared: `make validate` compares. $(OUT)/report.json, where there is one, renews the bit densities.
pages:
	$(BIN)/python tools/pages.py

readme:
	$(BIN)/python tools/readme_results.py $(wildcard $(OUT)/report.json)

clean:
	rm -rf $(OUT) build dist docs/_build docs/_generated .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
