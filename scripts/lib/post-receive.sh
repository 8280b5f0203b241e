#!/usr/bin/env bash
# The demo repository's hook: does what a forge does after a push. For each ref it signs a webhook as GitHub writes it
# and posts it to a node that does not lead, so that every push also shows that any node takes webhooks.
#
# cluster-up.sh installs it; git runs it with `BEFORE AFTER REF` lines on its input. What it prints, the pusher sees.
# What became of a commit's webhook is left in deliveries/COMMIT.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly ROOT PROGRAM=webhook
# shellcheck source=scripts/lib/common.sh
source "$ROOT/scripts/lib/common.sh"
# shellcheck source=scripts/lib/cluster.sh
source "$ROOT/scripts/lib/cluster.sh"

# What git prints here is read, so nobody's settings may add to it.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1

NODES=$(setting nodes)
PORT=$(setting port)
TROUPE=$(setting binary)
[[ -n $NODES && -n $PORT && -x $TROUPE ]] || die "$SETTINGS does not describe a cluster" "to do: scripts/cluster-up.sh"
readonly NODES PORT TROUPE

WORK=$(mktemp -d)
readonly WORK
trap 'rm -rf "$WORK"' EXIT

is_deletion() { [[ $1 =~ ^0+$ ]]; }

# The payload of a push, the fields that GitHub, Gitea and Forgejo have in common.
payload() {
    local before=$1 after=$2 ref=$3 commit=null
    if ! is_deletion "$after"; then
        commit=$(jq -n --arg id "$after" --arg message "$(git log -1 --format=%B "$after")" \
            --arg at "$(git log -1 --format=%cI "$after")" '{$id, $message, timestamp: $at}')
    fi
    jq -n --arg ref "$ref" --arg before "$before" --arg after "$after" --arg who "$(id -un)" \
        --arg name "$REPO" --arg url "$(clone_url)" --argjson commit "$commit" \
        '{$ref, $before, $after, deleted: ($commit == null), head_commit: $commit, sender: {login: $who},
          repository: {$name, full_name: $name, clone_url: $url}}'
}

# HMAC over the bytes as they are sent. The key is seen in openssl's arguments for a moment: that is good enough for a
# secret that was made for this demo, on this machine.
signature() {
    openssl dgst -sha256 -hmac "$(<"$DEMO/webhook-secret")" <"$1" | sed 's/^.*= *//'
}

# Prints the nodes that answer, followers first.
nodes_in_order() {
    local n status last=
    for ((n = 1; n <= NODES; n++)); do
        status=$(ask "$n" status --json 2>/dev/null | jq -r .is_me) || continue
        if [[ $status == true ]]; then last=$n; else printf '%d\n' "$n"; fi
    done
    [[ -z $last ]] || printf '%d\n' "$last"
}

# Posts the payload in a file to node N and prints the status of the answer; 000 when there was none.
post() {
    curl -sS --max-time 30 -o "$WORK/answer" -w '%{http_code}' "$(node_url "$1")/v1/hooks/$REPO" \
        -H 'Content-Type: application/json' -H 'X-GitHub-Event: push' -H "X-GitHub-Delivery: $3" \
        -H "X-Hub-Signature-256: sha256=$(signature "$2")" --data-binary "@$2" 2>"$WORK/curl" || true
}

# A delivery is known by its id, so it may be given to the next node when one has no answer: it becomes one run.
deliver() {
    local file=$1 delivery=$2 n code='' role
    local -a nodes
    mapfile -t nodes < <(nodes_in_order)
    [[ ${#nodes[@]} -gt 0 ]] || die "no node answers, so nobody knows of this push" "to do: scripts/cluster-up.sh"
    for n in "${nodes[@]}"; do
        role=follower
        if leads "$n"; then role=leader; fi
        code=$(post "$n" "$file" "$delivery")
        say "node-$n ($role) answered $code"
        [[ $code == 000 || $code == 5* ]] || break
    done
    jq -n --arg node "$n" --arg role "$role" --arg code "$code" \
        --slurpfile answer <(jq . "$WORK/answer" 2>/dev/null || true) \
        '{node: ($node | tonumber), $role, $code, answer: $answer[0]}' >"$WORK/result"
    [[ $code == 2* ]] || die "the push was not accepted: $(jq -r '.detail // .' "$WORK/answer" 2>/dev/null || cat "$WORK/curl")"
}

main() {
    local before after ref status=0
    mkdir -p "$DEMO/deliveries"
    while read -r before after ref; do
        payload "$before" "$after" "$ref" >"$WORK/payload"
        # In a subshell, so that one ref's failure does not keep the next from being told.
        (deliver "$WORK/payload" "$(</proc/sys/kernel/random/uuid)") || status=1
        [[ ! -e $WORK/result ]] || mv "$WORK/result" "$DEMO/deliveries/$after"
    done
    return "$status"
}

main
