#!/usr/bin/env bash
# Builds the server and starts it on loopback with the development configuration and ./data.
# Further words are the server's own: scripts/run.sh --help
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh build
cargo build --quiet --release --locked --bin posthaste
[ $# -gt 0 ] || set -- run
exec "${CARGO_TARGET_DIR:-target}/release/posthaste" --dev "$@"
