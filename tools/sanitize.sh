#!/usr/bin/env bash
# Builds and runs the tests under sanitizers. Usage: tools/sanitize.sh address,undefined|thread [--python]
# address,undefined: every C++ test; with --python those Python tests that reach native code and are not
# about time. thread: the layers with threads.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?address,undefined or thread}
tree=build/san-${kind%%,*}
export PATH="$PWD/.venv/bin:$PATH"
python=OFF
[ "${2:-}" = --python ] && python=ON
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
# Little optimization and lines alone, so that the compiler is soon done. Assertions stay on.
cmake -S . -B "$tree" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" \
    -DVOICECORE_SANITIZE="$kind" -DVOICECORE_TESTS=ON -DVOICECORE_PYTHON=$python "${launcher[@]}" \
    -Dpybind11_DIR="$(.venv/bin/python -m pybind11 --cmakedir)" \
    -DPython_EXECUTABLE="$PWD/.venv/bin/python" >"$tree.log" 2>&1 || { tail -n 30 "$tree.log"; exit 1; }
layers=(base sources playback command engine transport pipeline)  # those with threads
targets=(all)
[ "$kind" = thread ] && targets=("${layers[@]/#/test_}")
cmake --build "$tree" -j "$(nproc)" --target "${targets[@]}" >"$tree.log" 2>&1 ||
    { tail -n 40 "$tree.log"; exit 1; }

# FFmpeg and the C libraries are not instrumented; what is suppressed is theirs, by name.
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
export LSAN_OPTIONS=suppressions=$PWD/tools/lsan.txt:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=suppressions=$PWD/tools/tsan.txt:halt_on_error=1:second_deadlock_stack=1

if [ "$kind" = thread ]; then
    ctest --test-dir "$tree" --output-on-failure --parallel 2 \
        -R "^($(IFS='|' && echo "${layers[*]}"))\$"
else
    ctest --test-dir "$tree" --output-on-failure --parallel 2
fi

if [ "$python" = ON ]; then
    # The instrumented modules beside the package's Python files.
    overlay=$tree/python
    rm -rf "$overlay" && mkdir -p "$overlay"
    cp -r python/voicecore "$overlay/"
    cp "$tree"/cpp/bindings/*.so "$tree"/cpp/voicecore/libvoicecore_base.so "$overlay/voicecore/"
    preload="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
    # The interpreter leaks on purpose at exit; the C++ tests look for leaks. The command line has no
    # native code of its own and starts hundreds of interpreters.
    LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=$overlay \
        VOICECORE_SANITIZED=1 .venv/bin/python -m pytest -m 'not timing' --timeout 300 \
        --numprocesses 2 --dist loadfile \
        --ignore tests_py/cli --ignore tests_py/proof --ignore tests_py/schedule \
        --ignore tests_py/test_types.py --ignore tests_py/test_readme.py
fi
