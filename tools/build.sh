#!/usr/bin/env bash
# Builds both programs for release into .build/bin: the exporter as one fully static binary, the recorder with Swift's
# libraries in it, so that it needs those of the system alone.
#
# usage: tools/build.sh [exporter | recorder]     only that one
set -euo pipefail
cd "$(dirname "$0")/.."

exporter=.build/static/release/streamvault-exporter
recorder=.build/portable/release/streamvault-recorder

# Functions of glibc that need its shared libraries even in a static binary bring a mark along. The Swift runtime brings
# these, for a library that only its developers ask for; any other is called by the exporter.
check_static() {
    local marks
    marks=$(nm "$exporter" | sed -n 's/.*__evoke_link_warning_//p' | grep -vxE 'dlopen|dlmopen|mktemp' || true)
    if [[ -n $marks ]]; then
        echo "build: not to be had in a static binary:" "$marks" >&2
        exit 1
    fi
}

build_recorder() {
    # Another linker warns in every build of functions that nobody calls.
    tools/swift-build.sh -c release --product streamvault-recorder --scratch-path .build/portable \
        --static-swift-stdlib -Xswiftc -use-ld=lld
    strip -o .build/bin/streamvault-recorder "$recorder"
}

build_exporter() {
    tools/swift-build.sh -c release --product streamvault-exporter --scratch-path .build/static \
        -Xswiftc -static-executable -Xswiftc -use-ld=lld -Xswiftc -Xfrontend -Xswiftc -assume-single-threaded
    check_static
    strip -o .build/bin/streamvault-exporter "$exporter"
}

mkdir -p .build/bin
case ${1:-} in
    exporter | recorder) "build_$1" ;;
    "")
        build_recorder
        build_exporter
        ;;
    *)
        sed -n 's/^# usage: //p' "$0" >&2
        exit 2
        ;;
esac
ls -lL .build/bin
