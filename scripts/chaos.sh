#!/usr/bin/env bash
# Runs chaos: real nodes, real containers, faults from a seed, and says what does not hold (docs/chaos.md).
#
#   scripts/chaos.sh --minutes N --seed S [--out DIR] [...]      all options: scripts/chaos.sh --help
#
# Builds what it needs, and brings a Docker engine up. Exit code 0: everything holds. 1: something does not, and the seed that
# shows it was the last. 3: nothing came of a class of faults. 2: a wrong option.
#
# Environment, beside what the nodes are to inherit:
#   TROUPE_BIN       the binary of the nodes, instead of the one that is built here
#   CHAOS_PROFILE    cargo's profile for both (default dev: its nodes check their invariants after each entry)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=chaos
cd "$ROOT"
# shellcheck source=scripts/lib/common.sh
source scripts/lib/common.sh

readonly PROFILE=${CHAOS_PROFILE:-dev}

main() {
    find_rust
    scripts/docker-up.sh
    scripts/base-image.sh busybox
    local packages=(-p chaos)
    [[ -n ${TROUPE_BIN:-} ]] || packages+=(-p node)
    cargo build --quiet --profile "$PROFILE" "${packages[@]}"
    exec cargo run --quiet --profile "$PROFILE" -p chaos -- "$@"
}

main "$@"
