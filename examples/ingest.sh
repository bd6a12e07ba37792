#!/usr/bin/env bash
# Copies standard input into a file until it ends or SIGTERM comes, then runs a command on the file, and publishes all
# of it on the exporter's ingest socket (docs/ingest.md).
#
# usage: PROGRAM | ingest.sh SOCKET FILE COMMAND [ARGUMENT...]
set -u
socket=$1 file=$2
shift 2

trap '' PIPE # An exporter that goes away must not end a recording.
# What the exporter refuses comes back as a line. Children are started with 3>&-, or they would hold the connection.
exec 3> >(exec socat - "UNIX-CONNECT:$socket" >&2)
say() { printf '%s\n' "$1" >&3; }

: >"$file"
cat <&0 >>"$file" 3>&- &
copy=$!

result=completed
# shellcheck disable=SC2329 # It is the trap that invokes it.
stop() {
    result=interrupted
    say '{"type": "shutdown_begin", "signal": 15, "grace_period": 30}'
    kill "$copy"
}
trap stop TERM

say '{"type": "hello", "name": "shell", "version": "1.0", "phases": [{"name": "copy", "budget": 10}, {"name": "command"}]}'
say '{"type": "state", "state": "recording"}'
say '{"type": "recording_started", "id": 1, "stream": "stdin", "path": "'"$file"'"}'
while kill -0 "$copy" 2>/dev/null; do
    say '{"type": "recording_progress", "id": 1, "bytes": '"$(stat -c %s "$file" 3>&-)"'}'
    sleep 1 3>&- &
    wait -n "$copy" $!
done

[[ $result == interrupted ]] || say '{"type": "shutdown_begin"}'
say '{"type": "recording_ended", "id": 1, "result": "'"$result"'"}'
say '{"type": "phase_begin", "phase": "command"}'
"$@" "$file" 3>&-
status=$?
if [[ $status == 0 ]]; then outcome=ok; else outcome=error; fi
say '{"type": "goodbye", "exit_status": '"$status"', "outcome": "'"$outcome"'"}'
exit "$status"
