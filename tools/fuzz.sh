#!/usr/bin/env bash
# Feeds mutated bytes to each reader of what strangers control, with libFuzzer; a finding ends it, and its bytes are kept.
#
# usage: tools/fuzz.sh [SECONDS] [TARGET]...
#
# Begins with what fuzz/Corpus has, knows the words of fuzz/Words, and collects what it finds of interest in .build/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
targets=("$@")
[[ $# -gt 0 ]] || mapfile -t targets < <(ls fuzz/Corpus)

build=.build/fuzz

# A program with a main of its own is not built with the others.
compare_with_h11() {
    swift build --package-path fuzz --scratch-path "$build-reader" --product RequestReader
    .venv/bin/python fuzz/agree_with_h11.py "$build-reader/debug/RequestReader" "$@"
}

export SWIFT_BACKTRACE=enable=no # or a finding would hang in it
for target in "${targets[@]}"; do
    swift build --package-path fuzz --scratch-path "$build" -c release --sanitize=fuzzer -Xswiftc -enable-testing \
        --product "Fuzz$target"
    corpus=$build/corpus/$target
    mkdir -p "$corpus" "fuzz/Corpus/$target"
    words=()
    [[ ! -f fuzz/Words/$target ]] || words=(-dict="fuzz/Words/$target")
    echo "fuzz: $target"
    "$build/release/Fuzz$target" -max_total_time="$seconds" -max_len=1500 -print_final_stats=1 -print_funcs=0 \
        "${words[@]}" -artifact_prefix="$build/$target-" "$corpus" "fuzz/Corpus/$target"
    if [[ $target == Request ]]; then compare_with_h11 "$corpus" "fuzz/Corpus/$target"; fi
done
