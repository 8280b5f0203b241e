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
readonly ROOT
cd "$ROOT"

say() { printf 'test: %s\n' "$*"; }
die() {
    printf 'test: error: %s\n' "$1" >&2
    shift
    printf '      %s\n' "$@" >&2
    exit 1
}

on_path() { command -v "$1" >/dev/null 2>&1; }

# --- what is missing -----------------------------------------------------------------------------------------------

# The package that brings each command; a command that is there needs no package.
missing_packages() {
    local pair
    for pair in cc:gcc git:git curl:curl docker:docker.io dockerd:docker.io iptables:iptables \
        busybox:busybox-static promtool:prometheus jq:jq; do
        on_path "${pair%%:*}" || [[ -x /usr/sbin/${pair%%:*} ]] || printf '%s\n' "${pair#*:}"
    done
    # gcc only recommends the headers and libraries of C, without which nothing links.
    [[ -e /usr/include/stdlib.h ]] || printf '%s\n' libc6-dev
}

install_packages() {
    local packages out
    mapfile -t packages < <(missing_packages | sort -u)
    [[ ${#packages[@]} -gt 0 ]] || return 0
    on_path apt-get || die "missing here: ${packages[*]} (Debian's names), and there is no apt-get" \
        "to do: install them by the means of this system, then run this again"
    [[ $(id -u) -eq 0 ]] || die "missing here: ${packages[*]}, and installing them needs root" \
        "to do: sudo apt-get install --no-install-recommends ${packages[*]}"
    say "installing ${packages[*]}"
    out=$(mktemp)
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${packages[@]}"; } >"$out" 2>&1 </dev/null; then
        tail -n 20 "$out" >&2
        rm -f "$out"
        die "apt-get could not install ${packages[*]}; its last words are above" \
            "to do: see that the package source can be reached and /etc/apt is right, then run this again"
    fi
    rm -f "$out"
}

find_rust() {
    # Where rustup puts it, for shells that never read its env file (a CI job, sudo).
    if ! on_path cargo && [[ -x $HOME/.cargo/bin/cargo ]]; then PATH=$HOME/.cargo/bin:$PATH; fi
    on_path cargo || die "no cargo on the PATH" \
        "to do: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer (rustup), then run this again"
}

install_nextest() {
    cargo nextest --version >/dev/null 2>&1 && return 0
    say "installing cargo-nextest; this takes some minutes, once"
    cargo install cargo-nextest --locked --profile dev ||
        die "cargo could not install cargo-nextest; its words are above" "to do: install it, then run this again"
    on_path cargo-nextest || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
}

install_missing() {
    find_rust
    install_packages
    install_nextest
}

bring_docker_up() { scripts/docker-up.sh && scripts/base-image.sh busybox; }

build() { cargo nextest run --workspace --profile ci --no-run "$@"; }

run() { cargo nextest run --workspace --profile ci "$@"; }

# --- phases --------------------------------------------------------------------------------------------------------

TIMES=()
phase() {
    local name=$1 start=$SECONDS
    shift
    "$@"
    TIMES+=("$(printf '%-24s %4d s' "$name" $((SECONDS - start)))")
}

finish() {
    local status=$?
    [[ ${#TIMES[@]} -eq 0 ]] || printf 'test:   %s\n' "${TIMES[@]}"
    if [[ $status -eq 0 ]]; then say "all passed in $SECONDS s"; else say "failed after $SECONDS s"; fi
}

main() {
    trap finish EXIT
    phase "install what is missing" install_missing
    phase "docker and base image" bring_docker_up
    phase "build the tests" build "$@"
    phase "run the tests" run "$@"
}

main "$@"
