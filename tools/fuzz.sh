#!/usr/bin/env bash
# Builds the fuzzers with clang and runs them beside each other for so many seconds (60 by default). What a
# run finds stays in build/fuzz/findings/.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
tree=build/fuzz
export PATH="$PWD/.venv/bin:$PATH"
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
mkdir -p build
cmake -S . -B "$tree" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++ \
    -DVOICECORE_SANITIZE=address,undefined -DVOICECORE_FUZZERS=ON -DVOICECORE_PYTHON=OFF \
    "${launcher[@]}" >"$tree.log" 2>&1 || { tail -n 30 "$tree.log"; exit 1; }
cmake --build "$tree" -j "$(nproc)" --target fuzz_opus_packet fuzz_demuxer >"$tree.log" 2>&1 ||
    { tail -n 40 "$tree.log"; exit 1; }

# Real files to start from, cut to what the target takes. The byte behind one decides how it is played:
# here from its beginning, and with seeks.
media=build/media-py
.venv/bin/python tests_py/media.py "$media" >/dev/null
mkdir -p "$tree/findings" "$tree/corpus-demuxer" "$tree/corpus-opus"
find "$media" -type f -size -200k ! -name '*.json' | while read -r file; do
    { head -c 65535 "$file"; printf '\0'; } >"$tree/corpus-demuxer/${file##*/}"
done

export ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions=$PWD/tools/lsan.txt:print_suppressions=0
run() {
    echo "fuzz: $1 for $seconds s"
    local log=$tree/$1.log
    if ! "$tree/fuzz/$1" -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=4096 \
        -artifact_prefix="$tree/findings/" "$2" >"$log" 2>&1; then
        tail -n 60 "$log"
        echo "fuzz: $1 failed"
        return 1
    fi
    grep -E 'DONE|stat::number_of_executed' "$log" | tail -n 1 || true
}
run fuzz_opus_packet "$tree/corpus-opus" &
packets=$!
failed=0
run fuzz_demuxer "$tree/corpus-demuxer" || failed=1
wait "$packets" || failed=1
exit "$failed"
