#!/usr/bin/env bash
# Makes sure that a Docker engine answers.
#
# Uses the engine there is: whatever DOCKER_HOST or the default socket leads to. Where none answers, it
# installs Debian's docker.io and iptables if they are missing, starts dockerd in the background (by the service
# manager where one runs, else by itself), and waits until it answers. Safe to run again and again.
#
# Environment:
#   DOCKER_HOST            used as it is; when it is set, nothing is installed or started
#   TROUPE_DOCKER_WAIT     seconds to wait for the engine to answer (default 60)
#   TROUPE_DOCKER_LOG      log of the dockerd started here (default /var/log/troupe-dockerd.log)
#   TROUPE_DOCKER_ARGS     further arguments for dockerd, separated by blanks
set -euo pipefail

readonly PROGRAM=docker-up
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

readonly WAIT=${TROUPE_DOCKER_WAIT:-60}
readonly LOG=${TROUPE_DOCKER_LOG:-/var/log/troupe-dockerd.log}
readonly PIDFILE=/run/troupe-dockerd.pid
# Every attempt has a network of its own, and dockerd's own pools end at 31 networks: ask for 4096 small ones.
readonly POOL=base=172.16.0.0/12,size=24
readonly SOCKET=/var/run/docker.sock

answers() { timeout 10 docker info >/dev/null 2>&1; }

describe() {
    docker info --format \
        'engine {{.ServerVersion}}, {{.Driver}}, cgroup v{{.CgroupVersion}}, {{.NCPU}} cpus'
}

# A socket that is there but closed to this user is not a missing engine, and starting a second one would not help.
refuse_closed_socket() {
    if [[ -S $SOCKET && ! -w $SOCKET ]]; then
        die "$SOCKET exists, but $(id -un) may not write to it" \
            "to do: add yourself to its group (sudo usermod -aG docker $(id -un), then log in again)," \
            "       or run this script as root"
    fi
}

need_root() {
    [[ $(id -u) -eq 0 ]] || die "$1 needs root, and this is $(id -un)" \
        "to do: run this script as root, or set DOCKER_HOST to an engine that you may use"
}

install_missing() {
    local packages
    mapfile -t packages < <(missing_packages docker:docker.io dockerd:docker.io iptables:iptables | sort -u)
    install_packages "${packages[@]}"
}

# Whether a pid is a living dockerd. One that has died and was not reaped keeps its name, but has no program any more.
is_dockerd() {
    [[ $(cat "/proc/$1/comm" 2>/dev/null) == dockerd ]] && readlink "/proc/$1/exe" >/dev/null
}

# The pid of the dockerd that we started earlier, if that process is still a dockerd.
running_pid() {
    local pid
    [[ -s $PIDFILE ]] && pid=$(<"$PIDFILE") && is_dockerd "$pid" && printf '%s' "$pid"
}

# dockerd refuses to start while its pid file names any process, even one that has got the number since.
remove_stale_pid_file() {
    local file=/var/run/docker.pid
    if [[ -s $file ]] && ! is_dockerd "$(<"$file")"; then
        rm -f "$file"
    fi
}

# The pid of the dockerd that is being waited for; empty where a service manager looks after it.
ENGINE=

start_engine() {
    need_root "starting dockerd"
    if [[ -d /run/systemd/system ]]; then
        say "starting docker.service"
        systemctl start docker.service ||
            die "systemctl could not start docker.service" "to do: read journalctl -u docker.service"
        return 0
    fi
    if ENGINE=$(running_pid); then
        say "dockerd was started earlier (pid $ENGINE) and does not answer yet; waiting for it"
        return 0
    fi
    remove_stale_pid_file
    local args=()
    # dockerd refuses an option that its configuration file may set as well.
    [[ -e /etc/docker/daemon.json ]] || args+=(--default-address-pool "$POOL")
    # Word splitting is what TROUPE_DOCKER_ARGS is for.
    # shellcheck disable=SC2206
    args+=(${TROUPE_DOCKER_ARGS:-})
    setsid dockerd "${args[@]}" >>"$LOG" 2>&1 </dev/null &
    ENGINE=$!
    printf '%s\n' "$ENGINE" >"$PIDFILE"
    say "started dockerd (pid $ENGINE), log in $LOG"
}

# Turns the known last words of a dying dockerd into what to do about them.
advise() {
    local last
    last=$(tail -n 50 "$LOG")
    if grep -qE 'iptables.*(Permission denied|not supported|Failed to initialize nft|No chain)' <<<"$last"; then
        printf '%s\n' "to do: the kernel refused this iptables; try the other one:" \
            "       update-alternatives --set iptables /usr/sbin/iptables-legacy" \
            "       (a job needs a network of its own, so --iptables=false is no way out)"
    elif grep -q 'overlay' <<<"$last" && grep -qE 'driver not supported|failed to mount' <<<"$last"; then
        printf '%s\n' "to do: overlay2 does not work on this disk; TROUPE_DOCKER_ARGS='--storage-driver=vfs' is slow and works"
    elif grep -qE 'cgroups?.*(not found|mountpoint|no such)' <<<"$last"; then
        printf '%s\n' "to do: mount the cgroup file systems (package cgroupfs-mount), then run this again"
    else
        printf '%s\n' "to do: the log above says why; TROUPE_DOCKER_ARGS passes options to dockerd"
    fi
}

fail_with_log() {
    if [[ -d /run/systemd/system ]]; then
        die "$1" "to do: read journalctl -u docker.service"
    fi
    printf 'docker-up: the end of %s:\n' "$LOG" >&2
    tail -n 25 "$LOG" >&2 || true
    mapfile -t todo < <(advise)
    die "$1" "${todo[@]}"
}

wait_for_engine() {
    local deadline=$((SECONDS + WAIT))
    until answers; do
        if [[ -n $ENGINE ]] && ! kill -0 "$ENGINE" 2>/dev/null; then
            rm -f "$PIDFILE"
            fail_with_log "dockerd ended before it answered"
        fi
        ((SECONDS < deadline)) || fail_with_log "no answer from the engine within $WAIT s"
        sleep 0.5
    done
}

main() {
    if on_path docker && answers; then
        say "using the engine there is: $(describe)"
        return 0
    fi
    if [[ -n ${DOCKER_HOST:-} ]]; then
        die "DOCKER_HOST is $DOCKER_HOST and no engine answers there" \
            "to do: start that engine, or unset DOCKER_HOST to use one on this machine"
    fi
    refuse_closed_socket
    install_missing
    # Some systems start a daemon as soon as its package is there.
    answers || start_engine
    wait_for_engine
    say "ready: $(describe)"
}

main "$@"
