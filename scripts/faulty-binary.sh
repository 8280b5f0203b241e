#!/usr/bin/env bash
# Builds a `troupe` into which tests can inject faults (actors/src/faults.rs), and prints its path as the last line.
#
#   scripts/faulty-binary.sh [--unchecked]
#
# With --unchecked its state does not check itself, as in an optimized build: only what shows outside tells of a bug.
#
# It is this build with the feature `test-faults`, in a target directory of its own, so that it never lies where the binary that
# is used does. Cargo finds out whether there is anything to do.
#
# Environment:
#   CARGO_TARGET_DIR   as for cargo; what libraries were built there are used
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=faulty-binary
cd "$ROOT"
# shellcheck source=scripts/lib/common.sh
source scripts/lib/common.sh
# shellcheck source=scripts/lib/target.sh
source scripts/lib/target.sh

TARGET=${CARGO_TARGET_DIR:-target}
mkdir -p "$TARGET"
TARGET=$(cd "$TARGET" && pwd)
OPTIONS=()
FAULTY=$TARGET/faulty
if [[ ${1:-} == --unchecked ]]; then
    FAULTY=$TARGET/faulty-unchecked
    for package in domain raft-store; do
        OPTIONS+=(--config "profile.dev.package.$package.debug-assertions=false")
    done
fi
readonly TARGET FAULTY OPTIONS

main() {
    find_rust
    mkdir -p "$FAULTY"
    # One at a time: whoever comes second finds it built.
    exec 9>"$FAULTY/lock"
    flock 9
    take_libraries "$TARGET" "$FAULTY"
    cargo build --quiet --locked -p node --features test-faults --target-dir "$FAULTY" "${OPTIONS[@]}" >&2
    printf '%s\n' "$FAULTY/debug/troupe"
}

main
