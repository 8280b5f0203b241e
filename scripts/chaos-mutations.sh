#!/usr/bin/env bash
# Plants bugs into nodes, one after the other, and sees whether the chaos suite finds each (docs/chaos.md).
#
#   scripts/chaos-mutations.sh [OUT] [BUG...]     OUT: where reports go (default target/mutations); all bugs, unless some are named
#
# A bug counts as found when scripts/chaos.sh ends with exit code 1 within ten minutes of seeds. First a run without a bug must
# find nothing with the same binary. The state of these nodes does not check itself: the suite has to see it from outside. Exit code 0: all are found. 1: not.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=chaos-mutations
cd "$ROOT"
# shellcheck source=scripts/lib/common.sh
source scripts/lib/common.sh

readonly OUT=${1:-target/mutations}
shift || true
BUGS=("$@")
# Those of `actors/src/faults.rs`.
((${#BUGS[@]})) || BUGS=(no-fence-check lease-too-long adopt-by-name double-report reap-the-living)
readonly BUGS
# Faults that take leases away, which is what the bugs are about. The engine's end would hide what ran beside what.
readonly FAULTS=kill,kill_leader,freeze,restart,split,cut_leader,one_way

# Runs seeds with a bug, or without; prints exit code, seconds, and what was found first.
hunt() {
    local bug=$1 minutes=$2 out=$OUT/${1:-none} began=$SECONDS code=0
    mkdir -p "$out"
    TROUPE_BIN=$BINARY TROUPE_TEST_FAULT=${bug:+bug:$bug} scripts/chaos.sh --minutes "$minutes" --seed 1 --seconds 60 \
        --faults "$FAULTS" --out "$out" >"$out/log" 2>&1 || code=$?
    local found
    found=$(grep -o '^\*\*[a-z-]*\*\*' "$out/report.md" 2>/dev/null | sort | uniq -c | tr -s ' \n' ' ' || true)
    printf '%s: exit code %s after %s s;%s\n' "${bug:-no bug}" "$code" "$((SECONDS - began))" "${found:- nothing found}"
    return "$code"
}

main() {
    BINARY=$(scripts/faulty-binary.sh --unchecked)
    readonly BINARY
    local failed=0 code
    hunt '' 4 || failed=1
    for bug in "${BUGS[@]}"; do
        code=0
        hunt "$bug" 10 || code=$?
        ((code == 1)) || failed=1
    done
    exit "$failed"
}

main
