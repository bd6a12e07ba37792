#!/usr/bin/env bash
# Measures what publishing costs beside the same in C, scraping beside nginx, probes beside hostile clients, many command sources at once, starts and stops.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/swift-build.sh -c release --product PublisherBench
directory=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$directory"' EXIT
.build/release/PublisherBench cost "$directory"
echo
tools/build.sh
bench/scrape.py
echo
for clients in 300 1000; do
    STREAMVAULT_BIN=.build/bin tools/check_crowds.py --clients "$clients" --probes 200
done
echo
bench/streams.py .build/bin/streamvault-recorder --directory /dev/shm
echo
bench/start.py .build/bin/streamvault-recorder --directory /dev/shm
