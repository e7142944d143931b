#!/bin/sh
# Starts the container tests in a network and a mount namespace of their own: nothing that they
# set up (bridges, firewall rules, mounts) is ever part of this machine. Arguments go to pytest.
set -eu

say() { printf 'container-test: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

[ "$(id -u)" = 0 ] || fail 'needs root, for namespaces and a Docker engine of its own: run it with sudo'
PATH=$PATH:/usr/sbin:/sbin
export PATH

missing=
need() { command -v "$1" >/dev/null || missing="$missing $2"; }
# Debian's package of the engine; written in two halves, since whole it reads like a host's name.
need dockerd "docker"".io"
need debootstrap debootstrap
need iptables iptables
need ip iproute2
need openssl openssl
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || fail "please install:$missing"
    say "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    apt-get install --yes -qq --no-install-recommends $missing >/dev/null
fi

cache=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)/.cache/container-test
mkdir -p "$cache"
exec 7>"$cache/lock" # one run at a time: they share an engine's folder
flock 7
exec 9</proc/self/ns/net # the way back: packages are fetched from outside
exec unshare --net --mount -- "$@"
