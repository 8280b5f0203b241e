#!/usr/bin/env bash
# Builds the binary of an earlier commit, for tests of nodes of two builds in one cluster, and prints its path.
#
#   scripts/previous-binary.sh
#
# The commit is the newest before HEAD whose generation (docs/compatibility.md) is this one's. Prints "COMMIT PATH" on
# stdout. A binary that was built before is taken as it is. Exits with 3 and a reason where there is no such commit, as in
# a clone without history.
#
# Environment:
#   CARGO_TARGET_DIR   as for cargo; what libraries were built there are used
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=previous-binary
cd "$ROOT"
# shellcheck source=scripts/lib/common.sh
source scripts/lib/common.sh
# shellcheck source=scripts/lib/target.sh
source scripts/lib/target.sh

readonly GENERATION_FILE=docs/compatibility.md

TARGET=${CARGO_TARGET_DIR:-target}
mkdir -p "$TARGET/previous"
TARGET=$(cd "$TARGET" && pwd)
readonly TARGET HOME_OF_ALL=$TARGET/previous

skip() {
    printf '%s\n' "$*" >&2
    exit 3
}

generation() { sed -n 's/^generation: //p' | head -n 1; }

# Prints the commit.
previous_commit() {
    local ours commit
    ours=$(generation <"$GENERATION_FILE")
    [[ -n $ours ]] || die "$GENERATION_FILE names no generation"
    git rev-parse --quiet --verify 'HEAD^' >/dev/null 2>&1 || skip "there is no commit before this one here (a shallow clone?)"
    for commit in $(git rev-list --first-parent --max-count=200 'HEAD^'); do
        if [[ $(git show "$commit:$GENERATION_FILE" 2>/dev/null | generation) == "$ours" ]]; then
            printf '%s\n' "$commit"
            return
        fi
    done
    skip "no earlier commit here is of generation $ours"
}

build() {
    local commit=$1 binary=$2 source=$HOME_OF_ALL/source
    rm -rf "$source"
    mkdir -p "$source"
    # With the time of now: cargo goes by it, and another commit was here before.
    git archive "$commit" | tar -x -m -C "$source"
    # They are this build's, too, as long as Cargo.lock says so.
    take_libraries "$TARGET" "$HOME_OF_ALL/target"
    (cd "$source" && CARGO_TARGET_DIR=$HOME_OF_ALL/target cargo build --quiet --locked -p node) >&2
    # Those of other commits are not asked for again.
    find "$HOME_OF_ALL" -mindepth 1 -maxdepth 1 -type d ! -name source ! -name target -exec rm -rf {} +
    mkdir -p "$(dirname "$binary")"
    cp "$HOME_OF_ALL/target/debug/troupe" "$binary.new"
    mv "$binary.new" "$binary"
}

main() {
    local commit binary
    find_rust
    # One at a time: the sources and the target directory are shared.
    exec 9>"$HOME_OF_ALL/lock"
    flock 9
    commit=$(previous_commit)
    binary=$HOME_OF_ALL/$commit/troupe
    [[ -x $binary ]] || build "$commit" "$binary"
    printf '%s %s\n' "$commit" "$binary"
}

main
