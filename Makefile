# Each goal makes what it needs: .venv, with nqz and its native kernels installed, or .venv-lint, with the tools that
# check the code. Nothing outside this folder is changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LINT := .venv-lint/bin
PIP := -m pip install --quiet --disable-pip-version-check
BUILD_TOOLS := 'scikit-build-core>=0.11' 'nanobind>=2.4' 'cmake>=3.18' ninja
KERNELS := $(shell find nqz/kernels -name '*.cpp' -o -name '*.h' -o -name CMakeLists.txt)
CPP := $(filter %.cpp %.h,$(KERNELS)) $(wildcard tests/arm64/*.cpp)
PY := nqz tests benchmarks fixtures docs
SANITIZED := build/sanitized
SANITIZING = LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
FUZZ_SECONDS ?= 60
FUZZ_PROCESSES ?= 2
BENCHMARKS := rate_distortion code_bits pairs sizes short loud prediction coverage unbiased model_file across peers throughput decoding product resident memory scale startup remote pages cluster cuts

# As many processes as there are cores; a line for each failure, tracebacks in a file.
PYTEST = NQZ_TEST_FAILURES=build/failures.txt $(BIN)/python -m pytest \
	--numprocesses auto --maxprocesses 8 --dist worksteal --tb no -r fE

# Another environment that happens to be active must not leak in.
unexport PYTHONHOME
unexport PYTHONPATH
unexport VIRTUAL_ENV
# Kernels are compiled once for all environments.
export CMAKE_CXX_COMPILER_LAUNCHER := $(CURDIR)/tests/compile_once.sh
# Tests start programs by the hundred, which would compile all modules of Python each time.
unexport PYTHONDONTWRITEBYTECODE

# Goals are made one after the other, except those that `test` names beside each other.
ifndef BESIDE
.NOTPARALLEL:
endif
.PHONY: help test pytest lint format demo test-all needed test-faults test-reference test-torch test-zarr test-remote test-dask test-pythons test-arm64 test-report bench fuzz golden man docs wheel coverage clean

help:
	@echo 'make test       check the code, then run all tests (ARGS="-k word" goes to pytest)'
	@echo 'make demo       install nqz and show the main job on fixtures/'
	@echo 'make format     format the code'
	@echo 'make lint       check the code: format, style, types'
	@echo 'make pytest     run all tests, without checking the code first'
	@echo 'make test-all   test, and the tests that take long or need environments of their own'
	@echo 'make coverage   which lines the tests reach: build/coverage/index.html'
	@echo 'make bench      all figures of docs/benchmarks.md'
	@echo 'make fuzz       random damage to the streams of kernels with sanitizers, then to files'
	@echo 'make golden     make the files of fixtures/golden and fixtures/reject again'
	@echo 'make man        write the pages of the manual, docs/man/, and docs/reference/commands.md, from the help of the program'
	@echo 'make docs       the pages of docs/ as a site: build/docs/index.html'
	@echo 'make wheel      wheels that install without a compiler, in dist/, tried with every Python that is found'
	@echo 'make clean      remove everything that was made'

# The code is checked while the kernels are compiled and tests are installed.
test:
	$(MAKE) --no-print-directory --jobs 2 BESIDE=1 lint $(VENV)/test
	$(MAKE) --no-print-directory pytest

pytest: $(VENV)/test
	$(PYTEST) $(ARGS)

lint: .venv-lint/installed
	$(LINT)/ruff format --quiet --check $(PY) || { echo "run: make format"; exit 1; }
	$(LINT)/ruff check --quiet --output-format concise $(PY)
	$(LINT)/clang-format --dry-run --Werror $(CPP) || { echo "run: make format"; exit 1; }
	$(LINT)/mypy --no-error-summary
	MYPYPATH="$(CURDIR)" $(LINT)/mypy --strict --config-file= --follow-imports silent --no-error-summary tests/typing/user.py

format: .venv-lint/installed
	$(LINT)/ruff check --quiet --fix --exit-zero $(PY) > /dev/null
	$(LINT)/ruff format --quiet $(PY)
	$(LINT)/clang-format -i $(CPP)

demo: $(VENV)/nqz
	PATH="$(CURDIR)/$(BIN):$$PATH" sh fixtures/demo.sh

# What takes long, or needs environments of its own under build/.
test-all: needed test test-faults test-report test-reference test-torch test-zarr test-remote test-dask test-pythons test-arm64 fuzz docs wheel

# What these take and cannot make themselves: told at once, with what to install.
needed:
	PYTHON="$(PYTHON)" CXX="$${CXX:-c++}" sh tests/needed.sh

# What happens at random, kills, interrupts and forks, tried so often that what is rare is met; more draws of noise, of
# the files that are wrong in one thing, all pairs of options, and theorems with every kind of matrices at every rate.
test-faults: export NQZ_TEST_MANY := 1
test-faults: $(VENV)/test
	$(PYTEST) tests/test_cli_faults.py tests/test_api_forks.py tests/test_format_crafted.py \
	  tests/test_product_estimate.py tests/test_cli_pairs.py tests/test_theorems.py tests/test_commands_elsewhere.py $(ARGS)

# Pages of reports in a headless Chromium, which must be there; pictures of them are kept in build/report.
test-report: export NQZ_TEST_REPORT := 1
test-report: $(VENV)/test
	$(BIN)/python -m pytest tests/test_pages_browser.py $(ARGS)

# An installation that found no compiler runs on NumPy alone. What is compared there with the native kernels, or is
# about their speed, says so and is left out.
test-reference: export CXX := no-compiler
test-reference:
	test -x build/venv-reference/bin/python || $(PYTHON) -m venv --clear build/venv-reference
	build/venv-reference/bin/python $(PIP) $(BUILD_TOOLS)
	build/venv-reference/bin/python $(PIP) --no-build-isolation --config-settings build-dir=build/reference --editable .
	build/venv-reference/bin/python $(PIP) 'nqz[test]'
	$(subst $(BIN),build/venv-reference/bin,$(PYTEST)) $(ARGS)

# Arrays of other packages, from these packages, and `nqz.torch`.
test-torch:
	test -x build/venv-torch/bin/python || $(PYTHON) -m venv --clear build/venv-torch
	build/venv-torch/bin/python $(PIP) $(BUILD_TOOLS)
	build/venv-torch/bin/python $(PIP) --no-build-isolation --config-settings build-dir=build/torch --editable .
	build/venv-torch/bin/python $(PIP) 'nqz[test]' torch==2.13.0 jax jaxlib pyarrow dask
	build/venv-torch/bin/python -m pytest tests/interop/test_arrays.py tests/interop/test_torch.py $(ARGS)

# Workers of Dask, some of which are killed, of MPI and of loky. Its environment has these, and sees everything of that of
# the tests.
test-dask: $(VENV)/test
	test -x build/venv-dask/bin/python || $(PYTHON) -m venv --clear build/venv-dask
	build/venv-dask/bin/python $(PIP) 'distributed>=2024.1' mpi4py mpich loky
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > "$$(build/venv-dask/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nqz-beside.pth"
	build/venv-dask/bin/python -m pytest tests/cluster $(ARGS)

# Objects of a real server of S3. It has an environment of its own, and so has its client: together they would be given a
# client of years ago. The client is seen by the environment of the tests for these tests only.
test-remote: $(VENV)/test
	test -x build/venv-s3/bin/python || $(PYTHON) -m venv --clear build/venv-s3
	build/venv-s3/bin/python $(PIP) 'moto[s3,server]>=5'
	test -e build/s3fs/s3fs/__init__.py || $(BIN)/python $(PIP) --target build/s3fs 's3fs>=2024.6'
	NQZ_TEST_S3_SERVER="$(CURDIR)/build/venv-s3/bin/moto_server" PYTHONPATH="$(CURDIR)/build/s3fs" \
	  $(BIN)/python -m pytest tests/remote $(ARGS)

# Arrays of Zarr, xarray and Dask, and what docs/howto/zarr.md shows.
test-zarr:
	test -x build/venv-zarr/bin/python || $(PYTHON) -m venv --clear build/venv-zarr
	build/venv-zarr/bin/python $(PIP) $(BUILD_TOOLS)
	build/venv-zarr/bin/python $(PIP) --no-build-isolation --config-settings build-dir=build/zarr --editable .
	build/venv-zarr/bin/python $(PIP) 'nqz[zarr]' xarray scipy pytest hypothesis
	build/venv-zarr/bin/python -m pytest tests/interop/test_zarr.py $(ARGS)

# The oldest and the newest Python that are found, on the PATH or in the folder of pyenv: what some Pythons do otherwise,
# one of these does. The wheels of all that are between are tried by `wheel`, and their tests run in public.
test-pythons:
	@all=$$(sh tests/pythons.sh) && for python in $$(printf '%s\n' "$$all" | sed -n '1p;$$p' | uniq); do \
	  version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "== Python $$version"; \
	  $(MAKE) --no-print-directory pytest PYTHON="$$python" VENV=build/venv-$$version || exit 1; \
	done

# The kernels compiled for arm64 and emulated, with a compiler, an emulator and a Python that are unpacked under build/.
test-arm64: $(VENV)/test
	PYTHON="$(CURDIR)/$(BIN)/python" sh tests/arm64/run.sh $(STEPS)

# Those that calibrate constants, second_moments.py and voronoi_scales.py, take long and are run by hand.
bench: $(VENV)/bench
	for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(MAKE) --no-print-directory test-dask NQZ_TEST_MANY=1 ARGS="-k killed"

# The small files of every kind, and those that are refused, with their indexes: when the writer, and so the format, has
# changed on purpose, which it may while its version is 0.
golden: $(VENV)/test
	$(BIN)/python tests/golden.py

# A test tells when what is in docs/man/ is no longer what the commands say of themselves.
man: $(VENV)/nqz
	$(BIN)/python -m nqz.cli.manual docs/man
	$(BIN)/python docs/command_pages.py

# The kernels with the address and undefined-behavior sanitizers: their tests, then random damage to streams. Then all
# commands on golden files with random changes, with sanitizers and in bounded memory, and on every crafted file.
fuzz: $(VENV)/test
	$(BIN)/cmake -G Ninja -S nqz/kernels -B $(SANITIZED) -DNQZ_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug \
	  -DCMAKE_MAKE_PROGRAM="$(CURDIR)/$(BIN)/ninja" -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python"
	$(BIN)/cmake --build $(SANITIZED)
	$(SANITIZING) $(BIN)/python tests/fuzz_kernels.py $(SANITIZED) $(FUZZ_SECONDS)
	$(SANITIZING) $(BIN)/python tests/fuzz_containers.py $(FUZZ_SECONDS) --processes $(FUZZ_PROCESSES) --build $(SANITIZED)
	$(BIN)/python tests/crafted.py
	$(BIN)/python tests/fuzz_containers.py $(FUZZ_SECONDS) --processes $(FUZZ_PROCESSES)

# Warnings are errors: links lead somewhere, and names are known.
docs: $(VENV)/docs
	$(BIN)/python -m sphinx -W --keep-going -q -E -b html docs build/docs
	@echo build/docs/index.html

# For every Python that is found; on Linux for systems from 2018 on.
wheel:
	PYTHON="$(PYTHON)" sh tests/wheels/run.sh

coverage: $(VENV)/coverage
	$(PYTEST) --cov --cov-report html --cov-report term:skip-covered $(ARGS)

$(VENV)/tools: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(PIP) $(BUILD_TOOLS)
	touch $@

$(VENV)/nqz: $(VENV)/tools $(KERNELS)
	@echo "building the kernels, about a minute, once"
	$(BIN)/python $(PIP) --no-build-isolation --editable .
	touch $@

# nqz is there already: this installs what an extra asks for, and builds nothing.
$(VENV)/test $(VENV)/bench $(VENV)/coverage $(VENV)/docs: $(VENV)/%: $(VENV)/nqz
	$(BIN)/python $(PIP) 'nqz[$*]'
	touch $@

.venv-lint/installed: tests/requirements-lint.txt
	test -x $(LINT)/python || $(PYTHON) -m venv --clear .venv-lint
	$(LINT)/python $(PIP) --no-compile --requirement tests/requirements-lint.txt
	touch $@

clean:
	rm -rf .venv .venv-lint build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find nqz tests benchmarks fixtures -name __pycache__ -type d -prune -exec rm -rf {} +
