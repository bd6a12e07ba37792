#!/usr/bin/env bash
# Installs what building, testing and measuring need and this machine lacks; quick when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin
policy=/usr/sbin/policy-rc.d

fail() {
    echo "setup: $1" >&2
    exit 1
}

has() { command -v "$1" >/dev/null; }

check_swift() {
    local where="get Swift 6.2 or later from https://www.swift.org/install/linux/"
    has swift || fail "no swift on PATH: $where"
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p') || true
    [[ $(printf '%s\n' 6.2 "$version" | sort -V | head -n 1) == 6.2 ]] ||
        fail "swift is ${version:-of an unknown version}: $where"
}

# Prints the Debian packages of the things that are not there, however they would have come.
missing_packages() {
    { has pkg-config && pkg-config --exists sqlite3 'libcurl >= 7.87' 'libcrypto >= 3.0'; } ||
        echo pkg-config libsqlite3-dev libcurl4-openssl-dev libssl-dev
    { has nm && has strip; } || echo binutils
    { has ffmpeg && has ffprobe; } || echo ffmpeg
    { has prometheus && has promtool; } || echo prometheus
    { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; } || echo python3 python3-venv
    has curl || echo curl
    has nginx || echo nginx-light
    has socat || echo socat
    has wrk || echo wrk
    has strace || echo strace
    has ip || echo iproute2
}

as_root() {
    if [[ $EUID == 0 ]]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages | tr ' ' '\n')
    [[ ${#packages[@]} == 0 ]] && return
    has apt-get || fail "please install what Debian calls: ${packages[*]}"
    [[ $EUID == 0 ]] || has sudo || fail "neither root nor sudo to install: ${packages[*]}"
    echo "setup: installing Debian packages: ${packages[*]}"
    refuse_services
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-install-recommends "${packages[@]}" >/dev/null
    disable_services "${packages[@]}"
}

# Debian starts the services that it installs, unless this file says no.
refuse_services() {
    [[ ! -e $policy ]] || return 0
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

# Keeps the services that came with the packages from starting with the machine.
disable_services() {
    [[ -d /run/systemd/system ]] || return 0
    local package
    for package in "$@"; do
        case $package in
            prometheus) as_root systemctl disable --quiet prometheus ;;
            nginx-light) as_root systemctl disable --quiet nginx ;;
        esac
    done
}

# The copy of the list in the environment says that all of it was installed.
install_python_packages() {
    if cmp -s tools/requirements.txt .venv/requirements.txt && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    echo "setup: installing Python packages into .venv: $(tr '\n' ' ' <tools/requirements.txt)"
    python3 -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r tools/requirements.txt
    cp tools/requirements.txt .venv/requirements.txt
}

check_swift
install_packages
install_python_packages
echo "setup: all there"
