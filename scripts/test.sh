#!/usr/bin/env bash
# Runs every stage of the tests, each to its end whatever became of the ones before, and closes
# with one line that counts all of them. `make test` is this.
#
# STAGES="interop crash" picks some.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

target=${CARGO_TARGET_DIR:-target}
logs=$target/test-logs
mkdir -p "$logs"
passed=0
failed=0
summary=()

# sum PATTERN FILE: adds up the number before each occurrence of PATTERN.
sum() { grep -oE "[0-9]+ $1" "$2" | awk '{ n += $1 } END { print n + 0 }'; }

# stage NAME COMMAND...: runs it and counts its tests. Cargo, pytest and our own scripts say how
# many passed; whatever says nothing is one test, judged by its exit code.
stage() {
    local name=$1 log=$logs/$1.log began=$SECONDS status ok bad results
    shift
    [[ " ${STAGES:-$name} " == *" $name "* ]] || return 0
    printf '\n=== %s\n' "$name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    results=$log.results
    grep -E '^test result: |^([0-9]+ (passed|failed|skipped|errors?|deselected|warnings?)(, )?)+( in |$)' "$log" >"$results"
    ok=$(sum passed "$results")
    bad=$(($(sum failed "$results") + $(sum 'errors?\b' "$results")))
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    [ "$status" -eq 0 ] && [ "$ok" -eq 0 ] && ok=1
    passed=$((passed + ok))
    failed=$((failed + bad))
    summary+=("$(printf '%-12s %5d passed %4d failed %5d s' "$name" "$ok" "$bad" $((SECONDS - began)))")
}

pytest() { .venv/bin/python -m pytest -c tests/pytest.ini "$@"; }

wasm() {
    if command -v rustup >/dev/null; then
        cargo check --quiet --locked -p posthaste-proto --target wasm32-unknown-unknown
    else
        echo "skipped: without rustup there is no wasm32 target"
    fi
}

crash_shortly() { pytest tests/crash && scripts/crash.sh --short; }
fuzz_shortly() { scripts/setup.sh fuzz && scripts/fuzz.sh 4; }

stage setup scripts/setup.sh test
stage fmt cargo fmt --all --check
stage clippy cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
stage wasm wasm
stage cargo cargo test --quiet --workspace --locked --no-fail-fast
# The same profile as the tests', so that the dependencies are built once.
stage build cargo build --quiet --locked --bin posthaste
stage transcripts pytest tests/transcripts
stage interop pytest tests/interop
stage crash crash_shortly
stage fuzz fuzz_shortly

printf '\n'
printf '%s\n' "${summary[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
