# Each goal makes what it needs: a virtual environment in .venv, with nqz and its native kernels installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KERNELS := $(wildcard nqz/kernels/src/*) nqz/kernels/CMakeLists.txt
SANITIZED := build/sanitized
FUZZ_SECONDS ?= 60
BENCHMARKS := rate_distortion prediction unbiased model_file peers throughput product memory scale startup

# Another environment that happens to be active must not leak in.
unexport PYTHONHOME
unexport PYTHONPATH
unexport VIRTUAL_ENV

.PHONY: test test-arm64 demo bench fuzz clean

test: $(VENV)/installed
	$(BIN)/python -m pytest $(ARGS)

# The kernels of arm64, cross-compiled and emulated: their tests, and files byte for byte those of this machine.
test-arm64: $(VENV)/fuzz
	PYTHON="$(CURDIR)/$(BIN)/python" sh tests/arm64/run.sh $(STEPS)

demo: $(VENV)/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" sh fixtures/demo.sh

# Those that calibrate constants, second_moments.py and voronoi_scales.py, take long and are run by hand.
bench: $(VENV)/bench
	for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

# The kernels with the address and undefined-behavior sanitizers: their tests, then random damage to streams.
fuzz: $(VENV)/fuzz
	$(BIN)/cmake -G Ninja -S nqz/kernels -B $(SANITIZED) -DNQZ_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug \
	  -DCMAKE_MAKE_PROGRAM="$(CURDIR)/$(BIN)/ninja" -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python"
	$(BIN)/cmake --build $(SANITIZED)
	LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(BIN)/python tests/fuzz_kernels.py $(SANITIZED) $(FUZZ_SECONDS)

$(VENV)/installed: pyproject.toml $(KERNELS)
	test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench]'
	touch $@

$(VENV)/fuzz: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check cmake ninja nanobind
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .hypothesis
	find nqz tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
