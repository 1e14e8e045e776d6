#!/usr/bin/env bash
# `.ci/fuzz.sh SECONDS [TARGET…]` fuzzes each target for SECONDS and prints executions and coverage.
# New inputs go to fuzz/corpus, which is not committed. fuzz/seeds is not changed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
source .ci/lib.sh

version=0.13.2           # of cargo-fuzz
export RUSTC_BOOTSTRAP=1 # libFuzzer needs unstable flags, and the project uses the stable toolchain
sanitizer=leak           # `unsafe` is forbidden, so leaks are all that a sanitizer can find

main() {
    [[ ${1-} =~ ^[1-9][0-9]*$ ]] || fail "usage: .ci/fuzz.sh SECONDS [TARGET…]"
    local seconds=$1 target targets=("${@:2}")
    need c++ g++ # compiles libFuzzer
    [[ $(cargo fuzz --version 2>/dev/null) == "cargo-fuzz $version" ]] ||
        cargo install --quiet --locked --version "$version" cargo-fuzz
    [ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
    cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml
    cargo fuzz build --sanitizer "$sanitizer"
    mkdir -p fuzz/target/logs
    printf '\n%-8s %12s %10s %8s %9s\n' target executions per-second edges features
    for target in "${targets[@]}"; do
        run "$target" "$seconds"
    done
}

run() {
    local target=$1 seconds=$2 log=fuzz/target/logs/$1
    mkdir -p "fuzz/corpus/$target"
    if ! cargo fuzz run --sanitizer "$sanitizer" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -dict=fuzz/dictionary -max_total_time="$seconds" -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
        grep -E -A 2 '^(thread .* panicked|==[0-9]+== ?ERROR|error)|Test unit written' "$log" >&2 || true
        fail "$target: see $log; the input is in fuzz/artifacts/$target"
    fi
    awk -v target="$target" '
        $2 == "DONE" { for (i = 1; i < NF; i++) { if ($i == "cov:") edges = $(i + 1); if ($i == "ft:") features = $(i + 1) } }
        /^stat::number_of_executed_units:/ { executions = $2 }
        /^stat::average_exec_per_sec:/ { speed = $2 }
        END { printf "%-8s %12d %10d %8d %9d\n", target, executions, speed, edges, features }' "$log"
}

main "$@"
