#!/usr/bin/env bash
# Runs `swift build`, and fails on any warning: also of the linker and of the package manager.
set -euo pipefail
cd "$(dirname "$0")/.."

output=$(mktemp)
trap 'rm -f "$output"' EXIT
swift build "$@" 2>&1 | tee "$output"
if grep -q 'warning:' "$output"; then
    echo "swift-build: warnings are errors" >&2
    exit 1
fi
