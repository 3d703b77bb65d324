#!/usr/bin/env bash
# Measures this server beside those of ejabberd and Prosody that are installed, on this machine, in one run.
# Options are those of bench/run.py; see docs/performance.md.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --release --locked -p posthaste-load
cargo build --quiet --release --locked --bin posthaste
exec python3 bench/run.py "$@"
