# `make demo` and `make test` need nothing but make and Python 3.11 to 3.13; each makes .venv first.
PYTHON ?= python3
# torch is installed first, so that you choose its build: TORCH_INDEX names the index of the CPU (or CUDA) wheels
# unless your pip configuration already does. CUDA=1 accepts a CUDA build.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
CUDA ?=
BIN := .venv/bin
READY := .venv/.ready

# Pooled 3D networks spend their time in malloc; these two double their speed (docs/log.md).
export MALLOC_TRIM_THRESHOLD_ := 4000000000
export MALLOC_MMAP_THRESHOLD_ := 4000000000
# Threads that wait by spinning take the cores from each other as soon as anything else runs (docs/log.md).
export OMP_WAIT_POLICY := PASSIVE

.PHONY: setup demo test test-slow check records adrenal bench-data bench-evaluation bench-explain bench-io bench-scoring bench-training performance retrieval explanations faults fuzz mutants coverage supply-chain out-of-distribution scoring-faults lidc-comparison reference pictures docs bundle lock clean

setup: $(READY)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 13) and f"error: found Python {v[0]}.{v[1]}; expected 3.11 to 3.13, as in: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	@$(BIN)/python -W ignore -c 'import sys, torch; sys.exit(bool(torch.version.cuda) and not "$(CUDA)" and "error: pip found the CUDA build of torch; set TORCH_INDEX to the CPU wheels (README, Set-up), or CUDA=1 to keep it")'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	$(BIN)/python -m pipelines.demo

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -q -n 2 -m slow

records: setup
	$(BIN)/python -m pipelines.lidc_record

adrenal: setup
	$(BIN)/python -m pipelines.adrenal_record

bench-data: setup
	$(BIN)/python -m pipelines.benchmark_data

bench-evaluation: setup
	$(BIN)/python -m pipelines.benchmark_evaluation

bench-explain: setup
	$(BIN)/python -m pipelines.benchmark_explain

bench-io: setup
	$(BIN)/python -m pipelines.benchmark_io

bench-scoring: setup
	$(BIN)/python -m pipelines.benchmark_scoring --work runs/benchmark_scoring

bench-training: setup
	$(BIN)/python -m pipelines.benchmark_training

# FAULTS names a folder of fault cases, if there is one.
scoring-faults: setup
	$(BIN)/python -m pipelines.scoring_faults $(if $(FAULTS),--faults $(FAULTS))

# Both go on to the page where an aim is missed: the page says so.
performance: setup
	-$(BIN)/python -m pipelines.benchmark_data
	-$(BIN)/python -m pipelines.benchmark_training
	$(BIN)/python -m pipelines.performance_page

lidc-comparison: setup
	$(BIN)/python -m pipelines.lidc_comparison

explanations: setup
	$(BIN)/python -m pipelines.explanations

retrieval: setup
	$(BIN)/python -m pipelines.retrieval --models record none infonce siglip deep_cca

# MUTANTS="--survivors" tries again only those that no test noticed.
mutants: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target build/mutants cosmic-ray==8.7.0 parso==0.8.7
	OMP_NUM_THREADS=1 $(BIN)/python -m pipelines.mutants $(MUTANTS)

# COVERED="" runs the slow tests too.
COVERED ?= -m "not slow"
coverage: setup
	rm -f .coverage .coverage.*
	-$(BIN)/coverage run -m pytest -q -n 2 $(COVERED)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage json --quiet -o build/coverage.json
	$(BIN)/python -m pipelines.coverage_page --tests '$(if $(COVERED),the fast tests,all tests)'

supply-chain: setup
	$(BIN)/python -m pipelines.supply_chain

# With the model that make demo left.
faults: setup
	$(BIN)/python -m pipelines.fault_cases

fuzz: setup
	$(BIN)/python -m pipelines.fuzz

out-of-distribution: setup
	$(BIN)/python -m pipelines.out_of_distribution

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

reference: setup
	$(BIN)/python -m pipelines.reference_pages

# Of the pages that make demo wrote.
pictures: setup
	$(BIN)/python -m pipelines.documentation_pictures --demo demo

bundle: setup
	$(BIN)/python -m pipelines.offline_bundle $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))

lock:
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --no-emit-package torch --overrides overrides.txt --quiet -o requirements.lock

clean:
	rm -rf .venv demo dist build site .mypy_cache .ruff_cache
