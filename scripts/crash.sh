#!/usr/bin/env bash
# The crash tests: what was acknowledged survives whatever happens to the server.
#
#   scripts/crash.sh            all kinds, 20 rounds each and more
#   scripts/crash.sh --short    a few rounds of each, for CI
#   scripts/crash.sh --help     how to pick a kind, the rounds, or the seed of an earlier run
set -euo pipefail
cd "$(dirname "$0")/.."

[ -x .venv/bin/python ] || { echo "the Python environment is missing: scripts/setup.sh test makes it" >&2; exit 1; }
exec .venv/bin/python tests/crash/crash.py "$@"
