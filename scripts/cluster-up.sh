#!/usr/bin/env bash
# From nothing but the base system to a green build: builds Troupe, starts a cluster of N nodes on this machine, pushes
# a commit to a demo repository, and follows its build. The exit code is the build's.
#
#   scripts/cluster-up.sh [N]       1 to 7 nodes; default 3, or as many as the cluster has that is there already
#
# Installs what is missing (Debian packages with apt-get, a Docker engine with scripts/docker-up.sh). Rust itself is not
# installed: how to get it is a choice of the person. The nodes outlive this script; scripts/cluster-down.sh ends them.
# Run again, it starts only the nodes that do not run (none, mostly) and pushes another commit.
#
# Environment:
#   TROUPE_DEMO_DIR    directory of everything that the cluster keeps (default target/cluster)
#   TROUPE_DEMO_PORT   first port, 1024 to 65400 (default 7070). Node N has this + 10 * (N - 1) for HTTP, the next for
#                      nodes, the one after for metrics; the demo repository has this + 100. All on 127.0.0.1.
#   TROUPE_DEMO_WAIT   seconds to wait for a leader, and for the push to become a run (default 60)
#   TROUPE_BIN         a troupe binary to start instead of building one
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=cluster-up
cd "$ROOT"
# shellcheck source=scripts/lib/common.sh
source scripts/lib/common.sh
# shellcheck source=scripts/lib/cluster.sh
source scripts/lib/cluster.sh

readonly WAIT=${TROUPE_DEMO_WAIT:-60}
# Measured: a release build from an empty target directory takes BUILD_MB, a cluster with some builds RUN_MB.
readonly BUILD_MB=3000 RUN_MB=300
NODES='' PORT='' TROUPE=''

# --- what was asked for, and what is there -------------------------------------------------------------------------

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# A directory that holds anything else is not touched: cluster-down.sh --purge removes it whole.
claim_directory() {
    [[ $DEMO != *[\'\":\\$'\n']* ]] || die "TROUPE_DEMO_DIR is $DEMO" \
        "to do: choose a path without quotes, colons and backslashes: it stands in configurations and Docker's options"
    if [[ -d $DEMO && ! -e $LOCK && -n $(ls -A "$DEMO") ]]; then
        die "$DEMO holds something that is not a demo cluster" "to do: choose another TROUPE_DEMO_DIR"
    fi
    mkdir -p "$DEMO" || die "cannot make $DEMO" "to do: choose another TROUPE_DEMO_DIR"
}

# What was asked for, else what the cluster has that is there already, else the default.
read_settings() {
    local kept_nodes kept_port change="to do: scripts/cluster-down.sh --purge first, or choose another TROUPE_DEMO_DIR"
    [[ -z ${1:-} || $1 =~ ^[1-7]$ ]] || die "the number of nodes is '$1'" "to do: ask for 1 to 7"
    kept_nodes=$(setting nodes) kept_port=$(setting port)
    NODES=${1:-${kept_nodes:-3}}
    PORT=${TROUPE_DEMO_PORT:-${kept_port:-7070}}
    if ! [[ $PORT =~ ^[0-9]{4,5}$ ]] || ((PORT < 1024 || PORT > 65400)); then
        die "TROUPE_DEMO_PORT is '$PORT'" "to do: choose a number from 1024 to 65400"
    fi
    [[ -z $kept_nodes || $kept_nodes == "$NODES" ]] ||
        die "the cluster in $DEMO has $kept_nodes nodes, and $NODES were asked for" "$change"
    [[ -z $kept_port || $kept_port == "$PORT" ]] ||
        die "the cluster in $DEMO has its first port at $kept_port, and $PORT was asked for" "$change"
    readonly NODES PORT
}

some_run() {
    local n
    for ((n = 1; n <= NODES; n++)); do ! node_pid "$n" >/dev/null || return 0; done
    return 1
}

all_run() {
    local n
    for ((n = 1; n <= NODES; n++)); do node_pid "$n" >/dev/null || return 1; done
}

# --- what is missing -----------------------------------------------------------------------------------------------

install_missing() {
    local packages
    mapfile -t packages < <(
        missing_packages git:git curl:curl openssl:openssl jq:jq
        # cargo and every other client of TLS read the authorities here.
        [[ -e /etc/ssl/certs/ca-certificates.crt ]] || printf '%s\n' ca-certificates
        [[ -n ${TROUPE_BIN:-} ]] && exit
        missing_packages cc:gcc
        # gcc only recommends the headers and libraries of C, without which nothing links.
        [[ -e /usr/include/stdlib.h ]] || printf '%s\n' libc6-dev
    )
    install_packages "${packages[@]}"
    [[ -x $(git --exec-path)/git-daemon ]] || die "this git has no git-daemon" \
        "to do: install it by the means of this system (a package git-daemon, mostly), then run this again"
    [[ -n ${TROUPE_BIN:-} ]] || find_rust
}

free_mb() { df -Pm "$1" | awk 'NR == 2 { print $4 }'; }

check_disk() {
    local need=$1 for_what=$2 free
    free=$(free_mb "$DEMO")
    ((free >= need)) || die "$for_what needs about $need MB, and the disk of $DEMO has $free MB left" \
        "to do: make room there, or set TROUPE_DEMO_DIR (and CARGO_TARGET_DIR) to directories on another disk"
}

bring_docker_up() { scripts/docker-up.sh 9>&- && scripts/base-image.sh busybox; }

build() {
    if [[ -n ${TROUPE_BIN:-} ]]; then
        [[ -x $TROUPE_BIN ]] || die "TROUPE_BIN is $TROUPE_BIN, which is no program"
        TROUPE=$(realpath "$TROUPE_BIN")
        return 0
    fi
    local target
    target=$(cargo metadata --no-deps --format-version 1 | jq -r .target_directory)
    [[ -x $target/release/troupe ]] || check_disk $((BUILD_MB + RUN_MB)) "building Troupe"
    say "building Troupe; the first time this takes minutes"
    cargo build --release --locked -p node 9>&- || die "cargo could not build Troupe; its words are above"
    TROUPE=$target/release/troupe
}

# --- nodes ---------------------------------------------------------------------------------------------------------

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

holder() {
    local found=
    if on_path ss; then found=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:((\(.*\)))$/\1/p' | head -n 1); fi
    printf '%s' "${found:-a process that this user may not see}"
}

# Arguments: WHAT PORT...
need_ports() {
    local what=$1 port
    shift
    for port in "$@"; do
        ! listens "$port" || die "port $port, which $what needs, is taken by $(holder "$port")" \
            "to do: end that process, or choose other ports: TROUPE_DEMO_PORT=$((PORT + 1000)) scripts/cluster-up.sh" \
            "       (if it is another demo cluster's: with a TROUPE_DEMO_DIR of its own)"
    done
}

# Before anything else is done: nobody wants to hear of a busy port when the build is through.
check_ports() {
    local n
    for ((n = 1; n <= NODES; n++)); do
        node_pid "$n" >/dev/null || need_ports "node-$n" "$(http_port "$n")" "$(cluster_port "$n")" "$(metrics_port "$n")"
    done
    daemon_pid >/dev/null || need_ports "the demo repository" "$(git_port)"
}

# Made aside and renamed, so that a start that was cut off leaves either no certificates or all.
make_certificates() {
    local n
    [[ ! -d $DEMO/pki ]] || return 0
    rm -rf "$DEMO/pki.new"
    "$TROUPE" ca init --dir "$DEMO/pki.new" >/dev/null
    for ((n = 1; n <= NODES; n++)); do
        "$TROUPE" ca issue "node-$n" --ca "$DEMO/pki.new" --out "$DEMO/pki.new" >/dev/null
    done
    mv "$DEMO/pki.new" "$DEMO/pki"
}

make_key() {
    [[ ! -s $DEMO/secrets.key ]] || return 0
    (umask 077 && openssl rand -base64 32 >"$DEMO/secrets.key")
}

# Each node offers its share of the machine, and at least what one job of a workflow asks for.
cpu_share() { local share=$(($(nproc) * 1000 / NODES)); printf '%d' $((share > 1000 ? share : 1000)); }
memory_share() {
    awk -v nodes="$NODES" '/^MemTotal:/ { s = int($2 / 1024 * 3 / 4 / nodes); print (s > 1024 ? s : 1024) }' /proc/meminfo
}

write_config() {
    local n=$1 i seeds=
    for ((i = 1; i <= NODES; i++)); do seeds+="${seeds:+, }\"127.0.0.1:$(cluster_port "$i")\""; done
    cat >"$(node_dir "$n")/config.toml" <<END
# Written by scripts/cluster-up.sh; config/reference.toml has every setting.
[node]
name = "node-$n"
data_dir = '$(node_dir "$n")/data'
cpu_millis = $(cpu_share)
memory_mib = $(memory_share)
slots = 2

[http]
listen = "127.0.0.1:$(http_port "$n")"

[cluster]
listen = "127.0.0.1:$(cluster_port "$n")"
seeds = [$seeds]
bootstrap_expect = $NODES
ca = '$DEMO/pki/ca.pem'
cert = '$DEMO/pki/node-$n.pem'
key = '$DEMO/pki/node-$n-key.pem'

[secrets]
key_file = '$DEMO/secrets.key'

[metrics]
listen = "127.0.0.1:$(metrics_port "$n")"

[runner]
default_image = "troupe/busybox:local"
END
}

start_node() {
    local n=$1 dir
    dir=$(node_dir "$n")
    mkdir -p "$dir"
    write_config "$n"
    setsid "$TROUPE" node --config "$dir/config.toml" >>"$dir/node.log" 2>&1 </dev/null 9>&- &
    printf '%s\n' $! >"$dir/pid"
    say "node-$n started (pid $!)"
}

# The node may still be the shell that becomes it, so only its pid is looked at here.
fail_if_dead() {
    local n
    for ((n = 1; n <= NODES; n++)); do
        kill -0 "$(<"$(node_dir "$n")/pid")" 2>/dev/null && continue
        say "the end of $(node_dir "$n")/node.log:" >&2
        tail -n 15 "$(node_dir "$n")/node.log" >&2
        die "node-$n ended instead of starting; its last words are above" \
            "to do: mend what they say, then run this again"
    done
}

ready() {
    local n
    for ((n = 1; n <= NODES; n++)); do
        curl -s --fail --max-time 2 -o /dev/null "$(node_url "$n")/readyz" || return 1
    done
    token_file >/dev/null && leader >/dev/null
}

no_leader() {
    local n
    for ((n = 1; n <= NODES; n++)); do
        say "node-$n says: $(curl -sS --max-time 2 "$(node_url "$n")/readyz" 2>&1 || true)" >&2
    done
    ! token_file >/dev/null || ask 1 status >&2 || true
    die "no leader that all $NODES nodes know within $WAIT s" \
        "to do: read $DEMO/node-*/node.log; TROUPE_DEMO_WAIT gives it more time" \
        "       if nothing of this cluster is to be kept: scripts/cluster-down.sh --purge, then run this again"
}

wait_for_leader() {
    local deadline=$((SECONDS + WAIT))
    until ready; do
        fail_if_dead
        ((SECONDS < deadline)) || no_leader
        sleep 0.2
    done
    : >"$DEMO/started"
    say "all $NODES nodes are ready, node-$(leader) leads"
}

start_nodes() {
    local n
    if [[ -d $DEMO/pki && ! -e $DEMO/started ]]; then say "an earlier start did not finish; going on with it"; fi
    printf 'nodes=%d\nport=%d\nbinary=%s\n' "$NODES" "$PORT" "$TROUPE" >"$SETTINGS"
    make_certificates
    make_key
    for ((n = 1; n <= NODES; n++)); do
        if node_pid "$n" >/dev/null; then say "node-$n runs (pid $(node_pid "$n"))"; else start_node "$n"; fi
    done
    wait_for_leader
}

# --- the demo repository -------------------------------------------------------------------------------------------

# git as it is without anybody's settings: no signing, no templates, no hooks but the one installed here.
plain_git() { GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git "$@"; }

make_bare() {
    if [[ ! -d $BARE ]]; then
        rm -rf "$DEMO/git.new"
        plain_git init -q --bare -b main "$DEMO/git.new"
        # Somebody's own core.hooksPath would keep the hook from running; forges also give commits by their id.
        plain_git -C "$DEMO/git.new" config core.hooksPath "$BARE/hooks"
        plain_git -C "$DEMO/git.new" config uploadpack.allowAnySHA1InWant true
        mkdir -p "$DEMO/git"
        mv "$DEMO/git.new" "$BARE"
    fi
    mkdir -p "$BARE/hooks"
    printf '#!/usr/bin/env bash\nexport TROUPE_DEMO_DIR=%q\nexec %q\n' "$DEMO" "$ROOT/scripts/lib/post-receive.sh" \
        >"$BARE/hooks/post-receive"
    chmod +x "$BARE/hooks/post-receive"
}

make_working_copy() {
    [[ ! -d $DEMO/demo ]] || return 0
    rm -rf "$DEMO/demo.new"
    plain_git init -q -b main "$DEMO/demo.new"
    cp -R config/demo/. "$DEMO/demo.new/"
    plain_git -C "$DEMO/demo.new" remote add origin "$BARE"
    plain_git -C "$DEMO/demo.new" config branch.main.remote origin
    plain_git -C "$DEMO/demo.new" config branch.main.merge refs/heads/main
    plain_git -C "$DEMO/demo.new" config user.name "$(id -un)"
    plain_git -C "$DEMO/demo.new" config user.email "$(id -un)@localhost"
    plain_git -C "$DEMO/demo.new" add -A
    plain_git -C "$DEMO/demo.new" commit -q -m "Roman numerals"
    mv "$DEMO/demo.new" "$DEMO/demo"
}

# Reading only, this one directory only, this machine only.
serve_repository() {
    local deadline=$((SECONDS + 10)) pid
    if daemon_pid >/dev/null; then return 0; fi
    GIT_CONFIG_GLOBAL=/dev/null setsid "$(git --exec-path)/git-daemon" --reuseaddr --listen=127.0.0.1 "--port=$(git_port)" \
        --export-all "--base-path=$DEMO/git" --forbid-override=receive-pack --informative-errors "$DEMO/git" \
        >>"$DEMO/git-daemon.log" 2>&1 </dev/null 9>&- &
    pid=$!
    printf '%s\n' "$pid" >"$DEMO/git-daemon.pid"
    until plain_git ls-remote -q "$(clone_url)" >/dev/null 2>&1; do
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
            tail -n 15 "$DEMO/git-daemon.log" >&2
            die "git daemon does not serve $(clone_url); the end of its log is above"
        fi
        sleep 0.1
    done
}

# Every node must know the repository before a webhook for it can go to any of them.
register_repository() {
    local n deadline=$((SECONDS + WAIT))
    if [[ ! -s $DEMO/webhook-secret ]]; then
        (umask 077 && openssl rand -hex 24 >"$DEMO/webhook-secret")
    fi
    TROUPE_WEBHOOK_SECRET=$(<"$DEMO/webhook-secret") ask 1 repo add "$REPO" "$(clone_url)" >/dev/null
    for ((n = 1; n <= NODES; n++)); do
        until get "$n" "/v1/repos/$REPO" >/dev/null 2>&1; do
            ((SECONDS < deadline)) || die "node-$n does not know the repository that node-1 registered, after $WAIT s"
            sleep 0.1
        done
    done
}

prepare_repository() {
    make_bare
    make_working_copy
    serve_repository
    register_repository
    say "repository $REPO is $(clone_url), its working copy is $DEMO/demo"
}

# --- a push and its build ------------------------------------------------------------------------------------------

COMMIT='' RUN='' HOOKED=''

push() {
    local copy=$DEMO/demo result
    if plain_git -C "$copy" diff --quiet origin/main main 2>/dev/null; then
        plain_git -C "$copy" commit -q --allow-empty --only -m "push at $(date -u +%H:%M:%S) UTC"
    fi
    COMMIT=$(plain_git -C "$copy" rev-parse main)
    say "pushing ${COMMIT:0:12}"
    plain_git -C "$copy" push -q origin main || die "git push failed; its words are above"
    result=$DEMO/deliveries/$COMMIT
    [[ -s $result ]] || die "the hook of $BARE left no result; its words are above"
    [[ $(jq -r .code "$result") == 2* ]] || die "no node took the webhook; the hook's words are above"
    HOOKED=$(jq -r .node "$result")
    say "node-$HOOKED ($(jq -r .role "$result")) took the webhook, node-$(leader) leads"
}

# A delivery becomes runs when some node has read the workflows of the commit.
wait_for_run() {
    local deadline=$((SECONDS + WAIT)) delivery state='{}'
    delivery=$(jq -r .answer.delivery "$DEMO/deliveries/$COMMIT")
    until [[ $(jq -r .state <<<"$state") == expanded ]]; do
        ((SECONDS < deadline)) || die "the push is not a run after $WAIT s: $(jq -r '"\(.state) \(.reason)"' <<<"$state")" \
            "to do: read $DEMO/node-*/node.log"
        sleep 0.1
        state=$(get "$HOOKED" "/v1/deliveries/$delivery" || printf '{}')
    done
    RUN=$(jq -r '.runs[0] // empty' <<<"$state")
    [[ -n $RUN ]] || die "no workflow of ${COMMIT:0:12} wants this push" "to do: look at $DEMO/demo/.troupe/workflows"
}

# From the node with the highest number that did not take the webhook: any node shows every log.
follow() {
    local from=$NODES status=0 key outcome node
    if ((from == HOOKED && NODES > 1)); then from=$((NODES - 1)); fi
    say "run $RUN, followed from node-$from:"
    ask "$from" --addr "$(urls_from "$from")" logs "$RUN" --follow || status=$?
    while IFS=$'\t' read -r key outcome node; do
        say "$(printf 'job %-10s %-10s on %s' "$key" "$outcome" "$(node_name "$node")")"
    done < <(ask "$from" run show "$RUN" --json | jq -r '.jobs[] | [.key, .outcome // .state, .node // "no node"] | @tsv')
    return "$status"
}

BUILD=0
build_commit() {
    push
    wait_for_run
    follow || BUILD=$?
}

# --- main ----------------------------------------------------------------------------------------------------------

print_summary() {
    local n token
    token=$(token_file)
    for ((n = 1; n <= NODES; n++)); do
        say "node-$n   $(node_url "$n")   metrics http://127.0.0.1:$(metrics_port "$n")/metrics   pid $(node_pid "$n" || printf none)"
    done
    cat <<END

To go on:
  export TROUPE_ADDR=$(urls_from 1) TROUPE_TOKEN=\$(cat $token)
  export PATH=$(dirname "$TROUPE"):\$PATH

  troupe runs; troupe nodes; troupe run show $RUN
  troupe submit --image troupe/busybox:local 'echo hello from \$(hostname)'
  (cd $DEMO/demo && git commit --allow-empty -m again && git push)      # or scripts/cluster-up.sh again
  kill -9 $(node_pid "$(leader || printf 1)" || printf PID)      # the leader, while it builds: the build goes on; cluster-up.sh brings it back
  scripts/cluster-down.sh [--purge]
END
}

finish() {
    local status=$?
    trap - EXIT
    print_times
    if [[ $PHASE == through && $status -eq 0 ]]; then
        say "a green build after $SECONDS s"
    elif [[ $PHASE == through ]]; then
        say "the build is not green (status $status), after $SECONDS s"
    else
        say "failed or ended in '$PHASE', after $SECONDS s"
        ! some_run || say "the nodes that were started run on until scripts/cluster-down.sh"
    fi
}

main() {
    case ${1:-} in -h | --help) usage; return 0 ;; esac
    [[ $# -le 1 ]] || die "at most one argument is taken, the number of nodes" "to do: scripts/cluster-up.sh --help"
    claim_directory
    lock_cluster
    read_settings "$@"
    check_ports
    check_disk "$RUN_MB" "a cluster"
    # A hook or a shell inside a repository may have set these for another one.
    # shellcheck disable=SC2046
    unset $(git rev-parse --local-env-vars 2>/dev/null || true)
    trap finish EXIT
    phase "install what is missing" install_missing
    phase "docker and base image" bring_docker_up
    TROUPE=$(setting binary)
    if all_run && [[ -x $TROUPE ]]; then
        say "all $NODES nodes run already; what runs is not built again before scripts/cluster-down.sh"
    else
        phase "build Troupe" build
    fi
    phase "start the nodes" start_nodes
    phase "demo repository" prepare_repository
    unlock_cluster
    phase "push to the build's end" build_commit
    print_summary
    PHASE=through
    return "$BUILD"
}

main "$@"
