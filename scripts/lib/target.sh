# shellcheck shell=bash
# How a second target directory begins with the libraries that the first one has.
#
# Sourced, never run.

# Our own crates, as cargo names their files; all else in a target directory are libraries.
readonly OURS='^(lib)?(actors|chaos|crash|domain|fixtures|forge|init|links|node|raft_store|simulation|tidy|troupe|workflow)-'

# Copies the libraries of a development build to a target directory that has none yet; cargo finds out which of them fit.
# Arguments: FROM TO
take_libraries() {
    local from=$1/debug to=$2/debug
    [[ ! -d $to && -d $from/deps && -d $from/build && -d $from/.fingerprint ]] || return 0
    mkdir -p "$to/deps"
    find "$from/deps" -maxdepth 1 -type f \( -name '*.rlib' -o -name '*.rmeta' -o -name '*.so' -o -name '*.d' \) -printf '%f\n' |
        grep -Ev "$OURS" | sed "s|^|$from/deps/|" | tr '\n' '\0' | xargs -0 -r cp -p -t "$to/deps"
    cp -a "$from/build" "$from/.fingerprint" "$to/"
}
