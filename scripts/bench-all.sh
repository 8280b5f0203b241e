#!/usr/bin/env bash
# All figures of the queue's speed in docs/measurements.md, in under ten minutes; nothing else should run meanwhile.
#
#   scripts/bench-all.sh [DIR]      (default target/bench-figures) takes the figures as JSON, and what was said as text
#
# Environment: as for bench-peers.sh and bench-failover.sh.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=bench-all
cd "$ROOT"
# shellcheck source=scripts/lib/common.sh
source "$ROOT/scripts/lib/common.sh"

OUT=$(realpath -m "${1:-target/bench-figures}")
mkdir -p "$OUT"
export BENCH_JSON=$OUT/peers.json

failover() {
    local name=$1
    shift
    scripts/bench-failover.sh "$@" --json >"$OUT/$name.json"
    jq -r --arg name "$name" '.without_submits | [$name, "p50", .p50_ms, "p95", .p95_ms, "max ms", .max_ms] | @tsv' "$OUT/$name.json"
}

peers() { scripts/bench-peers.sh | tee "$OUT/peers.txt"; }

say "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
phase "beside others" peers
phase "leader killed" failover killed --trials 50
phase "leader hands over" failover planned --planned --trials 50
print_times
say "load after: $(cut -d' ' -f1-3 /proc/loadavg); the figures are in $OUT"
