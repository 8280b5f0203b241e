#!/usr/bin/env bash
# Ends the nodes and the git daemon that scripts/cluster-up.sh started.
#
#   scripts/cluster-down.sh [--purge]
#
# What the nodes keep stays, and containers of jobs go on: scripts/cluster-up.sh starts the same cluster again, which
# takes them up. With --purge, the nodes' containers and networks are removed too, and the directory with everything.
#
# Environment:
#   TROUPE_DEMO_DIR    as for cluster-up.sh (default target/cluster)
#   TROUPE_DEMO_WAIT   seconds from TERM to KILL (default 30)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=cluster-down
# shellcheck source=scripts/lib/common.sh
source "$ROOT/scripts/lib/common.sh"
# shellcheck source=scripts/lib/cluster.sh
source "$ROOT/scripts/lib/cluster.sh"

readonly WAIT=${TROUPE_DEMO_WAIT:-30}
NODES=''

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# Runs the command with the arguments PID NAME for each process of ours that lives; fails if there was none.
each_process() {
    local n pid some=1
    for ((n = 1; n <= NODES; n++)); do
        if pid=$(node_pid "$n"); then "$@" "$pid" "node-$n"; some=0; fi
    done
    if pid=$(daemon_pid); then "$@" "$pid" "git daemon"; some=0; fi
    return "$some"
}

# A process may end between the look and the signal: that is what was wanted.
terminate() { say "ending $2 (pid $1)"; kill -TERM "$1" 2>/dev/null || true; }
finish_off() { say "$2 (pid $1) did not end within $WAIT s: killing it"; kill -KILL "$1" 2>/dev/null || true; }

end_processes() {
    local deadline=$((SECONDS + WAIT))
    if ! each_process terminate; then
        say "nothing runs"
        return 0
    fi
    while each_process : && ((SECONDS < deadline)); do sleep 0.1; done
    each_process finish_off || true
    deadline=$((SECONDS + 10))
    while each_process :; do
        ((SECONDS < deadline)) || die "a process is there that even KILL does not end" "to do: look at ps and dmesg"
        sleep 0.1
    done
    rm -f "$DEMO"/node-*/pid "$DEMO/git-daemon.pid"
}

# What the nodes of this cluster made, known by the label with the node's id, and nobody else's.
remove_containers() {
    local file id
    local -a containers networks
    for file in "$DEMO"/node-*/data/node-id; do
        [[ -s $file ]] || continue
        id=$(<"$file")
        mapfile -t containers < <(docker ps -aq --filter "label=troupe.node=$id")
        [[ ${#containers[@]} -eq 0 ]] || docker rm -fv "${containers[@]}" >/dev/null
        mapfile -t networks < <(docker network ls -q --filter "label=troupe.node=$id")
        [[ ${#networks[@]} -eq 0 ]] || docker network rm "${networks[@]}" >/dev/null
        say "removed ${#containers[@]} containers and ${#networks[@]} networks of node $id"
    done
}

purge() {
    if timeout 10 docker info >/dev/null 2>&1; then
        remove_containers
    else
        say "no Docker engine answers: containers of these nodes, if there are any, stay"
    fi
    rm -rf --one-file-system "$DEMO" 2>/dev/null ||
        die "cannot remove all of $DEMO: jobs leave files that belong to root" "to do: sudo rm -rf $DEMO"
    say "removed $DEMO"
}

main() {
    case ${1:-} in
        '' | --purge) ;;
        -h | --help) usage; return 0 ;;
        *) die "unknown argument '$1'" "to do: scripts/cluster-down.sh --help" ;;
    esac
    if [[ ! -e $LOCK ]]; then
        say "there is no demo cluster in $DEMO"
        return 0
    fi
    lock_cluster
    NODES=$(setting nodes)
    readonly NODES=${NODES:-0}
    end_processes
    if [[ ${1:-} == --purge ]]; then
        purge
    else
        say "what it keeps is in $DEMO; scripts/cluster-up.sh starts it again"
    fi
}

main "$@"
