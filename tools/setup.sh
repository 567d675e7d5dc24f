#!/usr/bin/env bash
# Sets up what `make demo` and `make test` need: system packages, .venv, the built package. Quick when
# nothing has changed. Usage: tools/setup.sh demo|test
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:?demo or test}
python=${PYTHON:-python3}

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

packages=(g++ pkg-config libopus-dev libogg-dev libsodium-dev libsqlite3-dev
          libavformat-dev libavcodec-dev libswresample-dev libavutil-dev libssl-dev
          ffmpeg)  # the ffmpeg program only serves discord.py's player in comparisons, and test media
if [ "$purpose" = test ]; then
    packages+=(catch2 opus-tools openssl)
fi

command -v "$python" >/dev/null || die "$python is missing: install Python 3.11 or newer (package python3)."
"$python" - <<'PY' || die "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11 or newer."
import sys
print("setup: Python", sys.version.split()[0], "at", sys.executable)
sys.exit(sys.version_info < (3, 11))
PY
# A system Python keeps venv and its headers in packages of their own.
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
has_headers='import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
"$python" -c "$has_headers" || packages+=(python3-dev)

missing=()
for package in "${packages[@]}"; do
    if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
        missing+=("$package")
    fi
done

if ! command -v apt-get >/dev/null; then
    # No apt: say what is needed, go on only when it is all there.
    lacking=()
    programs=(g++ pkg-config ffmpeg)
    [ "$purpose" = test ] && programs+=(opusinfo openssl)
    for program in "${programs[@]}"; do
        command -v "$program" >/dev/null || lacking+=("$program")
    done
    for module in opus ogg libsodium sqlite3 libavformat libavcodec libswresample libavutil \
        libssl; do
        pkg-config --exists "$module" 2>/dev/null || lacking+=("$module (pkg-config)")
    done
    if [ "$purpose" = test ] && ! pkg-config --exists catch2 2>/dev/null &&
        ! pkg-config --exists catch2-with-main 2>/dev/null; then
        lacking+=("catch2 (pkg-config)")
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null || lacking+=("Python's venv and ensurepip")
    "$python" -c "$has_headers" || lacking+=("Python.h, the headers of $python")
    if [ "${#lacking[@]}" -gt 0 ]; then
        die "this system has no apt-get. Install these with its own package manager, then run make again:
    ${lacking[*]}
  (Debian's names: ${packages[*]})"
    fi
elif [ "${#missing[@]}" -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo -n)
        sudo -n true 2>/dev/null || die "these packages are missing, and sudo would ask for a password:
    sudo apt-get install -y --no-install-recommends ${missing[*]}
  Run that, then make again."
    fi
    say "installing system packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    { "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; die "apt-get failed; its last lines are above."; }
    rm -f "$log"
fi

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
    say "making .venv"
    "$python" -m venv .venv
fi

# Python packages: again only when pyproject.toml has changed.
stamp=.venv/.installed-$purpose
sum=$(sha256sum pyproject.toml | cut -d' ' -f1)
if [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ]; then
    say "installing Python packages"
    .venv/bin/python -m pip install -q 'pip>=25.1'  # the first that reads dependency groups
    .venv/bin/python -m pip install -q 'scikit-build-core>=0.10,<1' 'pybind11>=3.0,<4' cmake ninja
    .venv/bin/python -m pip install -q --group "$purpose"
    echo "$sum" >"$stamp"
fi

say "building (only what has changed)"
export PATH="$PWD/.venv/bin:$PATH"
options=(-C build-dir=build/native)
if [ "$purpose" = test ]; then
    # One tree for the package and the C++ tests: nothing is compiled twice.
    options+=(-C cmake.define.VOICECORE_TESTS=ON -C "cmake.define.VOICECORE_WERROR=${VOICECORE_WERROR:-OFF}")
fi
log=$(mktemp)
.venv/bin/python -m pip install --no-build-isolation --no-deps "${options[@]}" . >"$log" 2>&1 ||
    { grep -E 'error|Error|missing|apt-get|needs' "$log" | head -n 20 >&2; tail -n 20 "$log" >&2
      die "the build failed; see above."; }
# The dependencies of the package itself, from its own metadata.
mapfile -t needed < <(.venv/bin/python -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")')
.venv/bin/python -m pip install -q "${needed[@]}"
rm -f "$log"
