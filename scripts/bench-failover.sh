#!/usr/bin/env bash
# Measures for how long no submit is accepted when the leader goes: three processes on this machine, one after the other.
#
#   scripts/bench-failover.sh [--planned] [OPTIONS of `troupe bench failover`]
#
# Without --planned the leader is ended by kill -9 and started again after the next has taken over; with it, it hands over
# (`troupe cluster transfer-leader`).
#
# Environment:
#   TROUPE_BIN    a troupe to measure, instead of building one
#   BENCH_DIR     where everything is kept meanwhile (default target/bench); on the disk to be measured
#   BENCH_PORT    the first of thirty ports (default 17000)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=bench-failover
cd "$ROOT"
# shellcheck source=scripts/lib/common.sh
source "$ROOT/scripts/lib/common.sh"
PORT=${BENCH_PORT:-17000}
# shellcheck source=scripts/lib/bench.sh
source "$ROOT/scripts/lib/bench.sh"
BENCH=$(realpath -m "${BENCH_DIR:-target/bench}")/failover

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

build() {
    local target
    TROUPE=${TROUPE_BIN:-}
    if [[ -z $TROUPE ]]; then
        find_rust
        target=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
        cargo build --release --locked -p node
        TROUPE=$target/release/troupe
    fi
}

finish() {
    local status=$?
    trap - EXIT
    troupe_down
    exit "$status"
}

main() {
    case ${1:-} in -h | --help) usage; return 0 ;; esac
    build
    rm -rf "$BENCH"
    trap finish EXIT
    trap 'exit 130' INT TERM
    troupe_up
    # What runs inside the bench's shell; a number of a node is the last letter of its name.
    export BENCH TROUPE
    if [[ ${1:-} == --planned ]]; then
        shift
        TROUPE_ADDR="http://127.0.0.1:$(http_port 1)" TROUPE_TOKEN=$(cat "$BENCH"/node-*/data/admin-token)
        export TROUPE_ADDR TROUPE_TOKEN
        # shellcheck disable=SC2016
        over_links failover --end '"$TROUPE" cluster transfer-leader >/dev/null' "$@"
    else
        # shellcheck disable=SC2016
        over_links failover "$@" --end 'kill -9 "$(cat "$BENCH/$TROUPE_LEADER/pid")"' --back '
            dir=$BENCH/$TROUPE_LEADER
            setsid "$TROUPE" node --config "$dir/config.toml" >>"$dir/node.log" 2>&1 </dev/null &
            echo $! >"$dir/pid"'
    fi
}

main "$@"
