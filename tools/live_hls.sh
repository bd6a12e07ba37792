#!/usr/bin/env bash
# A live HLS stream on loopback: ffmpeg's test picture and tone, served by Python.
# usage: live_hls.sh DIRECTORY [mpegts|fmp4]   prints the playlist's URL when it can be played; SIGTERM ends all of it.
set -euo pipefail

dir=${1:?usage: live_hls.sh DIRECTORY [mpegts|fmp4]}
mkdir -p "$dir"
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
trap 'exit 0' INT TERM

ffmpeg -hide_banner -loglevel error -nostdin -re \
    -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 \
    -c:v libx264 -preset ultrafast -tune zerolatency -threads 1 -g 25 -sc_threshold 0 -c:a aac -b:a 64k \
    -f hls -hls_segment_type "${2:-mpegts}" -hls_time 1 -hls_list_size 6 -hls_delete_threshold 4 \
    -hls_flags delete_segments+program_date_time+independent_segments+temp_file \
    -hls_segment_filename "$dir/segment%05d.ts" "$dir/live.m3u8" &

python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$dir" >"$dir/server.log" 2>/dev/null &

until grep -q '^Serving' "$dir/server.log" 2>/dev/null && grep -qs EXTINF "$dir/live.m3u8"; do
    # shellcheck disable=SC2046 # One word for each process.
    kill -0 $(jobs -p) || exit 1
    sleep 0.1
done
port=$(sed -n 's/^Serving HTTP on [^ ]* port \([0-9]*\).*/\1/p' "$dir/server.log")
echo "http://127.0.0.1:$port/live.m3u8"
wait
