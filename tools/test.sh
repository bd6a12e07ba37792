#!/usr/bin/env bash
# Lints and builds everything, and runs every test, in stages. A failed stage does not keep the later ones from running.
#
# usage: tools/test.sh [STAGE]...     STAGE: a name from the list at the end of this file; all without one
#
# The complete output of each stage is in .build/test/STAGE.log. A test that is skipped is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

logs=.build/test
tests=0          # that passed
failed_stages=() # in their order
failed_tests=()
wanted=("$@")

require() {
    if ! "${@:2}" >/dev/null 2>&1; then
        echo "test: $1" >&2
        exit 1
    fi
}

is_wanted() {
    [[ ${#wanted[@]} == 0 || " ${wanted[*]} " == *" $1 "* ]]
}

# Runs one stage, and prints a line about it: `stage NAME COMMAND...`.
stage() {
    local name=$1 log=$logs/$1.log started=$SECONDS count
    shift
    is_wanted "$name" || return 0
    if "$@" >"$log" 2>&1 && ! skips_a_test "$log"; then
        count=$(count_of_passed "$log")
        tests=$((tests + ${count:-1}))
        printf 'ok      %-12s %4d s%s\n' "$name" $((SECONDS - started)) "${count:+, $count passed}"
        return 0
    fi
    printf 'FAILED  %-12s %4d s, all of its output: %s\n' "$name" $((SECONDS - started)) "$log"
    show_failure "$log" | sed 's/^/        /'
    failed_stages+=("$name")
    mapfile -t -O ${#failed_tests[@]} failed_tests < <(failed_swift_tests "$log")
    return 1
}

# Swift Testing marks a test that was skipped, or that cancelled itself, with an arrow.
skips_a_test() {
    grep -qE '^➜ |Test run with 0 tests' "$1"
}

count_of_passed() {
    sed -nE -e 's/.*Test run with ([0-9]+) tests.* passed.*/\1/p' -e 's/^[a-z0-9]+: ([0-9]+) checks passed$/\1/p' "$1" | tail -n 1
}

failed_swift_tests() {
    sed -nE '/Test run with/d; s/^✘ Test (.*) failed after .*/\1/p; s/^➜ Test (.*) skipped.*/\1 (skipped)/p' "$1"
}

# The issues that Swift's tests recorded; the end of any other output.
show_failure() {
    if ! grep -A 3 -E '^✘ Test .* recorded an issue' "$1" | cut -c 1-400 | head -n 60 | grep .; then
        tail -n 30 "$1"
    fi
}

# What waits for ever is ended, so that the later stages run; Python then says where each of its threads stands.
bounded() {
    PYTHONFAULTHANDLER=1 timeout --signal=ABRT --kill-after=10 "$@"
}

swift_tests() {
    bounded 900 swift test --skip-build --disable-xctest "$@"
}

python() {
    PYTHONPATH=tools bounded 600 .venv/bin/python "$@"
}

# With the exporter as it is shipped: without optimization, a page for each of hundreds of hostile clients takes longer than a
# probe waits.
hostile() {
    tools/build.sh exporter || return
    mkdir -p "$logs/bin"
    ln -sf "$PWD/.build/bin/streamvault-exporter" "$PWD/.build/debug/streamvault-recorder" "$logs/bin/"
    STREAMVAULT_BIN=$logs/bin python -m hostile "$@"
}

require "needs root, for full disks, control groups and strace" test "$EUID" == 0
require "no kubectl on PATH: https://kubernetes.io/docs/tasks/tools/" command -v kubectl
mkdir -p "$logs"

stage lint tools/lint.sh
stage build bounded 900 tools/swift-build.sh --build-tests --explicit-target-dependency-import-check error || exit 1
# Tests run in parallel; those with programs and deadlines of their own, after the others.
stage unit swift_tests --skip EndToEndTests
stage end-to-end swift_tests --filter EndToEndTests
stage load python tools/check_load.py
# Under a kubelet of its own, with the probes of k8s/; takes a minute, which is how long the slowest restart may take.
stage liveness python tools/liveness/liveness.py
stage crowds python tools/check_crowds.py
# With this seed each kind of end, and each course of the exporter, occurs at least once.
stage storm python -m storm --rounds 30 --lanes 8 --seed 2
stage hostile hostile --minutes 1 --seed 1
# Every segment that an odd origin serves, in a third of the situations; `make beside` takes all, and ffmpeg and streamlink beside.
stage gauntlet python -m gauntlet --recorder-only --short --batch 40
stage compose .venv/bin/check-jsonschema --builtin-schema vendor.compose-spec compose*.yaml
stage kubernetes python tools/check_kubernetes.py
stage generated python tools/generate.py --check
stage monitoring python tools/check_monitoring.py

echo "$tests passed, $((${#failed_tests[@]} > ${#failed_stages[@]} ? ${#failed_tests[@]} : ${#failed_stages[@]})) failed"
if [[ ${#failed_stages[@]} -gt 0 ]]; then
    printf 'failed: %s\n' "${failed_stages[@]}" "${failed_tests[@]}"
    exit 1
fi
