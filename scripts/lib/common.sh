# shellcheck shell=bash
# What the scripts share: how they speak, how they install what is missing, how they say where the time went.
#
# Sourced, never run. Whoever sources it has set PROGRAM, the name at the head of each line.

say() { printf '%s: %s\n' "$PROGRAM" "$*"; }

# The first argument is what was found, the others what to do about it, a line each.
die() {
    printf '%s: error: %s\n' "$PROGRAM" "$1" >&2
    local line
    for line in "${@:2}"; do
        printf '%*s  %s\n' "${#PROGRAM}" '' "$line" >&2
    done
    exit 1
}

# The search path of an ordinary user does not lead to dockerd, iptables and ss everywhere.
PATH=$PATH:/usr/sbin:/sbin

on_path() { command -v "$1" >/dev/null 2>&1; }

# Prints the packages that bring the commands which are not there. Arguments: COMMAND:PACKAGE...
missing_packages() {
    local pair
    for pair in "$@"; do
        on_path "${pair%%:*}" || printf '%s\n' "${pair#*:}"
    done
}

# Installs Debian packages; says nothing and does nothing without arguments.
install_packages() {
    local out
    [[ $# -gt 0 ]] || return 0
    on_path apt-get || die "missing here: $* (Debian's names), and there is no apt-get" \
        "to do: install them by the means of this system, then run this again"
    [[ $(id -u) -eq 0 ]] || die "missing here: $*, and installing needs root, and this is $(id -un)" \
        "to do: sudo apt-get install --no-install-recommends $*"
    say "installing $* with apt-get"
    out=$(mktemp)
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@"; } >"$out" 2>&1 </dev/null; then
        tail -n 20 "$out" >&2
        rm -f "$out"
        die "apt-get could not install $*; its last words are above" \
            "to do: see that the package source can be reached and /etc/apt is right, then run this again"
    fi
    rm -f "$out"
}

# Needs the root of the repository as working directory.
find_rust() {
    # Where rustup puts it, for shells that never read its env file (a CI job, sudo).
    if ! on_path cargo && [[ -x $HOME/.cargo/bin/cargo ]]; then PATH=$HOME/.cargo/bin:$PATH; fi
    on_path cargo || die "no cargo on the PATH, and none in $HOME/.cargo/bin" \
        "to do: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer with rustup:" \
        "         curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal" \
        "       then run this again; the shell need not be a new one"
}

# Runs a step and keeps its time. Arguments: NAME COMMAND...
# A script that a signal ends leaves with the status of its last command, so a script is through only when it says so:
# PHASE is the step that runs, and "through" after all of them.
TIMES=() PHASE=start
phase() {
    local name=$1 start=$SECONDS
    shift
    # shellcheck disable=SC2034  # Whoever sources this reads it.
    PHASE=$name
    "$@"
    TIMES+=("$(printf '%-24s %4d s' "$name" $((SECONDS - start)))")
}

print_times() {
    local line
    for line in "${TIMES[@]}"; do printf '%s:   %s\n' "$PROGRAM" "$line"; done
}
