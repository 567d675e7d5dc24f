# Two commands: `make demo` and `make test`. Both set up everything they need first.
.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-bench demo test bench clean

PYTHON ?= python3
FILE ?= examples/audio/palace.mp3
VENV := .venv
# As it was given: neither make nor the shell reads quotes and dollars in it.
export DEMO_FILE := $(value FILE)
unexport FILE

help:
	@echo "make demo [FILE=song.mp3]   play a file natively over loopback, and beside discord.py; see demo-out/"
	@echo "make test                   every test, C++ and Python"
	@echo "make bench                  the benchmarks, beside their peers (40 minutes; reports in benchmarks/)"
	@echo "make clean                  remove build/, .venv/ and demo-out/"

setup:
	@PYTHON="$(PYTHON)" tools/setup.sh demo

setup-test:
	@PYTHON="$(PYTHON)" tools/setup.sh test

setup-bench: setup-test
	@$(VENV)/bin/python -m pip install -q --group bench

demo: setup
	@$(VENV)/bin/python tools/demo.py -- "$$DEMO_FILE"

test: setup-test
	@ctest --test-dir build/native --output-on-failure --parallel 2 || exit 1
	@$(VENV)/bin/python -m pytest --numprocesses $$(($$(nproc) + 1)) --dist loadfile

bench: setup-bench
	@$(VENV)/bin/python -m benchmarks

clean:
	rm -rf build .venv demo-out
