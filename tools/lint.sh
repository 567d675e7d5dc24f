#!/usr/bin/env bash
# Format, lint and types, for C++ and Python. `tools/lint.sh tidy` adds clang-tidy (minutes).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
find cpp tests_cpp fuzz -name '*.[ch]pp' -print0 | xargs -0 clang-format --dry-run --Werror
ruff check .
ruff format --check .
mypy
if [ "${1:-}" = tidy ]; then
    tree=build/tidy
    cmake -S . -B "$tree" -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DVOICECORE_PYTHON=OFF -DVOICECORE_WERROR=ON \
        >/dev/null
    find cpp/voicecore -name '*.cpp' -print0 |
        xargs -0 -n 4 -P "$(nproc)" clang-tidy -p "$tree" --quiet
fi
