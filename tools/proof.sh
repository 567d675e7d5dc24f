#!/bin/sh
# The proofs of the command queue. Without an argument the short forms, as in every test run;
# `tools/proof.sh full` takes several minutes: 100,000 commands, 500 kills of workers,
# 500 of bots, 10,000 sequences of steps on the queue and 1,000 on the scheduler.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x "$python" ] || python=python3
case "${1:-short}" in
short) exec "$python" -m pytest tests_py/proof --durations=5 ;;
full) VOICECORE_PROOF=full exec "$python" -m pytest tests_py/proof -s -v --timeout 3600 --durations=5 ;;
*) echo "usage: tools/proof.sh [short|full]" >&2; exit 2 ;;
esac
