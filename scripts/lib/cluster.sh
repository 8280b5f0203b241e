# shellcheck shell=bash
# What cluster-up.sh, cluster-down.sh and the demo repository's hook know in common: where things are, which processes
# are ours, how a node is asked.
#
# Sourced, never run, after common.sh. Everything of a demo cluster is below one directory, $DEMO:
#   settings            nodes, port, binary
#   pki/                the CA, the nodes' certificates
#   node-N/             config.toml, node.log, pid, data/
#   git/demo.git        the demo repository, with the hook; served by git daemon (git-daemon.log, git-daemon.pid)
#   demo/               a working copy of it
#   deliveries/COMMIT   what became of a commit's webhook
#   webhook-secret
#   started             there once all nodes had a leader
#   .troupe-demo        the lock; also says that the directory is ours, to be removed whole

DEMO=$(realpath -m "${TROUPE_DEMO_DIR:-$ROOT/target/cluster}")
readonly DEMO
readonly SETTINGS=$DEMO/settings
readonly LOCK=$DEMO/.troupe-demo
# Used by those who source this.
# shellcheck disable=SC2034
readonly BARE=$DEMO/git/demo.git REPO=demo

# What is on this machine is never asked through a proxy.
export NO_PROXY="127.0.0.1${NO_PROXY:+,$NO_PROXY}"
export no_proxy=$NO_PROXY

setting() { sed -n "s/^$1=//p" "$SETTINGS" 2>/dev/null || true; }

http_port() { printf '%d' $((PORT + 10 * ($1 - 1))); }
cluster_port() { printf '%d' $((PORT + 10 * ($1 - 1) + 1)); }
metrics_port() { printf '%d' $((PORT + 10 * ($1 - 1) + 2)); }
git_port() { printf '%d' $((PORT + 100)); }
node_url() { printf 'http://127.0.0.1:%d' "$(http_port "$1")"; }
# All nodes, beginning with node N: a client asks the next when one cannot be reached.
urls_from() {
    local i list=
    for ((i = 0; i < NODES; i++)); do list+=${list:+,}$(node_url $((($1 - 1 + i) % NODES + 1))); done
    printf '%s' "$list"
}
clone_url() { printf 'git://127.0.0.1:%d/demo.git' "$(git_port)"; }

node_dir() { printf '%s/node-%d' "$DEMO" "$1"; }

# Whether a pid is a living process with all of these words on its command line; one that ended and was not reaped has
# none. A number in a pid file alone proves nothing: it may have been given to another process since.
is_process() {
    local pid=$1 word argument found argv=()
    shift
    { mapfile -d '' -t argv <"/proc/$pid/cmdline"; } 2>/dev/null || return 1
    for word in "$@"; do
        found=
        for argument in "${argv[@]}"; do [[ $argument != "$word" ]] || found=1; done
        [[ -n $found ]] || return 1
    done
}

pid_in() { [[ -s $1 ]] && [[ $(<"$1") =~ ^[0-9]+$ ]] && cat "$1"; }

# Prints the pid of node N while it runs.
node_pid() {
    local pid
    pid=$(pid_in "$(node_dir "$1")/pid") && is_process "$pid" node "$(node_dir "$1")/config.toml" && printf '%s' "$pid"
}

# Prints the pid of the demo repository's git daemon while it runs.
daemon_pid() {
    local pid
    pid=$(pid_in "$DEMO/git-daemon.pid") && is_process "$pid" "--base-path=$DEMO/git" && printf '%s' "$pid"
}

# The file that the node which began the cluster wrote; fails where there is none yet.
token_file() {
    local file
    for file in "$DEMO"/node-*/data/admin-token; do
        [[ -s $file ]] && printf '%s' "$file" && return 0
    done
    return 1
}

# Asks node N with the command line. Neither token nor secret is ever an argument, where every process could read it.
ask() {
    local n=$1
    shift
    TROUPE_ADDR=$(node_url "$n") TROUPE_TOKEN=$(cat "$(token_file)") "$TROUPE" "$@"
}

# GET of node N's API, for what the command line does not show.
get() {
    curl -sS --fail --max-time 10 -K - "$(node_url "$1")$2" < <(
        printf 'header = "Authorization: Bearer %s"\n' "$(cat "$(token_file)")"
    )
}

leads() { [[ $(ask "$1" status --json 2>/dev/null | jq -r .is_me) == true ]]; }

# Prints the number of the node that leads; fails when none says so.
leader() {
    local n
    for ((n = 1; n <= NODES; n++)); do
        if leads "$n"; then
            printf '%d' "$n"
            return 0
        fi
    done
    return 1
}

# Prints the name of the node with an id, as the node keeps it in its data directory.
node_name() {
    local n
    for ((n = 1; n <= NODES; n++)); do
        if [[ $(cat "$(node_dir "$n")/data/node-id" 2>/dev/null) == "$1" ]]; then
            printf 'node-%d' "$n"
            return 0
        fi
    done
    printf '%s' "$1"
}

# One start or stop at a time. The lock is descriptor 9, and ends with this process: whatever is to outlive it is
# started with 9>&-.
lock_cluster() {
    exec 9>"$LOCK"
    flock -n 9 || die "another cluster-up.sh or cluster-down.sh is at work on $DEMO" \
        "to do: wait for it to end, or choose another TROUPE_DEMO_DIR and TROUPE_DEMO_PORT"
}

unlock_cluster() { exec 9>&-; }
