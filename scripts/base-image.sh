#!/usr/bin/env bash
# Makes the local base images, without any image registry.
#
#   scripts/base-image.sh [busybox|debian]...      (default: busybox)
#
#   busybox   troupe/busybox:local   sh and the usual small tools, from Debian's busybox-static; takes a second
#   debian    troupe/debian:local    minimal Debian with git, gcc, make, bash; debootstrap, takes minutes (needs root)
#
# An image that is there already is left alone; REBUILD=1 makes it anew. What debootstrap made is kept as a tarball
# under .images/, so that a lost Docker engine does not cost the download again.
#
# Environment:
#   REBUILD=1            make the image although it is there
#   TROUPE_DEBIAN_MIRROR package source for debootstrap (default: the one that apt uses here)
#   TROUPE_DEBIAN_SUITE  Debian release (default: bookworm)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly CACHE=$ROOT/.images
readonly SUITE=${TROUPE_DEBIAN_SUITE:-bookworm}
readonly DEBIAN_PACKAGES=bash,ca-certificates,gcc,git,libc6-dev,make
readonly SEARCH_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

WORK=$(mktemp -d)
readonly WORK
trap 'rm -rf --one-file-system "$WORK"' EXIT

say() { printf 'base-image: %s\n' "$*"; }
die() {
    printf 'base-image: error: %s\n' "$1" >&2
    shift
    printf '            %s\n' "$@" >&2
    exit 1
}

on_path() { command -v "$1" >/dev/null 2>&1; }

# Runs a command quietly; shows the end of what it said if it fails.
quietly() {
    local log=$WORK/quietly.log
    "$@" >"$log" 2>&1 </dev/null && return 0
    tail -n 20 "$log" >&2
    return 1
}

unreachable() {
    die "$1" \
        "the package source of this machine (see /etc/apt) did not answer; its last words are above" \
        "to do: check the network or the proxy settings, then run this again"
}

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

# Packs a root file system so that equal content gives equal bytes, and imports it.
pack() { tar --format=gnu --sort=name --mtime=@0 --numeric-owner -C "$1" -cf - .; }

import_image() {
    docker import --change "ENV PATH=$SEARCH_PATH" --change 'WORKDIR /' --change "CMD [\"$2\"]" - "$1" >/dev/null
    say "made $1 ($(docker image inspect --format '{{.Size}}' "$1" | awk '{printf "%.1f MB", $1 / 1e6}'))"
}

# --- busybox -------------------------------------------------------------------------------------------------------

# Prints the path of a busybox that needs no libraries: the installed one, else one out of the package.
find_busybox() {
    local installed
    installed=$(dpkg -L busybox-static 2>/dev/null | grep -m1 '/bin/busybox$' || true)
    if [[ -n $installed && -x $installed ]]; then
        printf '%s' "$installed"
        return 0
    fi
    on_path apt-get || die "busybox-static is not installed, and there is no apt-get to fetch it with" \
        "to do: run this on Debian or a system like it"
    mkdir "$WORK/deb"
    cd "$WORK/deb"
    # On a fresh machine the package lists are empty until the first update.
    if ! apt-get download busybox-static >"$WORK/quietly.log" 2>&1; then
        if [[ $(id -u) -ne 0 ]]; then
            tail -n 3 "$WORK/quietly.log" >&2
            unreachable "apt-get could not download busybox-static"
        fi
        quietly apt-get update || unreachable "apt-get update failed"
        quietly apt-get download busybox-static || unreachable "apt-get could not download busybox-static"
    fi
    dpkg-deb -x busybox-static_*.deb .
    find "$PWD" -type f -path '*/bin/busybox' -print -quit
}

make_busybox() {
    local busybox rootfs=$WORK/busybox applet
    busybox=$(find_busybox)
    [[ -n $busybox ]] || die "the package busybox-static holds no busybox" "to do: look at dpkg -L busybox-static"
    mkdir -p "$rootfs"/{bin,dev,etc,home,proc,root,run,sys,tmp,usr,var/tmp}
    chmod 0700 "$rootfs/root"
    chmod 1777 "$rootfs/tmp" "$rootfs/var/tmp"
    ln -s bin "$rootfs/sbin"
    ln -s ../bin "$rootfs/usr/bin"
    ln -s ../bin "$rootfs/usr/sbin"
    install -m 0755 "$busybox" "$rootfs/bin/busybox"
    while read -r applet; do
        [[ $applet == busybox ]] || ln -s busybox "$rootfs/bin/$applet"
    done < <("$busybox" --list)

    printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'nobody:x:65534:65534:nobody:/home:/bin/false' >"$rootfs/etc/passwd"
    printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' >"$rootfs/etc/group"
    printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' >"$rootfs/etc/nsswitch.conf"
    pack "$rootfs" | import_image troupe/busybox:local /bin/sh
}

# --- debian --------------------------------------------------------------------------------------------------------

# Prints the package source that apt uses here, so that a local mirror or proxy is honoured; nothing if it has none.
apt_mirror() {
    # The words in $() are apt's, not the shell's.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' 2>/dev/null |
        awk -v suite="$SUITE" '$1 == suite || $1 == "stable" || $1 == "oldstable" { print $2; exit }'
}

bootstrap_debian() {
    local tarball=$1 mirror rootfs=$WORK/debian
    [[ $(id -u) -eq 0 ]] || die "debootstrap needs root, and this is $(id -un)" "to do: run this script as root"
    if ! on_path debootstrap; then
        on_path apt-get || die "debootstrap is not installed, and there is no apt-get to install it with" \
            "to do: run this on Debian or a system like it"
        say "installing debootstrap with apt-get"
        quietly apt-get update || unreachable "apt-get update failed"
        DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends debootstrap ||
            unreachable "apt-get could not install debootstrap"
    fi
    mirror=${TROUPE_DEBIAN_MIRROR:-$(apt_mirror)}
    say "debootstrap of $SUITE from ${mirror:-its own default source}; this takes minutes"
    # Empty means: debootstrap's own default, so the argument must then be left out altogether.
    quietly debootstrap --variant=minbase --include="$DEBIAN_PACKAGES" "$SUITE" "$rootfs" ${mirror:+"$mirror"} ||
        unreachable "debootstrap failed"
    rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/* "$rootfs"/var/log/*.log
    mkdir -p "$CACHE"
    # Renamed when it is whole, so that an interrupted run leaves no half tarball to be trusted later.
    pack "$rootfs" >"$tarball.part"
    mv "$tarball.part" "$tarball"
}

make_debian() {
    local tarball=$CACHE/debian-$SUITE.tar
    [[ -s $tarball && -z ${REBUILD:-} ]] || bootstrap_debian "$tarball"
    import_image troupe/debian:local /bin/bash <"$tarball"
}

# --- main ----------------------------------------------------------------------------------------------------------

main() {
    on_path docker || die "no docker command here" "to do: run scripts/docker-up.sh first"
    quietly docker info || die "no Docker engine answers; the client's words are above" \
        "to do: run scripts/docker-up.sh first"

    [[ $# -gt 0 ]] || set -- busybox
    local kind
    for kind in "$@"; do
        case $kind in
            busybox | debian) ;;
            *) die "unknown image '$kind'" "to do: name busybox or debian" ;;
        esac
        if [[ -z ${REBUILD:-} ]] && have_image "troupe/$kind:local"; then
            say "troupe/$kind:local is there"
        else
            "make_$kind"
        fi
    done
}

main "$@"
