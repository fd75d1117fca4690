# Every verb of the project. All of them work on a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-cluster test-oldest check fix bench bench-cluster bench-onnx bench-quality bench-speed bench-startup docs wheel release-check sbom audit size clean

demo: .venv/.installed          ## the tutorial, then a real table
	$(BIN)/plainnet tutorial
	$(BIN)/plainnet train --out runs/demo --overwrite

test: .venv/.installed          ## all tests, doctests and README examples
	$(BIN)/python -m pytest

test-cluster: .venv/.installed  ## trainings on a Ray cluster of several processes, begun on this machine's loopback interface
	$(BIN)/python -m pytest -m cluster tests/cluster

test-oldest: .venv/.installed   ## all tests with the lowest versions that pyproject.toml allows, in .venv-oldest (some gigabytes: that torch brings CUDA)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group oldest
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) .venv-oldest
	$(BIN)/uv pip install --quiet --python .venv-oldest --resolution lowest-direct --editable ".[all]"
	$(BIN)/uv pip install --quiet --python .venv-oldest --group dev
	PATH=$(CURDIR)/.venv-oldest/bin:$$PATH .venv-oldest/bin/python -m pytest -W default

check: .venv/.installed         ## format, lint, types, layout, doctests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_layout.py src

fix: .venv/.installed           ## format and lint, mending what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: bench-startup bench-speed ## both of these; rewrites docs/benchmarks.md and its pictures

bench-startup: .venv/.installed ## start-up time and one row; rewrites benchmarks/speed/results.md
	$(BIN)/python benchmarks/speed/startup.py

bench-quality: .venv/.installed ## the defaults beside their peers on the tables in PLAINNET_DATA; fits what benchmarks/quality/fits.csv lacks
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench-quality
	$(BIN)/python benchmarks/quality/quality.py --peers plainnet,catboost,lightgbm,xgboost,random_forest,sklearn_mlp
	$(BIN)/python benchmarks/quality/report.py

bench-onnx: .venv/.installed    ## exported ONNX files beside the models they come from, on the tables in PLAINNET_DATA
	$(BIN)/python benchmarks/quality/onnx_equality.py --data $(PLAINNET_DATA)

bench-cluster: .venv/.installed ## one network on 1, 2 and 4 workers of this machine; rewrites benchmarks/cluster/results.md
	$(BIN)/python benchmarks/cluster/scaling.py

bench-speed: .venv/.installed   ## trainings beside their peers; rewrites docs/benchmarks.md and its pictures
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python benchmarks/speed/training.py

docs: .venv/.installed          ## rewrites what is generated (docs/cli.md, pictures, notebooks), and builds the site into site/
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	$(BIN)/python docs/make_docs.py
	$(BIN)/python docs/pictures.py
	$(BIN)/python docs/notebooks.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: .venv/.installed         ## dist/: the wheel and the source, the same bytes from the same commit
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group release
	rm -rf dist
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -m build --no-isolation

release-check: wheel            ## that wheel built again, and a user's first steps in two empty environments; some minutes
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python tests/release.py

sbom: build/release-all         ## dist/sbom.cdx.json: all that `pip install 'plainnet[all]'` brings, in CycloneDX's format
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.cdx.json build/release-all

audit: build/release-all        ## known vulnerabilities of it; fails, too, where a package cannot be looked up
	build/release-all/bin/python -m pip list --format freeze --exclude plainnet | sed 's/+cpu$$//' > build/audited.txt
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement build/audited.txt

build/release-all:
	$(MAKE) release-check

size: .venv/.installed          ## lines of code per stage
	@for stage in src/plainnet/*/ ; do printf '%6d %s\n' "$$(cat $$stage*.py | wc -l)" "$$stage"; done
	@printf '%6d total\n' "$$(cat src/plainnet/*.py src/plainnet/*/*.py | wc -l)"

clean:                          ## everything that can be made again
	rm -rf .venv .venv-oldest .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build site
	find src tests -name __pycache__ -type d -exec rm -rf {} +

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "plainnet needs Python 3.11 or newer; name one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]" --group dev
	touch $@
