#!/usr/bin/env bash
# All figures of the queue's speed in docs/measurements.md, in under ten minutes; nothing else should run meanwhile.
#
#   scripts/bench-all.sh [DIR]      (default target/bench-figures)
#
# DIR takes the figures as JSON, and as the tables of docs/measurements.md in tables.md.
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
}

# jq's figures with about three digits that mean something.
readonly SHORT='def short: if . == null then "-" elif . >= 100 then (. | round) elif . >= 10 then (. * 10 | round / 10) else (. * 100 | round / 100) end;'

peers_table() {
    printf '| clients | system | records/s | p50 ms | p95 ms | p99 ms | max ms | troupe over links is |\n|---|---|---|---|---|---|---|---|\n'
    jq -r "$SHORT"'
        (map(select(.name == "troupe, links")) | map({(.clients | tostring): .submits_per_second}) | add) as $ours | .[]
        | "| \(.clients) | \(.name) | \(.submits_per_second | round) | \(.latency.p50_ms | short) | \(.latency.p95_ms | short)"
        + " | \(.latency.p99_ms | short) | \(.latency.max_ms | short)"
        + " | \($ours[.clients | tostring] / .submits_per_second | short) x |"' "$OUT/peers.json"
}

# What the election's setting has to be ten times of.
appends_table() {
    printf '| clients over links | 99 of 100 appends of the slowest node, sync included, take at most ms |\n|---|---|\n'
    jq -r "$SHORT"'.[] | select(.name == "troupe, links") | "| \(.clients) | \([.nodes[].changes[]
        | select(.series == "troupe_raft_append_seconds") | .p99_at_most] | max | if . then . * 1000 | short else "-" end) |"' "$OUT/peers.json"
}

failover_table() {
    printf '| the leader | trials | p50 ms | p95 ms | max ms | p50 over one fdatasync | unknown outcomes |\n|---|---|---|---|---|---|---|\n'
    local name
    for name in killed planned; do
        jq -r --arg name "$name" "$SHORT"'
            "| \({killed: "kill -9", planned: "hands over"}[$name]) | \(.trials | length) | \(.without_submits.p50_ms | short)"
            + " | \(.without_submits.p95_ms | short) | \(.without_submits.max_ms | short) | \(.over_fdatasync | short)"
            + " | \([.trials[].unknown] | add) |"' "$OUT/$name.json"
    done
}

say "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
phase "beside others" scripts/bench-peers.sh
phase "leader killed" failover killed --trials 50
phase "leader hands over" failover planned --planned --trials 50
{
    peers_table
    printf '\n'
    failover_table
    printf '\n'
    appends_table
} | tee "$OUT/tables.md"
print_times
say "load after: $(cut -d' ' -f1-3 /proc/loadavg); the figures are in $OUT"
