#!/usr/bin/env bash
# Builds and lints everything, and runs every test; a test that is skipped is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "test: $1" >&2
    exit 1
}

[[ $EUID == 0 ]] || fail "needs root, for full disks, control groups and strace"
command -v kubectl >/dev/null || fail "no kubectl on PATH: https://kubernetes.io/docs/tasks/tools/"

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Tests that were skipped, or cancelled by themselves, are marked with an arrow.
run_tests() {
    swift test --skip-build --disable-xctest "$@" 2>&1 | tee "$output"
    if grep -qE '^➜ |Test run with 0 tests' "$output"; then
        fail "a test was skipped, or none was found"
    fi
}

tools/lint.sh
tools/swift-build.sh --build-tests --explicit-target-dependency-import-check error
# Tests run in parallel; those with programs and deadlines of their own, after the others.
run_tests --skip EndToEndTests
run_tests --filter EndToEndTests
tools/check_load.py
# Of this seed each kind of end, and each course of the exporter, at least once.
PYTHONPATH=tools python3 -m storm --rounds 30 --lanes 8 --seed 2
.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec compose*.yaml
.venv/bin/python tools/check_kubernetes.py
.venv/bin/python tools/generate.py --check
.venv/bin/python tools/check_monitoring.py
