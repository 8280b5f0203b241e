# shellcheck shell=bash
# A cluster of three Troupe processes on this machine, for benches: no containers, no demo repository, every setting that
# touches durability as it is by default.
#
# Sourced, never run, after common.sh. Everything is below one directory, $BENCH; whoever sources this sets TROUPE (the
# program), PORT (the first of thirty ports) and an EXIT trap that calls troupe_down.

: "${PORT:=17000}"

# The Nth node's ports, as in cluster-up.sh.
http_port() { printf '%d' $((PORT + 10 * ($1 - 1))); }
cluster_port() { printf '%d' $((PORT + 10 * ($1 - 1) + 1)); }
metrics_port() { printf '%d' $((PORT + 10 * ($1 - 1) + 2)); }

list() { local IFS=,; printf '%s' "$*"; }
cluster_ports() { list "127.0.0.1:$(cluster_port 1)" "127.0.0.1:$(cluster_port 2)" "127.0.0.1:$(cluster_port 3)"; }
metrics_urls() {
    list "http://127.0.0.1:$(metrics_port 1)/metrics" "http://127.0.0.1:$(metrics_port 2)/metrics" \
        "http://127.0.0.1:$(metrics_port 3)/metrics"
}

troupe_config() {
    local n=$1 i seeds=
    for i in 1 2 3; do seeds+="${seeds:+, }\"127.0.0.1:$(cluster_port "$i")\""; done
    cat <<END
[node]
name = "node-$n"
data_dir = '$BENCH/node-$n/data'
cpu_millis = 1000
memory_mib = 1024

[http]
listen = "127.0.0.1:$(http_port "$n")"
max_connections = 4096
max_connections_per_address = 4096

[cluster]
listen = "127.0.0.1:$(cluster_port "$n")"
seeds = [$seeds]
bootstrap_expect = 3
ca = '$BENCH/pki/ca.pem'
cert = '$BENCH/pki/node-$n.pem'
key = '$BENCH/pki/node-$n-key.pem'

[metrics]
listen = "127.0.0.1:$(metrics_port "$n")"

# Whatever is submitted asks for a label that no node has; so no engine is needed.
[runner]
executor = "fake"
END
}

# Starts node N, or starts it again.
troupe_start() {
    local dir=$BENCH/node-$1
    setsid "$TROUPE" node --config "$dir/config.toml" >>"$dir/node.log" 2>&1 </dev/null &
    printf '%s\n' $! >"$dir/pid"
}

# Makes a new cluster, and waits until all of it has a leader.
troupe_up() {
    local n deadline=$((SECONDS + 60))
    mkdir -p "$BENCH"
    "$TROUPE" ca init --dir "$BENCH/pki" >/dev/null
    for n in node-1 node-2 node-3 bench; do "$TROUPE" ca issue "$n" --ca "$BENCH/pki" --out "$BENCH/pki" >/dev/null; done
    for n in 1 2 3; do
        mkdir -p "$BENCH/node-$n"
        troupe_config "$n" >"$BENCH/node-$n/config.toml"
        troupe_start "$n"
    done
    for n in 1 2 3; do
        until curl -s --fail --max-time 2 -o /dev/null "http://127.0.0.1:$(http_port "$n")/readyz"; do
            ((SECONDS < deadline)) || die "node-$n is not ready after 60 s" "to do: read $BENCH/node-$n/node.log"
            sleep 0.1
        done
    done
    until cat "$BENCH"/node-*/data/admin-token >/dev/null 2>&1; do
        ((SECONDS < deadline)) || die "no node has the admin token" "to do: read $BENCH/node-*/node.log"
        sleep 0.1
    done
}

# Ends a process by its pid, or a group by the first's with a minus, and waits for its end.
end_pid() {
    local pid=$1 deadline=$((SECONDS + 20))
    kill -TERM -- "$pid" 2>/dev/null || return 0
    while kill -0 -- "$pid" 2>/dev/null; do
        if ((SECONDS >= deadline)); then kill -KILL -- "$pid" 2>/dev/null || true; fi
        sleep 0.1
    done
}

# Ends the cluster and removes all of it.
troupe_down() {
    local n
    for n in 1 2 3; do [[ ! -s $BENCH/node-$n/pid ]] || end_pid "$(<"$BENCH/node-$n/pid")"; done
    rm -rf "$BENCH"
}

# `troupe bench WHAT` over the links of the cluster.
over_links() {
    local what=$1
    shift
    "$TROUPE" bench "$what" --nodes "$(cluster_ports)" --ca "$BENCH/pki/ca.pem" --cert "$BENCH/pki/bench.pem" \
        --key "$BENCH/pki/bench-key.pem" --disk "$BENCH" "$@"
}

# `troupe bench submit` through HTTP.
over_http() {
    TROUPE_ADDR=$(list "http://127.0.0.1:$(http_port 1)" "http://127.0.0.1:$(http_port 2)" "http://127.0.0.1:$(http_port 3)") \
        TROUPE_TOKEN=$(cat "$BENCH"/node-*/data/admin-token) "$TROUPE" bench submit --http --disk "$BENCH" "$@"
}
