#!/bin/sh
# From a bare Debian 12 to a server that can run Sussurro's images: packages, Docker, NVIDIA's
# driver (branch 580) and container toolkit, firewall, kernel settings; Coolify if asked for.
# What is done already is left alone, so it can be run again. docs/deploy-debian.md explains it.
set -eu

BRANCH=580
# Where packages come from that Debian does not have, and who signs them. Mirrors may take the
# addresses' place; the fingerprints stay.
DOCKER_REPOSITORY=${DOCKER_REPOSITORY:-https://download.docker.com/linux/debian}
DOCKER_KEY=9DC858229FC7DD38854AE2D88D81803C0EBFCD88
DRIVER_REPOSITORY=${DRIVER_REPOSITORY:-https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64}
DRIVER_KEY=EB693B3035CD5710E231E123A4B469963BF863CC
TOOLKIT_REPOSITORY=${TOOLKIT_REPOSITORY:-https://nvidia.github.io/libnvidia-container}
TOOLKIT_KEY=C95B321B61E88C1809C4F759DDCAE044F796ECB0
COOLIFY_INSTALLER=${COOLIFY_INSTALLER:-https://cdn.coollabs.io/coolify/install.sh}

# ufw reads the kernel's settings with sysctl, of procps, which a minimal Debian lacks.
PACKAGES='ca-certificates curl gnupg procps python3 ufw unattended-upgrades'
DAEMON_JSON=/etc/docker/daemon.json
SYSCTL_FILE=/etc/sysctl.d/90-sussurro.conf
LIMITS_FILE=/etc/security/limits.d/90-sussurro.conf
TCP_PORTS='80 443'
STEPS='packages docker docker_settings driver container_toolkit firewall kernel_settings coolify'

usage() {
    cat <<EOF
usage: setup-server.sh [--check | --dry-run] [--no-gpu] [--coolify] [--only STEP]... [--yes]

  --check      say what is missing; change nothing; exit code 1 if something is
  --dry-run    print what would be done; change nothing
  --no-gpu     leave NVIDIA's driver and container toolkit out
  --coolify    install Coolify, too: a script of theirs that is run as root
  --only STEP  this step alone; may be repeated: $STEPS
  --yes        do not ask before installing; a reboot is asked for all the same
EOF
}

say() { printf '%s\n' "$*"; }
fail() { say "setup-server: $*" >&2; exit 2; }

# ---- how things are changed: for real, or on paper

run() {
    if [ "$mode" = dry-run ]; then say "    $*"; else "$@"; fi
}

# put FILE: what stands on standard input becomes its content, at once or not at all
put() {
    if [ "$mode" = dry-run ]; then
        say "    write $1:"
        sed 's/^/        /'
    else
        mkdir -p "$(dirname "$1")"
        cat >"$1.new"
        mv "$1.new" "$1"
    fi
}

service() {
    if [ -d /run/systemd/system ] || [ "$mode" = dry-run ]; then run systemctl "$@"; else
        say "    no systemd here, left out: systemctl $*"
    fi
}

install_packages() {
    run apt-get update -qq
    run env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

# add_repository NAME KEY_ADDRESS FINGERPRINT LINE…: a repository whose key is who we think it is
add_repository() {
    name=$1 address=$2 wanted=$3
    shift 3
    key=/etc/apt/keyrings/$name.asc
    run mkdir -p /etc/apt/keyrings
    run curl --fail --silent --show-error --location --proto '=https' --output "$key" "$address"
    if [ "$mode" = dry-run ]; then
        say "    compare the key's fingerprint with $wanted"
    else
        found=$(gpg --show-keys --with-colons "$key" | awk -F: '$1 == "fpr" { print $10; exit }')
        if [ "$found" != "$wanted" ]; then
            rm -f "$key"
            fail "the key of $name is $found, expected $wanted"
        fi
    fi
    say "deb [signed-by=$key] $*" | put "/etc/apt/sources.list.d/$name.list"
}

# ---- the steps: X_is_done tells, X_do does

is_installed() {
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || return 1
    done
}

# shellcheck disable=SC2086 # a list of packages
packages_is_done() { is_installed $PACKAGES; }
# shellcheck disable=SC2086
packages_do() { install_packages $PACKAGES; }

docker_is_done() {
    command -v dockerd >/dev/null || return 1
    version=$(dockerd --version | sed 's/^Docker version \([0-9]*\).*/\1/')
    [ "$version" -ge 24 ] && docker compose version >/dev/null 2>&1
}
docker_do() {
    # shellcheck disable=SC1091 # the system's own
    codename=$(. /etc/os-release && printf %s "$VERSION_CODENAME")
    add_repository docker "$DOCKER_REPOSITORY/gpg" "$DOCKER_KEY" \
        "$DOCKER_REPOSITORY $codename stable"
    install_packages docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin
    service enable --now docker
}

# Merged into what is there, for Coolify and NVIDIA write the same file: check FILE, or merge FILE.
daemon_json() {
    python3 - "$@" <<'EOF'
import json, pathlib, sys

wanted = {
    "log-driver": "json-file",
    "log-opts": {"max-size": "10m", "max-file": "3"},
    "live-restore": True,
    "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 65536, "Hard": 65536}},
}
path = pathlib.Path(sys.argv[2])
text = path.read_text() if path.exists() else ""
found = json.loads(text) if text.strip() else {}
if sys.argv[1] == "check":
    sys.exit(any(found.get(name) != value for name, value in wanted.items()))
print(json.dumps({**found, **wanted}, indent=4))
EOF
}
docker_settings_is_done() { command -v python3 >/dev/null && daemon_json check "$DAEMON_JSON"; }
docker_settings_do() {
    if ! command -v python3 >/dev/null; then
        [ "$mode" = dry-run ] || fail 'docker_settings needs python3: run the step packages first'
        say "    merge log rotation, live-restore and open files into $DAEMON_JSON"
        return
    fi
    merged=$(daemon_json merge "$DAEMON_JSON") # a file that is no JSON ends it here, untouched
    say "$merged" | put "$DAEMON_JSON"
    service restart docker
}

driver_is_done() {
    version=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)
    [ "${version%%.*}" -ge "$BRANCH" ] 2>/dev/null
}
driver_do() {
    if is_installed nvidia-kernel-open-dkms && [ "$mode" = apply ]; then
        say '    installed, not loaded: it waits for a reboot'
        return
    fi
    add_repository nvidia-driver "$DRIVER_REPOSITORY/3bf863cc.pub" "$DRIVER_KEY" "$DRIVER_REPOSITORY /"
    # The pin first: NVIDIA's repository goes on to other branches.
    install_packages linux-headers-amd64 "nvidia-driver-pinning-$BRANCH"
    install_packages nvidia-driver-cuda nvidia-kernel-open-dkms
    service enable nvidia-persistenced
}

container_toolkit_is_done() {
    command -v nvidia-ctk >/dev/null && grep -qs '"nvidia"' "$DAEMON_JSON"
}
container_toolkit_do() {
    # shellcheck disable=SC2016 # apt puts the architecture in
    add_repository nvidia-container-toolkit "$TOOLKIT_REPOSITORY/gpgkey" "$TOOLKIT_KEY" \
        "$TOOLKIT_REPOSITORY/stable/deb/\$(ARCH) /"
    install_packages nvidia-container-toolkit
    run nvidia-ctk runtime configure --runtime=docker
    service restart docker
}

ssh_ports() {
    { sshd -T 2>/dev/null || /usr/sbin/sshd -T 2>/dev/null || true; } | awk '$1 == "port" { print $2 }'
    # The port of the very session that runs this must not be closed.
    [ -z "${SSH_CONNECTION:-}" ] || say "${SSH_CONNECTION##* }"
}
open_ports() {
    ports=$(ssh_ports)
    # shellcheck disable=SC2086 # a list of ports
    printf '%s\n' ${ports:-22} $TCP_PORTS | sort -nu
}
firewall_is_done() {
    status=$(ufw status verbose 2>/dev/null) || return 1
    case $status in *'Status: active'*'deny (incoming)'*) ;; *) return 1 ;; esac
    for port in $(open_ports); do
        case $status in *"$port/tcp "*) ;; *) return 1 ;; esac
    done
}
firewall_do() {
    run ufw default deny incoming
    run ufw default allow outgoing
    for port in $(open_ports); do run ufw allow "$port/tcp"; done
    run ufw --force enable
}

sysctl_content() {
    cat <<'EOF'
# Sussurro: connections that wait to be accepted, as many as the server asks for.
net.core.somaxconn = 4096
# What is said stays in memory: swap late, and write no core files.
vm.swappiness = 1
kernel.core_pattern = |/bin/false
# One container must not look into another process, load programs into the kernel or read its log.
kernel.yama.ptrace_scope = 2
kernel.unprivileged_bpf_disabled = 1
kernel.dmesg_restrict = 1
EOF
}
limits_content() {
    cat <<'EOF'
# Sussurro: no core files, which would hold recordings; enough open files for many uploads.
* hard core 0
* soft nofile 65536
* hard nofile 65536
EOF
}
kernel_settings_is_done() {
    sysctl_content | cmp -s - "$SYSCTL_FILE" && limits_content | cmp -s - "$LIMITS_FILE"
}
kernel_settings_do() {
    sysctl_content | put "$SYSCTL_FILE"
    limits_content | put "$LIMITS_FILE"
    service restart systemd-sysctl
}

coolify_is_done() { [ -d /data/coolify/source ]; }
coolify_do() {
    script='coolify-install.sh'
    [ "$mode" = dry-run ] || script=$(mktemp)
    run curl --fail --silent --show-error --location --proto '=https' --output "$script" \
        "$COOLIFY_INSTALLER"
    if [ "$mode" = apply ]; then
        say "    Coolify's installer: $script, SHA-256 $(sha256sum "$script" | cut -d ' ' -f 1)"
        ask 'Run it as root?' || { say '    left out'; return; }
    fi
    run bash "$script"
}

# ---- the order

ask() {
    [ "$assume_yes" = yes ] && return
    [ -t 0 ] || fail "$1 Nobody is here to answer; --yes answers yes"
    printf '%s [y/N] ' "$1"
    read -r answer
    case $answer in y | Y | yes) ;; *) return 1 ;; esac
}

check_system() {
    # shellcheck disable=SC1091
    id=$(. /etc/os-release 2>/dev/null && printf '%s %s' "$ID" "${VERSION_ID:-}") || id=unknown
    [ "$id" = 'debian 12' ] || fail "this is $id; Debian 12 is needed"
    if [ "$gpu" = yes ]; then
        [ "$(uname -m)" = x86_64 ] || fail 'NVIDIA drivers are installed on x86-64 only; --no-gpu leaves them out'
        grep -qs 0x10de /sys/bus/pci/devices/*/vendor ||
            say 'note: no NVIDIA card is seen on this machine; --no-gpu leaves the driver out'
    fi
    [ "$mode" != apply ] || [ "$(id -u)" = 0 ] || fail 'needs root'
}

is_wanted() {
    case $1 in
    driver | container_toolkit) [ "$gpu" = yes ] || return 1 ;;
    coolify) [ "$coolify" = yes ] || return 1 ;;
    esac
    case " ${only:-$1} " in *" $1 "*) ;; *) return 1 ;; esac
}

offer_reboot() {
    is_wanted driver && [ "$mode" = apply ] && ! driver_is_done || return 0
    say 'The driver is loaded after a reboot; run this again with --check then.'
    [ -t 0 ] || return 0
    assume_yes=no
    if ask 'Reboot now?'; then systemctl reboot; fi
}

main() {
    mode=apply gpu=yes coolify=no assume_yes=no only=
    while [ $# -gt 0 ]; do
        case $1 in
        --check) mode=check ;;
        --dry-run) mode=dry-run ;;
        --no-gpu) gpu=no ;;
        --coolify) coolify=yes ;;
        --yes) assume_yes=yes ;;
        --only)
            case " $STEPS " in *" ${2:-} "*) only="$only $2" ;; *) fail "no such step: ${2:-}" ;; esac
            shift
            ;;
        -h | --help) usage; exit ;;
        *) usage >&2; fail "unknown argument: $1" ;;
        esac
        shift
    done
    check_system
    [ "$mode" != apply ] || ask 'This changes packages, firewall and settings of this machine. Go on?' ||
        exit 1
    missing=0
    for step in $STEPS; do
        is_wanted "$step" || continue
        if "${step}_is_done"; then
            say "ok       $step"
            continue
        fi
        missing=1
        say "missing  $step"
        [ "$mode" = check ] || "${step}_do"
    done
    offer_reboot
    [ "$mode" != check ] || exit "$missing"
}

main "$@"
