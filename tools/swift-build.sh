#!/usr/bin/env bash
# Runs `swift build`, and fails on any warning: also of the linker and of the package manager.
set -euo pipefail
cd "$(dirname "$0")/.."

# The package manager does not see that a header of a system library has changed: its importers are made to look newer.
for header in Sources/C*/*.h; do
    module=$(basename "$(dirname "$header")")
    mapfile -t importers < <(grep -rlxE "(internal |package |public )?import $module" --include=*.swift Sources bench)
    for importer in "${importers[@]}"; do
        if [[ $header -nt $importer ]]; then touch "$importer"; fi
    done
done

output=$(mktemp)
trap 'rm -f "$output"' EXIT
swift build "$@" 2>&1 | tee "$output"
if grep -q 'warning:' "$output"; then
    echo "swift-build: warnings are errors" >&2
    exit 1
fi
