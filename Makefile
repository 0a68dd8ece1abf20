# Everything runs in a virtual environment of its own; PYTHON picks the interpreter (3.11 or later).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Thread counts are set explicitly: OpenMP oversubscription costs twenty times the run.
export OMP_NUM_THREADS ?= 2

.PHONY: demo test check bench bench-speed sanitize cross wheel clean help

help:            ## list the targets
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed 's/:.*##/  /'

demo: $(VENV)/.storyline   ## set up everything and run the main job: three models, one question, a report
	$(BIN)/storyline demo --out demo

# Two processes of one thread each; the tests of a file stay together, for they share what they trained.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.developer   ## set up everything and pass the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.developer  ## style, types, import rule
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py

bench: $(VENV)/.developer  ## every benchmark of the README, three seeds each (hours); rows go to benchmarks/**/results
	$(BIN)/python -m benchmarks.tasks all

bench-speed: $(VENV)/.bench  ## the recurrence beside torch, onnxruntime and JAX on an idle machine (an hour); README's table
	$(BIN)/python -m benchmarks.speed all
	$(BIN)/python -m benchmarks.speed readme

wheel: $(VENV)/bin/python  ## a wheel for this machine's kind, with the native kernels, in dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

# Shapes a target and cell; needs CMake and a compiler, but neither Python nor torch.
SHAPES ?= 8
sanitize:        ## the native kernels under the address and undefined-behaviour sanitizers, every target that runs here
	cmake -S . -B build/sanitize -DSTORYLINE_SANITIZE=ON
	cmake --build build/sanitize -j2
	build/sanitize/sanitize $(SHAPES)

# Debian's packages g++-aarch64-linux-gnu and qemu-user, or what serves as they do.
cross:           ## the native kernels compiled for AArch64, and the same random shapes run in an emulator
	@mkdir -p build/cross
	aarch64-linux-gnu-g++ -std=c++20 -O1 -fopenmp -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror \
	  -DSTORYLINE_TARGET=neon -DVECTOR_BYTES=16 -c csrc/engine.cpp -o build/cross/engine.o
	aarch64-linux-gnu-g++ -std=c++20 -O1 -fopenmp -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror \
	  -DSTORYLINE_TARGET=neon -DVECTOR_BYTES=16 -c csrc/packed.cpp -o build/cross/packed.o
	aarch64-linux-gnu-g++ -std=c++20 -O1 -fopenmp '-DSTORYLINE_TARGETS(X)=X(neon)' -static -Wl,--no-warnings \
	  csrc/tests/sanitize.cpp build/cross/engine.o build/cross/packed.o -o build/cross/shapes
	qemu-aarch64 build/cross/shapes $(SHAPES)

clean:           ## remove the environment and what the tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo build/sanitize build/cross

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Storyline needs Python 3.11 or later; this is $$($(PYTHON) --version). Try: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# With triton too (a gigabyte) its interpreter runs the tests of the GPU kernels.
EXTRAS ?= test,check
NATIVE := CMakeLists.txt $(wildcard csrc/*.h csrc/*.cpp csrc/cells/*.h)

$(VENV)/.storyline: $(VENV)/bin/python pyproject.toml constraints.txt $(NATIVE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@$(BIN)/python -c 'from storyline.kernels import native; print(native.missing or f"native kernels: {native.target()}")'
	@touch $@

$(VENV)/.developer: $(VENV)/bin/python pyproject.toml constraints.txt $(NATIVE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@$(BIN)/python -c 'from storyline.kernels import native; print(native.missing or f"native kernels: {native.target()}")'
	@touch $@ $(VENV)/.storyline

$(VENV)/.bench: $(VENV)/.developer
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@
