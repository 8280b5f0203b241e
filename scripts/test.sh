#!/usr/bin/env bash
# The one command that runs all tests, on a machine with nothing but the base system.
#
#   scripts/test.sh [arguments for cargo nextest run]...      e.g. scripts/test.sh -E 'package(domain)'
#
# Installs what is missing (Debian packages with apt-get, cargo-nextest with cargo), brings a Docker engine up, makes the
# local base image, and runs every test of the workspace, real Docker and real processes included. Says at the end
# how long each phase took. Rust itself is not installed: how to get it is a choice of the person.
#
# Environment:
#   TROUPE_CORPORA   folder of test data that the project did not write (default ../shared/corpora, beside the
#                    repository); tests that need it say so and skip without it
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=test
cd "$ROOT"
# shellcheck source=scripts/lib/common.sh
source scripts/lib/common.sh

# --- what is missing -----------------------------------------------------------------------------------------------

packages_for_tests() {
    missing_packages cc:gcc git:git curl:curl docker:docker.io dockerd:docker.io iptables:iptables \
        busybox:busybox-static promtool:prometheus jq:jq
    # gcc only recommends the headers and libraries of C, without which nothing links.
    [[ -e /usr/include/stdlib.h ]] || printf '%s\n' libc6-dev
}

install_nextest() {
    cargo nextest --version >/dev/null 2>&1 && return 0
    say "installing cargo-nextest; this takes some minutes, once"
    cargo install cargo-nextest --locked --profile dev ||
        die "cargo could not install cargo-nextest; its words are above" "to do: install it, then run this again"
    on_path cargo-nextest || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
}

install_missing() {
    local packages
    find_rust
    mapfile -t packages < <(packages_for_tests | sort -u)
    install_packages "${packages[@]}"
    install_nextest
}

# For the tests of upgrades, which say so when there is none.
build_previous() { scripts/previous-binary.sh || [[ $? -eq 3 ]]; }

# For the tests that inject faults.
build_faulty() { scripts/faulty-binary.sh; }

bring_docker_up() { scripts/docker-up.sh && scripts/base-image.sh busybox; }

build() { cargo nextest run --workspace --profile ci --no-run "$@"; }

run() { cargo nextest run --workspace --profile ci "$@"; }

# --- phases --------------------------------------------------------------------------------------------------------

finish() {
    local status=$?
    print_times
    if [[ $PHASE == through && $status -eq 0 ]]; then
        say "all passed in $SECONDS s"
    else
        say "failed or ended in '$PHASE', after $SECONDS s"
    fi
}

main() {
    trap finish EXIT
    phase "install what is missing" install_missing
    phase "docker and base image" bring_docker_up
    phase "build the tests" build "$@"
    phase "build the earlier commit" build_previous
    phase "build the faulty binary" build_faulty
    phase "run the tests" run "$@"
    PHASE=through
}

main "$@"
