# `make demo` and `make test` are all the set-up there is; each makes what it needs first.
PYTHON ?= python3
BIN := .venv/bin
# Sources of the compiled libraries: a change rebuilds them.
NATIVE := setup.py pyproject.toml arseg_ext/_version.py $(shell find csrc -type f 2>/dev/null)

# A process for each core and one more, since many tests wait; eight at most. `make quick TESTS=tests/video` runs a part.
TESTS ?= tests
TEST_JOBS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2); echo $$(( cores < 8 ? cores + 1 : 8 )))
PYTEST := $(BIN)/python -m pytest -q -n $(TEST_JOBS) --dist worksteal -p no:benchmark

# What knows tensors alone; all else is the pipeline on top of it.
OPERATORS := tests/ops tests/emulator tests/compat tests/profiler

# $(call quietly,NAME,COMMAND): its output goes to build/NAME.log, and is shown where it fails.
quietly = mkdir -p build; $(2) > build/$(1).log 2>&1 || { cat build/$(1).log >&2; exit 1; }

.PHONY: demo quick test test-operators test-pipeline test-cpp test-floors test-matrix test-arm sanitize emulate mutate nvcc-check cpu-budget cpu-cycles fuzz lint format bench docs docs-serve figures gpu-check wheel wheel-ext \
	test-packaging clean

demo: .venv/built  ## segment a synthetic street, or VIDEO=path
	@$(BIN)/arseg demo $(if $(VIDEO),"$(VIDEO)")

quick: .venv/built  ## the tests that take no second or so: all but builds, emulation and training
	$(PYTEST) -m "not slow" --durations 5 --durations-min 2 $(TESTS)

test: .venv/built  ## Python tests, then C++ tests
	$(PYTEST) $(TESTS)
	@$(MAKE) --no-print-directory test-cpp

test-operators: .venv/built  ## of these the operators', in C++ too
	$(PYTEST) $(OPERATORS)
	@$(MAKE) --no-print-directory test-cpp

test-pipeline: .venv/built  ## and the others
	$(PYTEST) $(TESTS) $(OPERATORS:%=--ignore=%)

test-cpp: .venv/built  ## C++ tests
	@$(call quietly,cpp-configure,$(BIN)/cmake -S . -B build/cpp -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DPython3_EXECUTABLE=$(abspath $(BIN))/python)
	@$(call quietly,cpp-build,$(BIN)/cmake --build build/cpp --parallel 2)
	$(BIN)/ctest --test-dir build/cpp --output-on-failure

test-floors: .venv/built  ## tests, and a build, with the oldest versions that pyproject.toml allows; as long as the tests
	$(BIN)/python tests/package/floors.py

test-matrix: wheel  ## the wheel in fresh environments, each a Python and a torch; CELLS=3.12, or --first, for a part
	$(BIN)/python tools/matrix.py $(CELLS)

test-arm: .venv/installed  ## the kernels compiled for 64-bit Arm and run under qemu-user; ARM=--torch: all operators
	$(BIN)/python tools/arm.py $(ARM)

sanitize: .venv/installed  ## C++ tests with the address and undefined-behaviour sanitizers
	@$(call quietly,sanitized-configure,$(BIN)/cmake -S . -B build/sanitized -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DARSEG_SANITIZE=ON -DARSEG_OPERATORS=OFF -DARSEG_MOTION=OFF)
	@$(call quietly,sanitized-build,$(BIN)/cmake --build build/sanitized --parallel 2)
	$(BIN)/ctest --test-dir build/sanitized --output-on-failure

emulate: .venv/installed  ## the CUDA kernels on the CPU, without Python: plain, ASan + UBSan, TSan
	$(BIN)/python tests/emulator/emulator_build.py standalone-plain standalone-asan standalone-tsan
	printf '%s\n' tsan asan plain | TSAN_OPTIONS=halt_on_error=1 xargs -P 2 -I KIND sh -c build/emulator/standalone-KIND

mutate: .venv/installed  ## every barrier of the CUDA kernels removed in turn must be noticed; minutes
	PYTHONPATH=tests $(BIN)/python -m emulator.mutate

nvcc-check: .venv/installed  ## compile for sm_80, sm_90 and PTX; registers, spills and instructions against their tables; load without CUDA
	$(BIN)/python tests/package/check_nvcc.py

cpu-budget: .venv/installed  ## instructions of the CPU kernels against their table, under qemu-user; BUDGET="avx2 --write"
	$(BIN)/python tests/package/cpu_budget.py $(BUDGET)

cpu-cycles: .venv/installed  ## cycles of the CPU kernels' hot loops on four processors against their table, by llvm-mca
	$(BIN)/python tests/package/cpu_cycles.py $(CYCLES)

fuzz: .venv/built  ## damaged streams under sanitizers; minutes, never part of the tests
	tests/video/sanitized.sh $(BIN)/python -m video.fuzz --mutants $(or $(MUTANTS),5000)

lint: .venv/installed  ## ruff, mypy, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	find csrc tests/cpp tests/emulator tests/ops docs/examples -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' | xargs $(BIN)/clang-format --dry-run -Werror

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find csrc tests/cpp tests/emulator tests/ops docs/examples -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' | xargs $(BIN)/clang-format -i

bench: .venv/built  ## timings; never part of the tests
	$(BIN)/python -m pytest benchmarks -q --benchmark-only -o python_files="bench_*.py"

docs: .venv/built  ## the site, strictly: build/site/index.html; what leads nowhere fails
	@export NO_MKDOCS_2_WARNING=1; $(call quietly,docs,$(BIN)/python -m mkdocs build)
	@echo build/site/index.html

docs-serve: .venv/built  ## the site while it is written, at http://127.0.0.1:8000
	$(BIN)/python -m mkdocs serve

figures: .venv/built  ## draws the figures of docs/operators and docs/performance.md again; the same bytes where the libraries are the pinned ones
	$(BIN)/python docs/figures/draw.py
	$(BIN)/python docs/figures/performance.py
	$(BIN)/python docs/figures/motion.py

# With the Python and torch that are there; nothing is installed.
gpu-check:  ## all that needs a GPU: build, tests, compute-sanitizer, benchmarks; at most 8 minutes (docs/cuda.md)
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu_check.py $(if $(PROFILE),--profile)

wheel: .venv/installed  ## dist/arseg-*.whl, tagged for the Linux systems that it runs on
	@rm -rf build/wheel
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w build/wheel .
	@$(BIN)/python tools/manylinux.py build/wheel dist

wheel-ext: .venv/installed  ## dist/arseg_ext-*.whl: the operators alone, which need torch alone
	@rm -rf build/wheel-ext
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w build/wheel-ext "$$($(BIN)/python tools/stage_ext.py)"
	@$(BIN)/python tools/manylinux.py build/wheel-ext dist

test-packaging: .venv/installed  ## wheels from the source archives, with and without isolation, in fresh environments
	$(BIN)/python tests/package/check_packages.py

clean:
	rm -rf build dist demo-output *.egg-info arseg_ext/*.so python/arseg/*.so .venv/built

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and f"Python 3.10 or newer is needed; {sys.executable} is {sys.version.split()[0]}. Name another: make PYTHON=python3.12")'
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
		{ echo "no virtual environment could be made: Debian and Ubuntu have it in the package python3-venv" >&2; exit 1; }
	@echo "installing the pinned dependencies into .venv (torch is large: this takes a while, once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/built: .venv/installed $(NATIVE)
	@echo "building the extension"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@
