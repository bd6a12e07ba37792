#!/usr/bin/env bash
# Makes stand-ins for the base images that the Dockerfile and compose.yaml name, where no registry is at hand: from
# Debian's archive, with the Swift toolchain of this machine. What the engine already has, it keeps.
#
# Needs debootstrap, root, and a Docker engine.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# The image that a variable of the Dockerfile names.
named() { sed -n "s/^ARG $1=//p" Dockerfile; }

# What this machine trusts beside Debian's certificates: a proxy may stand between it and the archives.
trust_as_here() {
    local certificates=usr/local/share/ca-certificates
    mkdir -p "$1/$certificates"
    cp -r "/$certificates/." "$1/$certificates"
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$1/etc/pip.conf"
}

make_debian() {
    debootstrap --variant=minbase bookworm "$work/debian" >/dev/null
    trust_as_here "$work/debian"
    tar -C "$work/debian" -c . | docker import - "$1" >/dev/null
}

# $1: image, $2: folder with the Dockerfile. Without BuildKit, which old engines lack.
build() { DOCKER_BUILDKIT=0 docker build --quiet --network=host -t "$1" "$2" >/dev/null; }

make_swift() {
    local toolchain
    toolchain=$(dirname "$(dirname "$(dirname "$(readlink -f "$(command -v swift)")")")")
    mkdir "$work/swift"
    tar -C "$toolchain" --exclude='*lldb*' --exclude='*sourcekit*' --exclude='usr/bin/clangd' --exclude='usr/bin/docc' \
        --exclude='usr/share/doc' --exclude='*-wasi*' -cf "$work/swift/toolchain.tar" usr
    cat >"$work/swift/Dockerfile" <<DOCKERFILE
FROM $(named DEBIAN_IMAGE)
RUN apt-get -qq update && apt-get -qq install --yes --no-install-recommends ca-certificates git libc6-dev libcurl4 \
    libedit2 libgcc-12-dev libncurses6 libpython3.11 libsqlite3-0 libstdc++-12-dev libxml2 libz3-4 tzdata zlib1g-dev
ADD toolchain.tar /
DOCKERFILE
    build "$1" "$work/swift"
}

make_prometheus() {
    mkdir "$work/prometheus"
    cat >"$work/prometheus/Dockerfile" <<DOCKERFILE
FROM $(named DEBIAN_IMAGE)
RUN apt-get -qq update && apt-get -qq install --yes --no-install-recommends prometheus \
 && install -d -o nobody -g nogroup /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
DOCKERFILE
    build "$1" "$work/prometheus"
}

has_image "$(named DEBIAN_IMAGE)" || make_debian "$(named DEBIAN_IMAGE)"
has_image "$(named SWIFT_IMAGE)" || make_swift "$(named SWIFT_IMAGE)"
prometheus=$(sed -n 's/.*image: \(prom\/prometheus:.*\)/\1/p' compose.yaml)
has_image "$prometheus" || make_prometheus "$prometheus"
docker images
