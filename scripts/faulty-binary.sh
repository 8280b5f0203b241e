#!/usr/bin/env bash
# Builds a `troupe` into which tests can inject faults (actors/src/faults.rs), and prints its path as the last line.
#
#   scripts/faulty-binary.sh
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
mkdir -p "$TARGET/faulty"
TARGET=$(cd "$TARGET" && pwd)
readonly TARGET FAULTY=$TARGET/faulty

main() {
    find_rust
    # One at a time: whoever comes second finds it built.
    exec 9>"$FAULTY/lock"
    flock 9
    take_libraries "$TARGET" "$FAULTY"
    cargo build --quiet --locked -p node --features test-faults --target-dir "$FAULTY" >&2
    printf '%s\n' "$FAULTY/debug/troupe"
}

main
