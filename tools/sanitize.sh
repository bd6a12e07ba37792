#!/usr/bin/env bash
# Runs the Swift tests under AddressSanitizer, with its search for leaks, and under ThreadSanitizer.
#
# usage: tools/sanitize.sh [address|thread]...
#
# The programs that the tests start are built and watched in the same way. Any report is a failure, whatever became of the
# test; the last line says where the reports are.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $# -gt 0 ]] || set -- address thread
work=$PWD/.build/sanitize
rules=$PWD/tools/sanitize
export SWIFT_BACKTRACE=enable=no # or a program that was reported would hang

# A small quarantine: tests that measure memory would find that of the sanitizer.
options=log_path=$work/reports/report
export ASAN_OPTIONS=$options:quarantine_size_mb=16:suppressions=$rules/address.txt
export LSAN_OPTIONS=suppressions=$rules/leaks.txt:print_suppressions=0
export TSAN_OPTIONS=$options

run_tests() {
    local kind=$1
    shift
    nice -n 10 swift test --skip-build --disable-xctest --sanitize="$kind" --scratch-path "$work/$kind" "$@" || failed=1
}

failed=0
for kind in "$@"; do
    nice -n 10 swift build --build-tests --sanitize="$kind" --scratch-path "$work/$kind"
    rm -rf "$work/reports"
    mkdir -p "$work/reports"
    if [[ $kind == thread ]]; then
        clang -O1 -Wall -Werror -shared -fPIC -o "$work/mutex.so" "$rules/mutex.c" -ldl
        export LD_PRELOAD=$work/mutex.so
    fi
    # As in tools/test.sh, but for FaultTests: strace, which they use, keeps the search for leaks from its work.
    run_tests "$kind" --skip EndToEndTests
    run_tests "$kind" --filter EndToEndTests --skip FaultTests
    unset LD_PRELOAD
    reports=$(find "$work/reports" -type f -size +0)
    if [[ -n $reports ]]; then
        echo "$reports" | xargs cat >&2
        failed=1
    fi
    echo "sanitize: $kind: $(echo -n "$reports" | grep -c . || true) reports in $work/reports"
    [[ $failed -eq 0 ]] || exit 1
done
