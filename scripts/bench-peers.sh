#!/usr/bin/env bash
# Measures durable submits beside etcd, RabbitMQ and NATS JetStream, on this machine, in the same minutes.
#
#   scripts/bench-peers.sh [CLIENTS...]        (default 1 64 1024)
#
# Installs from Debian what is missing, starts three processes of each system on loopback, all on the same disk, and lets closed-loop
# clients send records of 512 bytes to each in turn. Everything is stopped and removed at the end, and on an interrupt.
#
# What is compared: three replicas each; every client waits for the answer to its own record before it sends the next. A
# system's clients share 8 connections (Troupe's links are opened by its batches, at most 8, to the leader; the others' are spread over
# their nodes); through HTTP each client of Troupe's has its own. Troupe encrypts and authenticates all links, the others run
# in clear text. Troupe, etcd and RabbitMQ answer when a majority has synced the record (fdatasync); NATS does when a majority has
# written it, and syncs every two minutes, as it is by default.
#
# Environment:
#   TROUPE_BIN         a troupe to measure, instead of building one
#   PEERS_BIN          the peers' clients, instead of building them from benches/peers
#   BENCH_DIR          where everything is kept meanwhile (default target/bench); on the disk to be measured
#   BENCH_SECONDS      of each stage (default 5)
#   BENCH_PORT         the first of eighty ports (default 17000)
#   BENCH_JSON         a file for the figures
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT PROGRAM=bench-peers
cd "$ROOT"
# shellcheck source=scripts/lib/common.sh
source "$ROOT/scripts/lib/common.sh"
PORT=${BENCH_PORT:-17000}
# shellcheck source=scripts/lib/bench.sh
source "$ROOT/scripts/lib/bench.sh"

readonly LENGTH=${BENCH_SECONDS:-5}
HERE=$(realpath -m "${BENCH_DIR:-target/bench}")
readonly HERE
BENCH=$HERE/troupe
PIDS=() RABBIT=()

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# --- programs ------------------------------------------------------------------------------------------------------

install_missing() {
    local packages
    mapfile -t packages < <(
        missing_packages curl:curl jq:jq etcd:etcd-server nats-server:nats-server rabbitmq-server:rabbitmq-server
        [[ -n ${PEERS_BIN:-} ]] || missing_packages cc:gcc
    )
    install_packages "${packages[@]}"
}

build() {
    local target
    TROUPE=${TROUPE_BIN:-} PEERS=${PEERS_BIN:-}
    [[ -n $TROUPE && -n $PEERS ]] || find_rust
    target=$(cargo metadata --no-deps --format-version 1 | jq -r .target_directory)
    if [[ -z $TROUPE ]]; then
        cargo build --release --locked -p node
        TROUPE=$target/release/troupe
    fi
    if [[ -z $PEERS ]]; then
        cargo build --release --locked --manifest-path benches/peers/Cargo.toml --target-dir "$target/peers"
        PEERS=$target/peers/release/peers
    fi
}

# --- peers ---------------------------------------------------------------------------------------------------------

# The Nth client port of a system: etcd 30, rabbit 40, nats 50 behind the first.
at() { printf '%d' $((PORT + $1 + $2)); }
nodes() { list "127.0.0.1:$(at "$1" 1)" "127.0.0.1:$(at "$1" 2)" "127.0.0.1:$(at "$1" 3)"; }

# Starts a process of ours, its words in a file.
run() {
    local log=$1
    shift
    setsid "$@" >"$log" 2>&1 </dev/null &
    PIDS+=("$!")
}

etcd_up() {
    local n cluster dir=$HERE/etcd
    mkdir -p "$dir"
    cluster=$(list "e1=http://127.0.0.1:$(at 30 4)" "e2=http://127.0.0.1:$(at 30 5)" "e3=http://127.0.0.1:$(at 30 6)")
    for n in 1 2 3; do
        run "$dir/$n.log" etcd --name "e$n" --data-dir "$dir/$n" --log-level error \
            --listen-client-urls "http://127.0.0.1:$(at 30 "$n")" --advertise-client-urls "http://127.0.0.1:$(at 30 "$n")" \
            --listen-peer-urls "http://127.0.0.1:$(at 33 "$n")" --initial-advertise-peer-urls "http://127.0.0.1:$(at 33 "$n")" \
            --initial-cluster "$cluster" --initial-cluster-state new
    done
}

nats_up() {
    local n i dir=$HERE/nats
    mkdir -p "$dir"
    for n in 1 2 3; do
        {
            printf 'server_name: n%d\nlisten: "127.0.0.1:%d"\n' "$n" "$(at 50 "$n")"
            printf 'jetstream { store_dir: "%s/%d" }\n' "$dir" "$n"
            printf 'cluster { name: bench, listen: "127.0.0.1:%d", routes: [\n' "$(at 53 "$n")"
            for i in 1 2 3; do printf '"nats://127.0.0.1:%d"\n' "$(at 53 "$i")"; done
            printf '] }\n'
        } >"$dir/$n.conf"
        run "$dir/$n.log" nats-server -c "$dir/$n.conf"
    done
}

# RabbitMQ's wrapper wants to be root or rabbitmq; what it wraps does not. Its epmd is ours, on a port of its own.
# Sets RABBIT to the environment of its Nth node.
rabbit() {
    local n=$1 dir=$HERE/rabbit
    RABBIT=(
        HOME="$dir" ERL_EPMD_PORT="$(at 40 9)" ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME="r$n@localhost"
        RABBITMQ_NODE_PORT="$(at 40 "$n")" RABBITMQ_DIST_PORT="$(at 43 "$n")" RABBITMQ_MNESIA_BASE="$dir/$n"
        RABBITMQ_LOG_BASE="$dir/$n-log" RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf"
        RABBITMQ_ENABLED_PLUGINS_FILE="$dir/plugins" RABBITMQ_PID_FILE="$dir/$n.pid"
    )
}

rabbit_up() {
    local n dir=$HERE/rabbit
    mkdir -p "$dir"
    printf '[].\n' >"$dir/plugins"
    head -c 15 /dev/urandom | base64 | tr -d '/+=' >"$dir/.erlang.cookie"
    chmod 400 "$dir/.erlang.cookie"
    {
        printf 'cluster_formation.peer_discovery_backend = classic_config\n'
        for n in 1 2 3; do printf 'cluster_formation.classic_config.nodes.%d = r%d@localhost\n' "$n" "$n"; done
        printf 'loopback_users.guest = true\n'
    } >"$dir/rabbitmq.conf"
    run "$dir/epmd.log" env ERL_EPMD_ADDRESS=127.0.0.1 epmd -port "$(at 40 9)"
    for n in 1 2 3; do
        mkdir -p "$dir/$n" "$dir/$n-log"
        rabbit "$n"
        run "$dir/$n.log" env "${RABBIT[@]}" /usr/lib/rabbitmq/bin/rabbitmq-server
    done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Arguments: WHAT SECONDS COMMAND... until the command succeeds.
await() {
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || die "$what is not ready" "to do: read the logs below $HERE"
        sleep 0.3
    done
}

etcd_ready() { curl -s --fail --max-time 2 "http://127.0.0.1:$(at 30 "$1")/health" | grep -q true; }
rabbit_ready() {
    rabbit 1
    env "${RABBIT[@]}" /usr/lib/rabbitmq/bin/rabbitmqctl -q --node r1@localhost await_online_nodes 3 --timeout 5
}

all_ready() {
    local n
    for n in 1 2 3; do
        await "etcd $n" 30 etcd_ready "$n"
        await "nats $n" 30 listens "$(at 50 "$n")"
        await "rabbitmq $n" 90 listens "$(at 40 "$n")"
    done
    await "rabbitmq's cluster" 90 rabbit_ready
}

# --- measuring -----------------------------------------------------------------------------------------------------

# One row for each system and number of clients: NAME and the stage as JSON.
measure() {
    local clients=$1 rows=$HERE/rows
    over_links submit --clients "$clients" --seconds "$LENGTH" --max 1000000 --metrics "$(metrics_urls)" --json >"$HERE/out" 2>>"$HERE/words"
    jq -c '.stages[0] + {name: "troupe, links"}' "$HERE/out" >>"$rows"
    "$PEERS" etcd --nodes "$(nodes 30)" --clients "$clients" --seconds "$LENGTH" >"$HERE/out"
    jq -c '.stages[0] + {name: "etcd"}' "$HERE/out" >>"$rows"
    "$PEERS" rabbitmq --nodes "$(nodes 40)" --clients "$clients" --seconds "$LENGTH" >"$HERE/out"
    jq -c '.stages[0] + {name: "rabbitmq"}' "$HERE/out" >>"$rows"
    "$PEERS" nats --nodes "$(nodes 50)" --clients "$clients" --seconds "$LENGTH" >"$HERE/out"
    jq -c '.stages[0] + {name: "nats (no sync)"}' "$HERE/out" >>"$rows"
    over_http --clients "$clients" --seconds "$LENGTH" --json >"$HERE/out" 2>>"$HERE/words"
    jq -c '.stages[0] + {name: "troupe, http"}' "$HERE/out" >>"$rows"
}

show() {
    printf '\n%-16s %7s %10s %8s %8s %8s %7s %22s\n' system clients records/s 'p50 ms' 'p99 ms' 'max ms' errors 'troupe over links is'
    jq -sr '(map(select(.name == "troupe, links")) | map({(.clients | tostring): .submits_per_second}) | add) as $ours
        | .[] | [.name, .clients, .submits_per_second, .latency.p50_ms, .latency.p99_ms, .latency.max_ms,
                 ([.errors[]] | add // 0), ($ours[.clients | tostring] / .submits_per_second)] | @tsv' "$HERE/rows" |
        while IFS=$'\t' read -r name clients rate p50 p99 max errors ratio; do
            printf '%-16s %7d %10.0f %8.2f %8.2f %8.1f %7d %20.1f x\n' "$name" "$clients" "$rate" "$p50" "$p99" "$max" "$errors" "$ratio"
        done
    cat <<'END'

Records of 512 bytes, three processes each, one disk. A closed loop: each client waits for its answer. 8 connections shared by a system's
clients, except "troupe, http" (one each). Links of Troupe are mutual TLS; the others are clear text. Answered after fdatasync on
a majority: troupe, etcd, rabbitmq; after a write without sync: nats.
END
}

finish() {
    local status=$? pid
    trap - EXIT
    troupe_down
    # Each is the first of a group: some begin others.
    for pid in "${PIDS[@]}"; do end_pid "-$pid"; done
    if [[ $status -eq 0 ]]; then rm -rf "$HERE"; else say "failed (status $status); logs are below $HERE"; fi
    exit "$status"
}

main() {
    local clients
    case ${1:-} in -h | --help) usage; return 0 ;; esac
    [[ $# -gt 0 ]] || set -- 1 64 1024
    install_missing
    build
    ! listens "$(at 30 1)" || die "port $(at 30 1) is taken" "to do: BENCH_PORT=$((PORT + 1000)) scripts/bench-peers.sh"
    rm -rf "$HERE"
    mkdir -p "$HERE"
    trap finish EXIT
    trap 'exit 130' INT TERM
    say "starting three processes of each system"
    rabbit_up
    etcd_up
    nats_up
    troupe_up
    all_ready
    for clients in "$@"; do
        say "$clients clients, $LENGTH s of each system; load before it: $(cut -d' ' -f1-3 /proc/loadavg)"
        measure "$clients"
    done
    show
    [[ -z ${BENCH_JSON:-} ]] || jq -s . "$HERE/rows" >"$BENCH_JSON"
}

main "$@"
