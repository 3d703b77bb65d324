#!/usr/bin/env bash
# Runs every fuzz target for some seconds: scripts/fuzz.sh [SECONDS] [TARGET...]
#
# It starts from fuzz/seeds and from what has been found so far, which is kept in fuzz/corpus; an
# input that broke something is in fuzz/artifacts. fuzz/TARGET.dict holds words worth trying.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

seconds=${1:-60}
shift $(($# > 0))
cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing: scripts/setup.sh fuzz installs it" >&2; exit 1; }

# Without a sanitizer the targets build with the stable compiler; a panic is what we look for.
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
[ ${#targets[@]} -gt 0 ] || { echo "no fuzz targets" >&2; exit 1; }

passed=0
failed=0
cargo fuzz build --sanitizer none || exit 1
for target in "${targets[@]}"; do
    echo "--- fuzz $target for $seconds s"
    log=$(mktemp)
    mkdir -p "fuzz/corpus/$target"
    words=()
    [ ! -f "fuzz/$target.dict" ] || words=(-dict="fuzz/$target.dict")
    if cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        "${words[@]}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=0 >"$log" 2>&1; then
        passed=$((passed + 1))
        grep "^Done" "$log"
    else
        failed=$((failed + 1))
        cat "$log"
    fi
    rm -f "$log"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
