#!/usr/bin/env python3
"""How long a start takes beside many recordings, and a stop of many streams: usage: start.py RECORDER [--directory DIR]

The recordings are rows of the catalogue with their files, as months leave them; the start ends with the first recording.
"""
import argparse
import datetime
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from harness import command_stream, write_configuration  # noqa: E402

RECORDINGS = 10_000
START_BAR_SECONDS = 1
STREAMS = 50
STOP_BAR_SECONDS = 2
PACKET = bytes([0x47, 0x1F, 0xFF, 0x10]) + bytes(184)
ENDLESS = 'while cat "$0"; do sleep 0.1; done'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recorder")
    parser.add_argument("--directory", default=None, help="where the recordings go")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="start-", dir=options.directory))
    try:
        measure(options.recorder, base)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def measure(recorder, base):
    run(recorder, base, streams=1)
    fill(base / "recordings")
    started = sorted(run(recorder, base, streams=1)[0] for _ in range(3))[1]
    stopped = run(recorder, base, streams=STREAMS)[1]
    print(f"start beside {RECORDINGS} recordings: {started:.2f} s (bar: {START_BAR_SECONDS})")
    print(f"stop of {STREAMS} recordings: {stopped:.2f} s (bar: {STOP_BAR_SECONDS})")
    if started >= START_BAR_SECONDS or stopped >= STOP_BAR_SECONDS:
        raise SystemExit("it took too long")


def run(recorder, base, streams):
    """Seconds from the start to the first recording, and from SIGTERM, with all streams being recorded, to the end."""
    (base / "media.ts").write_bytes(PACKET * 1000)
    config = write_configuration(base, [command_stream(f"s{number}", "sh", "-c", ENDLESS, base / "media.ts") for number in range(streams)])
    begin = time.monotonic()
    command = [recorder, "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        times = []
        for line in process.stdout:
            if "Recording started" in line:
                times.append(time.monotonic() - begin)
            if len(times) == streams:
                break
        stop = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        if process.wait() != 0:
            raise SystemExit(f"exit status {process.returncode}")
        return times[0], time.monotonic() - stop


def fill(recordings):
    first = datetime.datetime(2026, 1, 1)
    with sqlite3.connect(recordings / "catalogue.sqlite") as catalogue:
        for number in range(RECORDINGS):
            start = first + datetime.timedelta(minutes=number)
            path = recordings / f"s0-{start:%Y%m%dT%H%M%SZ}.ts"
            path.write_bytes(PACKET)
            row = {"id": number + 1, "start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "path": str(path), "bytes": len(PACKET)}
            catalogue.execute(
                "INSERT INTO recordings (id, stream, status, started_at, ended_at)"
                " VALUES (:id, 's0', 'completed', :start, :start)",
                row,
            )
            catalogue.execute(
                "INSERT INTO parts (recording_id, number, path, container, status, started_at, ended_at, bytes)"
                " VALUES (:id, 1, :path, 'ts', 'finished', :start, :start, :bytes)",
                row,
            )


main()
